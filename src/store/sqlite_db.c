#include "store/sqlite_db.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/log.h"
#include "store/event.h"

#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
    BUSY_MS = 5000,
    PIECE = 65536,
    TELL_MS = 60000,
    FULL_BLOCKS = 32, /* SQLite's index grows by 8 */
};

static const char *const statement_texts[SQL_COUNT] = {
#define TEXT(name, sql) [SQL_##name] = (sql),
    SQLITE_STATEMENTS(TEXT)
#undef TEXT
};

/* What the machine or the files cause, and only an operator can mend. */
static struct cause {
    int code;
    const char *message, *mend;
    _Atomic(int64_t) told_ms; /* monotonic; 0: never */
} causes[] = {
    {SQLITE_FULL, "the disk of DATA_DIR is full", "free some space", 0},
    {SQLITE_CORRUPT, "the store is damaged", "stop manus and restore a backup: manus restore FILE",
     0},
    {SQLITE_NOTADB, "the store is damaged", "stop manus and restore a backup: manus restore FILE",
     0},
    {SQLITE_IOERR, "the disk of DATA_DIR reports errors",
     "check the kernel log (dmesg) and the disk", 0},
    {SQLITE_CANTOPEN, "the store's files cannot be opened",
     "make the user of manus the owner of all files in DATA_DIR", 0},
    {SQLITE_READONLY, "the store's files cannot be written",
     "make the user of manus the owner of all files in DATA_DIR, on a writable file system", 0},
    {SQLITE_PERM, "the store's files cannot be opened",
     "make the user of manus the owner of all files in DATA_DIR", 0},
    {SQLITE_BUSY, "another program has locked the store", "stop that program", 0},
    {SQLITE_LOCKED, "another program has locked the store", "stop that program", 0},
};

static bool is_disk_full(sqlite3 *handle)
{
    const char *path = sqlite3_db_filename(handle, "main");
    auto_tree void *mem = mem_tree(512);
    struct statvfs fs;

    return path != NULL && statvfs(dirname(mem_string(mem, path)), &fs) == 0 &&
           fs.f_bavail < FULL_BLOCKS;
}

/* Of a full disk SQLite tells as of other errors, where its index in shared memory has no room. */
static struct cause *cause_of(sqlite3 *handle, int code)
{
    int kind = code & 0xff;

    if (code == SQLITE_IOERR_SHMSIZE || (kind == SQLITE_IOERR && is_disk_full(handle)))
        kind = SQLITE_FULL;
    for (size_t i = 0; i < count_of(causes); i++) {
        if (causes[i].code == kind)
            return &causes[i];
    }
    return NULL;
}

/* Each request that comes upon it has a line of its own, at a lower level. */
static void tell(struct cause *cause, const char *detail)
{
    int64_t now_ms = clock_mono_ms(), told_ms = atomic_load(&cause->told_ms);

    if (!log_wants(LOG_ERROR) || (told_ms != 0 && now_ms - told_ms < TELL_MS) ||
        !atomic_compare_exchange_strong(&cause->told_ms, &told_ms, now_ms))
        return;
    log_error(NULL, cause->message, LOG_S("detail", detail), LOG_S("mend", cause->mend));
}

enum err sqlite_db_fail(struct task *task, struct sqlite_db *db)
{
    int code = sqlite3_extended_errcode(db->handle);
    struct cause *cause = cause_of(db->handle, code);
    const char *text = mem_printf(task->mem, "%s (%d)", sqlite3_errmsg(db->handle), code);

    if (cause != NULL) {
        tell(cause, text);
        text = mem_printf(task->mem, "%s: %s: %s", text, cause->message, cause->mend);
    }
    return fail(task, (code & 0xff) == SQLITE_FULL ? ERR_STORE_FULL : ERR_STORE, text);
}

/* mailbox_hash(key, email): the same for all addresses of one mailbox. */
static void hash_mailbox(sqlite3_context *context, int count, sqlite3_value **values)
{
    auto_tree void *mem = mem_tree(2048);
    const void *key = sqlite3_value_blob(values[0]);
    size_t key_len = (size_t)sqlite3_value_bytes(values[0]);
    const char *email = (const char *)sqlite3_value_text(values[1]), *mailbox;
    uint8_t hash[CRYPTO_HASH_BYTES];

    (void)count;
    if (key == NULL || email == NULL)
        return;
    mailbox = email_mailbox(mem, email_key(mem, email));
    crypto_hmac(hash, key, key_len, mailbox, strlen(mailbox));
    sqlite3_result_blob(context, hash, sizeof hash, SQLITE_TRANSIENT);
}

/* The rules of store/event.h for statements. */
static void next_of_event(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_int64(context, event_next_ms(sqlite3_value_int64(values[0]),
                                                (unsigned)sqlite3_value_int(values[1])));
}

static void says_only_change(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *type = (const char *)sqlite3_value_text(values[0]);

    (void)count;
    sqlite3_result_int(context, type != NULL && event_says_only_change(type));
}

static void is_settled_by_link(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_int(context,
                       event_is_settled_by_link((enum event_reason)sqlite3_value_int(values[0])));
}

/* What statements call. */
static bool make_functions(sqlite3 *handle)
{
    static const struct {
        const char *name;
        int count;
        void (*run)(sqlite3_context *context, int count, sqlite3_value **values);
    } functions[] = {
        {"mailbox_hash", 2, hash_mailbox},
        {"event_next_ms", 2, next_of_event},
        {"event_says_only_change", 1, says_only_change},
        {"event_is_settled_by_link", 1, is_settled_by_link},
    };

    for (size_t i = 0; i < count_of(functions); i++) {
        if (sqlite3_create_function_v2(handle, functions[i].name, functions[i].count,
                                       SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                       functions[i].run, NULL, NULL, NULL) != SQLITE_OK)
            return false;
    }
    return true;
}

