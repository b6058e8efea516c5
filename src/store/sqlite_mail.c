/* One-time codes and the mails that carry them. */
#include "store/sqlite_parts.h"

struct issue_code {
    const struct code *code;
    int64_t wait_ms;
    const struct mail *mail;
    enum code_issued *ret;
    int64_t *ret_left_ms;
};

/* What is left of the wait; 0: none. */
static enum err read_wait(struct task *task, struct sqlite_db *db, const struct issue_code *issue,
                          int64_t *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CODE_CREATED);
    bool found = false;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, issue->code->purpose);
        sqlite_bind(s, 2, issue->code->email);
    }
    e = sqlite_db_row(task, db, s, &found);
    *ret = 0;
    if (e == OK && found)
        *ret = sqlite3_column_int64(s, 0) + issue->wait_ms - issue->code->created_ms;
    /* Made later than now: the clock was set back. */
    if (*ret > issue->wait_ms)
        *ret = 0;
    return e;
}

/* `statement`: SQL_CODE_PUT, or SQL_CODE_DELAY, by which a code that is still good stays. */
static enum err put_code(struct task *task, struct sqlite_db *db, enum sqlite_statement statement,
                         const struct code *code)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);

    if (s != NULL) {
        sqlite_bind(s, 1, code->purpose);
        sqlite_bind(s, 2, code->email);
        sqlite3_bind_blob(s, 3, code->hash, sizeof code->hash, SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, code->created_ms);
        sqlite3_bind_int64(s, 5, code->expires_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

/* A few rows of what is over, with each write. */
static enum err sweep_before(struct task *task, struct sqlite_db *db,
                             enum sqlite_statement statement, int64_t before_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);

    if (s != NULL)
        sqlite3_bind_int64(s, 1, before_ms);
    return sqlite_db_run(task, db, s, NULL);
}

static enum err count_mails(struct task *task, struct sqlite_db *db, void *argument)
{
    return sqlite_db_number(task, db, SQL_MAIL_COUNT, argument);
}

enum err sqlite_mail_count(struct task *task, struct store *store, int64_t *ret)
{
    return sqlite_reading(task, store, count_mails, ret);
}

enum err sqlite_put_mail(struct task *task, struct sqlite_db *db, const struct mail *mail)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MAIL_PUT);
    int64_t count;
    enum err e = count_mails(task, db, &count);

    if (e != OK)
        return e;
    if (count >= STORE_MAILS)
        return fail(task, ERR_BUSY, "too many mails wait to be sent");
    if (s != NULL) {
        sqlite_bind(s, 1, mail->to);
        sqlite_bind(s, 2, mail->content);
        sqlite3_bind_int64(s, 3, mail->created_ms);
        sqlite3_bind_int64(s, 4, mail->expires_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

/* Bounds: how many mails of a key there were, by the minute. The oldest minute of a window counts
 * whole, so that no span of it holds more than its limit. */

enum { MINUTE_MS = 60000 };

static enum err count_window(struct task *task, struct sqlite_db *db, const char *key,
                             int64_t from_ms, int64_t now_ms, int64_t *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MAIL_COUNTED);
    bool row = false;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, key);
        sqlite3_bind_int64(s, 2, from_ms / MINUTE_MS);
        sqlite3_bind_int64(s, 3, now_ms / MINUTE_MS + 1);
    }
    e = sqlite_db_row(task, db, s, &row);
    *ret = e == OK && row ? sqlite3_column_int64(s, 0) : 0;
    return e;
}

static enum err look_at_bounds(struct task *task, struct sqlite_db *db, const struct mail *mail,
                               bool *ret_full)
{
    enum err e = OK;

    *ret_full = false;
    for (size_t i = 0; i < mail->bound_count; i++) {
        const struct mail_bound *bound = &mail->bounds[i];

        for (unsigned w = 0; e == OK && w < bound->window_count; w++) {
            const struct mail_window *window = &bound->windows[w];
            int64_t count;

            e = count_window(task, db, bound->key,
                             mail->created_ms - (int64_t)window->seconds * 1000, mail->created_ms,
                             &count);
            *ret_full = *ret_full || count >= window->limit;
        }
    }
    return e;
}

