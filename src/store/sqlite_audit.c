/* How long the audit trail is, and its end: lines go in the order in which they came. */
#include "store/sqlite_parts.h"

static enum err append_line(struct task *task, struct sqlite_db *db, void *argument)
{
    return sqlite_append_audit(task, db, *(const struct audit **)argument);
}

enum err sqlite_audit_append(struct task *task, struct store *store, const struct audit *audit)
{
    return sqlite_writing(task, store, append_line, &audit);
}

static enum err count_lines(struct task *task, struct sqlite_db *db, void *argument)
{
    return sqlite_db_number(task, db, SQL_AUDIT_COUNT, argument);
}

enum err sqlite_audit_count(struct task *task, struct store *store, int64_t *ret)
{
    return sqlite_reading(task, store, count_lines, ret);
}

struct sweep_audit {
    int64_t before_ms, ahead_ms;
    unsigned *ret_count;
};

static enum err run_with(struct task *task, struct sqlite_db *db, enum sqlite_statement statement,
                         int64_t at_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);

    if (s != NULL)
        sqlite3_bind_int64(s, 1, at_ms);
    return sqlite_db_run(task, db, s, NULL);
}

static enum err remove_lines(struct task *task, struct sqlite_db *db,
                             const struct sweep_audit *sweep)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_AUDIT_SWEEP);
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite3_bind_int64(s, 1, sweep->before_ms);
        sqlite3_bind_int64(s, 2, sweep->ahead_ms);
    }
    e = sqlite_db_run(task, db, s, &changes);
    *sweep->ret_count = (unsigned)changes;
    return e;
}

/* The schema lets go only what is older than what the store has been told so: for this write alone
 * also what a clock ahead has dated. */
static enum err sweep_lines(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct sweep_audit *sweep = argument;
    int64_t since_ms = 0;
    enum err e = run_with(task, db, SQL_AUDIT_LET_GO, sweep->before_ms);

    if (e == OK)
        e = sqlite_db_number(task, db, SQL_AUDIT_SINCE, &since_ms);
    if (e == OK)
        e = run_with(task, db, SQL_AUDIT_SINCE_SET, INT64_MAX);
    if (e == OK)
        e = remove_lines(task, db, sweep);
    return e == OK ? run_with(task, db, SQL_AUDIT_SINCE_SET, since_ms) : e;
}

static enum err is_due(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct sweep_audit *sweep = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_AUDIT_OLDEST);
    bool row = false;
    enum err e;

    if (s != NULL)
        sqlite3_bind_int64(s, 1, sweep->ahead_ms);
    e = sqlite_db_row(task, db, s, &row);
    *sweep->ret_count = e == OK && row && sqlite3_column_int64(s, 0) < sweep->before_ms;
    return e;
}

enum err sqlite_audit_sweep(struct task *task, struct store *store, int64_t before_ms,
                            int64_t ahead_ms, unsigned *ret_count)
{
    struct sweep_audit sweep = {before_ms, ahead_ms, ret_count};
    enum err e = sqlite_reading(task, store, is_due, &sweep);

    if (e != OK || *ret_count == 0)
        return e;
    return sqlite_writing(task, store, sweep_lines, &sweep);
}
