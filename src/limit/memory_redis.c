#include "limit/memory.h"

#include "limit/memory_parts.h"

#include <assert.h>

enum {
    TOLD_LATER_US = 100000, /* a time here is older than the same time in Redis by its way there */
};

struct verdict memory_limiter_ask_apart(struct memory_limiter *limiter,
                                        const struct limit_key *keys, unsigned count,
                                        const struct rule *rule, int64_t now_us)
{
    return memory_ask(limiter, keys, count, rule, now_us, true);
}

/* Clocks of two machines do not run alike: what is remembered ends a little before its time. */
static int64_t early(int64_t us)
{
    return us - us / 1024;
}

/* The window that surely refuses, and until when; false if none does. */
static bool surely_full(const struct entry *entry, const struct rule *rule, int64_t now_us,
                        unsigned *ret_window, int64_t *ret_until_us)
{
    if (entry == NULL)
        return false;
    if (entry->refused_early_us > now_us) {
        *ret_window = entry->refused_window < rule->count ? entry->refused_window : 0;
        *ret_until_us = entry->refused_until_us;
        return true;
    }
    for (unsigned i = 0; i < rule->count; i++) {
        const struct rule_window *window = &rule->windows[i];
        int64_t window_us = (int64_t)window->seconds * 1000000;

        if (entry->count < window->limit)
            continue;
        *ret_until_us = entry_nth_us(entry, window->limit) + window_us;
        *ret_window = i;
        if (*ret_until_us - window_us + early(window_us) > now_us)
            return true;
    }
    return false;
}

static struct verdict refused_until(const struct rule *rule, unsigned window, int64_t wait_us)
{
    struct verdict verdict = {.wait_us = wait_us};

    assert(window < rule->count);
    for (unsigned i = 0; i < rule->count; i++)
        verdict.remaining[i] = i == window ? 0 : rule->windows[i].limit;
    verdict.reset_us[window] = wait_us;
    return verdict;
}

/* Under the locks. */
static bool any_full(struct held *held, const struct rule *rule, int64_t now_us,
                     struct verdict *ret)
{
    unsigned window = 0;
    int64_t until_us = 0;
    struct rule wide;

    for (unsigned i = 0; i < held->count; i++) {
        if (!surely_full(held->entries[i], memory_rule_of(&held->keys[i], rule, &wide), now_us,
                         &window, &until_us))
            continue;
        memory_count_refusal(held, rule, now_us);
        *ret = refused_until(rule, window, until_us + TOLD_LATER_US - now_us);
        return true;
    }
    return false;
}

static bool waits_apart(const struct held *held)
{
    for (unsigned i = 0; i < held->count; i++) {
        const struct entry *entry = held->entries[i];

        if (entry != NULL && entry->has_apart && !entry->is_handing)
            return true;
    }
    return false;
}

bool memory_limiter_refuses(struct memory_limiter *limiter, const struct limit_key *keys,
                            unsigned count, const struct rule *rule, int64_t now_us,
                            struct verdict *ret, bool *ret_apart)
{
    struct held held;
    bool refused;

    memory_hold(limiter, keys, count, &held);
    refused = any_full(&held, rule, now_us, ret);
    *ret_apart = waits_apart(&held);
    memory_let_go(&held);
    return refused;
}

/* Whether one more might be too many if all that is under way is admitted; then *ret says so. */
static bool depends(const struct entry *entry, const struct rule *rule, int64_t now_us,
                    struct verdict *ret)
{
    if (entry == NULL || entry->flying == 0)
        return false;
    for (unsigned i = 0; i < rule->count; i++) {
        const struct rule_window *window = &rule->windows[i];
        int64_t window_us = (int64_t)window->seconds * 1000000;
        uint32_t limit = window->limit * limit_times(&entry->key);
        uint32_t room = limit > entry->flying ? limit - entry->flying : 0;
        int64_t from_us = now_us;

        if (entry->count < room)
            continue;
        if (room > 0)
            from_us = entry_nth_us(entry, room);
        if (now_us - from_us >= early(window_us))
            continue;
        *ret = refused_until(rule, i, from_us + window_us + TOLD_LATER_US - now_us);
        return true;
    }
    return false;
}

static void take_off(struct held *held, const struct rule *rule, int64_t now_us)
{
    for (unsigned i = 0; i < held->count; i++) {
        struct entry *entry = memory_entry_of(held, i, rule, now_us);

        if (entry->flying < UINT16_MAX)
            entry->flying++;
    }
}

enum limit_start memory_limiter_start(struct memory_limiter *limiter, const struct limit_key *keys,
                                      unsigned count, const struct rule *rule, int64_t now_us,
                                      struct verdict *ret, bool *ret_apart)
{
    enum limit_start start = LIMIT_ASK;
    struct held held;

