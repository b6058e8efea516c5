/* What the store keeps of billing: subscriptions, what was used, checkouts under way, and the inbox
 * of Stripe's events. A part of the contract of store/store.h, whose rules hold here. */
#pragma once

#include "core/task.h"
#include "store/later.h"

struct store;
struct audit;
struct mail;
struct store_page;

/* One for each user at most. */
struct subscription {
    const char *id; /* a UUID */
    const char *user_id;

    /* What Stripe says; of who has bought nothing, "free" and "active". */
    const char *plan;
    const char *status; /* active, past_due, canceled, unpaid, trialing, incomplete */
    /* At Stripe; NULL: none. Without a customer there is no subscription, without one no price. */
    const char *customer_id, *stripe_id, *price_id;
    const char *item_id; /* of the subscription, which is the plan; NULL: unknown */
    int64_t period_start_ms, period_end_ms;
    int64_t anchor_ms;        /* from which months are counted; 0: unknown */
    int64_t stripe_anchor_ms; /* by which Stripe's periods turn */
    int64_t canceled_ms;      /* when it ended, or when its end was asked for */
    int64_t ends_ms;          /* when access ends, whatever `status` says then; 0: it goes on */
    int64_t past_due_ms;      /* since when the first unpaid invoice is due */
    int64_t unpaid_from_ms;   /* from when on what is used is not paid; 0: it is */
    bool cancel_at_period_end;
    const char *notes;  /* for the operator: what else is so at Stripe; NULL: nothing */
    int64_t synced_ms;  /* when Stripe was asked for all this */
    int64_t generation; /* of the customer: grows when Stripe has lost it, or with another one */
    /* It was made elsewhere, by whoever paid: it gives its plan, and no say over who pays. */
    bool customer_is_foreign;
    bool was_canceled; /* before a foreign customer was linked: so it is again once that is over */

    /* The trial of our own: trial_start_ms stays for ever, is_trial until something is bought. */
    bool is_trial;
    int64_t trial_start_ms, trial_end_ms;

    /* What an administrator gave, whatever Stripe says. */
    const char *gift_plan; /* NULL: nothing */
    int64_t gift_runs;     /* a period; -1: unlimited, 0: as the plan says */
    int64_t gift_until_ms; /* 0: without end */

    int64_t runs;            /* used in the period that began at */
    int64_t usage_period_ms; /* which never goes back */

    int64_t created_ms, updated_ms;
    int64_t revision; /* grows with every change but usage */
};

must_check enum err store_subscription_by_user(struct task *task, struct store *store,
                                               const char *user_id, bool *ret_found,
                                               struct subscription *ret);
must_check enum err store_subscription_by_customer(struct task *task, struct store *store,
                                                   const char *customer_id, bool *ret_found,
                                                   struct subscription *ret);

/* The user's, made free and active (with `id`) if there is none. *ret_found false: there is no such
 * user. */
must_check enum err store_subscription_open(struct task *task, struct store *store,
                                            const char *user_id, const char *id, int64_t now_ms,
                                            bool *ret_found, struct subscription *ret);

/* Newest first; *ret_next as store_users(). `status` NULL: all. `with_customer`: those that Stripe
 * knows, whatever their status. */
struct subscription_filter {
    const char *status;
    bool with_customer;
};
must_check enum err store_subscriptions(struct task *task, struct store *store,
                                        const struct subscription_filter *filter,
                                        const struct store_page *page, struct subscription **ret,
                                        size_t *ret_count, const char **ret_next);

enum trial_started {
    TRIAL_STARTED,
    TRIAL_USED, /* once for ever, by them or their mailbox: nothing was changed */
    TRIAL_PAID, /* something is bought or given: nothing was changed */
    TRIAL_NOBODY,
};

/* What was used counts on. One for each mailbox (email_mailbox(), core/email.h), whoever has it
 * now: that it had one is remembered when the user is gone or has another address, under a hash
 * with a key of the store's own, which no change of a setting voids. */
