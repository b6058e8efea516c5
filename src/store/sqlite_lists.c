/* Lists: users, sessions, the audit trail. */
#include "core/text.h"
#include "store/sqlite_parts.h"

#include <string.h>

enum { SEARCH_BYTES = 256, SEARCH_WORDS = 8 };

struct list {
    enum sqlite_statement statement;
    int64_t first; /* of the statement's parameters, in their order */
    unsigned limit;
    const char *text; /* NULL: it has none */
    size_t row_size;
    enum err (*read_row)(struct task *task, sqlite3_stmt *s, void *row);
    int number_column; /* by which the next page is found */
    void *rows;
    size_t count;
    int64_t next;
};

static int64_t before(const struct store_page *page)
{
    return page->before <= 0 ? INT64_MAX : page->before;
}

static unsigned limit_of(const struct store_page *page)
{
    return page->limit == 0 || page->limit > STORE_PAGE ? STORE_PAGE : page->limit;
}

/* A row more than asked for is read, which tells whether there is a next page. */
static enum err read_rows(struct task *task, struct sqlite_db *db, struct list *list,
                          sqlite3_stmt *s)
{
    int64_t number = 0;
    int code;

    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        enum err e;

        if (list->count == list->limit) {
            list->next = number;
            return OK;
        }
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
    struct list *list = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, list->statement);

    if (s == NULL)
        return task->err;
    list->rows = mem_zero(task->mem, list->row_size * list->limit);
    sqlite3_bind_int64(s, 1, list->first);
    sqlite3_bind_int64(s, 2, list->limit + 1);
    if (list->text != NULL)
        sqlite_bind(s, 3, list->text);
    return read_rows(task, db, list, s);
}

static enum err read_user(struct task *task, sqlite3_stmt *s, void *row)
{
    *(struct user *)row = sqlite_user(task, s);
    return OK;
}

static bool is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

/* Each word as the beginning of one, in the query language of FTS5; NULL if there is no word. */
static const char *match_of(void *mem, const char *search)
{
    struct text match = text_open(mem, 128);
    const char *end = search + strnlen(search, SEARCH_BYTES);

    for (int words = 0; search < end && words < SEARCH_WORDS;) {
        const char *word = search;

        while (search < end && is_word_byte(*search))
            search++;
        if (search > word) {
            text_char(&match, '"');
            text_put(&match, word, (size_t)(search - word));
            text_add(&match, "\" * ");
            words++;
        } else {
            search++;
        }
    }
    return match.len == 0 ? NULL : match.s;
}

enum err sqlite_users(struct task *task, struct store *store, const char *search,
                      const struct store_page *page, struct user **ret, size_t *ret_count,
                      int64_t *ret_next)
{
    struct list list = {.statement = SQL_USERS,
                        .first = before(page),
                        .limit = limit_of(page),
                        .row_size = sizeof(struct user),
                        .read_row = read_user,
                        .number_column = 10};
    enum err e;

    if (search != NULL) {
        list.statement = SQL_USERS_FOUND;
        list.text = match_of(task->mem, search);
    }
    *ret = NULL;
    *ret_count = 0;
    *ret_next = 0;
    if (search != NULL && list.text == NULL)
        return OK;
    e = sqlite_reading(task, store, read_page, &list);
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

enum err sqlite_audit_trail(struct task *task, struct store *store, const char *subject,
                            const struct store_page *page, struct audit **ret, size_t *ret_count,
                            int64_t *ret_next)
{
    struct list list = {.statement = subject == NULL ? SQL_AUDIT : SQL_AUDIT_OF,
                        .first = before(page),
                        .limit = limit_of(page),
                        .text = subject,
                        .row_size = sizeof(struct audit),
                        .read_row = read_audit,
                        .number_column = 6};
    enum err e = sqlite_reading(task, store, read_page, &list);

    *ret = list.rows;
    *ret_count = list.count;
    *ret_next = list.next;
    return e;
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