static enum err charge(struct task *task, struct sqlite_db *db, const struct mail_bound *bound,
                       int64_t now_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MAIL_CHARGE);
    int64_t longest_s = 0;

    for (unsigned i = 0; i < bound->window_count; i++)
        longest_s = bound->windows[i].seconds > longest_s ? bound->windows[i].seconds : longest_s;
    if (s != NULL) {
        sqlite_bind(s, 1, bound->key);
        sqlite3_bind_int64(s, 2, now_ms / MINUTE_MS);
        sqlite3_bind_int64(s, 3, now_ms + longest_s * 1000 + MINUTE_MS);
    }
    return sqlite_db_run(task, db, s, NULL);
}

/* *ret_withheld: it was accepted for nobody. */
static enum err put_bounded(struct task *task, struct sqlite_db *db, const struct mail *mail,
                            bool *ret_withheld)
{
    struct mail copy = *mail;
    enum err e = look_at_bounds(task, db, mail, ret_withheld);

    if (e == OK && mail->bound_count > 0)
        e = sweep_before(task, db, SQL_MAIL_COUNTS_SWEEP, mail->created_ms);
    for (size_t i = 0; e == OK && !*ret_withheld && i < mail->bound_count; i++) {
        if (mail->bounds[i].window_count > 0)
            e = charge(task, db, &mail->bounds[i], mail->created_ms);
    }
    if (*ret_withheld)
        copy.to = "";
    return e == OK ? sqlite_put_mail(task, db, &copy) : e;
}

struct put_mail {
    const struct mail *mail;
    bool *ret_withheld;
};

static enum err put_one(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct put_mail *put = argument;

    return put_bounded(task, db, put->mail, put->ret_withheld);
}

enum err sqlite_mail_put(struct task *task, struct store *store, const struct mail *mail,
                         bool *ret_withheld)
{
    return sqlite_writing(task, store, put_one, &(struct put_mail){mail, ret_withheld});
}

static enum err issue_code(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct issue_code *issue = argument;
    bool withheld = false;
    enum err e = read_wait(task, db, issue, issue->ret_left_ms);

    *issue->ret = CODE_TOO_SOON;
    if (e != OK || *issue->ret_left_ms > 0)
        return e;
    e = sweep_before(task, db, SQL_CODE_SWEEP, issue->code->created_ms - issue->wait_ms);
    if (e == OK && issue->mail != NULL)
        e = put_bounded(task, db, issue->mail, &withheld);
    /* Of a mail that is withheld nobody learns the code: the one that somebody holds stays good,
     * and only the wait begins anew. */
    if (e == OK)
        e = put_code(task, db, withheld ? SQL_CODE_DELAY : SQL_CODE_PUT, issue->code);
    *issue->ret = withheld ? CODE_WITHHELD : CODE_ISSUED;
    return e;
}

enum err sqlite_code_issue(struct task *task, struct store *store, const struct code *code,
                           int64_t wait_ms, const struct mail *mail, enum code_issued *ret,
                           int64_t *ret_left_ms)
{
    return sqlite_writing(task, store, issue_code,
                          &(struct issue_code){code, wait_ms, mail, ret, ret_left_ms});
}

struct try_code {
    const char *purpose, *email;
    const uint8_t *hash;
    int64_t now_ms;
    const struct code_action *action;
    bool *ret_right;
};

/* The row is updated by the first step; the second ends the statement. */
static enum err count_try(struct task *task, struct sqlite_db *db, const struct try_code *t)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CODE_TRY);
    bool found = false;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, t->purpose);
        sqlite_bind(s, 2, t->email);
        sqlite3_bind_int64(s, 3, t->now_ms);
        sqlite3_bind_int(s, 4, CODE_TRIES);
    }
    e = sqlite_db_row(task, db, s, &found);
    *t->ret_right = e == OK && found && sqlite3_column_bytes(s, 0) == CRYPTO_HASH_BYTES &&
                    crypto_equal(sqlite3_column_blob(s, 0), t->hash, CRYPTO_HASH_BYTES);
    return e == OK && found ? sqlite_db_row(task, db, s, &found) : e;
}

static enum err try_code(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct try_code *t = argument;
    bool only_look = t->action != NULL && t->action->only_look;
    enum err e = count_try(task, db, t);
    sqlite3_stmt *use;

    if (e != OK || !*t->ret_right)
        return e;
    use = sqlite_db_statement(task, db, only_look ? SQL_CODE_SPARE : SQL_CODE_USE);
    if (use != NULL) {
        sqlite_bind(use, 1, t->purpose);
        sqlite_bind(use, 2, t->email);
    }
    e = sqlite_db_run(task, db, use, NULL);
    sqlite_db_done(&use);
    return e == OK && t->action != NULL && !only_look ? sqlite_do_code_action(task, db, t->action)
                                                      : e;
}