must_check enum err store_trial_start(struct task *task, struct store *store, const char *user_id,
                                      int64_t start_ms, int64_t end_ms, enum trial_started *ret);

/* Users whose trial ends before `before_ms` and after `now_ms`, and who have not been told;
 * *ret_count at most TRIALS_ENDING. */
enum { TRIALS_ENDING = 100 };
must_check enum err store_trials_ending(struct task *task, struct store *store, int64_t now_ms,
                                        int64_t before_ms, struct subscription **ret,
                                        size_t *ret_count);

/* They are told, once: with the mail (NULL: none), or not at all. */
must_check enum err store_trial_told(struct task *task, struct store *store, const char *user_id,
                                     const struct mail *mail, bool *ret_told);

/* What one run is charged to: worked out from a subscription that was read. */
struct usage {
    const char *user_id;
    int64_t revision;  /* of that subscription */
    int64_t period_ms; /* when the present period began */
    int64_t limit;     /* -1: none */
    int64_t day;       /* since the epoch */
};

enum usage_consumed {
    USAGE_CONSUMED,
    USAGE_EXHAUSTED, /* nothing was charged */
    USAGE_OUTDATED,  /* the subscription has another revision, or is gone: read it anew */
};

/* Charges one run, and the day's history with it. A period later than the stored one begins at 0;
 * an earlier one goes on counting in the later. *ret_runs: used in the period, with this one. */
must_check enum err store_usage_consume(struct task *task, struct store *store,
                                        const struct usage *usage, enum usage_consumed *ret,
                                        int64_t *ret_runs);
must_check enum err store_usage_consume_later(struct task *task, struct store *store,
                                              const struct usage *usage, enum usage_consumed *ret,
                                              int64_t *ret_runs, struct store_later *later);

struct usage_day {
    int64_t day; /* since the epoch */
    int64_t runs;
};

/* Newest first, USAGE_DAYS at most. */
enum { USAGE_DAYS = 400 };
must_check enum err store_usage_days(struct task *task, struct store *store, const char *user_id,
                                     struct usage_day **ret, size_t *ret_count);

enum subscription_applied {
    APPLIED,
    APPLY_OUTDATED, /* the subscription has another revision: nothing was changed */
};

/* Takes over plan to generation of `state`, and is_trial; the rest of it only says which one and
 * which revision. With the mail (NULL: none) or nothing of it. */
must_check enum err store_subscription_apply(struct task *task, struct store *store,
                                             const struct subscription *state,
                                             const struct mail *mail, int64_t now_ms,
                                             enum subscription_applied *ret);

struct customer_link {
    const char *user_id;
    int64_t generation;
    const char *former; /* NULL: none; may be the customer itself, for what is known of it now */
    const char *customer_id;
    bool is_foreign; /* customer_is_foreign, from now on */
    bool former_is_foreign;
    int64_t now_ms;
};

/* Links a customer in place of the former one, which begins the next generation, if the user still
 * has that one and the generation is still this one. The former one is remembered, and dead events
 * of the new one that this settles (EVENT_REASONS) wait again. *ret_customer: the one that is
 * linked now; NULL: none. */
must_check enum err store_customer_link(struct task *task, struct store *store,
                                        const struct customer_link *link,
                                        const char **ret_customer);

/* Customers beside the one that is linked to a user: former ones, and others that have paid for
 * them. They are said goodbye to with the user. */
struct other_customer {
    const char *customer_id, *user_id;
    bool is_own; /* made here for the user, or proved to be theirs; stays so once it is noted */
};

/* *ret_noted: the user is there still. */
must_check enum err store_customer_note(struct task *task, struct store *store,
                                        const struct other_customer *other, int64_t now_ms,
                                        bool *ret_noted);
must_check enum err store_customer_forget(struct task *task, struct store *store,
                                          const char *customer_id);
must_check enum err store_customer_other(struct task *task, struct store *store,
                                         const char *customer_id, bool *ret_found,
                                         struct other_customer *ret);

