#include "store/sqlite_writer.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"

#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
    GROUP = 128,
    PAGE_BYTES = 4096,
    CHECKPOINT_PAGES = 1000, /* that are copied into the file at a time */
    RESTART_PAGES = 2000,    /* of the log, from where on it should begin anew */
    RESTART_MS = 50,         /* that writers wait at most for readers to leave the log */
    BUSY_MS = 5000,
    TOLD_PAGES = 16 << 10,      /* 64 MiB: a log that is worth a warning */
    FREE_BYTES_LEAST = 1 << 20, /* even deleting needs space */
    PROVEN_MS = 5000,           /* what was written so lately can be written */
};

struct write {
    struct write *next;
    struct task *task;
    sqlite_write *apply;
    void *argument;
    enum err outcome;
    bool done;
};

struct sqlite_writer {
    struct sqlite_db db;
    char *path, *folder;
    pthread_t thread, copier;

    pthread_mutex_t lock;
    pthread_cond_t queued, finished, logged;
    struct write *first, **last;
    bool stopping;
    bool failing;
    bool copying_due;

    _Atomic(int64_t) wrote_ms; /* monotonic; 0: the last time it could not */

    int log_pages;     /* the writer's thread only, and the next */
    int asked_pages;   /* when it last asked for copying */
    atomic_int copied; /* pages of the log that are in the file */
};

static int on_commit(void *argument, sqlite3 *handle, const char *name, int pages)
{
    struct sqlite_writer *writer = argument;

    (void)handle;
    (void)name;
    if (pages < writer->log_pages) {
        writer->asked_pages = 0; /* it has begun anew */
        atomic_store(&writer->copied, 0);
    }
    writer->log_pages = pages;
    metric_set(METRIC_store_log_bytes, (int64_t)pages * PAGE_BYTES);
    atomic_store(&writer->wrote_ms, clock_mono_ms());
    return SQLITE_OK;
}

bool sqlite_has_space(const char *folder)
{
    struct statvfs fs;

    return statvfs(folder, &fs) != 0 || (uint64_t)fs.f_bavail * fs.f_frsize >= FREE_BYTES_LEAST;
}

