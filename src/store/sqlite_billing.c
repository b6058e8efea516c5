/* Subscriptions, usage and checkouts. */
#include "store/sqlite_parts.h"

#include "core/clock.h"
#include "store/checkout.h"
#include "store/event.h"

#include <stdatomic.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
enum { LONGEST_PERIOD_DAYS = 31, OPENING_MOST = 8, OPENING_MS = 250 };

static struct subscription read_subscription(struct task *task, sqlite3_stmt *s)
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
        *find->ret = read_subscription(task, s);
    return e;
}

enum err sqlite_find_subscription(struct task *task, struct sqlite_db *db, const char *user_id,
                                  bool *ret_found, struct subscription *ret)
{
    return find_subscription(
        task, db, &(struct find_subscription){SQL_SUBSCRIPTION_OF, user_id, ret_found, ret});
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
    *(struct subscription *)row = read_subscription(task, s);
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

struct start_trial {
    const char *user_id;
    int64_t start_ms, end_ms;
    enum trial_started *ret;
};

enum err sqlite_note_trial(struct task *task, struct sqlite_db *db, const char *user_id)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_TRIAL_NOTE);

    if (s != NULL)
        sqlite_bind(s, 1, user_id);
    return sqlite_db_run(task, db, s, NULL);
}

static enum err read_had(struct task *task, struct sqlite_db *db, const char *user_id, bool *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_TRIAL_HAD);

    if (s != NULL)
        sqlite_bind(s, 1, user_id);
    return sqlite_db_row(task, db, s, ret);
}

static enum err start_trial(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct start_trial *start = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_TRIAL_START);
    struct subscription subscription = {0};
    bool found, had = false;
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, start->user_id);
        sqlite3_bind_int64(s, 2, start->start_ms);
        sqlite3_bind_int64(s, 3, start->end_ms);
    }
    e = sqlite_db_run(task, db, s, &changes);
    *start->ret = TRIAL_STARTED;
    if (e == OK && changes > 0)
        return sqlite_note_trial(task, db, start->user_id);
    if (e == OK)
        e = read_had(task, db, start->user_id, &had);
    if (e == OK)
        e = sqlite_find_subscription(task, db, start->user_id, &found, &subscription);
    if (e != OK)
        return e;
    *start->ret = !found                                    ? TRIAL_NOBODY
                  : had || subscription.trial_start_ms != 0 ? TRIAL_USED
                                                            : TRIAL_PAID;
    return OK;
}

enum err sqlite_trial_start(struct task *task, struct store *store, const char *user_id,
                            int64_t start_ms, int64_t end_ms, enum trial_started *ret)
{
    return sqlite_writing(task, store, start_trial,
                          &(struct start_trial){user_id, start_ms, end_ms, ret});
}

struct ending_trials {
    int64_t now_ms, before_ms;
    struct subscription *rows;
    size_t count;
};

static enum err read_ending(struct task *task, struct sqlite_db *db, void *argument)
{
    struct ending_trials *ending = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_TRIALS_ENDING);
    int code;

    if (s == NULL)
        return task->err;
    sqlite3_bind_int64(s, 1, ending->now_ms);
    sqlite3_bind_int64(s, 2, ending->before_ms);
    sqlite3_bind_int(s, 3, TRIALS_ENDING);
    ending->rows = mem_array(task->mem, struct subscription, TRIALS_ENDING);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        ending->rows[ending->count++] = read_subscription(task, s);
    return code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

enum err sqlite_trials_ending(struct task *task, struct store *store, int64_t now_ms,
                              int64_t before_ms, struct subscription **ret, size_t *ret_count)
{
    struct ending_trials ending = {.now_ms = now_ms, .before_ms = before_ms};
    enum err e = sqlite_reading(task, store, read_ending, &ending);

    *ret = ending.rows;
    *ret_count = ending.count;
    return e;
}

struct tell_trial {
    const char *user_id;
    const struct mail *mail;
    bool *ret_told;
};

static enum err tell_trial(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct tell_trial *tell = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_TRIAL_TOLD);
    int changes = 0;
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, tell->user_id);
    e = sqlite_db_run(task, db, s, &changes);
    *tell->ret_told = changes > 0;
    return e == OK && changes > 0 && tell->mail != NULL ? sqlite_put_mail(task, db, tell->mail) : e;
}

enum err sqlite_trial_told(struct task *task, struct store *store, const char *user_id,
                           const struct mail *mail, bool *ret_told)
{
    return sqlite_writing(task, store, tell_trial, &(struct tell_trial){user_id, mail, ret_told});
}

