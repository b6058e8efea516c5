/* The inbox of events, and up to when Stripe's were looked through. */
#include "store/sqlite_parts.h"

#include <string.h>

static struct event read_event(struct task *task, sqlite3_stmt *s)
{
    return (struct event){
        .id = sqlite_db_text(task, s, 1),
        .type = sqlite_db_text(task, s, 2),
        .customer_id = sqlite_db_text(task, s, 3),
        .user_id = sqlite_db_text(task, s, 4),
        .state = sqlite_db_text(task, s, 5),
        .error = sqlite_db_text(task, s, 6),
        .received_ms = sqlite3_column_int64(s, 7),
        .next_ms = sqlite3_column_int64(s, 8),
        .done_ms = sqlite3_column_int64(s, 9),
        .attempts = (unsigned)sqlite3_column_int(s, 10),
        .waits = (unsigned)sqlite3_column_int(s, 11),
        .reason = (enum event_reason)sqlite3_column_int(s, 12),
    };
}

static struct event read_whole(struct task *task, sqlite3_stmt *s)
{
    struct event event = read_event(task, s);

    event.payload = sqlite_db_text(task, s, 13);
    return event;
}

struct find_event {
    const char *id;
    bool *ret_found;
    struct event *ret;
};

static enum err find_event(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct find_event *find = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_BY_ID);
    enum err e;

    *find->ret_found = false;
    if (s != NULL)
        sqlite_bind(s, 1, find->id);
    e = sqlite_db_row(task, db, s, find->ret_found);
    if (e == OK && *find->ret_found)
        *find->ret = read_whole(task, s);
    return e;
}

enum err sqlite_event_by_id(struct task *task, struct store *store, const char *id, bool *ret_found,
                            struct event *ret)
{
    return sqlite_reading(task, store, find_event, &(struct find_event){id, ret_found, ret});
}

struct put_event {
    const struct event *event;
    int64_t lease_ms;
    struct event_kept *ret;
};

static enum err insert_event(struct task *task, struct sqlite_db *db, const struct put_event *put)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_PUT);
    const struct event *event = put->event;
    bool more;
    enum err e;

    if (s != NULL) {
        sqlite3_bind_int64(s, 1, event->received_ms);
        sqlite_bind(s, 2, event->id);
        sqlite_bind(s, 3, event->type);
        sqlite_bind(s, 4, event->customer_id);
        sqlite_bind(s, 5, event->user_id);
        sqlite_bind(s, 6, event->payload);
        sqlite_bind(s, 7, event->state);
        sqlite_bind(s, 8, event->error == NULL ? "" : event->error);
        sqlite3_bind_int64(s, 9, event->done_ms);
        sqlite3_bind_int64(s, 10, put->lease_ms);
        sqlite3_bind_int(s, 11, (int)event->reason);
    }
    e = sqlite_db_row(task, db, s, &put->ret->is_new);
    if (e != OK || !put->ret->is_new)
        return e;
    put->ret->attempts = (unsigned)sqlite3_column_int(s, 0);
    put->ret->is_taken = put->ret->attempts > 0;
    return sqlite_db_row(task, db, s, &more);
}

/* One that was here before. */
static enum err take_one(struct task *task, struct sqlite_db *db, const struct put_event *put)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_TAKE_ONE);
    bool more;
    enum err e;

    if (s != NULL) {
        sqlite3_bind_int64(s, 1, put->event->received_ms);
        sqlite3_bind_int64(s, 2, put->event->received_ms + put->lease_ms);
        sqlite_bind(s, 3, put->event->id);
    }
    e = sqlite_db_row(task, db, s, &put->ret->is_taken);
    if (e != OK || !put->ret->is_taken)
        return e;
    put->ret->attempts = (unsigned)sqlite3_column_int(s, 0);
    return sqlite_db_row(task, db, s, &more);
}

static enum err put_event(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct put_event *put = argument;
    struct event stored;
    bool found;
    enum err e;

    *put->ret = (struct event_kept){.state = put->event->state};
    e = insert_event(task, db, put);
    if (e != OK || put->ret->is_new)
        return e;
    e = find_event(task, db, &(struct find_event){put->event->id, &found, &stored});
    if (e != OK || !found)
        return e;
    put->ret->state = stored.state;
    return strcmp(stored.state, EVENT_WAITING) == 0 && put->lease_ms > 0 ? take_one(task, db, put)
                                                                         : OK;
}

