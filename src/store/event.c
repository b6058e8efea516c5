#include "store/event.h"

#include "core/json_writer.h"
#include "store/store.h"

#include <string.h>

enum { FIRST_WAIT_MS = 2000, LONGEST_WAIT_MS = 3600000, DOUBLED_MOST = 12 };

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool event_says_only_change(const char *type)
{
    return begins(type, "invoice.") || (begins(type, "customer.subscription.") &&
                                        strcmp(type, "customer.subscription.trial_will_end") != 0);
}

const char *event_reason_word(enum event_reason reason)
{
    static const char *const words[] = {
#define ROW(name, word, by_link) word,
        EVENT_REASONS(ROW)
#undef ROW
    };

    return (size_t)reason < count_of(words) ? words[reason] : NULL;
}

bool event_is_settled_by_link(enum event_reason reason)
{
    static const bool settled[] = {
#define ROW(name, word, by_link) by_link,
        EVENT_REASONS(ROW)
#undef ROW
    };

    return (size_t)reason < count_of(settled) && settled[reason];
}

int64_t event_next_ms(int64_t now_ms, unsigned waits)
{
    int64_t wait_ms = (int64_t)FIRST_WAIT_MS << (waits < DOUBLED_MOST ? waits : DOUBLED_MOST);

    return now_ms + (wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS);
}

static struct event goodbye(void *mem, const char *of, const char *customer_id, int64_t now_ms)
{
    return (struct event){
        .id = mem_printf(mem, "goodbye_%s", of),
        .type = STORE_EVENT_GOODBYE,
        .customer_id = customer_id,
        .state = EVENT_WAITING,
        .error = "",
        .received_ms = now_ms,
    };
}

struct event event_goodbye(void *mem, const struct subscription *subscription, int64_t now_ms)
{
    /* What gave no plan is none of ours, whoever noted it. */
    bool is_ours = strcmp(subscription->plan, "free") != 0;
    struct event event = goodbye(mem, subscription->id, subscription->customer_id, now_ms);
    struct text payload = text_open(mem, 128);
    struct json_writer w = json_write(&payload);

    put_object(&w, NULL);
    put_string(&w, "customer", subscription->customer_id);
    put_string(&w, "subscription", is_ours ? subscription->stripe_id : NULL);
    put_string(&w, "user", subscription->user_id);
    put_end(&w);
    event.payload = payload.s;
    return event;
}

struct event event_goodbye_other(void *mem, const struct other_customer *other, int64_t now_ms)
{
    struct event event = goodbye(mem, other->customer_id, other->customer_id, now_ms);
    struct text payload = text_open(mem, 128);
    struct json_writer w = json_write(&payload);

    put_object(&w, NULL);
    put_string(&w, "customer", other->customer_id);
    put_string(&w, "user", other->user_id);
    put_end(&w);
    event.payload = payload.s;
    return event;
}
