#include "store/sqlite_integrity.h"

#include "core/clock.h"
#include "core/text.h"
#include "core/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    GROWTH_PAGES = 256, /* 1 MiB, that the log may grow by while a transaction reads */
    PIECE_MS = 20,      /* which a writer waits for, where it begins the log anew */
    LONG_PAGES = 2000,  /* of a log that its writer would begin anew */
    WAY_MS = 2000,      /* that it is given for that */
    STILL_MS = 100,     /* nobody writes */
    LOOK_MS = 5,
    LOOKS_TOLD = 40, /* from one time that who waits is told to the next */
    KEY_COLUMNS = 8, /* of a row, at most */
    LENGTH_AT = 16,  /* in the log's index (-shm): its pages, by SQLite's walformat.html */
    INDEX_BYTES = 32768,
};

struct checking {
    struct task *task;
    struct sqlite_db *db;
    struct sqlite_integrity *how;
    const char *fault;
    const volatile uint32_t *log_pages; /* in the log's index; NULL: there is no log */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended;
    atomic_bool is_over;                /* before the end */
    bool is_watched, was_stopped;       /* the transaction that reads now */
    uint32_t since_pages, waited_pages; /* `waited_pages`: of the log, when it was last given way */
    const char *part;
    _Atomic(int64_t) rows;
};

static const char told_to_end[] = "the check was told to end";

/* The log */

static bool has_log(struct sqlite_db *db)
{
    sqlite3_stmt *s = NULL;
    bool has = sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode", -1, &s, NULL) == SQLITE_OK &&
               sqlite3_step(s) == SQLITE_ROW &&
               strcmp((const char *)sqlite3_column_text(s, 0), "wal") == 0;

    sqlite3_finalize(s);
    return has;
}