/* Those of a user: own ones first, then the newest, CUSTOMERS_OTHER at most. */
enum { CUSTOMERS_OTHER = 8 };
must_check enum err store_customers_other(struct task *task, struct store *store,
                                          const char *user_id, struct other_customer **ret,
                                          size_t *ret_count);

/* The customer is gone, and what it had subscribed to: the user has neither, and the next
 * generation begins. */
must_check enum err store_customer_unlink(struct task *task, struct store *store,
                                          const char *customer_id, int64_t now_ms);

/* Gives a plan by hand; NULL takes it away. *ret_found false: there is no such subscription. */
must_check enum err store_subscription_give(struct task *task, struct store *store,
                                            const char *user_id, const char *plan, int64_t runs,
                                            int64_t until_ms, const struct audit *audit,
                                            bool *ret_found);

/* A checkout that a user has begun: one each at most. */
struct checkout {
    const char *user_id;
    const char *plan, *price_id, *success_url, *cancel_url;
    const char *key;        /* the idempotency key of the call that makes the session */
    const char *session_id; /* NULL: not made yet */
    const char *url;
    int64_t created_ms, expires_ms;
};

enum checkout_reserved {
    CHECKOUT_RESERVED, /* make the session with ret->key */
    CHECKOUT_OPEN,     /* there is one for the same: *ret */
    CHECKOUT_OTHER,    /* there is one for something else, or may be if ret->session_id is NULL: it
                          must be closed first */
    CHECKOUT_BUSY,     /* somebody is making one */
};

/* Reserves for `lease_ms`. A reservation that nobody finished is taken over with its key, if it is
 * for the same and less than STORE_KEY_MS old. */
enum { STORE_KEY_MS = 20 * 3600 * 1000 };
must_check enum err store_checkout_reserve(struct task *task, struct store *store,
                                           const struct checkout *wanted, int64_t lease_ms,
                                           enum checkout_reserved *ret, struct checkout *ret_one);

/* The session of the key was made. *ret_kept false: the reservation is another's by now. */
must_check enum err store_checkout_opened(struct task *task, struct store *store, const char *key,
                                          const char *session_id, const char *url,
                                          int64_t expires_ms, bool *ret_kept);

/* The outcome is unknown: whoever comes next takes over. */
must_check enum err store_checkout_release(struct task *task, struct store *store, const char *key);

/* It is over: by its key or its session. */
must_check enum err store_checkout_close(struct task *task, struct store *store,
                                         const char *key_or_session);

/* Why an event was given up: X(name, its word, whether linking its customer settles it). The
 * numbers are stored: new ones stand at the end. */
#define EVENT_REASONS(X)                                                                           \
    X(NONE, NULL, false)                                                                           \
    X(FAILED, "failed", false)                                                                     \
    X(PAID_TWICE, "paid_twice", true)                                                              \
    X(PAID_FOR_ANOTHER, "paid_for_another", false)                                                 \
    X(NAMES_NOBODY, "names_nobody", true)                                                          \
    X(PRICE_UNKNOWN, "price_unknown", false)                                                       \
    X(UNREADABLE, "unreadable", false)
enum event_reason {
#define ROW(name, word, by_link) REASON_##name,
    EVENT_REASONS(ROW)
#undef ROW
};

/* An event, kept until it is applied, and for a while after. */
struct event {
    const char *id; /* Stripe's */
    const char *type;
    const char *customer_id; /* whom it concerns, if it says so; may be NULL */
    const char *user_id;     /* likewise, once that is known */
    const char *payload;     /* as it came */
    const char *state;       /* one of those below */
    const char *error;       /* of the last attempt, for people; may be empty */
    enum event_reason reason;
    int64_t received_ms, next_ms, done_ms;
    unsigned attempts;
    unsigned waits; /* how often it was put off, for itself or with others of its customer */
};

