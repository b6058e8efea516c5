/* Lists: users, sessions, the audit trail. */
#include "core/clock.h"
#include "store/search.h"
#include "store/sqlite_parts.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROWS = 16, DIGITS = 18 };

const char *sqlite_number_text(void *mem, int64_t number)
{
    return number == 0 ? NULL : mem_printf(mem, "%lld", (long long)number);
}

int64_t sqlite_number(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > DIGITS || *text == '0' || strspn(text, "0123456789") != len)
        return 0;
    return strtoll(text, NULL, 10);
}

/* Where the list begins, and how long it may be. */
static enum err begin_at(struct task *task, struct sqlite_list *list, const struct store_page *page)
{
    list->limit = page->limit == 0 || page->limit > STORE_PAGE ? STORE_PAGE : page->limit;
    list->first = page->cursor == NULL ? INT64_MAX : sqlite_number(page->cursor);
    if (list->first != 0)
        return OK;
    return fail(task, ERR_BAD_REQUEST, "cursor must be the value of next from the previous page");
}

/* For one row more: most lists are far shorter than they may be. */
static void make_room(struct task *task, struct sqlite_list *list)
{
    unsigned doubled = list->room == 0 ? FIRST_ROWS : list->room * 2;

    if (list->count < list->room)
        return;
    list->room = doubled < list->limit ? doubled : list->limit;
    list->rows = mem_grow(task->mem, list->rows, list->row_size * list->room);
}

/* A row more than asked for is read, which tells whether there is a next page. */
static enum err read_rows(struct task *task, struct sqlite_db *db, struct sqlite_list *list,
                          sqlite3_stmt *s)
{
    int64_t number = 0;
    int code;

    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        enum err e;

        if (list->count == list->limit) {
            list->next = sqlite_number_text(task->mem, number);
            return OK;
        }
        make_room(task, list);
        number = sqlite3_column_int64(s, list->number_column);
        e = list->read_row(task, s, (char *)list->rows + list->count * list->row_size);
        if (e != OK)
            return e;
        list->count++;
    }
    return code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

static enum err read_page(struct task *task, struct sqlite_db *db, void *argument)
{
    struct sqlite_list *list = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, list->statement);

    if (s == NULL)
        return task->err;
    sqlite3_bind_int64(s, 1, list->first);
    sqlite3_bind_int64(s, 2, list->limit + 1);
    if (list->text != NULL)
        sqlite_bind(s, 3, list->text);
    return read_rows(task, db, list, s);
}

enum err sqlite_list(struct task *task, struct store *store, struct sqlite_list *list,
                     const struct store_page *page)
{
    enum err e = begin_at(task, list, page);

    return e == OK ? sqlite_reading(task, store, read_page, list) : e;
}

static enum err read_user(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct user *)row = sqlite_user(task, s);
    return OK;
}

/* A search costs what is bounded here, not what there are people: it looks at the newest rows, and
 * at some all over the table to learn which words are rare; then at the rows of the rare words, or,
 * if there are none, at one row after the other. What is found in the time is the page, and the
 * next one goes on from there. */
enum { NEWEST = 1000, STRATA = 10, STRATUM = 100, AT_A_TIME = 64, BUDGET_MS = 20 };
enum { NUMBER_COLUMN = 13 }; /* of a row of SQL_USERS and SQL_USERS_FOUND */

struct find {
    struct sqlite_list *list; /* NULL: nothing is taken in */
    struct search search;
    int64_t at; /* the number of the row that was looked at last */
    bool full, over;
};

/* Takes the row in, if it is found and there is room. */
static void look_at(struct task *task, struct find *f, sqlite3_stmt *s)
{
    struct sqlite_list *list = f->list;
    bool found = search_matches(&f->search, (const char *)sqlite3_column_text(s, 2),
                                (const char *)sqlite3_column_text(s, 1));

    f->full = found && list != NULL && list->count == list->limit;
    if (f->full)
        return;
    if (found && list != NULL)
        ((struct user *)list->rows)[list->count++] = sqlite_user(task, s);
    f->at = sqlite3_column_int64(s, NUMBER_COLUMN);
}

