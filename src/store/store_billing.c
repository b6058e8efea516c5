#include "store/operation.h"
#include "store/store.h"

enum err store_subscription_by_user(struct task *task, struct store *store, const char *user_id,
                                    bool *ret_found, struct subscription *ret)
{
    return OPERATION(subscription_by_user, store->operations->billing->subscription_by_user(
                                               task, store, user_id, ret_found, ret));
}

enum err store_subscription_by_customer(struct task *task, struct store *store,
                                        const char *customer_id, bool *ret_found,
                                        struct subscription *ret)
{
    return OPERATION(subscription_by_customer, store->operations->billing->subscription_by_customer(
                                                   task, store, customer_id, ret_found, ret));
}

enum err store_subscription_open(struct task *task, struct store *store, const char *user_id,
                                 const char *id, int64_t now_ms, bool *ret_found,
                                 struct subscription *ret)
{
    return OPERATION(subscription_open, store->operations->billing->subscription_open(
                                            task, store, user_id, id, now_ms, ret_found, ret));
}

enum err store_subscriptions(struct task *task, struct store *store,
                             const struct subscription_filter *filter,
                             const struct store_page *page, struct subscription **ret,
                             size_t *ret_count, int64_t *ret_next)
{
    return OPERATION(subscriptions, store->operations->billing->subscriptions(
                                        task, store, filter, page, ret, ret_count, ret_next));
}

enum err store_trial_start(struct task *task, struct store *store, const char *user_id,
                           int64_t start_ms, int64_t end_ms, enum trial_started *ret)
{
    return OPERATION(trial_start, store->operations->billing->trial_start(task, store, user_id,
                                                                          start_ms, end_ms, ret));
}

enum err store_usage_consume(struct task *task, struct store *store, const struct usage *usage,
                             enum usage_consumed *ret, int64_t *ret_runs)
{
    return OPERATION(usage_consume,
                     store->operations->billing->usage_consume(task, store, usage, ret, ret_runs));
}

enum err store_usage_consume_later(struct task *task, struct store *store,
                                   const struct usage *usage, enum usage_consumed *ret,
                                   int64_t *ret_runs, struct store_later *later)
{
    return store->operations->billing->usage_consume_later(task, store, usage, ret, ret_runs,
                                                           later);
}

enum err store_usage_days(struct task *task, struct store *store, const char *user_id,
                          struct usage_day **ret, size_t *ret_count)
{
    return OPERATION(usage_days,
                     store->operations->billing->usage_days(task, store, user_id, ret, ret_count));
}

enum err store_subscription_apply(struct task *task, struct store *store,
                                  const struct subscription *state, const struct mail *mail,
                                  int64_t now_ms, enum subscription_applied *ret)
{
    return store_put_in(
        store,
        OPERATION(subscription_apply, store->operations->billing->subscription_apply(
                                          task, store, state, mail, now_ms, ret)),
        mail != NULL, STORE_WORK_MAILS);
}

enum err store_customer_link(struct task *task, struct store *store,
                             const struct customer_link *link, const char **ret_customer)
{
    return OPERATION(customer_link,
                     store->operations->billing->customer_link(task, store, link, ret_customer));
}

enum err store_customer_note(struct task *task, struct store *store,
                             const struct other_customer *other, int64_t now_ms, bool *ret_noted)
{
    return OPERATION(customer_note, store->operations->billing->customer_note(task, store, other,
                                                                              now_ms, ret_noted));
}

enum err store_customer_forget(struct task *task, struct store *store, const char *customer_id)
{
    return OPERATION(customer_forget,
                     store->operations->billing->customer_forget(task, store, customer_id));
}

enum err store_customer_other(struct task *task, struct store *store, const char *customer_id,
                              bool *ret_found, struct other_customer *ret)
{
    return OPERATION(customer_other, store->operations->billing->customer_other(
                                         task, store, customer_id, ret_found, ret));
}

enum err store_customers_other(struct task *task, struct store *store, const char *user_id,
                               struct other_customer **ret, size_t *ret_count)
{
    return OPERATION(customers_other, store->operations->billing->customers_other(
                                          task, store, user_id, ret, ret_count));
}

enum err store_customer_unlink(struct task *task, struct store *store, const char *customer_id,
                               int64_t now_ms)
{
    return OPERATION(customer_unlink,
                     store->operations->billing->customer_unlink(task, store, customer_id, now_ms));
}

enum err store_subscription_give(struct task *task, struct store *store, const char *user_id,
                                 const char *plan, int64_t runs, int64_t until_ms,
                                 const struct audit *audit, bool *ret_found)
{
    return OPERATION(subscription_give,
                     store->operations->billing->subscription_give(task, store, user_id, plan, runs,
                                                                   until_ms, audit, ret_found));
}

enum err store_checkout_reserve(struct task *task, struct store *store,
                                const struct checkout *wanted, int64_t lease_ms,
                                enum checkout_reserved *ret, struct checkout *ret_one)
{
    return OPERATION(checkout_reserve, store->operations->billing->checkout_reserve(
                                           task, store, wanted, lease_ms, ret, ret_one));
}

enum err store_checkout_opened(struct task *task, struct store *store, const char *key,
                               const char *session_id, const char *url, int64_t expires_ms,
                               bool *ret_kept)
{
    return OPERATION(checkout_opened, store->operations->billing->checkout_opened(
                                          task, store, key, session_id, url, expires_ms, ret_kept));
}

