/* Subscriptions: what Stripe says of them, and what was given. */
#include "core/clock.h"
#include "store/sqlite_parts.h"

#include <stdatomic.h>

enum { OPENING_MOST = 8, OPENING_MS = 250 };

struct subscription sqlite_subscription(struct task *task, sqlite3_stmt *s)
{
    struct subscription row = {
        .id = sqlite_db_text(task, s, 0),
        .user_id = sqlite_db_text(task, s, 1),
        .plan = sqlite_db_text(task, s, 2),
        .status = sqlite_db_text(task, s, 3),
        .customer_id = sqlite_db_text(task, s, 4),
        .stripe_id = sqlite_db_text(task, s, 5),
        .price_id = sqlite_db_text(task, s, 6),
        .period_start_ms = sqlite3_column_int64(s, 7),
        .period_end_ms = sqlite3_column_int64(s, 8),
        .canceled_ms = sqlite3_column_int64(s, 9),
        .past_due_ms = sqlite3_column_int64(s, 10),
        .cancel_at_period_end = sqlite3_column_int(s, 11) != 0,
        .synced_ms = sqlite3_column_int64(s, 12),
        .generation = sqlite3_column_int64(s, 13),
        .is_trial = sqlite3_column_int(s, 14) != 0,
        .trial_start_ms = sqlite3_column_int64(s, 15),
        .trial_end_ms = sqlite3_column_int64(s, 16),
        .gift_plan = sqlite_db_text(task, s, 17),
        .gift_runs = sqlite3_column_int64(s, 18),
        .gift_until_ms = sqlite3_column_int64(s, 19),
        .runs = sqlite3_column_int64(s, 20),
        .usage_period_ms = sqlite3_column_int64(s, 21),
        .created_ms = sqlite3_column_int64(s, 22),
        .updated_ms = sqlite3_column_int64(s, 23),
        .revision = sqlite3_column_int64(s, 24),
        .anchor_ms = sqlite3_column_int64(s, 25),
        .ends_ms = sqlite3_column_int64(s, 26),
        .unpaid_from_ms = sqlite3_column_int64(s, 27),
        .notes = sqlite_db_text(task, s, 28),
        .stripe_anchor_ms = sqlite3_column_int64(s, 29),
        .customer_is_foreign = sqlite3_column_int(s, 30) != 0,
        .item_id = sqlite_db_text(task, s, 31),
        .was_canceled = sqlite3_column_int(s, 32) != 0,
    };

    /* Such halves were once written when a customer was deleted: they are over. */
    if (row.customer_id == NULL && row.stripe_id != NULL) {
        row.stripe_id = row.price_id = NULL;
        row.plan = "free";
        row.status = "canceled";
    }
    return row;
}

struct find_subscription {
    enum sqlite_statement by;
    const char *key;
    bool *ret_found;
    struct subscription *ret;
};

static enum err find_subscription(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct find_subscription *find = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, find->by);
    enum err e;

    *find->ret_found = false;
    if (s != NULL)
        sqlite_bind(s, 1, find->key);
    e = sqlite_db_row(task, db, s, find->ret_found);
    if (e == OK && *find->ret_found)
        *find->ret = sqlite_subscription(task, s);
    return e;
}

enum err sqlite_find_subscription(struct task *task, struct sqlite_db *db, const char *user_id,
                                  bool *ret_found, struct subscription *ret)
{
    return find_subscription(
        task, db, &(struct find_subscription){SQL_SUBSCRIPTION_OF, user_id, ret_found, ret});
}

enum err sqlite_find_customer(struct task *task, struct sqlite_db *db, const char *customer_id,
                              bool *ret_found, struct subscription *ret)
{
    return find_subscription(
        task, db,
        &(struct find_subscription){SQL_SUBSCRIPTION_OF_CUSTOMER, customer_id, ret_found, ret});
}

enum err sqlite_subscription_by_user(struct task *task, struct store *store, const char *user_id,
                                     bool *ret_found, struct subscription *ret)
{
    return sqlite_reading(
        task, store, find_subscription,
        &(struct find_subscription){SQL_SUBSCRIPTION_OF, user_id, ret_found, ret});
}

enum err sqlite_subscription_by_customer(struct task *task, struct store *store,
                                         const char *customer_id, bool *ret_found,
                                         struct subscription *ret)
{
    return sqlite_reading(
        task, store, find_subscription,
        &(struct find_subscription){SQL_SUBSCRIPTION_OF_CUSTOMER, customer_id, ret_found, ret});
}

struct open_subscription {
    const char *user_id, *id;
    int64_t now_ms;
    bool *ret_found;
    struct subscription *ret;
};

static enum err open_subscription(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct open_subscription *open = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SUBSCRIPTION_INSERT);
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, open->user_id);
        sqlite_bind(s, 2, open->id);
        sqlite3_bind_int64(s, 3, open->now_ms);
    }
    e = sqlite_db_run(task, db, s, NULL);
    return e == OK ? sqlite_find_subscription(task, db, open->user_id, open->ret_found, open->ret)
                   : e;
}

/* The one write that a read may need, once for each user: while the writer is slow, few wait for it
 * for long, so that the threads of reads stay free. */
enum err sqlite_subscription_open(struct task *task, struct store *store, const char *user_id,
                                  const char *id, int64_t now_ms, bool *ret_found,
                                  struct subscription *ret)
{
    static atomic_uint opening;
    int64_t deadline_ms = task->deadline_ms, soon_ms = clock_mono_ms() + OPENING_MS;
    enum err e = sqlite_subscription_by_user(task, store, user_id, ret_found, ret);

