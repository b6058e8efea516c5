/* Whoever has bought what, for those who ask: subscriptions by way of a memory, trials, runs.
 *
 * A user's subscription is made free at the first question. What this process changes is forgotten
 * at once: whoever changes a subscription calls billing_forget() after the store has it. Calls but
 * billing_peek() may wait for the store. */
#pragma once

#include "billing/standing.h"
#include "core/recall.h"
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
    struct recall *subscriptions; /* by user */

    /* Whoever asks Stripe about a user and keeps the answer holds that user. `held` are the ids of
     * those, NULL where there is none. */
    pthread_mutex_t lock;
    pthread_cond_t released;
    const char *held[BILLING_HELD];
    int64_t held_runs[BILLING_HELD];  /* billing_hold_runs(); -1: nothing */
    atomic_int holding;               /* how many of those there are */
    const char *asking[BILLING_HELD]; /* whose requests are in work; NULL: none */
    atomic_int waiting;               /* for somebody else's checkout */
};

/* `settings` are those of the start. */
struct billing *billing_open(void *mem, struct store *store, const struct settings *settings,
                             const struct plans *plans);

/* Held until billing_unlock(), and `user_id` with it; while Stripe is asked, so for seconds. Nobody
 * else is kept waiting. ERR_BUSY: not to be had by the task's deadline. */
must_check enum err billing_lock(struct task *task, struct billing *billing, const char *user_id);

/* The same for somebody who asked for it: false if it is not to be had within a second, so that one
 * user who asks much at once does not keep the lane from the others. */
bool billing_lock_soon(struct billing *billing, const char *user_id);
void billing_unlock(struct billing *billing, const char *user_id);

/* Whether somebody holds the user, for assertions. */
bool billing_is_locked(struct billing *billing, const char *user_id);

/* While the caller holds the user no run begins beyond so many in the period; -1: as the plan says.
 * A count that is read after that stands, but for what is charged at that very moment. */
void billing_hold_runs(struct billing *billing, const char *user_id, int64_t runs);

/* Around each request that asks Stripe. False, and nothing to leave: as many of this user's are in
 * work as may be, so that somebody whom Stripe answers slowly does not keep all threads from the
 * others. `user_id` lives until then, and is this request's own. */
bool billing_enter(struct billing *billing, const char *user_id);
void billing_leave(struct billing *billing, const char *user_id);

/* ERR_NOT_FOUND if there is no such user. */
must_check enum err billing_subscription(struct task *task, struct billing *billing,
                                         const char *user_id, struct subscription *ret);

/* What was read within the last `within_ms`, without its ids at Stripe; NULL if nothing was. */
const struct subscription *billing_peek(struct billing *billing, void *mem, const char *user_id,
                                        int64_t within_ms);

void billing_forget(struct billing *billing, const char *user_id);

/* ERR_BAD_REQUEST with its text; *ret is the subscription with the trial. */
must_check enum err billing_start_trial(struct task *task, struct billing *billing,
                                        const char *user_id, struct subscription *ret);

/* Whether a run may begin now: standing_of(), less what a switch under way holds back. On any
 * thread; does not wait. */
struct standing billing_standing(struct billing *billing, const struct settings *settings,
                                 const struct subscription *known, int64_t now_ms);

/* Charges a run, durably, if ret->verdict is STANDING_GOOD afterwards; else nothing. `known` is
 * what is remembered of the subscription; NULL: nothing. */
must_check enum err billing_consume(struct task *task, struct billing *billing,
                                    const struct settings *settings, const char *user_id,
                                    const struct subscription *known, struct standing *ret);

/* The same on a loop, which does not wait (store/later.h): one attempt, of what is remembered. */
struct billing_charge {
    /* On that loop. OK: as above, unless `is_outdated`: the subscription has changed, and nothing
     * was charged. */
    void (*done)(struct billing_charge *charge, enum err e);
    const atomic_bool *gone;
    struct standing standing;
    bool is_outdated;

    struct billing *billing; /* from here on: its own */
    struct usage usage;
    enum usage_consumed consumed;
    int64_t runs;
    struct store_later later;
};

/* `charge->standing` is billing_standing() of `known` at `now_ms`, and good. */
must_check enum err billing_consume_later(struct task *task, struct billing *billing,
                                          const struct subscription *known, int64_t now_ms,
                                          struct billing_charge *charge);

/* Gives a plan by hand, or takes it away again (NULL). ERR_NOT_FOUND, ERR_BAD_REQUEST with their
 * texts. */
must_check enum err billing_give(struct task *task, struct billing *billing, const char *user_id,
                                 const char *plan, int64_t runs, int64_t until_ms,
                                 const struct audit *audit, struct subscription *ret);