/* Usage */

struct consume {
    const struct usage *usage;
    enum usage_consumed *ret;
    int64_t *ret_runs;
};

/* No period begins later than another that has begun this day. */
static int64_t latest_period(const struct usage *usage)
{
    return (usage->day + 1 + LONGEST_PERIOD_DAYS) * DAY_MS;
}

static enum err charge(struct task *task, struct sqlite_db *db, const struct consume *consume,
                       bool *ret_charged)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USAGE_CONSUME);
    const struct usage *usage = consume->usage;
    bool more;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, usage->user_id);
        sqlite3_bind_int64(s, 2, usage->revision);
        sqlite3_bind_int64(s, 3, usage->period_ms);
        sqlite3_bind_int64(s, 4, usage->limit);
        sqlite3_bind_int64(s, 5, latest_period(usage));
    }
    e = sqlite_db_row(task, db, s, ret_charged);
    if (e != OK || !*ret_charged)
        return e;
    *consume->ret_runs = sqlite3_column_int64(s, 0);
    return sqlite_db_row(task, db, s, &more);
}

static enum err note_day(struct task *task, struct sqlite_db *db, const struct usage *usage)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USAGE_DAY);

    if (s != NULL) {
        sqlite_bind(s, 1, usage->user_id);
        sqlite3_bind_int64(s, 2, usage->day);
    }
    return sqlite_db_run(task, db, s, NULL);
}

/* Why nothing was charged. */
static enum err look(struct task *task, struct sqlite_db *db, const struct consume *consume)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USAGE_LOOK);
    bool found = false;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, consume->usage->user_id);
        sqlite3_bind_int64(s, 3, consume->usage->period_ms);
        sqlite3_bind_int64(s, 5, latest_period(consume->usage));
    }
    e = sqlite_db_row(task, db, s, &found);
    if (e != OK)
        return e;
    if (found && sqlite3_column_int64(s, 0) == consume->usage->revision) {
        *consume->ret = USAGE_EXHAUSTED;
        *consume->ret_runs = sqlite3_column_int64(s, 1);
    }
    return OK;
}

static enum err consume_usage(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct consume *consume = argument;
    bool charged = false;
    enum err e = charge(task, db, consume, &charged);

    *consume->ret = charged ? USAGE_CONSUMED : USAGE_OUTDATED;
    if (e != OK)
        return e;
    return charged ? note_day(task, db, consume->usage) : look(task, db, consume);
}

enum err sqlite_usage_consume(struct task *task, struct store *store, const struct usage *usage,
                              enum usage_consumed *ret, int64_t *ret_runs)
{
    *ret_runs = 0;
    return sqlite_writing(task, store, consume_usage, &(struct consume){usage, ret, ret_runs});
}

enum err sqlite_usage_consume_later(struct task *task, struct store *store,
                                    const struct usage *usage, enum usage_consumed *ret,
                                    int64_t *ret_runs, struct store_later *later)
{
    struct consume *consume = mem_new(task->mem, struct consume);

    *ret_runs = 0;
    *consume = (struct consume){usage, ret, ret_runs};
    return sqlite_writing_later(task, store, consume_usage, consume, later);
}

struct days {
    const char *user_id;
    struct usage_day *rows;
    size_t count;
};

static enum err read_days(struct task *task, struct sqlite_db *db, void *argument)
{
    struct days *days = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USAGE_DAYS);
    int code;

    if (s == NULL)
        return task->err;
    sqlite_bind(s, 1, days->user_id);
    sqlite3_bind_int(s, 2, USAGE_DAYS);
    days->rows = mem_array(task->mem, struct usage_day, USAGE_DAYS);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        days->rows[days->count++] = (struct usage_day){sqlite3_column_int64(s, 0),
                                                       sqlite3_column_int64(s, 1)};
    return code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

enum err sqlite_usage_days(struct task *task, struct store *store, const char *user_id,
                           struct usage_day **ret, size_t *ret_count)
{
    struct days days = {.user_id = user_id};
    enum err e = sqlite_reading(task, store, read_days, &days);

    *ret = days.rows;
    *ret_count = days.count;
    return e;
}

/* What Stripe says */

struct apply {
    const struct subscription *state;
    const struct mail *mail;
    int64_t now_ms;
    enum subscription_applied *ret;
};

