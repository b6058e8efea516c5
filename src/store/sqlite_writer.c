#include "store/sqlite_writer.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/thread.h"
#include "store/implementation.h"
#include "store/sqlite_check.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    GROUP = 128,
    PAGE_BYTES = 4096,
    CHECKPOINT_PAGES = 1000, /* that are copied into the file at a time */
    RESTART_PAGES = 2000,    /* of the log, from where on it should begin anew */
    RESTART_MS = 50,         /* that writers wait at most for readers to leave the log */
    BUSY_MS = 5000,
    STOP_MS = 10000, /* a log of some size is copied meanwhile; a disk may not answer at all */
    REFRESH_MS = 1000,
    TOLD_PAGES = 16 << 10,         /* 64 MiB: a log that is worth a warning */
    FREE_BYTES_LEAST = 1 << 20,    /* even deleting needs space */
    PROVEN_MS = 5000,              /* what was written so lately can be written */
    WAIT_MS = 30000,               /* of a task that has no deadline */
    MERGE_PAGES = 8,               /* of the search index, with each group */
    MERGE_REST = 8,                /* groups, where there was nothing to merge, or it failed */
    MERGE_DOUBLED = 9,             /* times that the rest is doubled at most, while it fails */
    MERGE_TOLD = 2,                /* failures in a row: one alone may be the disk's */
    LATER_MOST = 1024,             /* writes that nobody waits for, of those that wait */
    LATER_SHARED = LATER_MOST / 2, /* of them, that may all be one owner's */
    LATER_OF_ONE = LATER_MOST / 8, /* one owner's, once more than that wait */
    OWNERS = 1024,                 /* who are told apart among them, by a hash */
};

struct write {
    struct write *next;
    struct task *task;
    sqlite_write *apply;
    void *argument;
    enum err outcome;
    bool taken; /* by the writer's thread: it happens, or fails, whoever waits */

    /* Of one that is told of on a loop; it lies in its task's memory. */
    struct store_later *later; /* NULL: a thread waits */
    struct loop *home;
    unsigned owner; /* the place of its count */
    struct post post;
    int64_t until_ms; /* it leaves the queue unless it is taken, monotonic */

    /* Of the others. Its outcome is known. Each has its own, so that a commit wakes those who were
     * part of it alone. ThreadSanitizer does not know sem_clockwait(): the flag is its order of
     * events. */
    sem_t woken;
    atomic_bool is_known;
};

struct sqlite_writer {
    struct sqlite_db db;
    char *path, *folder;
    struct sqlite_seal *seal;
    pthread_t thread, copier;
    struct sqlite_checker *checker;

    pthread_mutex_t lock;
    pthread_cond_t queued, logged, closed;
    struct write *first, **last;
    bool stopping, is_closed;
    bool failing;
    bool copying_due;
    atomic_uint later_count; /* that wait, or are about to */
    atomic_uint later_of[OWNERS];

    _Atomic(int64_t) wrote_ms; /* monotonic; 0: the last time it could not */

    int merge_pages, merge_rest; /* the writer's thread only, and the next three */
    int merge_failures;          /* in a row */
    int log_pages;
    int asked_pages;   /* when it last asked for copying */
    atomic_int copied; /* pages of the log that are in the file */
    _Atomic(enum sqlite_emptying) emptying;
};

