#include "store/sqlite_check.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/thread.h"
#include "store/sqlite_db.h"
#include "store/sqlite_integrity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum {
    PAUSE_MS = 30000, /* between two checks */
    LONGEST_PAUSE_MS = 86400000,
    LONGEST_MS = 600000, /* of one: it costs the disk and a processor */
    NICE = 10,
};

struct sqlite_checker {
    char *path;
    pthread_t thread;
    atomic_bool stopping, is_damaged;
    int64_t until_ms; /* of the check under way; set before it begins */
    int64_t pause_ms; /* behind it; its thread's */

    pthread_mutex_t lock;
    pthread_cond_t asked;
    bool due;
    char *damage; /* the first, since is_damaged */
};

static bool should_end(void *argument)
{
    const struct sqlite_checker *checker = argument;

    return atomic_load(&checker->stopping) || clock_mono_ms() >= checker->until_ms;
}

int64_t sqlite_check_pause(int64_t last_ms, bool was_too_long)
{
    if (!was_too_long)
        return PAUSE_MS;
    return last_ms > LONGEST_PAUSE_MS / 2 ? LONGEST_PAUSE_MS : 2 * last_ms;
}

enum finding { SOUND, DAMAGED, UNKNOWN };

/* A fault that was found after an interruption, or that a page could not be read, says nothing. */
static enum finding judge(struct sqlite_checker *checker, const struct sqlite_db *db, enum err e,
                          const char *fault)
{
    int code = sqlite3_errcode(db->handle) & 0xff;

    if (should_end(checker))
        return UNKNOWN;
    if (e != OK)
        return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? DAMAGED : UNKNOWN;
    if (fault == NULL)
        return SOUND;
    return strstr(fault, "unable to get the page") == NULL ? DAMAGED : UNKNOWN;
}

/* A connection of its own reads the disk, not what another remembers. */
static enum finding look(struct task *task, struct sqlite_checker *checker, const char **ret_fault)
{
    struct sqlite_integrity how = {.is_over = should_end, .argument = checker, .quick = true};
    enum finding finding = UNKNOWN;
    struct sqlite_db db;
    enum err e = sqlite_db_open(task, checker->path, SQLITE_OPEN_READWRITE, &db);

    *ret_fault = NULL;
    checker->until_ms = clock_mono_ms() + LONGEST_MS;
    if (e == OK)
        e = sqlite_db_exec(task, &db, SQLITE_READER_PRAGMAS);
    if (e == OK) {
        e = sqlite_integrity_check(task, &db, &how, ret_fault);
        finding = judge(checker, &db, e, *ret_fault);
    }
    if (finding != SOUND && *ret_fault == NULL)
        *ret_fault = task->text == NULL ? "it took too long" : task->text;
    sqlite_db_close(&db);
    return finding;
}

static void note(struct sqlite_checker *checker, enum finding finding, const char *fault)
{
    bool was_damaged = atomic_load(&checker->is_damaged);

    if (finding == DAMAGED && !was_damaged) {
        log_error(NULL, "the store is damaged and takes no writes: restore a backup",
                  LOG_S("detail", fault));
        pthread_mutex_lock(&checker->lock);
        talloc_free(checker->damage);
        checker->damage = mem_printf(checker, "the store is damaged: %s", fault);
        pthread_mutex_unlock(&checker->lock);
        atomic_store(&checker->is_damaged, true);
    } else if (finding == SOUND && was_damaged) {
        log_info(NULL, "the store is sound again");
        atomic_store(&checker->is_damaged, false);
    } else if (finding == UNKNOWN && !atomic_load(&checker->stopping)) {
        log_warning(NULL, "the check of the store did not finish", LOG_S("detail", fault),
                    LOG_I("again_in_s", checker->pause_ms / 1000));
    }
}

static void check(struct sqlite_checker *checker)
{
    auto_tree void *mem = mem_tree(1024);
    struct task task = {.mem = mem, .job = "sqlite check"};
    const char *fault;
    enum finding finding = look(&task, checker, &fault);

    checker->pause_ms = sqlite_check_pause(checker->pause_ms, should_end(checker));
    note(checker, finding, fault);
    if (finding != SOUND)
        sqlite_checker_ask(checker);
}

/* Under the lock. */
static void pause_between(struct sqlite_checker *checker)
{
    struct timespec until = clock_deadline(checker->pause_ms);
    int wrong = 0;

    while (!atomic_load(&checker->stopping) && wrong == 0)
        wrong = pthread_cond_timedwait(&checker->asked, &checker->lock, &until);
}

static void *check_when_asked(void *argument)
{
    struct sqlite_checker *checker = argument;

    pthread_setname_np(pthread_self(), "sqlite check");
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    pthread_mutex_lock(&checker->lock);
    for (;;) {
        while (!checker->due && !atomic_load(&checker->stopping))
            pthread_cond_wait(&checker->asked, &checker->lock);
        if (atomic_load(&checker->stopping))
            break;
        checker->due = false;
        pthread_mutex_unlock(&checker->lock);
        check(checker);
        pthread_mutex_lock(&checker->lock);
        pause_between(checker);
    }
    pthread_mutex_unlock(&checker->lock);
    return NULL;
}

struct sqlite_checker *sqlite_checker_start(void *mem, const char *path)
{
    struct sqlite_checker *checker = mem_new(mem, struct sqlite_checker);

    checker->path = mem_string(checker, path);
    checker->pause_ms = PAUSE_MS;
    pthread_mutex_init(&checker->lock, NULL);
    clock_condition(&checker->asked);
    if (thread_start(&checker->thread, check_when_asked, checker) != 0) {
        fputs("manus: cannot start the store's threads: raise the limit of threads\n", stderr);
        abort();
    }
    return checker;
}

void sqlite_checker_ask(struct sqlite_checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    checker->due = true;
    pthread_cond_signal(&checker->asked);
    pthread_mutex_unlock(&checker->lock);
}

enum err sqlite_checker_admit(struct task *task, struct sqlite_checker *checker)
{
    const char *damage;

    if (!atomic_load(&checker->is_damaged))
        return OK;
    pthread_mutex_lock(&checker->lock);
    damage = mem_string(task->mem, checker->damage);
    pthread_mutex_unlock(&checker->lock);
    return fail(task, ERR_STORE, damage);
}

void sqlite_checker_stop(struct sqlite_checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    atomic_store(&checker->stopping, true);
    pthread_cond_signal(&checker->asked);
    pthread_mutex_unlock(&checker->lock);
    pthread_join(checker->thread, NULL);
}