#define EVENT_WAITING "waiting"
#define EVENT_DONE "done"
#define EVENT_IGNORED "ignored"
#define EVENT_DEAD "dead" /* given up: an operator looks at it */

/* An event is in work from when it is taken until it is done, put off, or its lease is over. Of a
 * customer's events one at a time is: those without a customer are each for itself. */

struct event_kept {
    bool is_new;       /* else it was here before */
    bool is_taken;     /* apply it: nobody else gets it for the lease */
    const char *state; /* what became of it */
    unsigned attempts; /* with this one, if it is taken */
};

/* Accepts an event once; a state other than waiting is final. A waiting one, new or not, is taken
 * by that for `lease_ms` (0: not), unless one of its customer is in work. */
must_check enum err store_event_put(struct task *task, struct store *store,
                                    const struct event *event, int64_t lease_ms,
                                    struct event_kept *ret);
must_check enum err store_event_put_later(struct task *task, struct store *store,
                                          const struct event *event, int64_t lease_ms,
                                          struct event_kept *ret, struct store_later *later);

/* Takes the waiting event that is due longest, of those that were never put off before the others.
 * Nobody else gets it for `lease_ms`. */
must_check enum err store_event_take(struct task *task, struct store *store, int64_t now_ms,
                                     int64_t lease_ms, bool *ret_found, struct event *ret);

/* A waiting one has come to `state`, and with that the mail is put (NULL: none): once. One of the
 * same customer that is dead for the same reason has had its mail. */
must_check enum err store_event_done(struct task *task, struct store *store, const char *id,
                                     const char *state, enum event_reason reason,
                                     const char *user_id, const char *error,
                                     const struct mail *mail, int64_t now_ms);

/* The word of a reason; NULL: there is none. */
const char *event_reason_word(enum event_reason reason);

/* The waiting events of the customer that were received before `before_ms` are done, if they are of
 * those that say only that something has changed: of invoices, and of subscriptions, but for
 * trial_will_end. */
must_check enum err store_events_done(struct task *task, struct store *store,
                                      const char *customer_id, int64_t before_ms,
                                      const char *user_id, int64_t now_ms, unsigned *ret_count);

/* It could not be applied: it is due again 2 s after `now_ms`, the next time twice as long, and an
 * hour at last. `others`: so is what else waits of its customer and would be due before that, each
 * for as long as it has been put off itself, so that a customer costs one try and not one for each
 * event, and none of them waits long for what is wrong with another. */
must_check enum err store_event_postpone(struct task *task, struct store *store, const char *id,
                                         int64_t now_ms, bool others, const char *error);

/* Waits again, due at `now_ms`, with no attempts. *ret_found false: it is unknown. */
must_check enum err store_event_replay(struct task *task, struct store *store, const char *id,
                                       int64_t now_ms, bool *ret_found);

must_check enum err store_event_by_id(struct task *task, struct store *store, const char *id,
                                      bool *ret_found, struct event *ret);

/* Newest first, without their payloads. `state` NULL: all. */
must_check enum err store_events(struct task *task, struct store *store, const char *state,
                                 const struct store_page *page, struct event **ret,
                                 size_t *ret_count, const char **ret_next);

struct event_counts {
    int64_t waiting, dead;
};
must_check enum err store_event_counts(struct task *task, struct store *store,
                                       struct event_counts *ret);

/* What waits because it has failed is due now. *ret_count: so many. */
must_check enum err store_events_hasten(struct task *task, struct store *store, int64_t now_ms,
                                        unsigned *ret_count);

/* Removes some of those that were done or ignored before `before_ms`. */
must_check enum err store_event_sweep(struct task *task, struct store *store, int64_t before_ms,
                                      unsigned *ret_count);

/* A moment that is kept under a name. *ret_found false: none is. */
must_check enum err store_mark(struct task *task, struct store *store, const char *name,
                               bool *ret_found, int64_t *ret_ms);
must_check enum err store_mark_set(struct task *task, struct store *store, const char *name,
                                   int64_t at_ms);
