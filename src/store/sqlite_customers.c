/* Customers at Stripe: the one that is linked to a user, those beside it, and what is left of them
 * when the user goes. */
#include "store/event.h"
#include "store/sqlite_parts.h"
#include "store/subscription.h"

#include <string.h>

struct link {
    const struct customer_link *is;
    const char **ret_customer;
};

/* A statement with a key, and perhaps a moment behind it (else 0). */
static enum err run_about(struct task *task, struct sqlite_db *db, enum sqlite_statement statement,
                          const char *key, int64_t at_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);

    if (s != NULL)
        sqlite_bind(s, 1, key);
    if (s != NULL && at_ms != 0)
        sqlite3_bind_int64(s, 2, at_ms);
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
    enum err e = run_about(task, db, SQL_CUSTOMER_FORGET, link->customer_id, 0);

    if (e == OK)
        e = run_about(task, db, SQL_EVENTS_REVIVE, link->customer_id, link->now_ms);
    if (e == OK && link->former != NULL && strcmp(link->former, link->customer_id) != 0)
        e = note_other(task, db, &former, link->now_ms, NULL);
    return e;
}

static enum err link_customer(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct link *link = argument;
    struct subscription subscription, linked;
    bool found = false;
    int changes = 0;
    enum err e = sqlite_find_subscription(task, db, link->is->user_id, &found, &subscription);

    *link->ret_customer = NULL;
    if (e != OK || !found)
        return e;
    *link->ret_customer = subscription.customer_id;
    linked = subscription;
    if (!subscription_after_link(&linked, link->is))
        return OK;
    e = sqlite_put_subscription(task, db, &linked, &changes);
    if (e != OK || changes == 0) /* it is somebody else's */
        return e;
    *link->ret_customer = mem_string(task->mem, link->is->customer_id);
    return note_linked(task, db, link->is);
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

    return run_about(task, db, SQL_CUSTOMER_FORGET, noted->customer_id, 0);
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
    struct subscription subscription;
    bool found;
    enum err e = sqlite_find_customer(task, db, gone->customer_id, &found, &subscription);

    if (e != OK || !found)
        return e;
    subscription_unlink(&subscription, gone->now_ms);
    return sqlite_put_subscription(task, db, &subscription, NULL);
}

enum err sqlite_customer_unlink(struct task *task, struct store *store, const char *customer_id,
                                int64_t now_ms)
{
    return sqlite_writing(task, store, unlink_customer,
                          &(struct noted){.customer_id = customer_id, .now_ms = now_ms});
}

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
    return e == OK ? run_about(task, db, SQL_CUSTOMERS_FORGET, subscription->user_id, 0) : e;
}
