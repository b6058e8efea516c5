#include "limit/verdict.h"

#include <assert.h>

/* How many are younger than the window: they are in order, newest first. */
static uint32_t count_young(const void *log, uint32_t count, log_time *time, int64_t window_us,
                            int64_t now_us)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (now_us - time(log, middle + 1) < window_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct verdict verdict_of(const void *log, uint32_t count, log_time *time, const struct rule *rule,
                          int64_t now_us)
{
    struct verdict verdict = {.admitted = true};

    for (unsigned i = 0; i < rule->count; i++) {
        const struct rule_window *window = &rule->windows[i];
        int64_t window_us = (int64_t)window->seconds * 1000000;
        uint32_t young = count_young(log, count, time, window_us, now_us);

        verdict.remaining[i] = window->limit > young ? window->limit - young : 0;
        if (young > 0)
            verdict.reset_us[i] = time(log, young > window->limit ? window->limit : young) +
                                  window_us - now_us;
        if (young < window->limit)
            continue;
        verdict.admitted = false;
        if (verdict.reset_us[i] > verdict.wait_us)
            verdict.wait_us = verdict.reset_us[i];
    }
    return verdict;
}

void verdict_spend(struct verdict *verdict, const struct rule *rule)
{
    assert(verdict->admitted);
    for (unsigned i = 0; i < rule->count; i++) {
        if (verdict->remaining[i] > 0)
            verdict->remaining[i]--;
        if (verdict->reset_us[i] == 0)
            verdict->reset_us[i] = (int64_t)rule->windows[i].seconds * 1000000;
    }
}

void verdict_join(struct verdict *verdict, const struct verdict *other, const struct rule *rule)
{
    verdict->admitted = verdict->admitted && other->admitted;
    if (other->wait_us > verdict->wait_us)
        verdict->wait_us = other->wait_us;
    for (unsigned i = 0; i < rule->count; i++) {
        bool tighter = other->remaining[i] < verdict->remaining[i] ||
                       (other->remaining[i] == verdict->remaining[i] &&
                        other->reset_us[i] > verdict->reset_us[i]);

        if (!tighter)
            continue;
        verdict->remaining[i] = other->remaining[i];
        verdict->reset_us[i] = other->reset_us[i];
    }
}
