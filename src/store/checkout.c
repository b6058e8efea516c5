#include "store/checkout.h"

#include "core/clock.h"

#include <string.h>

/* A lease that lasts for longer was noted by a clock that was ahead. */
enum { LONGEST_LEASE_MS = 120000 };

static bool is_for_the_same(const struct checkout *a, const struct checkout *b)
{
    return strcmp(a->plan, b->plan) == 0 && strcmp(a->price_id, b->price_id) == 0 &&
           strcmp(a->success_url, b->success_url) == 0 && strcmp(a->cancel_url, b->cancel_url) == 0;
}

enum checkout_reserved checkout_judge(const struct checkout *stored, int64_t leased_ms,
                                      const struct checkout *wanted, struct checkout *ret_one)
{
    bool same = stored != NULL && is_for_the_same(stored, wanted);
    bool is_made = stored != NULL && stored->session_id != NULL;
    int64_t now_ms = wanted->created_ms;
    bool open = is_made && stored->expires_ms > now_ms, unfinished;

    *ret_one = stored != NULL ? *stored : *wanted;
    if (same && open)
        return CHECKOUT_OPEN;
    if (stored != NULL && !is_made && clock_holds(leased_ms, now_ms, LONGEST_LEASE_MS))
        return CHECKOUT_BUSY;
    unfinished = stored != NULL && !is_made &&
                 clock_holds(stored->created_ms + STORE_KEY_MS, now_ms, 2 * STORE_KEY_MS);
    if (!same && (open || unfinished))
        return CHECKOUT_OTHER;
    *ret_one = *wanted;
    ret_one->session_id = NULL;
    if (same && unfinished) {
        ret_one->key = stored->key;
        ret_one->created_ms = stored->created_ms;
    }
    return CHECKOUT_RESERVED;
}