static enum err update(struct task *task, struct sqlite_db *db, const struct apply *apply,
                       int *ret_changes)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SUBSCRIPTION_APPLY);
    const struct subscription *state = apply->state;

    if (s != NULL) {
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
        sqlite3_bind_int64(s, 16, apply->now_ms);
        sqlite3_bind_int64(s, 17, state->anchor_ms);
        sqlite3_bind_int64(s, 18, state->ends_ms);
        sqlite3_bind_int64(s, 19, state->unpaid_from_ms);
        sqlite_bind(s, 20, state->notes);
        sqlite3_bind_int64(s, 21, state->stripe_anchor_ms);
        sqlite_bind(s, 22, state->item_id);
    }
    return sqlite_db_run(task, db, s, ret_changes);
}

static enum err apply_state(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct apply *apply = argument;
    int changes = 0;
    enum err e = update(task, db, apply, &changes);

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

struct link {
    const struct customer_link *is;
    const char **ret_customer;
};

/* A statement with a key, and perhaps another (else NULL) and a moment (else 0) behind it. */
static enum err run_about(struct task *task, struct sqlite_db *db, enum sqlite_statement statement,
                          const char *key, const char *other, int64_t at_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);
    int at = 2;

    if (s != NULL) {
        sqlite_bind(s, 1, key);
        if (other != NULL)
            sqlite_bind(s, at++, other);
        if (at_ms != 0)
            sqlite3_bind_int64(s, at, at_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err note_other(struct task *task, struct sqlite_db *db,
                           const struct other_customer *other, int64_t now_ms, int *ret_changes)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CUSTOMER_NOTE);

    if (s != NULL) {
        sqlite_bind(s, 1, other->customer_id);
        sqlite_bind(s, 2, other->user_id);
        sqlite3_bind_int64(s, 3, now_ms);
        sqlite3_bind_int(s, 4, other->is_own);
    }
    return sqlite_db_run(task, db, s, ret_changes);
}

static enum err note_linked(struct task *task, struct sqlite_db *db,
                            const struct customer_link *link)
{
    const struct other_customer former = {link->former, link->user_id, !link->former_is_foreign};
    enum err e = run_about(task, db, SQL_CUSTOMER_FORGET, link->customer_id, NULL, 0);

    if (e == OK)
        e = run_about(task, db, SQL_EVENTS_REVIVE, link->customer_id, NULL, link->now_ms);
    if (e == OK && link->former != NULL && strcmp(link->former, link->customer_id) != 0)
        e = note_other(task, db, &former, link->now_ms, NULL);
    return e;
}

static enum err link_customer(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct link *link = argument;
    const struct customer_link *is = link->is;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CUSTOMER_LINK);
    struct subscription subscription;
    bool found = false;
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, is->user_id);
        sqlite3_bind_int64(s, 2, is->generation);
        sqlite_bind(s, 3, is->customer_id);
        sqlite3_bind_int64(s, 4, is->now_ms);
        sqlite_bind(s, 5, is->former);
        sqlite3_bind_int(s, 6, is->is_foreign);
    }
    e = sqlite_db_run(task, db, s, &changes);
    if (e == OK && changes > 0)
        e = note_linked(task, db, is);
    if (e == OK)
        e = sqlite_find_subscription(task, db, is->user_id, &found, &subscription);
    *link->ret_customer = e == OK && found ? subscription.customer_id : NULL;
    return e;
}

enum err sqlite_customer_link(struct task *task, struct store *store,
                              const struct customer_link *link, const char **ret_customer)
{
    return sqlite_writing(task, store, link_customer, &(struct link){link, ret_customer});
}

struct noted {
    const struct other_customer *other;
    const char *customer_id, *user_id;
    int64_t now_ms;
    struct other_customer *rows;
    size_t count;
    bool *ret_noted;
};

static enum err note_customer(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct noted *noted = argument;
    int changes = 0;
    enum err e = note_other(task, db, noted->other, noted->now_ms, &changes);

    *noted->ret_noted = e == OK && changes > 0;
    return e;
}

enum err sqlite_customer_note(struct task *task, struct store *store,
                              const struct other_customer *other, int64_t now_ms, bool *ret_noted)
{
    return sqlite_writing(
        task, store, note_customer,
        &(struct noted){.other = other, .now_ms = now_ms, .ret_noted = ret_noted});
}

static enum err forget_customer(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct noted *noted = argument;

    return run_about(task, db, SQL_CUSTOMER_FORGET, noted->customer_id, NULL, 0);
}