    memory_hold(limiter, keys, count, &held);
    *ret_apart = waits_apart(&held);
    if (any_full(&held, rule, now_us, ret))
        start = LIMIT_REFUSED;
    for (unsigned i = 0; start == LIMIT_ASK && i < count; i++) {
        const struct entry *entry = held.entries[i];

        if (entry != NULL && entry->is_handing && entry->more_pieces)
            start = LIMIT_HERE;
        else if (depends(entry, rule, now_us, ret))
            start = LIMIT_BUSY;
    }
    if (start == LIMIT_ASK)
        take_off(&held, rule, now_us);
    memory_let_go(&held);
    return start;
}

static void land(struct entry *entry)
{
    if (entry != NULL && entry->flying > 0)
        entry->flying--;
}

void memory_limiter_answered(struct memory_limiter *limiter, const struct limit_key *keys,
                             unsigned count)
{
    struct held held;

    memory_hold(limiter, keys, count, &held);
    for (unsigned i = 0; i < count; i++)
        land(held.entries[i]);
    memory_let_go(&held);
}

static void remember(struct entry *entry, const struct rule *rule, int64_t asked_us,
                     const struct verdict *verdict)
{
    entry->refused_until_us = asked_us + verdict->wait_us;
    entry->refused_early_us = asked_us + early(verdict->wait_us);
    for (unsigned i = 0; i < rule->count; i++) {
        if (verdict->remaining[i] == 0 && verdict->reset_us[i] >= verdict->wait_us)
            entry->refused_window = (uint8_t)i;
    }
    entry->refused += entry->refused < UINT32_MAX;
}

void memory_limiter_refused(struct memory_limiter *limiter, const struct limit_key *keys,
                            unsigned count, const struct rule *rule, int64_t asked_us,
                            const bool *refused, const struct verdict *each)
{
    struct held held;

    memory_hold(limiter, keys, count, &held);
    for (unsigned i = 0; i < count; i++) {
        struct entry *entry = memory_entry_of(&held, i, rule, asked_us);

        land(entry);
        if (!refused[i])
            continue;
        remember(entry, rule, asked_us, &each[i]);
        shard_touch(held.of[i], entry, rule, asked_us);
    }
    memory_let_go(&held);
}

static bool is_apart(const struct entry *entry, uint32_t n)
{
    return *entry_nth((struct entry *)entry, n) % TIME_MARKS != 0;
}

static void mark(struct entry *entry, uint32_t n)
{
    *entry_nth(entry, n) |= TIME_APART;
    entry->has_apart = true;
}

/* What was asked then says nothing of times that were on their way. */
static bool is_handed_over(const struct entry *entry, int64_t asked_us)
{
    return entry->is_handing || asked_us <= entry->handed_us;
}

/* How many times Redis must hold, if it has lost nothing. */
static uint32_t count_due(const struct entry *entry, const struct rule *rule, int64_t now_us,
                          int64_t settled_us)
{
    int64_t window_us = early((int64_t)rule->longest * 1000000);
    uint32_t due = 0, most = rule->most * limit_times(&entry->key);

    for (uint32_t n = 1; n <= entry->count && now_us - entry_nth_us(entry, n) < window_us; n++)
        due += entry_nth_us(entry, n) < settled_us && !is_apart(entry, n);
    return due < most ? due : most;
}

unsigned memory_limiter_admitted(struct memory_limiter *limiter, const struct limit_key *keys,
                                 unsigned count, const struct rule *rule, int64_t asked_us,
                                 const uint32_t *held_there, int64_t settled_us)
{
    unsigned missing = 0;
    struct held held;

    memory_hold(limiter, keys, count, &held);
    for (unsigned i = 0; i < count; i++) {
        struct entry *entry = memory_entry_of(&held, i, rule, asked_us);

        land(entry);
        if (held_there[i] < entry->count && !is_handed_over(entry, asked_us) &&
            held_there[i] < count_due(entry, rule, asked_us, settled_us))
            missing |= 1u << i;
        entry->refused_until_us = entry->refused_early_us = 0;
        shard_append(held.of[i], entry, rule, asked_us, false);
    }
    memory_let_go(&held);
    return missing;
}

void memory_limiter_lost(struct memory_limiter *limiter, const struct limit_key *key,
                         int64_t asked_us, uint32_t held_there)
{
    struct entry *entry;
    struct held held;
    uint32_t known = 0;

    memory_hold(limiter, key, 1, &held);
    entry = held.entries[0];
    if (entry != NULL && !is_handed_over(entry, asked_us)) {
        for (uint32_t n = 1; n <= entry->count; n++) {
            if (!is_apart(entry, n) && entry_nth_us(entry, n) < asked_us && ++known > held_there)
                mark(entry, n);
        }
    }
    memory_let_go(&held);
}