/* Down from f->at, `rows` at most and until `until_ms`; f->over: that was the last row. */
static enum err look_through(struct task *task, struct sqlite_db *db, struct find *f,
                             const char *match, int64_t rows, int64_t until_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(
        task, db, match == NULL ? SQL_USERS : SQL_USERS_FOUND);
    int code = SQLITE_ROW;

    if (s == NULL)
        return task->err;
    sqlite3_bind_int64(s, 1, f->at);
    sqlite3_bind_int64(s, 2, rows);
    if (match != NULL)
        sqlite_bind(s, 3, match);
    for (int64_t i = 0; i < rows && !f->full; i++) {
        if (i % AT_A_TIME == AT_A_TIME - 1 && clock_mono_ms() >= until_ms)
            return OK;
        code = sqlite3_step(s);
        if (code != SQLITE_ROW)
            break;
        look_at(task, f, s);
    }
    f->over = code == SQLITE_DONE;
    return code == SQLITE_ROW || code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

/* What words are rare, by rows from all over the rest of the table; nothing is taken in. */
static enum err sample(struct task *task, struct sqlite_db *db, struct find *f)
{
    struct find look = *f;
    enum err e = OK;

    look.list = NULL;
    for (int i = 1; e == OK && i <= STRATA; i++) {
        look.at = f->at / STRATA * i + 1;
        e = look_through(task, db, &look, NULL, STRATUM, INT64_MAX);
    }
    f->search = look.search;
    return e;
}

static enum err find_users(struct task *task, struct sqlite_db *db, void *argument)
{
    struct find *f = argument;
    int64_t until_ms = clock_mono_ms() + BUDGET_MS;
    enum err e = look_through(task, db, f, NULL, NEWEST, until_ms);

    if (e == OK && !f->full && !f->over)
        e = sample(task, db, f);
    if (e == OK && !f->full && !f->over)
        e = look_through(task, db, f, search_rare_words(&f->search), INT64_MAX, until_ms);
    f->list->next = f->over ? NULL : sqlite_number_text(task->mem, f->at);
    return e;
}

static enum err search_users(struct task *task, struct store *store, const char *search,
                             struct sqlite_list *list)
{
    struct find f = {.list = list, .search = search_parse(task->mem, search), .at = list->first};

    if (f.search.count == 0)
        return OK;
    list->rows = mem_zero(task->mem, list->row_size * list->limit);
    return sqlite_reading(task, store, find_users, &f);
}

enum err sqlite_users(struct task *task, struct store *store, const char *search,
                      const struct store_page *page, struct user **ret, size_t *ret_count,
                      const char **ret_next)
{
    struct sqlite_list list = {.statement = SQL_USERS,
                               .row_size = sizeof(struct user),
                               .read_row = read_user,
                               .number_column = NUMBER_COLUMN};
    enum err e = begin_at(task, &list, page);

    if (e == OK)
        e = search == NULL ? sqlite_reading(task, store, read_page, &list)
                           : search_users(task, store, search, &list);

    *ret = list.rows;
    *ret_count = list.count;
    *ret_next = list.next;
    return e;
}

static enum err read_audit(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct audit *)row = (struct audit){
        .at_ms = sqlite3_column_int64(s, 0),
        .actor = sqlite_db_text(task, s, 1),
        .action = sqlite_db_text(task, s, 2),
        .subject = sqlite_db_text(task, s, 3),
        .address = sqlite_db_text(task, s, 4),
        .detail = sqlite_db_text(task, s, 5),
    };
    return OK;
}

static enum err read_trail(struct task *task, struct store *store, enum sqlite_statement statement,
                           const char *text, const struct store_page *page, struct audit **ret,
                           size_t *ret_count, const char **ret_next)
{
    struct sqlite_list list = {.statement = statement,
                               .text = text,
                               .row_size = sizeof(struct audit),
                               .read_row = read_audit,
                               .number_column = 6};
    enum err e = sqlite_list(task, store, &list, page);

    *ret = list.rows;
    *ret_count = list.count;
    *ret_next = list.next;
    return e;
}