enum err sqlite_customer_forget(struct task *task, struct store *store, const char *customer_id)
{
    return sqlite_writing(task, store, forget_customer,
                          &(struct noted){.customer_id = customer_id});
}

static struct other_customer read_other(struct task *task, sqlite3_stmt *s)
{
    return (struct other_customer){sqlite_db_text(task, s, 0), sqlite_db_text(task, s, 1),
                                   sqlite3_column_int(s, 2) != 0};
}

static enum err find_other(struct task *task, struct sqlite_db *db, void *argument)
{
    struct noted *noted = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CUSTOMER_OTHER);
    bool found = false;
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, noted->customer_id);
    e = sqlite_db_row(task, db, s, &found);
    noted->count = found ? 1 : 0;
    if (e == OK && found)
        *noted->rows = read_other(task, s);
    return e;
}

enum err sqlite_customer_other(struct task *task, struct store *store, const char *customer_id,
                               bool *ret_found, struct other_customer *ret)
{
    struct noted noted = {.customer_id = customer_id, .rows = ret};
    enum err e = sqlite_reading(task, store, find_other, &noted);

    *ret_found = noted.count > 0;
    return e;
}

static enum err read_others(struct task *task, struct sqlite_db *db, void *argument)
{
    struct noted *noted = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CUSTOMERS_OTHER);
    int code;

    if (s == NULL)
        return task->err;
    sqlite_bind(s, 1, noted->user_id);
    sqlite3_bind_int(s, 2, CUSTOMERS_OTHER);
    noted->rows = mem_array(task->mem, struct other_customer, CUSTOMERS_OTHER);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        noted->rows[noted->count++] = read_other(task, s);
    return code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

enum err sqlite_customers_other(struct task *task, struct store *store, const char *user_id,
                                struct other_customer **ret, size_t *ret_count)
{
    struct noted noted = {.user_id = user_id};
    enum err e = sqlite_reading(task, store, read_others, &noted);

    *ret = noted.rows;
    *ret_count = noted.count;
    return e;
}

static enum err unlink_customer(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct noted *gone = argument;

    return run_about(task, db, SQL_CUSTOMER_UNLINK, gone->customer_id, NULL, gone->now_ms);
}

enum err sqlite_customer_unlink(struct task *task, struct store *store, const char *customer_id,
                                int64_t now_ms)
{
    return sqlite_writing(task, store, unlink_customer,
                          &(struct noted){.customer_id = customer_id, .now_ms = now_ms});
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

/* Checkouts */

struct reserve {
    const struct checkout *wanted;
    int64_t lease_ms;
    enum checkout_reserved *ret;
    struct checkout *ret_one;
};

static enum err find_checkout(struct task *task, struct sqlite_db *db, const char *user_id,
                              bool *ret_found, struct checkout *ret, int64_t *ret_leased_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CHECKOUT_OF);
    enum err e;

    *ret_found = false;
    if (s != NULL)
        sqlite_bind(s, 1, user_id);
    e = sqlite_db_row(task, db, s, ret_found);
    if (e != OK || !*ret_found)
        return e;
    *ret = (struct checkout){
        .user_id = sqlite_db_text(task, s, 0),
        .plan = sqlite_db_text(task, s, 1),
        .price_id = sqlite_db_text(task, s, 2),
        .success_url = sqlite_db_text(task, s, 3),
        .cancel_url = sqlite_db_text(task, s, 4),
        .key = sqlite_db_text(task, s, 5),
        .session_id = sqlite_db_text(task, s, 6),
        .url = sqlite_db_text(task, s, 7),
        .created_ms = sqlite3_column_int64(s, 8),
        .expires_ms = sqlite3_column_int64(s, 9),
    };
    *ret_leased_ms = sqlite3_column_int64(s, 10);
    return OK;
}