enum err store_checkout_release(struct task *task, struct store *store, const char *key)
{
    return OPERATION(checkout_release,
                     store->operations->billing->checkout_release(task, store, key));
}

enum err store_checkout_close(struct task *task, struct store *store, const char *key_or_session)
{
    return OPERATION(checkout_close,
                     store->operations->billing->checkout_close(task, store, key_or_session));
}

enum err store_event_put(struct task *task, struct store *store, const struct event *event,
                         int64_t lease_ms, struct event_kept *ret)
{
    enum err e = OPERATION(
        event_put, store->operations->billing->event_put(task, store, event, lease_ms, ret));

    return store_put_in(store, e, e == OK && ret->is_new && !ret->is_taken, STORE_WORK_EVENTS);
}

enum err store_event_put_later(struct task *task, struct store *store, const struct event *event,
                               int64_t lease_ms, struct event_kept *ret, struct store_later *later)
{
    return store->operations->billing->event_put_later(task, store, event, lease_ms, ret, later);
}

enum err store_event_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                          bool *ret_found, struct event *ret)
{
    return OPERATION(event_take, store->operations->billing->event_take(task, store, now_ms,
                                                                        lease_ms, ret_found, ret));
}

enum err store_event_done(struct task *task, struct store *store, const char *id, const char *state,
                          enum event_reason reason, const char *user_id, const char *error,
                          const struct mail *mail, int64_t now_ms)
{
    enum err e = OPERATION(event_done,
                           store->operations->billing->event_done(task, store, id, state, reason,
                                                                  user_id, error, mail, now_ms));

    /* Of a customer one event at a time is applied: the next may be now. */
    e = store_put_in(store, e, true, STORE_WORK_EVENTS);
    return store_put_in(store, e, mail != NULL, STORE_WORK_MAILS);
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

enum err store_events_done(struct task *task, struct store *store, const char *customer_id,
                           int64_t before_ms, const char *user_id, int64_t now_ms,
                           unsigned *ret_count)
{
    return store_put_in(store,
                        OPERATION(events_done, store->operations->billing->events_done(
                                                   task, store, customer_id, before_ms, user_id,
                                                   now_ms, ret_count)),
                        true, STORE_WORK_EVENTS);
}

enum err store_event_postpone(struct task *task, struct store *store, const char *id,
                              int64_t now_ms, bool others, const char *error)
{
    return OPERATION(event_postpone, store->operations->billing->event_postpone(
                                         task, store, id, now_ms, others, error));
}

enum err store_event_replay(struct task *task, struct store *store, const char *id, int64_t now_ms,
                            bool *ret_found)
{
    return store_put_in(store,
                        OPERATION(event_replay, store->operations->billing->event_replay(
                                                    task, store, id, now_ms, ret_found)),
                        true, STORE_WORK_EVENTS);
}

enum err store_event_by_id(struct task *task, struct store *store, const char *id, bool *ret_found,
                           struct event *ret)
{
    return OPERATION(event_by_id,
                     store->operations->billing->event_by_id(task, store, id, ret_found, ret));
}

enum err store_events(struct task *task, struct store *store, const char *state,
                      const struct store_page *page, struct event **ret, size_t *ret_count,
                      int64_t *ret_next)
{
    return OPERATION(events, store->operations->billing->events(task, store, state, page, ret,
                                                                ret_count, ret_next));
}

enum err store_event_counts(struct task *task, struct store *store, struct event_counts *ret)
{
    return OPERATION(event_counts, store->operations->billing->event_counts(task, store, ret));
}

enum err store_event_sweep(struct task *task, struct store *store, int64_t before_ms,
                           unsigned *ret_count)
{
    return OPERATION(event_sweep,
                     store->operations->billing->event_sweep(task, store, before_ms, ret_count));
}

enum err store_events_hasten(struct task *task, struct store *store, int64_t now_ms,
                             unsigned *ret_count)
{
    return store_put_in(store,
                        OPERATION(events_hasten, store->operations->billing->events_hasten(
                                                     task, store, now_ms, ret_count)),
                        true, STORE_WORK_EVENTS);
}

enum err store_mark(struct task *task, struct store *store, const char *name, bool *ret_found,
                    int64_t *ret_ms)
{
    return OPERATION(mark, store->operations->billing->mark(task, store, name, ret_found, ret_ms));
}

enum err store_mark_set(struct task *task, struct store *store, const char *name, int64_t at_ms)
{
    return OPERATION(mark_set, store->operations->billing->mark_set(task, store, name, at_ms));
}

enum err store_trials_ending(struct task *task, struct store *store, int64_t now_ms,
                             int64_t before_ms, struct subscription **ret, size_t *ret_count)
{
    return OPERATION(trials_ending, store->operations->billing->trials_ending(
                                        task, store, now_ms, before_ms, ret, ret_count));
}

enum err store_trial_told(struct task *task, struct store *store, const char *user_id,
                          const struct mail *mail, bool *ret_told)
{
    return store_put_in(store,
                        OPERATION(trial_told, store->operations->billing->trial_told(
                                                  task, store, user_id, mail, ret_told)),
                        mail != NULL, STORE_WORK_MAILS);
}
