/* Stripe's events: each is stored before it is acknowledged, and applied from the store until that
 * has succeeded, whatever happens to this process meanwhile.
 *
 * Applying asks Stripe for the present state (billing/sync.h); of an event only its links count.
 * Of a customer one event at a time is applied. What fails waits for 2 s, then twice as long each
 * time up to an hour, and with it what else waits of its customer; what comes first is tried before
 * what is tried again. It is given up (dead) after three days, or at once where nothing but an
 * operator can mend it; then it stays until it is replayed. What was done is kept for 30 days. */
#pragma once

#include "billing/sync.h"
#include "job/jobs.h"

struct inbox;

struct inbox *inbox_open(void *mem, struct billing *billing);

/* Applies what is due. Any number of runs at a time; each that finds something calls for help. */
must_check enum err inbox_run(struct task *task, struct inbox *inbox, struct job_run *run);

/* Stripe is there again: what has failed meanwhile is due now. */
must_check enum err inbox_hasten(struct task *task, struct inbox *inbox, struct job_run *run);

/* Removes what was done long ago. */
must_check enum err inbox_sweep(struct task *task, struct inbox *inbox, struct job_run *run);

enum event_result {
    EVENT_APPLIED,
    EVENT_SKIPPED,   /* recorded; of no concern */
    EVENT_LATER,     /* will be applied */
    EVENT_UNKNOWN,   /* will be applied when somebody is found whom it concerns */
    EVENT_UNREADABLE /* recorded as dead */
};

struct event_verdict {
    enum event_result result;
    const char *type;
    const char *user_id; /* with EVENT_APPLIED; NULL: nobody's */
    const char *message; /* with EVENT_SKIPPED: why; NULL: the type says it */
};

/* A delivery whose signature was right. */
struct inbox_delivery {
    void (*done)(struct inbox_delivery *delivery, enum err e); /* of inbox_accept_later() */
    const atomic_bool *gone;
    struct event_verdict verdict;
    bool is_settled; /* else it is stored, and inbox_accept() knows what became of it */

    const char *body; /* from here on: its own */
    size_t len;
    json_t **json; /* what it says; NULL: it is read again from the event, if it has to be */
    bool is_event;
    struct event event;
    struct event_kept kept;
    struct store_later later;
};

/* Reads the body, which lives as long as the delivery: once, on whichever thread. */
void inbox_read(struct task *task, const char *body, size_t len, struct inbox_delivery *delivery);

/* Stores what was read, and applies it if that can be now. OK is durable; delivery->verdict says
 * what became of it. */
must_check enum err inbox_accept(struct task *task, struct inbox *inbox,
                                 struct inbox_delivery *delivery);

/* The same on a loop, which does not wait (store/later.h), of what is only to be stored: done() is
 * called on that loop. *ret_begun false: it is for inbox_accept(), and nothing was done. */
must_check enum err inbox_accept_later(struct task *task, struct inbox *inbox,
                                       struct inbox_delivery *delivery, bool *ret_begun);

/* Stores an event that Stripe has told when it was asked, by the rules of a delivery, to be applied
 * soon. *ret_new false: it was here before, or is no event. */
must_check enum err inbox_put(struct task *task, struct inbox *inbox, const json_t *event,
                              bool *ret_new);

/* Applies a stored event, or puts it off. */
must_check enum err inbox_apply(struct task *task, struct billing *billing,
                                const struct event *event, struct event_verdict *ret);

/* Our own event for a live subscription of a plan that nobody is linked to. */
#define INBOX_EVENT_FOUND "manus.found"

/* Puts one, unless it waits already; one that was done or given up is looked at again. */
must_check enum err inbox_put_found(struct task *task, struct store *store, const char *customer_id,
                                    const char *subscription_id);

/* The n-th type of event that a webhook endpoint needs; NULL behind the last. */
const char *inbox_type(size_t n);