static enum err put_checkout(struct task *task, struct sqlite_db *db,
                             const struct checkout *checkout, int64_t leased_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CHECKOUT_PUT);

    if (s != NULL) {
        sqlite_bind(s, 1, checkout->user_id);
        sqlite_bind(s, 2, checkout->plan);
        sqlite_bind(s, 3, checkout->price_id);
        sqlite_bind(s, 4, checkout->success_url);
        sqlite_bind(s, 5, checkout->cancel_url);
        sqlite_bind(s, 6, checkout->key);
        sqlite3_bind_int64(s, 7, checkout->created_ms);
        sqlite3_bind_int64(s, 8, leased_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err reserve_checkout(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct reserve *reserve = argument;
    int64_t leased_ms = 0;
    struct checkout stored;
    bool found;
    enum err e = find_checkout(task, db, reserve->wanted->user_id, &found, &stored, &leased_ms);

    if (e != OK)
        return e;
    *reserve->ret = checkout_judge(found ? &stored : NULL, leased_ms, reserve->wanted,
                                   reserve->ret_one);
    return *reserve->ret == CHECKOUT_RESERVED
               ? put_checkout(task, db, reserve->ret_one,
                              reserve->wanted->created_ms + reserve->lease_ms)
               : OK;
}

enum err sqlite_checkout_reserve(struct task *task, struct store *store,
                                 const struct checkout *wanted, int64_t lease_ms,
                                 enum checkout_reserved *ret, struct checkout *ret_one)
{
    return sqlite_writing(task, store, reserve_checkout,
                          &(struct reserve){wanted, lease_ms, ret, ret_one});
}

struct settle_checkout {
    enum sqlite_statement statement;
    const char *key, *session_id, *url;
    int64_t expires_ms;
    int changes;
};

static enum err settle_checkout(struct task *task, struct sqlite_db *db, void *argument)
{
    struct settle_checkout *settle = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, settle->statement);

    if (s != NULL)
        sqlite_bind(s, 1, settle->key);
    if (s != NULL && settle->session_id != NULL) {
        sqlite_bind(s, 2, settle->session_id);
        sqlite_bind(s, 3, settle->url);
        sqlite3_bind_int64(s, 4, settle->expires_ms);
    }
    return sqlite_db_run(task, db, s, &settle->changes);
}

enum err sqlite_checkout_opened(struct task *task, struct store *store, const char *key,
                                const char *session_id, const char *url, int64_t expires_ms,
                                bool *ret_kept)
{
    struct settle_checkout settle = {SQL_CHECKOUT_OPENED, key, session_id, url, expires_ms, 0};
    enum err e = sqlite_writing(task, store, settle_checkout, &settle);

    *ret_kept = settle.changes > 0;
    return e;
}

enum err sqlite_checkout_release(struct task *task, struct store *store, const char *key)
{
    return sqlite_writing(task, store, settle_checkout,
                          &(struct settle_checkout){.statement = SQL_CHECKOUT_RELEASE, .key = key});
}

enum err sqlite_checkout_close(struct task *task, struct store *store, const char *key_or_session)
{
    return sqlite_writing(
        task, store, settle_checkout,
        &(struct settle_checkout){.statement = SQL_CHECKOUT_CLOSE, .key = key_or_session});
}

/* Who goes */

static enum err put_goodbye(struct task *task, struct sqlite_db *db, const struct event *event)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_GOODBYE);

    if (s != NULL) {
        sqlite_bind(s, 1, event->id);
        sqlite_bind(s, 2, event->type);
        sqlite_bind(s, 3, event->customer_id);
        sqlite_bind(s, 4, event->payload);
        sqlite_bind(s, 5, event->state);
        sqlite_bind(s, 6, event->error);
        sqlite3_bind_int64(s, 7, event->received_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

/* To each customer of theirs beside the one that is linked. */
static enum err say_goodbyes(struct task *task, struct sqlite_db *db, const char *user_id,
                             int64_t now_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CUSTOMERS_OTHER);
    bool found = true;
    enum err e = OK;

    if (s != NULL) {
        sqlite_bind(s, 1, user_id);
        sqlite3_bind_int(s, 2, -1); /* all */
    }
    while (e == OK && found) {
        struct other_customer other;
        struct event event;

        e = sqlite_db_row(task, db, s, &found);
        if (e != OK || !found)
            break;
        other = read_other(task, s);
        event = event_goodbye_other(task->mem, &other, now_ms);
        e = put_goodbye(task, db, &event);
    }
    return e;
}

enum err sqlite_forget_billing(struct task *task, struct sqlite_db *db,
                               const struct subscription *subscription, int64_t now_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENTS_FORGET);
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, subscription->user_id);
        sqlite_bind(s, 2, subscription->customer_id);
    }
    e = sqlite_db_run(task, db, s, NULL);
    if (e == OK && subscription->customer_id != NULL) {
        const struct event event = event_goodbye(task->mem, subscription, now_ms);

        e = put_goodbye(task, db, &event);
    }
    if (e == OK)
        e = say_goodbyes(task, db, subscription->user_id, now_ms);
    return e == OK ? run_about(task, db, SQL_CUSTOMERS_FORGET, subscription->user_id, NULL, 0) : e;
}