/* The place of the log's length, in memory that SQLite keeps until the connection is closed. */
static const volatile uint32_t *find_log(struct sqlite_db *db)
{
    sqlite3_file *file = NULL;
    volatile void *index = NULL;

    if (!has_log(db) ||
        sqlite3_file_control(db->handle, NULL, SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        file == NULL || file->pMethods == NULL || file->pMethods->iVersion < 2 ||
        file->pMethods->xShmMap(file, 0, INDEX_BYTES, 0, &index) != SQLITE_OK || index == NULL)
        return NULL;
    return (const volatile uint32_t *)((const volatile char *)index + LENGTH_AT);
}

static uint32_t log_pages(const struct checking *c)
{
    return c->log_pages == NULL ? 0 : *c->log_pages;
}

/* Between two transactions, so that a log which is long can begin anew, if it is being written. */
static void give_way(struct checking *c)
{
    uint32_t first = log_pages(c), pages = first;
    int64_t now_ms = clock_mono_ms(), until_ms = now_ms + WAY_MS, grew_ms = now_ms;

    if (pages < c->waited_pages)
        c->waited_pages = 0;
    if (pages < LONG_PAGES || pages < c->waited_pages + GROWTH_PAGES)
        return;
    while (pages >= first && now_ms < until_ms && now_ms < grew_ms + STILL_MS &&
           !atomic_load(&c->is_over)) {
        usleep(LOOK_MS * 1000);
        now_ms = clock_mono_ms();
        if (log_pages(c) != pages)
            grew_ms = now_ms;
        pages = log_pages(c);
    }
    c->waited_pages = pages;
}

/* Under the lock. SQLite's own checks do not end by themselves. */
static void stop_what_holds_the_log(struct checking *c)
{
    uint32_t pages = log_pages(c);

    if (pages < c->since_pages)
        c->since_pages = pages; /* it has begun anew */
    if (!c->is_watched || pages - c->since_pages <= GROWTH_PAGES)
        return;
    c->is_watched = false;
    c->was_stopped = true;
    sqlite3_interrupt(c->db->handle);
}

static void *watch(void *argument)
{
    struct checking *c = argument;
    const struct store_progress *progress = c->how->progress;

    pthread_setname_np(pthread_self(), "store check");
    pthread_mutex_lock(&c->lock);
    for (int looks = 1; !c->has_ended; looks++) {
        struct timespec until = clock_deadline(LOOK_MS);

        stop_what_holds_the_log(c);
        if (c->how->is_over != NULL && c->how->is_over(c->how->argument)) {
            atomic_store(&c->is_over, true);
            sqlite3_interrupt(c->db->handle);
        }
        if (progress != NULL && looks % LOOKS_TOLD == 0) {
            const char *part = c->part;

            pthread_mutex_unlock(&c->lock); /* a terminal may be slow */
            progress->tell(progress->argument, part, atomic_load(&c->rows));
            pthread_mutex_lock(&c->lock);
        }
        if (!c->has_ended)
            pthread_cond_timedwait(&c->ended, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void begin_part(struct checking *c, const char *part)
{
    pthread_mutex_lock(&c->lock);
    c->part = part;
    atomic_store(&c->rows, 0);
    pthread_mutex_unlock(&c->lock);
}

/* One of SQLite's checks, in one transaction. *ret_done is false where it held the log for too
 * long. */
static enum err check_at_once(struct checking *c, const char *pragma, bool *ret_done)
{
    struct task trying = {.mem = c->task->mem, .job = c->task->job};
    enum err e;

    *ret_done = !c->how->by_rows;
    if (c->how->by_rows)
        return OK;
    if (atomic_load(&c->is_over))
        return fail(c->task, ERR_STORE, told_to_end);
    give_way(c);
    pthread_mutex_lock(&c->lock);
    c->is_watched = true;
    c->was_stopped = false;
    c->since_pages = log_pages(c);
    pthread_mutex_unlock(&c->lock);
    e = sqlite_db_check(&trying, c->db, pragma, &c->fault);
    pthread_mutex_lock(&c->lock);
    c->is_watched = false;
    *ret_done = !c->was_stopped;
    pthread_mutex_unlock(&c->lock);
    if (*ret_done)
        return e == OK ? OK : fail(c->task, e, trying.text);
    c->fault = NULL; /* what an interrupted check finds says nothing */
    return OK;
}

/* The schema, as SQL for the checks of rows */

struct index {
    const char *name, *where; /* `where`: of a partial one; "1" of others */
    const char *columns[KEY_COLUMNS];
    unsigned own, count; /* of the columns: those it is for; and with those that tell the row */
    bool is_primary, is_known;
};

struct table {
    const char *name, *sql;
    bool has_rowid, is_strict;
    const char *id[KEY_COLUMNS]; /* what tells a row from all others */
    unsigned id_count;
    const char *as_itself; /* how it is read by these */
    struct index *indexes;
    unsigned index_count;
};

/* "%w" and "%Q" are SQLite's: a name in double quotes, a text in single ones. */
static const char *quoted(void *mem, const char *format, const char *text)
{
    char *made = sqlite3_mprintf(format, text);
    const char *kept = mem_string(mem, made == NULL ? "" : made);

    sqlite3_free(made);
    return kept;
}

static const char *name_of(struct checking *c, const char *name)
{
    return quoted(c->task->mem, "\"%w\"", name);
}

static sqlite3_stmt *prepare(struct checking *c, const char *sql, const char *bound)
{
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(c->db->handle, sql, -1, &s, NULL) != SQLITE_OK)
        (void)sqlite_db_fail(c->task, c->db);
    else if (bound != NULL)
        sqlite3_bind_text(s, 1, bound, -1, SQLITE_STATIC);
    return s;
}

static bool next(struct checking *c, sqlite3_stmt *s, enum err *ret)
{
    int code = s == NULL ? SQLITE_ERROR : sqlite3_step(s);

    *ret = code == SQLITE_ROW || code == SQLITE_DONE ? OK
           : s == NULL                               ? c->task->err
                                                     : sqlite_db_fail(c->task, c->db);
    return code == SQLITE_ROW;
}

static const char *text_at(struct checking *c, sqlite3_stmt *s, int column)
{
    const char *text = sqlite_db_text(c->task, s, column);

    return text == NULL ? "" : text;
}

static enum err read_index(struct checking *c, struct index *index)
{
    sqlite3_stmt *s = prepare(c, "SELECT name, key, cid FROM pragma_index_xinfo(?1) ORDER BY seqno",
                              index->name);
    enum err e;

    index->is_known = true;
    while (next(c, s, &e)) {
        int column = sqlite3_column_int(s, 2);
        bool is_own = sqlite3_column_int(s, 1) != 0;

        if (index->is_primary && !is_own)
            continue; /* all the rest of the row */
        if (column < -1 || index->count == KEY_COLUMNS) {
            index->is_known = false; /* none of ours: an expression */
            continue;
        }
        index->columns[index->count++] = column < 0 ? "rowid" : name_of(c, text_at(c, s, 0));
        index->own += is_own ? 1 : 0;
    }
    sqlite3_finalize(s);
    return e;
}

static enum err read_indexes(struct checking *c, struct table *table)
{
    sqlite3_stmt *s = prepare(
        c,
        "SELECT l.name, l.origin, m.sql FROM pragma_index_list(?1) AS l"
        " LEFT JOIN sqlite_schema AS m ON m.type = 'index' AND m.name = l.name",
        table->name);
    enum err e;

    while (next(c, s, &e)) {
        const char *where = strstr(text_at(c, s, 2), " WHERE ");
        struct index *index;

        table->indexes = mem_grow(c->task->mem, table->indexes,
                                  (table->index_count + 1) * sizeof *table->indexes);
        index = &table->indexes[table->index_count++];
        *index = (struct index){.name = text_at(c, s, 0)};
        index->where = where == NULL ? "1" : where + strlen(" WHERE ");
        index->is_primary = !table->has_rowid && strcmp(text_at(c, s, 1), "pk") == 0;
    }
    sqlite3_finalize(s);
    for (unsigned i = 0; e == OK && i < table->index_count; i++)
        e = read_index(c, &table->indexes[i]);
    return e;
}

static void find_id(struct checking *c, struct table *table)
{
    table->id[0] = "rowid";
    table->id_count = 1;
    table->as_itself = "NOT INDEXED";
    for (unsigned i = 0; i < table->index_count; i++) {
        const struct index *index = &table->indexes[i];

        if (!index->is_primary)
            continue;
        memcpy(table->id, index->columns, sizeof table->id);
        table->id_count = index->count;
        table->as_itself = mem_printf(c->task->mem, "INDEXED BY %s", name_of(c, index->name));
    }
}

/* "AND a.x = b.x AND …" */
static void put_same(struct text *sql, const char *const *columns, unsigned count, const char *a,
                     const char *b, const char *operator)
{
    for (unsigned i = 0; i < count; i++)
        text_printf(sql, " AND %s.%s %s %s.%s", a, columns[i], operator, b, columns[i]);
}

/* What was said of a value of any type, and of one that is missing. */
static enum err put_columns(struct checking *c, const struct table *table, struct text *sql)
{
    sqlite3_stmt *s = prepare(
        c, "SELECT name, lower(type), \"notnull\" FROM pragma_table_xinfo(?1)", table->name);
    enum err e;

    while (next(c, s, &e)) {
        const char *name = text_at(c, s, 0), *type = text_at(c, s, 1), *column = name_of(c, name);
        const char *what = mem_printf(c->task->mem, "%s: a %s is no %s", table->name, name, type);

        if (table->is_strict && strcmp(type, "any") != 0)
            text_printf(sql, " WHEN typeof(r.%s) NOT IN ('null', %s) THEN %s", column,
                        quoted(c->task->mem, "%Q", strcmp(type, "int") == 0 ? "integer" : type),
                        quoted(c->task->mem, "%Q", what));
        if (sqlite3_column_int(s, 2) != 0)
            text_printf(sql, " WHEN r.%s IS NULL THEN %s", column,
                        quoted(c->task->mem, "%Q",
                               mem_printf(c->task->mem, "%s: a %s is missing", table->name, name)));
    }
    sqlite3_finalize(s);
    return e;
}

static void put_constraints(struct checking *c, const struct table *table, struct text *sql)
{
    static const char word[] = "CHECK (";
    const char *what = quoted(c->task->mem, "%Q",
                              mem_printf(c->task->mem, "%s: a row breaks a CHECK", table->name));

    for (const char *at = strstr(table->sql, word); at != NULL; at = strstr(at, word)) {
        const char *first = at + strlen(word);
        int open = 1;

        for (at = first; open > 0 && *at != '\0'; at++)
            open += (*at == '(') - (*at == ')');
        if (open == 0)
            text_printf(sql, " WHEN (%.*s) IS FALSE THEN %s", (int)(at - 1 - first), first, what);
    }
}

/* Each index has the row that is in it by its condition. */
static void put_entries(struct checking *c, const struct table *table, struct text *sql)
{
    for (unsigned i = 0; i < table->index_count; i++) {
        const struct index *index = &table->indexes[i];
        const char *what = mem_printf(c->task->mem, "%s: a row is missing in index %s", table->name,
                                      index->name);

        if (index->is_primary || !index->is_known)
            continue;
        text_printf(sql, " WHEN (%s) IS TRUE AND NOT EXISTS (SELECT 1 FROM %s AS i INDEXED BY %s",
                    index->where, name_of(c, table->name), name_of(c, index->name));
        text_printf(sql, " WHERE (%s)", index->where);
        put_same(sql, index->columns, index->count, "i", "r", "IS");
        text_printf(sql, ") THEN %s", quoted(c->task->mem, "%Q", what));
    }
}

/* Rows in pieces */

/* What is read from one end to the other: a table, or one of its indexes. */
struct tree {
    const char *name;
    const char *what; /* is selected: first what is wrong with it, NULL if nothing; then the key */
    const char *from; /* with the condition of a partial index */
    const char *const *key;
    unsigned key_count;
};

/* Rows behind the last one, in the order of the key, whose first `same` columns are those of the
 * last. `last` is NULL at the very beginning. */
static sqlite3_stmt *open_rows(struct checking *c, const struct tree *tree,
                               sqlite3_value *const *last, unsigned same)
{
    struct text sql = text_open(c->task->mem, 1024);
    sqlite3_stmt *s;

    text_printf(&sql, "SELECT %s FROM %s", tree->what, tree->from);
    for (unsigned i = 0; last != NULL && i < same; i++)
        text_printf(&sql, " AND r.%s IS ?%u", tree->key[i], i + 1);
    if (last != NULL && sqlite3_value_type(last[same]) == SQLITE_NULL)
        text_printf(&sql, " AND r.%s IS NOT NULL", tree->key[same]);
    else if (last != NULL)
        text_printf(&sql, " AND r.%s > ?%u", tree->key[same], same + 1);
    for (unsigned i = 0; i < tree->key_count; i++)
        text_printf(&sql, "%s r.%s", i == 0 ? " ORDER BY" : ",", tree->key[i]);
    s = prepare(c, sql.s, NULL);
    for (unsigned i = 0; s != NULL && last != NULL && i <= same; i++)
        sqlite3_bind_value(s, (int)i + 1, last[i]);
    return s;
}

static void forget_key(sqlite3_value **key)
{
    for (unsigned i = 0; i < KEY_COLUMNS; i++) {
        sqlite3_value_free(key[i]);
        key[i] = NULL;
    }
}

/* Reads for as long as a piece may last. *ret_more: the key of where it ended was noted. */
static enum err read_piece(struct checking *c, const struct tree *tree, sqlite3_stmt *s,
                           sqlite3_value **key, bool *ret_more)
{
    int64_t until_ms = clock_mono_ms() + (c->how->by_rows ? 0 : PIECE_MS);
    enum err e;

    *ret_more = false;
    while (next(c, s, &e)) {
        c->fault = sqlite_db_text(c->task, s, 0);
        if (c->fault != NULL)
            return OK;
        atomic_fetch_add(&c->rows, 1);
        if (clock_mono_ms() < until_ms)
            continue;
        forget_key(key);
        for (unsigned i = 0; i < tree->key_count; i++)
            key[i] = sqlite3_value_dup(sqlite3_column_value(s, (int)i + 1));
        *ret_more = true;
        break;
    }
    return e;
}

/* The rows behind a key are those that share all but its last column, then those that share one
 * less, and so on: each is a range of the index, whichever columns are NULL. */
static enum err read_tree(struct checking *c, const struct tree *tree)
{
    sqlite3_value *key[KEY_COLUMNS] = {0};
    bool begun = false, more = true;
    unsigned same = 0;
    enum err e = OK;

    begin_part(c, tree->name);
    while (e == OK && c->fault == NULL && (more || same > 0)) {
        sqlite3_stmt *s;

        if (atomic_load(&c->is_over)) {
            e = fail(c->task, ERR_STORE, told_to_end);
            break;
        }
        give_way(c);
        same = more ? (begun ? tree->key_count - 1 : 0) : same - 1;
        s = open_rows(c, tree, begun ? key : NULL, same);
        e = read_piece(c, tree, s, key, &more);
        begun = begun || more;
        sqlite3_finalize(s);
    }
    forget_key(key);
    return e;
}

static void put_key(struct text *sql, const char *const *columns, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        text_printf(sql, ", r.%s", columns[i]);
}

static enum err read_rows(struct checking *c, const struct table *table)
{
    struct text what = text_open(c->task->mem, 1024);
    struct tree tree = {.name = table->name, .key = table->id, .key_count = table->id_count};
    enum err e;

    text_add(&what, "CASE WHEN 0 THEN ''");
    e = put_columns(c, table, &what);
    put_constraints(c, table, &what);
    if (!c->how->quick)
        put_entries(c, table, &what);
    text_add(&what, " END");
    put_key(&what, table->id, table->id_count);
    text_add(&what, ", r.*"); /* so that all of it is read */
    tree.what = what.s;
    tree.from = mem_printf(c->task->mem, "%s AS r %s WHERE 1", name_of(c, table->name),
                           table->as_itself);
    return e == OK ? read_tree(c, &tree) : e;
}

static enum err read_entries(struct checking *c, const struct table *table,
                             const struct index *index)
{
    struct text what = text_open(c->task->mem, 1024);
    struct tree tree = {.name = index->name, .key = index->columns, .key_count = index->count};
    const char *fault = mem_printf(c->task->mem, "index %s: an entry has no row in %s", index->name,
                                   table->name);

    text_printf(&what, "CASE WHEN %d AND NOT EXISTS (SELECT 1 FROM %s AS t %s WHERE (%s)",
                c->how->quick ? 0 : 1, name_of(c, table->name), table->as_itself, index->where);
    put_same(&what, table->id, table->id_count, "t", "r", "=");
    put_same(&what, index->columns, index->own, "t", "r", "IS");
    text_printf(&what, ") THEN %s END", quoted(c->task->mem, "%Q", fault));
    put_key(&what, index->columns, index->count);
    tree.what = what.s;
    tree.from = mem_printf(c->task->mem, "%s AS r INDEXED BY %s WHERE (%s)",
                           name_of(c, table->name), name_of(c, index->name), index->where);
    return read_tree(c, &tree);
}

static enum err read_table(struct checking *c, struct table *table)
{
    enum err e = read_indexes(c, table);

    find_id(c, table);
    if (e == OK)
        e = read_rows(c, table);
    for (unsigned i = 0; e == OK && c->fault == NULL && i < table->index_count; i++) {
        if (!table->indexes[i].is_primary && table->indexes[i].is_known)
            e = read_entries(c, table, &table->indexes[i]);
    }
    if (e != OK && sqlite_db_is_damaged(c->db)) {
        c->fault = mem_printf(c->task->mem, "%s: %s", c->part, sqlite3_errmsg(c->db->handle));
        return OK;
    }
    return e;
}

/* All that lie in the file, those of the search index among them. */
static enum err list_tables(struct checking *c, struct table **ret, unsigned *ret_count)
{
    sqlite3_stmt *s = prepare(
        c,
        "SELECT l.name, l.wr, l.strict, m.sql FROM pragma_table_list AS l"
        " LEFT JOIN sqlite_schema AS m ON m.type = 'table' AND m.name = l.name"
        " WHERE l.schema = 'main' AND l.type IN ('table', 'shadow')",
        NULL);
    enum err e;

    while (next(c, s, &e)) {
        *ret = mem_grow(c->task->mem, *ret, (*ret_count + 1) * sizeof **ret);
        (*ret)[(*ret_count)++] = (struct table){
            .name = text_at(c, s, 0),
            .sql = text_at(c, s, 3),
            .has_rowid = sqlite3_column_int(s, 1) == 0,
            .is_strict = sqlite3_column_int(s, 2) != 0,
        };
    }
    sqlite3_finalize(s);
    return e;
}

static const char *how_to_check(const struct checking *c)
{
    return c->how->quick ? "quick_check" : "integrity_check";
}

static enum err check_tables(struct checking *c)
{
    struct table *tables = NULL;
    unsigned count = 0;
    enum err e = list_tables(c, &tables, &count);

    for (unsigned i = 0; e == OK && c->fault == NULL && i < count; i++) {
        const char *pragma = mem_printf(c->task->mem, "PRAGMA integrity_check(%s)",
                                        name_of(c, tables[i].name));
        bool done;

        begin_part(c, tables[i].name);
        e = check_at_once(c, pragma, &done);
        if (e == OK && !done)
            e = read_table(c, &tables[i]);
    }
    return e;
}

static enum err check(struct checking *c)
{
    bool done;
    enum err e;

    begin_part(c, "all tables");
    e = check_at_once(c, mem_printf(c->task->mem, "PRAGMA %s(1)", how_to_check(c)), &done);
    c->how->in_parts = !done;
    return e == OK && !done ? check_tables(c) : e;
}

enum err sqlite_integrity_check(struct task *task, struct sqlite_db *db,
                                struct sqlite_integrity *how, const char **ret_fault)
{
    struct checking c = {.task = task, .db = db, .how = how};
    enum err e = sqlite_db_exec(task, db, "PRAGMA cell_size_check = ON");

    *ret_fault = NULL;
    how->in_parts = false;
    if (e == OK)
        e = sqlite_db_exec(task, db, "SELECT 1 FROM sqlite_schema LIMIT 1");
    if (e != OK)
        return e;
    c.log_pages = find_log(db);
    pthread_mutex_init(&c.lock, NULL);
    clock_condition(&c.ended);
    if (thread_start(&c.thread, watch, &c) != 0)
        return fail(task, ERR_STORE, "cannot start a thread: raise the limit of threads");
    e = check(&c);
    pthread_mutex_lock(&c.lock);
    c.has_ended = true;
    pthread_cond_signal(&c.ended);
    pthread_mutex_unlock(&c.lock);
    pthread_join(c.thread, NULL);
    *ret_fault = c.fault;
    return e;
}