static void put_be64(struct text *out, int64_t number)
{
    char bytes[8];

    assert(number >= 0);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(uint64_t)(number >> (56 - 8 * i));
    text_put(out, bytes, sizeof bytes);
}

static bool has_mark(const struct entry *entry, int64_t mark)
{
    for (uint32_t n = 1; n <= entry->count; n++) {
        if ((*entry_nth((struct entry *)entry, n) & mark) != 0)
            return true;
    }
    return false;
}

/* The ages of the oldest times with the mark, as one piece that is sent; how many they are. What is
 * over is forgotten by Redis anyway. */
static uint32_t take_piece(struct entry *entry, int64_t mark, const struct rule *rule,
                           int64_t now_us, struct text *out)
{
    uint32_t taken = 0;

    for (uint32_t n = entry->count; n >= 1 && taken < LIMIT_PIECE; n--) {
        int64_t *time = entry_nth(entry, n), time_us = *time / TIME_MARKS;

        if ((*time & mark) == 0)
            continue;
        *time = time_us * TIME_MARKS;
        if (now_us - time_us >= (int64_t)rule->longest * 1000000)
            continue;
        *time |= TIME_SENT;
        put_be64(out, now_us < time_us ? 0 : now_us - time_us);
        taken++;
    }
    return taken;
}

uint32_t memory_limiter_take_apart(struct memory_limiter *limiter, const struct limit_key *key,
                                   const struct rule *rule, int64_t now_us, struct text *out,
                                   struct limit_piece *ret)
{
    struct entry *entry;
    struct held held;
    uint32_t taken = 0;

    assert(rule->count > 0);
    *ret = (struct limit_piece){0, false};
    memory_hold(limiter, key, 1, &held);
    entry = held.entries[0];
    if (entry != NULL && !entry->is_handing && entry->has_apart) {
        if (entry->piece != 0)
            taken = take_piece(entry, TIME_SENT, rule, now_us, out);
        if (taken == 0) {
            entry->piece = atomic_fetch_add(&limiter->pieces, 1) + 1;
            taken = take_piece(entry, TIME_APART, rule, now_us, out);
        }
        entry->has_apart = has_mark(entry, TIME_APART);
        if (taken == 0)
            entry->piece = 0;
        entry->is_handing = taken > 0;
        entry->more_pieces = entry->has_apart;
        *ret = (struct limit_piece){entry->piece, entry->more_pieces};
    }
    memory_let_go(&held);
    return taken;
}

bool memory_limiter_handed_over(struct memory_limiter *limiter, const struct limit_key *key,
                                uint64_t piece, bool arrived, int64_t now_us)
{
    bool more = false;
    struct entry *entry;
    struct held held;

    assert(piece != 0);
    memory_hold(limiter, key, 1, &held);
    entry = held.entries[0];
    if (entry != NULL && entry->piece == piece) {
        for (uint32_t n = 1; arrived && n <= entry->count; n++)
            *entry_nth(entry, n) &= ~(int64_t)TIME_SENT;
        entry->is_handing = false;
        entry->handed_us = now_us;
        entry->piece = arrived ? 0 : piece;
        entry->has_apart = entry->has_apart || !arrived;
        more = entry->has_apart;
    }
    memory_let_go(&held);
    return more;
}

void memory_limiter_forget_refusals(struct memory_limiter *limiter)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        pthread_mutex_lock(&shard->lock);
        for (size_t slot = 0; slot < shard->slot_count; slot++) {
            if (shard->slots[slot] != NULL)
                shard->slots[slot]->refused_until_us = shard->slots[slot]->refused_early_us = 0;
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

/* Only the times that Redis may not know stay, in their order. */
static void keep_apart(struct entry *entry)
{
    uint32_t kept = 0;

    for (uint32_t n = 1; n <= entry->count; n++) {
        if (is_apart(entry, n))
            *entry_nth(entry, ++kept) = *entry_nth(entry, n);
    }
    assert(kept <= entry->count);
    entry->count = kept;
}

void memory_limiter_forget_told(struct memory_limiter *limiter)
{
    memory_limiter_forget_refusals(limiter);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        pthread_mutex_lock(&shard->lock);
        for (size_t slot = 0; slot < shard->slot_count; slot++) {
            if (shard->slots[slot] != NULL)
                keep_apart(shard->slots[slot]);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}