    if (e != OK || *ret_found)
        return e;
    if (atomic_fetch_add(&opening, 1) >= OPENING_MOST &&
        (deadline_ms == 0 || soon_ms < deadline_ms))
        task->deadline_ms = soon_ms;
    e = sqlite_writing(task, store, open_subscription,
                       &(struct open_subscription){user_id, id, now_ms, ret_found, ret});
    atomic_fetch_sub(&opening, 1);
    task->deadline_ms = deadline_ms;
    return e;
}

static enum err read_row(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct subscription *)row = sqlite_subscription(task, s);
    return OK;
}

enum err sqlite_subscriptions(struct task *task, struct store *store,
                              const struct subscription_filter *filter,
                              const struct store_page *page, struct subscription **ret,
                              size_t *ret_count, const char **ret_next)
{
    struct sqlite_list list = {.statement = filter->with_customer    ? SQL_SUBSCRIPTIONS_SOLD
                                            : filter->status != NULL ? SQL_SUBSCRIPTIONS_OF_STATUS
                                                                     : SQL_SUBSCRIPTIONS,
                               .text = filter->status,
                               .row_size = sizeof(struct subscription),
                               .read_row = read_row,
                               .number_column = 33};
    enum err e = sqlite_list(task, store, &list, page);

    *ret = list.rows;
    *ret_count = list.count;
    *ret_next = list.next;
    return e;
}

struct apply {
    const struct subscription *state;
    const struct mail *mail;
    int64_t now_ms;
    enum subscription_applied *ret;
};

/* The parameters of SQLITE_SUBSCRIPTION_SET, and which revision of whose it is. */
static void bind_state(sqlite3_stmt *s, const struct subscription *state, int64_t now_ms)
{
    sqlite_bind(s, 1, state->user_id);
    sqlite3_bind_int64(s, 2, state->revision);
    sqlite_bind(s, 3, state->plan);
    sqlite_bind(s, 4, state->status);
    sqlite_bind(s, 5, state->customer_id);
    sqlite_bind(s, 6, state->stripe_id);
    sqlite_bind(s, 7, state->price_id);
    sqlite3_bind_int64(s, 8, state->period_start_ms);
    sqlite3_bind_int64(s, 9, state->period_end_ms);
    sqlite3_bind_int64(s, 10, state->canceled_ms);
    sqlite3_bind_int64(s, 11, state->past_due_ms);
    sqlite3_bind_int(s, 12, state->cancel_at_period_end);
    sqlite3_bind_int64(s, 13, state->synced_ms);
    sqlite3_bind_int64(s, 14, state->generation);
    sqlite3_bind_int(s, 15, state->is_trial);
    sqlite3_bind_int64(s, 16, now_ms);
    sqlite3_bind_int64(s, 17, state->anchor_ms);
    sqlite3_bind_int64(s, 18, state->ends_ms);
    sqlite3_bind_int64(s, 19, state->unpaid_from_ms);
    sqlite_bind(s, 20, state->notes);
    sqlite3_bind_int64(s, 21, state->stripe_anchor_ms);
    sqlite_bind(s, 22, state->item_id);
}

enum err sqlite_put_subscription(struct task *task, struct sqlite_db *db,
                                 const struct subscription *subscription, int *ret_changes)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SUBSCRIPTION_STORE);

    if (s != NULL) {
        bind_state(s, subscription, subscription->updated_ms);
        sqlite3_bind_int(s, 23, subscription->customer_is_foreign);
        sqlite3_bind_int(s, 24, subscription->was_canceled);
    }
    return sqlite_db_run(task, db, s, ret_changes);
}

static enum err apply_state(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct apply *apply = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SUBSCRIPTION_APPLY);
    int changes = 0;
    enum err e;

    if (s != NULL)
        bind_state(s, apply->state, apply->now_ms);
    e = sqlite_db_run(task, db, s, &changes);
    *apply->ret = changes > 0 ? APPLIED : APPLY_OUTDATED;
    return e == OK && changes > 0 && apply->mail != NULL ? sqlite_put_mail(task, db, apply->mail)
                                                         : e;
}

enum err sqlite_subscription_apply(struct task *task, struct store *store,
                                   const struct subscription *state, const struct mail *mail,
                                   int64_t now_ms, enum subscription_applied *ret)
{
    return sqlite_writing(task, store, apply_state, &(struct apply){state, mail, now_ms, ret});
}

struct give {
    const char *user_id, *plan;
    int64_t runs, until_ms;
    const struct audit *audit;
    bool *ret_found;
};

static enum err give_plan(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct give *give = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SUBSCRIPTION_GIVE);
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, give->user_id);
        sqlite_bind(s, 2, give->plan);
        sqlite3_bind_int64(s, 3, give->runs);
        sqlite3_bind_int64(s, 4, give->until_ms);
        sqlite3_bind_int64(s, 5, give->audit->at_ms);
    }
    e = sqlite_db_run(task, db, s, &changes);
    *give->ret_found = changes > 0;
    return e == OK && changes > 0 ? sqlite_append_audit(task, db, give->audit) : e;
}

enum err sqlite_subscription_give(struct task *task, struct store *store, const char *user_id,
                                  const char *plan, int64_t runs, int64_t until_ms,
                                  const struct audit *audit, bool *ret_found)
{
    return sqlite_writing(task, store, give_plan,
                          &(struct give){user_id, plan, runs, until_ms, audit, ret_found});
}