static int on_commit(void *argument, sqlite3 *handle, const char *name, int pages)
{
    struct sqlite_writer *writer = argument;

    (void)handle;
    (void)name;
    if (pages < writer->log_pages) {
        writer->asked_pages = 0; /* it has begun anew */
        atomic_store(&writer->copied, 0);
        sqlite_seal_log_begun(writer->seal);
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

/* Copies all of the log, if its readers leave it within a moment. */
static void copy_all(const struct sqlite_writer *writer, int mode)
{
    sqlite3_busy_timeout(writer->db.handle, RESTART_MS);
    sqlite_seal_checkpoint(writer->seal, writer->db.handle, mode, NULL, NULL);
    sqlite3_busy_timeout(writer->db.handle, BUSY_MS);
}

/* The log keeps the size that it once had: what is missing may be there. */
static bool make_space(const struct sqlite_writer *writer)
{
    if (sqlite_has_space(writer->folder))
        return true;
    copy_all(writer, SQLITE_CHECKPOINT_TRUNCATE);
    return sqlite_has_space(writer->folder);
}

static const char no_time[] = "the write missed its deadline";

static void fail_all(struct write *group, enum err e, const char *why)
{
    for (struct write *w = group; w != NULL; w = w->next)
        w->outcome = fail(w->task, e, mem_string(w->task->mem, why));
}

/* Whether the transaction still stands, with the whole of this write or nothing of it. */
static bool apply_one(struct sqlite_writer *writer, struct write *w)
{
    enum err e = sqlite_db_simple(w->task, &writer->db, SQL_SAVE);

    assert(w->apply != NULL);
    if (e != OK) {
        w->outcome = e; /* nothing to undo: trying to would hide why */
        return false;
    }
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

static enum err merge_some(struct task *task, struct sqlite_db *db, void *argument)
{
    struct sqlite_writer *writer = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MERGE_SOME);
    int before = sqlite3_total_changes(db->handle);
    enum err e;

    if (s != NULL)
        sqlite3_bind_int(s, 1, writer->merge_pages);
    e = sqlite_db_run(task, db, s, NULL);
    if (e == OK && sqlite3_total_changes(db->handle) - before > 1)
        writer->merge_rest = 0; /* there may be more */
    return e;
}

static void note_merge(struct sqlite_writer *writer, enum err e, const char *why)
{
    int failures = writer->merge_failures;

    if (e == OK && failures >= MERGE_TOLD)
        log_info(NULL, "the search index is merged again");
    writer->merge_failures = e == OK ? 0 : failures + 1;
    if (e == OK)
        return;
    metric_add(METRIC_store_merge_failures, 1);
    writer->merge_rest = MERGE_REST << (failures < MERGE_DOUBLED ? failures : MERGE_DOUBLED);
    if (failures + 1 == MERGE_TOLD)
        log_warning(NULL, "the search index cannot be merged: searching for users becomes slower",
                    LOG_S("detail", why));
}

/* Each name that is written is a piece of the search index of its own. Pieces are merged in steps
 * that nobody notices, more of them where more is written. Behind a failure as little as can be is
 * written, so that it gets through; and while merging fails it is no part of a group, which might
 * fail with it. False: the transaction is gone. */
static bool merge_words(struct sqlite_writer *writer, struct task *task, const struct write *group)
{
    struct write merging = {.task = task, .apply = merge_some, .argument = writer};
    bool stands;

    if (writer->merge_failures > 0 || writer->merge_rest-- > 0)
        return true;
    writer->merge_rest = MERGE_REST;
    writer->merge_pages = MERGE_PAGES;
    for (const struct write *w = group; w != NULL && w->next != NULL; w = w->next->next)
        writer->merge_pages++;
    stands = apply_one(writer, &merging);
    if (merging.outcome != OK)
        note_merge(writer, merging.outcome, task->text);
    return stands;
}

static void roll_back(struct sqlite_writer *writer, struct task *task)
{
    if (!sqlite3_get_autocommit(writer->db.handle))
        (void)!sqlite_db_simple(task, &writer->db, SQL_ROLLBACK);
}

/* After an I/O error nothing is known of what SQLite holds in memory: begin afresh. Whether the
 * file itself has suffered is looked for beside. */
static enum err reopen(struct sqlite_writer *writer, struct task *task)
{
    enum err e = sqlite_db_open(task, writer->path, SQLITE_OPEN_READWRITE, &writer->db);

    if (e != OK)
        return e;
    sqlite3_wal_hook(writer->db.handle, on_commit, writer);
    e = sqlite_db_exec(task, &writer->db, SQLITE_WRITER_PRAGMAS);
    if (e != OK)
        sqlite_db_close(&writer->db);
    return e;
}

static enum err begin(struct sqlite_writer *writer, struct task *task)
{
    enum err e = sqlite_checker_admit(task, writer->checker);

    if (e == OK && sqlite_seal_is_foreign(writer->seal))
        e = fail(task, ERR_STORE,
                 mem_printf(task->mem,
                            "%s was replaced while the server runs: stop manus, then run: manus "
                            "restore %s",
                            writer->path, writer->path));
    if (e == OK && writer->db.handle == NULL)
        e = reopen(writer, task);
    if (e == OK && !make_space(writer))
        e = fail(task, ERR_STORE_FULL, "the disk of DATA_DIR is full: free some space");
    return e == OK ? sqlite_db_simple(task, &writer->db, SQL_BEGIN) : e;
}

static enum err commit(struct sqlite_writer *writer, struct task *task, struct write *group)
{
    if (group == NULL)
        return sqlite_db_simple(task, &writer->db, SQL_ROLLBACK);
    if (!apply_all(writer, group) || !merge_words(writer, task, group))
        return sqlite_db_fail(task, &writer->db);
    return sqlite_db_simple(task, &writer->db, SQL_COMMIT);
}

static void clean_up(struct sqlite_writer *writer, struct task *task, enum err e)
{
    int code;

    if (writer->db.handle == NULL)
        return;
    code = sqlite3_errcode(writer->db.handle) & 0xff;
    writer->merge_rest = MERGE_REST;
    roll_back(writer, task);
    if (e == ERR_STORE && (code == SQLITE_IOERR || code == SQLITE_CORRUPT)) {
        sqlite_db_close(&writer->db);
        sqlite_checker_ask(writer->checker);
    }
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

/* As the log is begun anew, but its file is empty then. One try: it may cost a wait for readers. */
static void empty_log(struct sqlite_writer *writer)
{
    int code;

    if (writer->log_pages - atomic_load(&writer->copied) > CHECKPOINT_PAGES) {
        ask_for_copying(writer);
        atomic_store(&writer->emptying, LOG_KEPT);
        return;
    }
    sqlite3_busy_timeout(writer->db.handle, RESTART_MS);
    code = sqlite_seal_checkpoint(writer->seal, writer->db.handle, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                  NULL);
    sqlite3_busy_timeout(writer->db.handle, BUSY_MS);
    atomic_store(&writer->emptying, code == SQLITE_OK ? LOG_EMPTIED : LOG_KEPT);
}

/* A log that is copied while it grows is never empty: when little is left, its writer copies that
 * and has the log begin anew, which takes as long as the readers of the log do, or is given up. A
 * reader that lasts keeps the copying back, so that this is not tried. */
static void care_for_log(struct sqlite_writer *writer)
{
    int left = writer->log_pages - atomic_load(&writer->copied);

    if (writer->db.handle != NULL && atomic_load(&writer->emptying) == LOG_WANTED)
        empty_log(writer);
    if (writer->db.handle == NULL || writer->log_pages - writer->asked_pages < CHECKPOINT_PAGES)
        return;
    if (writer->log_pages < RESTART_PAGES || left > CHECKPOINT_PAGES + CHECKPOINT_PAGES / 2) {
        ask_for_copying(writer);
        return;
    }
    writer->asked_pages = writer->log_pages;
    copy_all(writer, SQLITE_CHECKPOINT_RESTART);
}

/* A place among the counts; those of nobody's writes share OWNERS, which has none. */
static unsigned place_of(const char *owner)
{
    uint32_t hash = 2166136261; /* FNV-1a */

    if (owner == NULL)
        return OWNERS;
    for (; *owner != '\0'; owner++)
        hash = (hash ^ (unsigned char)*owner) * 16777619;
    return hash % OWNERS;
}

static void leave_place(struct sqlite_writer *writer, unsigned owner)
{
    assert(atomic_load(&writer->later_count) > 0);
    atomic_fetch_sub(&writer->later_count, 1);
    if (owner != OWNERS)
        atomic_fetch_sub(&writer->later_of[owner], 1);
}

/* One owner's flood leaves half of all places to the others. */
static bool admits(struct sqlite_writer *writer, unsigned owner)
{
    unsigned waiting = atomic_fetch_add(&writer->later_count, 1);
    unsigned own = owner == OWNERS ? 0 : atomic_fetch_add(&writer->later_of[owner], 1);

    if (waiting < LATER_SHARED || (waiting < LATER_MOST && own < LATER_OF_ONE))
        return true;
    leave_place(writer, owner);
    return false;
}

/* NULL: nobody waits any more. */
static struct write *take_group(struct sqlite_writer *writer)
{
    struct write *group = NULL, **last = &group;

    pthread_mutex_lock(&writer->lock);
    for (int i = 0; i < GROUP && writer->first != NULL; i++) {
        *last = writer->first;
        writer->first = take_ptr((*last)->next);
        assert(!(*last)->taken);
        (*last)->taken = true;
        if ((*last)->later != NULL)
            leave_place(writer, (*last)->owner);
        last = &(*last)->next;
    }
    if (writer->first == NULL)
        writer->last = &writer->first;
    pthread_mutex_unlock(&writer->lock);
    return group;
}

static void report(struct post *post)
{
    struct write *w = container_of(post, struct write, post);

    assert(loop_current() == w->home);
    store_later_end(w->later, w->outcome);
}

/* Those of one loop together, so that it wakes once. Where done() is called they are gone. */
static void send_home(struct write *group)
{
    while (group != NULL) {
        struct loop *home = group->home;
        struct post *posts = NULL, **last = &posts;

        for (struct write **at = &group, *w; (w = *at) != NULL;) {
            if (w->home != home) {
                at = &w->next;
                continue;
            }
            *at = w->next;
            w->post = (struct post){.run = report};
            *last = &w->post;
            last = &w->post.next;
        }
        if (home != NULL) {
            loop_post_all(home, posts);
            continue;
        }
        for (struct post *next; posts != NULL; posts = next) {
            next = posts->next;
            report(posts);
        }
    }
}

static void finish_group(struct write *group)
{
    struct write *later = NULL, **last = &later, *next;

    for (struct write *w = group; w != NULL; w = next) {
        next = w->next; /* once it is woken, its owner may take it away */
        if (w->later != NULL) {
            w->next = NULL;
            *last = w;
            last = &w->next;
            continue;
        }
        assert(!atomic_load(&w->is_known));
        atomic_store(&w->is_known, true);
        sem_post(&w->woken);
    }
    send_home(later);
}

/* Of a write that no thread waits for: it is too late for it. */
static bool is_over(const struct write *w, int64_t now_ms)
{
    return w->later != NULL && (atomic_load(w->later->gone) || now_ms > w->until_ms);
}

static void fail_late(struct write *w)
{
    w->outcome = fail(w->task, atomic_load(w->later->gone) ? ERR_GONE : ERR_BUSY, no_time);
}

/* Takes those for which it is too late out of the list: they do not happen. */
static struct write *take_late(struct write **at, int64_t now_ms)
{
    struct write *late = NULL, **last = &late, *w;

    while ((w = *at) != NULL) {
        if (!is_over(w, now_ms)) {
            at = &w->next;
            continue;
        }
        *at = take_ptr(w->next);
        fail_late(w);
        *last = w;
        last = &w->next;
    }
    return late;
}

/* Who waits may leave until the transaction has begun, since another program may be in its way. */
static void write_group(struct sqlite_writer *writer)
{
    auto_tree void *mem = mem_tree(1024);
    struct task task = {.mem = mem, .job = "sqlite writer"};
    enum err e = begin(writer, &task);
    struct write *group = take_group(writer), *late = take_late(&group, clock_mono_ms());
    const char *why;

    finish_group(late);

    if (e == OK)
        e = commit(writer, &task, group);
    why = task.text == NULL ? "unknown" : task.text;
    if (e != OK) {
        clean_up(writer, &task, e);
        fail_all(group, e, why);
    }
    if (e != OK || group != NULL)
        log_change(writer, e, why);
    finish_group(group);
}

/* Whoever closes last may copy the log and remove it. */
static void close_last(struct sqlite_writer *writer)
{
    if (writer->db.handle == NULL)
        return;
    if (!sqlite_seal_break(writer->seal)) {
        sqlite_db_close(&writer->db);
        return;
    }
    sqlite3_db_config(writer->db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    sqlite_db_close(&writer->db);
    sqlite_seal_set(writer->seal);
}

/* What may hang on the disk is done here, so that the stop need not wait for it. */
static void close_all(struct sqlite_writer *writer)
{
    pthread_join(writer->copier, NULL);
    sqlite_checker_stop(writer->checker);
    close_last(writer);
    pthread_mutex_lock(&writer->lock);
    writer->is_closed = true;
    pthread_cond_signal(&writer->closed);
    pthread_mutex_unlock(&writer->lock);
}

/* Behind a group whose outcome is known. What is tried in a transaction of its own fails alone. */
static void merge_apart(struct sqlite_writer *writer)
{
    auto_tree void *mem = NULL;
    struct task task = {.job = "sqlite writer"};
    enum err e;

    if (writer->merge_failures == 0 || writer->db.handle == NULL || writer->merge_rest-- > 0)
        return;
    mem = mem_tree(1024);
    task.mem = mem;
    writer->merge_pages = MERGE_PAGES;
    e = sqlite_db_simple(&task, &writer->db, SQL_BEGIN);
    if (e == OK)
        e = merge_some(&task, &writer->db, writer);
    if (e == OK)
        e = sqlite_db_simple(&task, &writer->db, SQL_COMMIT);
    if (e != OK)
        clean_up(writer, &task, e);
    note_merge(writer, e, task.text);
}

static void *write_groups(void *argument)
{
    struct sqlite_writer *writer = argument;

    pthread_setname_np(pthread_self(), "sqlite writer");
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (writer->first == NULL && !writer->stopping)
            pthread_cond_wait(&writer->queued, &writer->lock);
        if (writer->first == NULL)
            break;
        pthread_mutex_unlock(&writer->lock);
        write_group(writer);
        merge_apart(writer);
        care_for_log(writer);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    close_all(writer);
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
        log_warning(NULL, "the store's log grows: a program has been reading the store for long",
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
    code = sqlite_seal_checkpoint(writer->seal, c->db.handle, SQLITE_CHECKPOINT_PASSIVE, &log,
                                  &copied);
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
        struct timespec deadline = clock_deadline(REFRESH_MS);
        bool due;

        while (!writer->copying_due && !writer->stopping &&
               pthread_cond_timedwait(&writer->logged, &writer->lock, &deadline) == 0)
            ;
        if (writer->stopping)
            break;
        due = writer->copying_due;
        writer->copying_due = false;
        pthread_mutex_unlock(&writer->lock);
        if (due)
            copy_log(writer, &copying);
        sqlite_seal_refresh(writer->seal);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    sqlite_db_close(&copying.db);
    return NULL;
}

struct sqlite_writer *sqlite_writer_start(void *mem, const char *path, const struct sqlite_db *db,
                                          struct sqlite_seal *seal)
{
    struct sqlite_writer *writer = mem_new(mem, struct sqlite_writer);

    writer->db = *db;
    writer->path = mem_string(writer, path);
    writer->seal = seal;
    writer->folder = dirname(mem_string(writer, path));
    writer->last = &writer->first;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->queued, NULL);
    clock_condition(&writer->logged);
    clock_condition(&writer->closed);
    sqlite3_wal_hook(writer->db.handle, on_commit, writer);
    writer->checker = sqlite_checker_start(writer, path);
    if (thread_start(&writer->thread, write_groups, writer) != 0 ||
        thread_start(&writer->copier, copy_when_due, writer) != 0) {
        fputs("manus: cannot start the store's threads: raise the limit of threads\n", stderr);
        abort();
    }
    return writer;
}

/* Under the lock. It will not happen any more. */
static void leave_queue(struct sqlite_writer *writer, const struct write *w)
{
    struct write **at = &writer->first;

    while (*at != w) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = w->next;
    if (writer->last == &w->next)
        writer->last = at;
}

static int64_t patience_ms(const struct task *task)
{
    return task->deadline_ms == 0 ? clock_mono_ms() + WAIT_MS : task->deadline_ms;
}

/* False: its time was over before it was taken, and it does not happen. Once it is taken its
 * outcome is not long in coming, and has to be known. */
static bool await(struct sqlite_writer *writer, struct write *w, const struct timespec *until)
{
    bool taken;
    int wrong;

    do
        wrong = sem_clockwait(&w->woken, CLOCK_MONOTONIC, until) == 0 ? 0 : errno;
    while (wrong == EINTR);
    if (wrong == 0)
        return atomic_load(&w->is_known);
    pthread_mutex_lock(&writer->lock);
    taken = w->taken;
    if (!taken)
        leave_queue(writer, w);
    pthread_mutex_unlock(&writer->lock);
    while (taken && sem_wait(&w->woken) != 0)
        continue;
    return taken && atomic_load(&w->is_known);
}

static void put_in_queue(struct sqlite_writer *writer, struct write *first, struct write **last)
{
    bool was_empty;

    assert(first != NULL && *last == NULL);
    pthread_mutex_lock(&writer->lock);
    was_empty = writer->first == NULL;
    *writer->last = first;
    writer->last = last;
    pthread_mutex_unlock(&writer->lock);
    if (was_empty)
        pthread_cond_signal(&writer->queued);
}

enum err sqlite_writer_run(struct task *task, struct sqlite_writer *writer, sqlite_write *apply,
                           void *argument)
{
    struct write w = {.task = task, .apply = apply, .argument = argument};
    int64_t until_ms = patience_ms(task);
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    bool done;

    assert_off_loops();
    sem_init(&w.woken, 0, 0);
    put_in_queue(writer, &w, &w.next);
    done = await(writer, &w, &until);
    sem_destroy(&w.woken);
    return done ? w.outcome : fail(task, ERR_BUSY, no_time);
}

/* What this turn of the loop has begun. */
static __thread struct gathered {
    struct post post;
    struct sqlite_writer *writer; /* NULL: nothing */
    struct write *first, **last;
} gathered;

static void hand_over(struct post *post)
{
    struct gathered *g = container_of(post, struct gathered, post);

    assert(g->writer != NULL);
    put_in_queue(g->writer, g->first, g->last);
    g->writer = NULL;
}

static void gather(struct sqlite_writer *writer, struct write *w)
{
    if (gathered.writer == NULL) {
        gathered = (struct gathered){{.run = hand_over}, writer, w, &w->next};
        loop_post_behind(w->home, &gathered.post);
        return;
    }
    assert(gathered.writer == writer && "a loop serves one store");
    *gathered.last = w;
    gathered.last = &w->next;
}

enum err sqlite_writer_begin(struct task *task, struct sqlite_writer *writer, sqlite_write *apply,
                             void *argument, struct store_later *later)
{
    unsigned owner = place_of(later->owner);
    struct write *w;

    assert(later->done != NULL && later->gone != NULL);
    if (!admits(writer, owner))
        return fail(task, ERR_BUSY, no_time);
    w = mem_new(task->mem, struct write);
    w->task = task;
    w->apply = apply;
    w->argument = argument;
    w->later = later;
    w->owner = owner;
    w->home = loop_current();
    w->until_ms = patience_ms(task);
    if (w->home == NULL)
        put_in_queue(writer, w, &w->next);
    else
        gather(writer, w);
    return OK;
}

void sqlite_writer_expire(struct sqlite_writer *writer)
{
    struct write *late, **last = &writer->first;

    pthread_mutex_lock(&writer->lock);
    late = take_late(&writer->first, clock_mono_ms());
    for (const struct write *w = late; w != NULL; w = w->next)
        leave_place(writer, w->owner);
    while (*last != NULL)
        last = &(*last)->next;
    writer->last = last;
    pthread_mutex_unlock(&writer->lock);
    finish_group(late);
}

void sqlite_writer_want_empty_log(struct sqlite_writer *writer)
{
    atomic_store(&writer->emptying, LOG_WANTED);
}

enum sqlite_emptying sqlite_writer_emptying(struct sqlite_writer *writer)
{
    return atomic_load(&writer->emptying);
}

bool sqlite_writer_is_proven(struct sqlite_writer *writer)
{
    int64_t wrote_ms = atomic_load(&writer->wrote_ms);

    return wrote_ms != 0 && clock_mono_ms() - wrote_ms < PROVEN_MS;
}

void sqlite_writer_stop(struct sqlite_writer *writer)
{
    struct timespec until = clock_deadline(STOP_MS);
    bool is_closed;

    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_signal(&writer->queued);
    pthread_cond_signal(&writer->logged);
    while (!writer->is_closed &&
           pthread_cond_timedwait(&writer->closed, &writer->lock, &until) == 0)
        continue;
    is_closed = writer->is_closed;
    pthread_mutex_unlock(&writer->lock);
    if (is_closed) {
        pthread_join(writer->thread, NULL);
        return;
    }
    log_critical(NULL, "the store's disk does not answer: exiting without closing the store",
                 LOG_S("mend", "check the kernel log (dmesg) and the disk"));
    log_stop();
    _exit(EX_SOFTWARE);
}
