/* Trials: one for each mailbox, and who is told of its end. */
#include "store/sqlite_parts.h"

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
        ending->rows[ending->count++] = sqlite_subscription(task, s);
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