enum err sqlite_audit_trail(struct task *task, struct store *store, const char *subject,
                            const struct store_page *page, struct audit **ret, size_t *ret_count,
                            const char **ret_next)
{
    return read_trail(task, store, subject == NULL ? SQL_AUDIT : SQL_AUDIT_OF, subject, page, ret,
                      ret_count, ret_next);
}

enum err sqlite_audit_by(struct task *task, struct store *store, const char *actor,
                         const struct store_page *page, struct audit **ret, size_t *ret_count,
                         const char **ret_next)
{
    return read_trail(task, store, SQL_AUDIT_BY, actor, page, ret, ret_count, ret_next);
}

struct read_holdings {
    const struct user *user;
    struct user_data *ret;
};

static enum err read_code(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct code *)row = (struct code){.purpose = sqlite_db_text(task, s, 0),
                                        .email = sqlite_db_text(task, s, 1),
                                        .created_ms = sqlite3_column_int64(s, 2),
                                        .expires_ms = sqlite3_column_int64(s, 3)};
    return OK;
}

static enum err read_mail(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct mail *)row = sqlite_mail(task, s);
    return OK;
}

static enum err read_session(struct task *task, sqlite3_stmt *s, void *row)
{
    return sqlite_session(task, s, row);
}

static enum err read_device(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct device_known *)row = (struct device_known){.device = sqlite_db_text(task, s, 0),
                                                        .until_ms = sqlite3_column_int64(s, 1)};
    return OK;
}

static enum err read_holdings(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct read_holdings *h = argument;
    struct sqlite_list sessions = {.statement = SQL_SESSIONS_EVER,
                                   .text = h->user->id,
                                   .row_size = sizeof(struct session_record),
                                   .read_row = read_session};
    struct sqlite_list devices = {.statement = SQL_DEVICES_OF,
                                  .text = h->user->id,
                                  .row_size = sizeof(struct device_known),
                                  .read_row = read_device};
    struct sqlite_list mails = {.statement = SQL_MAILS_TO,
                                .text = h->user->email,
                                .row_size = sizeof(struct mail),
                                .read_row = read_mail};
    struct sqlite_list codes = {.statement = SQL_CODES_OF,
                                .text = h->user->email,
                                .row_size = sizeof(struct code),
                                .read_row = read_code};
    enum err e;

    sessions.limit = devices.limit = mails.limit = codes.limit = STORE_HOLDINGS;
    e = read_page(task, db, &sessions);
    if (e == OK)
        e = read_page(task, db, &devices);
    if (e == OK)
        e = read_page(task, db, &mails);
    if (e == OK)
        e = read_page(task, db, &codes);
    *h->ret = (struct user_data){sessions.rows,  devices.rows,  mails.rows,  codes.rows,
                                 sessions.count, devices.count, mails.count, codes.count};
    return e;
}

enum err sqlite_user_data(struct task *task, struct store *store, const struct user *user,
                          struct user_data *ret)
{
    return sqlite_reading(task, store, read_holdings, &(struct read_holdings){user, ret});
}

struct live_sessions {
    const char *user_id;
    int64_t now_ms;
    struct session_record *rows;
    size_t count;
};

static enum err read_live(struct task *task, struct sqlite_db *db, void *argument)
{
    struct live_sessions *live = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSIONS_OF);
    int code;

    if (s == NULL)
        return task->err;
    sqlite_bind(s, 1, live->user_id);
    sqlite3_bind_int64(s, 2, live->now_ms);
    sqlite3_bind_int(s, 3, STORE_SESSIONS_PER_USER);
    live->rows = mem_array(task->mem, struct session_record, STORE_SESSIONS_PER_USER);
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        enum err e = sqlite_session(task, s, &live->rows[live->count++]);

        if (e != OK)
            return e;
    }
    return code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

enum err sqlite_sessions_of(struct task *task, struct store *store, const char *user_id,
                            int64_t now_ms, struct session_record **ret, size_t *ret_count)
{
    struct live_sessions live = {.user_id = user_id, .now_ms = now_ms};
    enum err e = sqlite_reading(task, store, read_live, &live);

    *ret = live.rows;
    *ret_count = live.count;
    return e;
}