enum err sqlite_code_try(struct task *task, struct store *store, const char *purpose,
                         const char *email, const uint8_t hash[CRYPTO_HASH_BYTES], int64_t now_ms,
                         const struct code_action *action, bool *ret_right)
{
    return sqlite_writing(task, store, try_code,
                          &(struct try_code){purpose, email, hash, now_ms, action, ret_right});
}

struct mail sqlite_mail(struct task *task, sqlite3_stmt *s)
{
    return (struct mail){
        .id = sqlite_number_text(task->mem, sqlite3_column_int64(s, 0)),
        .to = sqlite_db_text(task, s, 1),
        .content = sqlite_db_text(task, s, 2),
        .created_ms = sqlite3_column_int64(s, 3),
        .next_ms = sqlite3_column_int64(s, 4),
        .attempts = (unsigned)sqlite3_column_int(s, 5),
        .error = sqlite_db_text(task, s, 6),
        .expires_ms = sqlite3_column_int64(s, 7),
    };
}

static void read_taken(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct mail *)row = sqlite_mail(task, s);
}

enum err sqlite_mail_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                          bool *ret_found, struct mail *ret)
{
    return sqlite_take(
        task, store,
        &(struct sqlite_take){SQL_MAIL_TAKE, now_ms, lease_ms, read_taken, ret, ret_found});
}

struct settle_mail {
    enum sqlite_statement statement;
    int64_t number, next_ms;
    const char *error; /* NULL: it is done */
};

static enum err settle_mail(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct settle_mail *settle = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, settle->statement);

    if (s != NULL)
        sqlite3_bind_int64(s, 1, settle->number);
    if (s != NULL && settle->error != NULL) {
        sqlite3_bind_int64(s, 2, settle->next_ms);
        sqlite_bind(s, 3, settle->error);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_mail_done(struct task *task, struct store *store, const char *id)
{
    return sqlite_writing(task, store, settle_mail,
                          &(struct settle_mail){SQL_MAIL_DONE, sqlite_number(id), 0, NULL});
}

enum err sqlite_mail_postpone(struct task *task, struct store *store, const char *id,
                              int64_t next_ms, const char *error)
{
    return sqlite_writing(
        task, store, settle_mail,
        &(struct settle_mail){SQL_MAIL_POSTPONE, sqlite_number(id), next_ms, error});
}

/* In small writes, between which others have their turn. What is due is not found again. */
struct retry_mails {
    const char *id; /* NULL: all */
    int64_t now_ms;
    unsigned *ret_count;
};

static enum err retry_mails(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct retry_mails *retry = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(
        task, db, retry->id == NULL ? SQL_MAILS_RETRY : SQL_MAIL_RETRY);
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite3_bind_int64(s, 1, retry->id == NULL ? 0 : sqlite_number(retry->id));
        sqlite3_bind_int64(s, 2, retry->now_ms);
    }
    e = sqlite_db_run(task, db, s, &changes);
    *retry->ret_count = (unsigned)changes;
    return e;
}

enum err sqlite_mail_retry(struct task *task, struct store *store, const char *id, int64_t now_ms,
                           unsigned *ret_count)
{
    unsigned count = 1;
    enum err e = OK;

    *ret_count = 0;
    for (int i = 0; i <= STORE_MAILS && e == OK && count > 0; i++) {
        e = sqlite_writing(task, store, retry_mails, &(struct retry_mails){id, now_ms, &count});
        *ret_count += e == OK ? count : 0;
        if (id != NULL)
            break;
    }
    return e;
}

struct list_mails {
    struct mail *rows;
    size_t count;
};

static enum err list_mails(struct task *task, struct sqlite_db *db, void *argument)
{
    struct list_mails *list = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MAILS);
    int code;

    if (s == NULL)
        return task->err;
    sqlite3_bind_int(s, 1, STORE_PAGE);
    list->rows = mem_array(task->mem, struct mail, STORE_PAGE);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        list->rows[list->count++] = sqlite_mail(task, s);
    return code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

enum err sqlite_mails(struct task *task, struct store *store, struct mail **ret, size_t *ret_count)
{
    struct list_mails list = {0};
    enum err e = sqlite_reading(task, store, list_mails, &list);

    *ret = list.rows;
    *ret_count = list.count;
    return e;
}