/* SQLite counts its memory under a lock that each allocation of each connection takes; nobody reads
 * the count. Refused, with nothing lost, once SQLite is in use. */
static void count_no_memory(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum err sqlite_db_open(struct task *task, const char *path, int flags, struct sqlite_db *ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, count_no_memory);
    *ret = (struct sqlite_db){0};
    if (sqlite3_open_v2(path, &ret->handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK) {
        enum err e = ret->handle == NULL ? fail(task, ERR_STORE, "out of memory")
                                         : sqlite_db_fail(task, ret);

        sqlite_db_close(ret);
        return e;
    }
    sqlite3_busy_timeout(ret->handle, BUSY_MS);
    sqlite3_db_config(ret->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (!make_functions(ret->handle)) {
        enum err e = sqlite_db_fail(task, ret);

        sqlite_db_close(ret);
        return e;
    }
    return OK;
}

static bool can_be_read(sqlite3_file *file)
{
    auto_tree void *mem = mem_tree(0);
    char *piece = mem_zero(mem, PIECE);
    sqlite3_int64 size = 0;
    int code = SQLITE_OK;

    if (file == NULL || file->pMethods == NULL)
        return true;
    if (file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return false;
    for (sqlite3_int64 at = 0; at < size && code == SQLITE_OK; at += PIECE)
        code = file->pMethods->xRead(file, piece, PIECE, at);
    return code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ;
}

bool sqlite_db_is_damaged(const struct sqlite_db *db)
{
    int code = sqlite3_errcode(db->handle) & 0xff;

    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

bool sqlite_db_is_readable(struct sqlite_db *db)
{
    sqlite3_file *file = NULL, *log = NULL;

    sqlite3_file_control(db->handle, NULL, SQLITE_FCNTL_FILE_POINTER, &file);
    sqlite3_file_control(db->handle, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &log);
    return can_be_read(file) && can_be_read(log);
}

void sqlite_db_close(struct sqlite_db *db)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    *db = (struct sqlite_db){0};
}

enum err sqlite_db_exec(struct task *task, struct sqlite_db *db, const char *sql)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? OK
                                                                        : sqlite_db_fail(task, db);
}

enum err sqlite_db_check(struct task *task, struct sqlite_db *db, const char *pragma,
                         const char **ret_fault)
{
    sqlite3_stmt *statement = NULL;
    enum err e = OK;

    *ret_fault = NULL;
    if (sqlite3_prepare_v2(db->handle, pragma, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        e = sqlite_db_fail(task, db);
    } else {
        const char *said = (const char *)sqlite3_column_text(statement, 0);
        char *text = said == NULL ? NULL : mem_string(task->mem, said);

        *ret_fault = text != NULL && strcmp(text, "ok") == 0 ? NULL : text;
        for (; text != NULL && *text != '\0'; text++) {
            if (*text == '\n')
                *text = ' '; /* it is told in one line */
        }
    }
    sqlite3_finalize(statement);
    return e;
}

sqlite3_stmt *sqlite_db_statement(struct task *task, struct sqlite_db *db,
                                  enum sqlite_statement which)
{
    if (db->statements[which] == NULL &&
        sqlite3_prepare_v3(db->handle, statement_texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                           &db->statements[which], NULL) != SQLITE_OK)
        sqlite_db_fail(task, db);
    return db->statements[which];
}

enum err sqlite_db_prove(struct task *task, struct sqlite_db *db)
{
    for (int i = 0; i < SQL_COUNT; i++) {
        if (sqlite_db_statement(task, db, (enum sqlite_statement)i) != NULL)
            continue;
        return (sqlite3_errcode(db->handle) & 0xff) != SQLITE_ERROR
                   ? task->err
                   : fail(task, ERR_STORE,
                          mem_printf(task->mem,
                                     "the store is damaged (%s): stop manus and restore a backup: "
                                     "manus restore FILE",
                                     sqlite3_errmsg(db->handle)));
    }
    return OK;
}

void sqlite_db_done(sqlite3_stmt **statement)
{
    if (*statement != NULL) {
        sqlite3_reset(*statement);
        sqlite3_clear_bindings(*statement);
    }
}

enum err sqlite_db_run(struct task *task, struct sqlite_db *db, sqlite3_stmt *statement,
                       int *ret_changes)
{
    if (statement == NULL)
        return task->err;
    if (sqlite3_step(statement) != SQLITE_DONE)
        return sqlite_db_fail(task, db);
    if (ret_changes != NULL)
        *ret_changes = sqlite3_changes(db->handle);
    return OK;
}

enum err sqlite_db_row(struct task *task, struct sqlite_db *db, sqlite3_stmt *statement,
                       bool *ret_row)
{
    int code;

    if (statement == NULL)
        return task->err;
    code = sqlite3_step(statement);
    *ret_row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? OK : sqlite_db_fail(task, db);
}

enum err sqlite_db_simple(struct task *task, struct sqlite_db *db, enum sqlite_statement which)
{
    auto_statement sqlite3_stmt *statement = sqlite_db_statement(task, db, which);

    return sqlite_db_run(task, db, statement, NULL);
}

const char *sqlite_db_text(struct task *task, sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text == NULL ? NULL : mem_string(task->mem, text);
}

enum err sqlite_db_number(struct task *task, struct sqlite_db *db, enum sqlite_statement which,
                          int64_t *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, which);
    bool row = false;
    enum err e = sqlite_db_row(task, db, s, &row);

    if (e == OK)
        *ret = sqlite3_column_int64(s, 0);
    return e;
}