enum err sqlite_event_put(struct task *task, struct store *store, const struct event *event,
                          int64_t lease_ms, struct event_kept *ret)
{
    return sqlite_writing(task, store, put_event, &(struct put_event){event, lease_ms, ret});
}

enum err sqlite_event_put_later(struct task *task, struct store *store, const struct event *event,
                                int64_t lease_ms, struct event_kept *ret, struct store_later *later)
{
    struct put_event *put = mem_new(task->mem, struct put_event);

    *put = (struct put_event){event, lease_ms, ret};
    return sqlite_writing_later(task, store, put_event, put, later);
}

static void read_taken(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct event *)row = read_whole(task, s);
}

enum err sqlite_event_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                           bool *ret_found, struct event *ret)
{
    return sqlite_take(
        task, store,
        &(struct sqlite_take){SQL_EVENT_TAKE, now_ms, lease_ms, read_taken, ret, ret_found});
}

struct settle_event {
    const char *id, *state, *user_id, *error;
    int64_t at_ms;
    const struct mail *mail;
    enum event_reason reason;
    int changes;
};

/* Somebody has had the mail for the like of this. */
static enum err was_told(struct task *task, struct sqlite_db *db, const char *id, bool *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_TOLD);

    if (s != NULL)
        sqlite_bind(s, 1, id);
    return sqlite_db_row(task, db, s, ret);
}

static enum err finish_event(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct settle_event *settle = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_DONE);
    int changes = 0;
    bool told = false;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, settle->id);
        sqlite_bind(s, 2, settle->state);
        sqlite_bind(s, 3, settle->user_id);
        sqlite_bind(s, 4, settle->error);
        sqlite3_bind_int64(s, 5, settle->at_ms);
        sqlite3_bind_int(s, 6, (int)settle->reason);
    }
    e = sqlite_db_run(task, db, s, &changes);
    if (e != OK || changes == 0 || settle->mail == NULL)
        return e;
    e = was_told(task, db, settle->id, &told);
    return e == OK && !told ? sqlite_put_mail(task, db, settle->mail) : e;
}

enum err sqlite_event_done(struct task *task, struct store *store, const char *id,
                           const char *state, enum event_reason reason, const char *user_id,
                           const char *error, const struct mail *mail, int64_t now_ms)
{
    return sqlite_writing(task, store, finish_event,
                          &(struct settle_event){id, state, user_id, error == NULL ? "" : error,
                                                 now_ms, mail, reason, 0});
}

struct finish_events {
    const char *customer_id, *user_id;
    int64_t before_ms, now_ms;
    int changes;
};

static enum err finish_events(struct task *task, struct sqlite_db *db, void *argument)
{
    struct finish_events *finish = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENTS_DONE);

    if (s != NULL) {
        sqlite_bind(s, 1, finish->customer_id);
        sqlite3_bind_int64(s, 2, finish->before_ms);
        sqlite_bind(s, 3, finish->user_id);
        sqlite3_bind_int64(s, 4, finish->now_ms);
    }
    return sqlite_db_run(task, db, s, &finish->changes);
}

enum err sqlite_events_done(struct task *task, struct store *store, const char *customer_id,
                            int64_t before_ms, const char *user_id, int64_t now_ms,
                            unsigned *ret_count)
{
    struct finish_events finish = {customer_id, user_id, before_ms, now_ms, 0};
    enum err e = sqlite_writing(task, store, finish_events, &finish);

    *ret_count = (unsigned)finish.changes;
    return e;
}

struct postpone_event {
    const char *id, *error;
    int64_t now_ms;
    bool others;
};

static enum err postpone_others(struct task *task, struct sqlite_db *db, const char *customer_id,
                                int64_t now_ms, int64_t before_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENTS_POSTPONE);

    if (s != NULL) {
        sqlite_bind(s, 1, customer_id);
        sqlite3_bind_int64(s, 2, now_ms);
        sqlite3_bind_int64(s, 3, before_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err postpone_event(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct postpone_event *wanted = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_POSTPONE);
    const char *customer_id;
    int64_t next_ms;
    bool found;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, wanted->id);
        sqlite3_bind_int64(s, 2, wanted->now_ms);
        sqlite_bind(s, 3, wanted->error);
    }
    e = sqlite_db_row(task, db, s, &found);
    if (e != OK || !found)
        return e;
    customer_id = sqlite_db_text(task, s, 0);
    next_ms = sqlite3_column_int64(s, 1);
    e = sqlite_db_row(task, db, s, &found);
    return e == OK && wanted->others && customer_id != NULL
               ? postpone_others(task, db, customer_id, wanted->now_ms, next_ms)
               : e;
}

