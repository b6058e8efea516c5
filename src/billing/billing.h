/* What users have bought: their subscriptions, by way of a cache, trials and runs.
 *
 * A user without a subscription gets the free one when it is first asked for. Whoever changes a
 * subscription calls billing_forget() after the store has it, so that this process never sees an
 * old one in the cache. All calls but billing_peek() may wait for the store. */
#pragma once

#include "billing/entitlement.h"
#include "core/cache.h"
#include "remote/stripe.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    BILLING_HELD = 128, /* more than there are threads */
    BILLING_ASKED = 3,  /* requests of one user, at a time, that ask Stripe */
};

struct billing {
    struct store *store;
    const struct plans *plans;
    struct stripe *stripe;
    struct cache *subscriptions; /* by user */

    /* Who asks Stripe about a user and stores the answer holds the lock of that user. `held` has
     * the ids of the locked users; NULL: a free place. */
    pthread_mutex_t lock;
    pthread_cond_t released;
    const char *held[BILLING_HELD];
    int64_t held_runs[BILLING_HELD];  /* of each, by billing_hold_runs(); -1: no bound */
    atomic_int holding;               /* how many have a bound */
    const char *asking[BILLING_HELD]; /* users whose requests ask Stripe now; NULL: a free place */
    atomic_int waiting;               /* requests that wait for somebody else's checkout */
};

/* `settings` are those of the start. */
struct billing *billing_open(void *mem, struct store *store, const struct settings *settings,
                             const struct plans *plans);

/* Locks the user until billing_unlock(), for seconds if Stripe is asked meanwhile. `user_id` must
 * live until then. Other users are not kept waiting. ERR_BUSY: the lock was not free by the task's
 * deadline. */
must_check enum err billing_lock(struct task *task, struct billing *billing, const char *user_id);

/* The same for a request of the user: waits for a second at most, then returns false, so that one
 * user with many requests does not take all threads of the lane. */
bool billing_lock_soon(struct billing *billing, const char *user_id);
void billing_unlock(struct billing *billing, const char *user_id);

/* Whether somebody holds the user, for assertions. */
bool billing_is_locked(struct billing *billing, const char *user_id);

/* Until the user is unlocked, no run begins beyond so many in the period; -1: as many as the plan
 * has. A count that is read after this call stays right, but for a run that is being charged at
 * that moment. */
void billing_hold_runs(struct billing *billing, const char *user_id, int64_t runs);

/* Stand around each request that asks Stripe. False: BILLING_ASKED requests of this user are under
 * way, and billing_leave() must not be called. So a user whom Stripe answers slowly does not take
 * all threads. `user_id` is the request's own copy and lives until billing_leave(). */
bool billing_enter(struct billing *billing, const char *user_id);
void billing_leave(struct billing *billing, const char *user_id);

/* ERR_NOT_FOUND if there is no such user. */
must_check enum err billing_subscription(struct task *task, struct billing *billing,
                                         const char *user_id, struct subscription *ret);

/* The subscription from the cache, without its ids at Stripe; NULL if it was not read within the
 * last `within_ms`. */
const struct subscription *billing_peek(struct billing *billing, void *mem, const char *user_id,
                                        int64_t within_ms);

void billing_forget(struct billing *billing, const char *user_id);

/* ERR_BAD_REQUEST with its text; *ret is the subscription with the trial. */
must_check enum err billing_start_trial(struct task *task, struct billing *billing,
                                        const char *user_id, struct subscription *ret);

/* Whether a run may begin now: entitlement_of(), and the bound of billing_hold_runs(). On any
 * thread; does not wait. */
struct entitlement billing_entitlement(struct billing *billing, const struct settings *settings,
                                       const struct subscription *known, int64_t now_ms);

/* Charges a run. If ret->verdict is STANDING_GOOD afterwards, it is charged durably, else not at
 * all. `known` is the subscription from the cache; NULL: it is not there. */
must_check enum err billing_consume(struct task *task, struct billing *billing, const char *user_id,
                                    const struct subscription *known, struct entitlement *ret);

/* The same on a loop, which never waits (store/later.h): one try, with the subscription from the
 * cache. */
struct billing_charge {
    /* On that loop. OK: as above, unless `is_outdated`: the subscription has changed, and nothing
     * was charged. */
    void (*done)(struct billing_charge *charge, enum err e);
    const atomic_bool *gone;
    struct entitlement entitlement;
    bool is_outdated;

    struct billing *billing; /* from here on: its own */
    struct usage usage;
    enum usage_consumed consumed;
    int64_t runs;
    struct store_later later;
};

/* `charge->entitlement` is billing_entitlement() of `known` at `now_ms`, and good. */
must_check enum err billing_consume_later(struct task *task, struct billing *billing,
                                          const struct subscription *known, int64_t now_ms,
                                          struct billing_charge *charge);

/* Puts an event off no longer: it is applied anew. ERR_NOT_FOUND with its text. */
must_check enum err billing_replay(struct task *task, struct billing *billing,
                                   const char *event_id);

/* "enterprise, 500 runs, 30 days", for the audit trail; "nothing" without a plan. */
const char *billing_gift(void *mem, const struct plans *plans, const char *plan, int64_t runs,
                         int64_t days);

/* Gives the user a plan without payment; NULL takes it away again. ERR_NOT_FOUND, ERR_BAD_REQUEST
 * with their texts. */
must_check enum err billing_give(struct task *task, struct billing *billing, const char *user_id,
                                 const char *plan, int64_t runs, int64_t until_ms,
                                 const struct audit *audit, struct subscription *ret);