/* The log keeps the size that it once had: what is missing may be there. */
static bool make_space(const struct sqlite_writer *writer)
{
    if (sqlite_has_space(writer->folder))
        return true;
    sqlite3_busy_timeout(writer->db.handle, RESTART_MS);
    sqlite3_wal_checkpoint_v2(writer->db.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(writer->db.handle, BUSY_MS);
    return sqlite_has_space(writer->folder);
}

static void fail_all(struct write *group, enum err e, const char *why)
{
    for (struct write *w = group; w != NULL; w = w->next)
        w->outcome = fail(w->task, e, mem_string(w->task->mem, why));
}

/* Whether the transaction still stands, with the whole of this write or nothing of it. */
static bool apply_one(struct sqlite_writer *writer, struct write *w)
{
    enum err e = sqlite_db_simple(w->task, &writer->db, SQL_SAVE);

    if (e == OK)
        e = w->apply(w->task, &writer->db, w->argument);
    w->outcome = e;
    if (sqlite3_get_autocommit(writer->db.handle))
        return false; /* SQLite has rolled the whole group back */
    if (e != OK && sqlite_db_simple(w->task, &writer->db, SQL_SAVE_UNDO) != OK)
        return false;
    return sqlite_db_simple(w->task, &writer->db, SQL_SAVE_END) == OK;
}

static bool apply_all(struct sqlite_writer *writer, struct write *group)
{
    for (struct write *w = group; w != NULL; w = w->next) {
        if (!apply_one(writer, w))
            return false;
    }
    return true;
}

static void roll_back(struct sqlite_writer *writer, struct task *task)
{
    if (!sqlite3_get_autocommit(writer->db.handle))
        (void)!sqlite_db_simple(task, &writer->db, SQL_ROLLBACK);
}

/* After an I/O error nothing is known of what SQLite holds in memory: begin afresh. */
static bool reopen(struct sqlite_writer *writer, struct task *task)
{
    const char *fault = NULL;

    sqlite_db_close(&writer->db);
    if (sqlite_db_open(task, writer->path, SQLITE_OPEN_READWRITE, &writer->db) != OK)
        return false;
    sqlite3_wal_hook(writer->db.handle, on_commit, writer);
    if (sqlite_db_exec(task, &writer->db, SQLITE_WRITER_PRAGMAS) == OK &&
        sqlite_db_check(task, &writer->db, "PRAGMA quick_check(1)", &fault) == OK && fault == NULL)
        return true;
    if (fault != NULL)
        fail(task, ERR_STORE, fault);
    sqlite_db_close(&writer->db);
    return false;
}

static enum err commit_group(struct sqlite_writer *writer, struct write *group,
                             const char **ret_why)
{
    auto_tree void *mem = mem_tree(1024);
    struct task task = {.mem = mem, .id = "sqlite writer"};
    enum err e;

    if (writer->db.handle == NULL && !reopen(writer, &task))
        e = ERR_STORE;
    else if (!make_space(writer))
        e = fail(&task, ERR_STORE_FULL, "the disk of DATA_DIR is full: free some space");
    else
        e = sqlite_db_simple(&task, &writer->db, SQL_BEGIN);
    if (e == OK && !apply_all(writer, group))
        e = sqlite_db_fail(&task, &writer->db);
    if (e == OK)
        e = sqlite_db_simple(&task, &writer->db, SQL_COMMIT);
    if (e == OK)
        return OK;

    *ret_why = mem_string(group->task->mem, task.text == NULL ? "unknown" : task.text);
    if (writer->db.handle != NULL) {
        int code = sqlite3_errcode(writer->db.handle) & 0xff;

        roll_back(writer, &task);
        if (e == ERR_STORE && (code == SQLITE_IOERR || code == SQLITE_CORRUPT))
            sqlite_db_close(&writer->db);
    }
    return e;
}

static void log_change(struct sqlite_writer *writer, enum err e, const char *why)
{
    bool was_failing;

    pthread_mutex_lock(&writer->lock);
    was_failing = writer->failing;
    writer->failing = e != OK;
    pthread_mutex_unlock(&writer->lock);
    if (e != OK)
        atomic_store(&writer->wrote_ms, 0);
    if (e != OK && !was_failing)
        log_error(NULL, "the store cannot write", LOG_S("detail", why));
    else if (e == OK && was_failing)
        log_info(NULL, "the store writes again");
}

static void ask_for_copying(struct sqlite_writer *writer)
{
    writer->asked_pages = writer->log_pages;
    pthread_mutex_lock(&writer->lock);
    writer->copying_due = true;
    pthread_cond_signal(&writer->logged);
    pthread_mutex_unlock(&writer->lock);
}

/* A log that is copied while it grows is never empty: when little is left, its writer copies that
 * and has the log begin anew, which takes as long as the readers of the log do, or is given up. A
 * reader that lasts keeps the copying back, so that this is not tried. */
static void care_for_log(struct sqlite_writer *writer)
{
    int left = writer->log_pages - atomic_load(&writer->copied);

    if (writer->db.handle == NULL || writer->log_pages - writer->asked_pages < CHECKPOINT_PAGES)
        return;
    if (writer->log_pages < RESTART_PAGES || left > CHECKPOINT_PAGES + CHECKPOINT_PAGES / 2) {
        ask_for_copying(writer);
        return;
    }
    writer->asked_pages = writer->log_pages;
    sqlite3_busy_timeout(writer->db.handle, RESTART_MS);
    sqlite3_wal_checkpoint_v2(writer->db.handle, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    sqlite3_busy_timeout(writer->db.handle, BUSY_MS);
}

static struct write *take_group(struct sqlite_writer *writer)
{
    struct write *group = writer->first, *last = group;

    for (int i = 1; i < GROUP && last->next != NULL; i++)
        last = last->next;
    writer->first = take_ptr(last->next);
    if (writer->first == NULL)
        writer->last = &writer->first;
    return group;
}

static void finish_group(struct sqlite_writer *writer, struct write *group)
{
    struct write *next;

    pthread_mutex_lock(&writer->lock);
    for (struct write *w = group; w != NULL; w = next) {
        next = w->next; /* once it is done, its owner may take it away */
        w->done = true;
    }
    pthread_cond_broadcast(&writer->finished);
    pthread_mutex_unlock(&writer->lock);
}

static void *write_groups(void *argument)
{
    struct sqlite_writer *writer = argument;

    pthread_setname_np(pthread_self(), "sqlite writer");
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        const char *why = NULL;
        struct write *group;
        enum err e;

        while (writer->first == NULL && !writer->stopping)
            pthread_cond_wait(&writer->queued, &writer->lock);
        if (writer->first == NULL)
            break;
        group = take_group(writer);
        pthread_mutex_unlock(&writer->lock);

        e = commit_group(writer, group, &why);
        if (e != OK)
            fail_all(group, e, why);
        log_change(writer, e, why);
        finish_group(writer, group);
        care_for_log(writer);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* The thread that copies the log into the file. */
struct copying {
    struct sqlite_db db;
    int log, copied;  /* pages, as the last look found them */
    int64_t since_ms; /* when the copying last went on, monotonic */
    bool is_told;
    bool has_failed;
};

static void copying_failed(struct copying *c, const char *why)
{
    if (!c->has_failed)
        log_error(NULL, "the store's log cannot be copied into its file", LOG_S("detail", why));
    c->has_failed = true;
    sqlite_db_close(&c->db);
}

/* A connection that has never read knows of no log. */
static bool open_copying(const struct sqlite_writer *writer, struct copying *c)
{
    auto_tree void *mem = mem_tree(1024);
    struct task task = {.mem = mem};

    if (c->db.handle != NULL)
        return true;
    if (sqlite_db_open(&task, writer->path, SQLITE_OPEN_READWRITE, &c->db) == OK &&
        sqlite_db_exec(&task, &c->db, "SELECT 1 FROM sqlite_schema LIMIT 1") == OK)
        return true;
    copying_failed(c, task.text);
    return false;
}

/* Whoever reads for long is told of once; what they hold back is disk alone. */
static void note_progress(struct copying *c, int log, int copied)
{
    int64_t now_ms = clock_mono_ms();
    int64_t bytes = (int64_t)log * PAGE_BYTES;

    if (log < c->log || copied > c->copied || copied == log)
        c->since_ms = now_ms;
    c->log = log;
    c->copied = copied;
    metric_set(METRIC_store_log_copied_bytes, (int64_t)copied * PAGE_BYTES);
    if (log - copied > TOLD_PAGES && !c->is_told) {
        log_warning(NULL, "the store's log grows: something reads the store for long",
                    LOG_I("bytes", bytes), LOG_I("for_s", (now_ms - c->since_ms) / 1000));
        c->is_told = true;
    } else if (copied == log && c->is_told) {
        log_info(NULL, "the store's log is copied again", LOG_I("bytes", bytes));
        c->is_told = false;
    }
}

static void copy_log(struct sqlite_writer *writer, struct copying *c)
{
    int log = -1, copied = -1, code;

    if (!open_copying(writer, c))
        return;
    code = sqlite3_wal_checkpoint_v2(c->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &copied);
    if ((code & 0xff) == SQLITE_BUSY)
        return; /* the writer does it itself at this moment */
    if (code != SQLITE_OK || log < 0) {
        copying_failed(c, code != SQLITE_OK ? sqlite3_errstr(code) : "SQLite knows of no log");
        return;
    }
    c->has_failed = false;
    atomic_store(&writer->copied, copied);
    note_progress(c, log, copied);
}

static void *copy_when_due(void *argument)
{
    struct sqlite_writer *writer = argument;
    struct copying copying = {.since_ms = clock_mono_ms()};

    pthread_setname_np(pthread_self(), "sqlite log");
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (!writer->copying_due && !writer->stopping)
            pthread_cond_wait(&writer->logged, &writer->lock);
        if (writer->stopping)
            break;
        writer->copying_due = false;
        pthread_mutex_unlock(&writer->lock);
        copy_log(writer, &copying);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    sqlite_db_close(&copying.db);
    return NULL;
}

struct sqlite_writer *sqlite_writer_start(void *mem, const char *path, const struct sqlite_db *db)
{
    struct sqlite_writer *writer = mem_new(mem, struct sqlite_writer);

    writer->db = *db;
    writer->path = mem_string(writer, path);
    writer->folder = dirname(mem_string(writer, path));
    writer->last = &writer->first;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->queued, NULL);
    pthread_cond_init(&writer->finished, NULL);
    pthread_cond_init(&writer->logged, NULL);
    sqlite3_wal_hook(writer->db.handle, on_commit, writer);
    if (pthread_create(&writer->thread, NULL, write_groups, writer) != 0 ||
        pthread_create(&writer->copier, NULL, copy_when_due, writer) != 0) {
        fputs("manus: cannot start the store's threads: raise the limit of threads\n", stderr);
        abort();
    }
    return writer;
}

enum err sqlite_writer_run(struct task *task, struct sqlite_writer *writer, sqlite_write *apply,
                           void *argument)
{
    struct write w = {.task = task, .apply = apply, .argument = argument};

    pthread_mutex_lock(&writer->lock);
    *writer->last = &w;
    writer->last = &w.next;
    pthread_cond_signal(&writer->queued);
    while (!w.done)
        pthread_cond_wait(&writer->finished, &writer->lock);
    pthread_mutex_unlock(&writer->lock);
    return w.outcome;
}

bool sqlite_writer_is_proven(struct sqlite_writer *writer)
{
    int64_t wrote_ms = atomic_load(&writer->wrote_ms);

    return wrote_ms != 0 && clock_mono_ms() - wrote_ms < PROVEN_MS;
}

void sqlite_writer_stop(struct sqlite_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_signal(&writer->queued);
    pthread_cond_signal(&writer->logged);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    pthread_join(writer->copier, NULL);
    sqlite_db_close(&writer->db);
}