enum err sqlite_event_postpone(struct task *task, struct store *store, const char *id,
                               int64_t now_ms, bool others, const char *error)
{
    return sqlite_writing(task, store, postpone_event,
                          &(struct postpone_event){id, error, now_ms, others});
}

static enum err replay_event(struct task *task, struct sqlite_db *db, void *argument)
{
    struct settle_event *settle = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_REPLAY);

    if (s != NULL) {
        sqlite_bind(s, 1, settle->id);
        sqlite3_bind_int64(s, 2, settle->at_ms);
    }
    return sqlite_db_run(task, db, s, &settle->changes);
}

enum err sqlite_event_replay(struct task *task, struct store *store, const char *id, int64_t now_ms,
                             bool *ret_found)
{
    struct settle_event settle = {.id = id, .at_ms = now_ms};
    enum err e = sqlite_writing(task, store, replay_event, &settle);

    *ret_found = settle.changes > 0;
    return e;
}

static enum err read_row(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct event *)row = read_event(task, s);
    return OK;
}

enum err sqlite_events(struct task *task, struct store *store, const char *state,
                       const struct store_page *page, struct event **ret, size_t *ret_count,
                       const char **ret_next)
{
    struct sqlite_list list = {.statement = state == NULL ? SQL_EVENTS : SQL_EVENTS_OF_STATE,
                               .text = state,
                               .row_size = sizeof(struct event),
                               .read_row = read_row,
                               .number_column = 0};
    enum err e = sqlite_list(task, store, &list, page);

    *ret = list.rows;
    *ret_count = list.count;
    *ret_next = list.next;
    return e;
}

static enum err count_events(struct task *task, struct sqlite_db *db, void *argument)
{
    struct event_counts *counts = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_COUNTS);
    bool row = false;
    enum err e = sqlite_db_row(task, db, s, &row);

    if (e == OK && row)
        *counts = (struct event_counts){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1)};
    return e;
}

enum err sqlite_event_counts(struct task *task, struct store *store, struct event_counts *ret)
{
    return sqlite_reading(task, store, count_events, ret);
}

static enum err hasten_events(struct task *task, struct sqlite_db *db, void *argument)
{
    struct settle_event *hasten = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENTS_HASTEN);

    if (s != NULL)
        sqlite3_bind_int64(s, 1, hasten->at_ms);
    return sqlite_db_run(task, db, s, &hasten->changes);
}

enum err sqlite_events_hasten(struct task *task, struct store *store, int64_t now_ms,
                              unsigned *ret_count)
{
    struct settle_event hasten = {.at_ms = now_ms};
    enum err e = sqlite_writing(task, store, hasten_events, &hasten);

    *ret_count = (unsigned)hasten.changes;
    return e;
}

static enum err sweep_events(struct task *task, struct sqlite_db *db, void *argument)
{
    struct settle_event *sweep = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_EVENT_SWEEP);

    if (s != NULL)
        sqlite3_bind_int64(s, 1, sweep->at_ms);
    return sqlite_db_run(task, db, s, &sweep->changes);
}

enum err sqlite_event_sweep(struct task *task, struct store *store, int64_t before_ms,
                            unsigned *ret_count)
{
    struct settle_event sweep = {.at_ms = before_ms};
    enum err e = sqlite_writing(task, store, sweep_events, &sweep);

    *ret_count = (unsigned)sweep.changes;
    return e;
}

struct mark {
    const char *name;
    int64_t at_ms;
    bool found;
};

static enum err read_mark(struct task *task, struct sqlite_db *db, void *argument)
{
    struct mark *mark = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MARK);
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, mark->name);
    e = sqlite_db_row(task, db, s, &mark->found);
    if (e == OK && mark->found)
        mark->at_ms = sqlite3_column_int64(s, 0);
    return e;
}

enum err sqlite_mark(struct task *task, struct store *store, const char *name, bool *ret_found,
                     int64_t *ret_ms)
{
    struct mark mark = {.name = name};
    enum err e = sqlite_reading(task, store, read_mark, &mark);

    *ret_found = mark.found;
    *ret_ms = mark.at_ms;
    return e;
}

static enum err set_mark(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct mark *mark = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MARK_SET);

    if (s != NULL) {
        sqlite_bind(s, 1, mark->name);
        sqlite3_bind_int64(s, 2, mark->at_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_mark_set(struct task *task, struct store *store, const char *name, int64_t at_ms)
{
    return sqlite_writing(task, store, set_mark, &(struct mark){.name = name, .at_ms = at_ms});
}
