/* What was used: charging a run, and the days. */
#include "store/sqlite_parts.h"

#define DAY_MS INT64_C(86400000)
enum { LONGEST_PERIOD_DAYS = 31 };

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
