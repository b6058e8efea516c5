/* What was removed leaves the files too. SQLite overwrites what it deletes (PRAGMA secure_delete);
 * what stays is in the search index, which notes a removal beside the words until both are merged,
 * and in the log, until that is overwritten.
 *
 * Three marks say how far it is: `removed`, something was; `erasing`, since when a run lasts;
 * `erased`, when the last one began. What is removed during a run is the next one's. */
#include "core/clock.h"
#include "core/log.h"
#include "store/sqlite_parts.h"

#include <unistd.h>

enum { TRIES = 5, LOOKS = 20, LOOK_US = 20000, TOLD_MS = 86400000 };

#define REMOVED "removed"
#define ERASING "erasing"
#define ERASED "erased"

static enum err read_mark(struct task *task, struct sqlite_db *db, const char *name, int64_t *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MARK);
    bool found = false;
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, name);
    e = sqlite_db_row(task, db, s, &found);
    *ret = e == OK && found ? sqlite3_column_int64(s, 0) : 0;
    return e;
}

static enum err set_mark(struct task *task, struct sqlite_db *db, const char *name, int64_t at_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MARK_SET);

    if (s != NULL) {
        sqlite_bind(s, 1, name);
        sqlite3_bind_int64(s, 2, at_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err drop_mark(struct task *task, struct sqlite_db *db, const char *name)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MARK_DROP);

    if (s != NULL)
        sqlite_bind(s, 1, name);
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_note_removal(struct task *task, struct sqlite_db *db, int64_t at_ms)
{
    return set_mark(task, db, REMOVED, at_ms);
}

struct erase {
    int64_t before_ms;
    int64_t removed_ms, erasing_ms, erased_ms;
    bool merged;
};

static enum err look(struct task *task, struct sqlite_db *db, void *argument)
{
    struct erase *erase = argument;
    enum err e = read_mark(task, db, REMOVED, &erase->removed_ms);

    if (e == OK)
        e = read_mark(task, db, ERASING, &erase->erasing_ms);
    return e == OK ? read_mark(task, db, ERASED, &erase->erased_ms) : e;
}

/* A run under way goes on. A moment that lies ahead was noted by a clock that was wrong. */
static bool is_due(const struct erase *erase)
{
    return erase->erasing_ms != 0 ||
           (erase->removed_ms != 0 &&
            (erase->erased_ms < erase->before_ms || erase->erased_ms > clock_wall_ms()));
}

/* Some pages of the search index. What merges nothing any more writes no row. */
static enum err merge_some(struct task *task, struct sqlite_db *db, void *argument)
{
    struct erase *erase = argument;
    bool begins = erase->erasing_ms == 0;
    int before = sqlite3_total_changes(db->handle);
    enum err e = sqlite_db_simple(task, db, begins ? SQL_MERGE_BEGIN : SQL_MERGE_ON);

    erase->merged = sqlite3_total_changes(db->handle) - before < 2;
    if (!begins || e != OK)
        return e;
    erase->erasing_ms = clock_wall_ms();
    e = drop_mark(task, db, REMOVED);
    return e == OK ? set_mark(task, db, ERASING, erase->erasing_ms) : e;
}

static enum err conclude(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct erase *erase = argument;
    enum err e = set_mark(task, db, ERASED, erase->erasing_ms);

    return e == OK ? drop_mark(task, db, ERASING) : e;
}

static enum err touch(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct erase *erase = argument;

    return set_mark(task, db, ERASING, erase->erasing_ms);
}

/* The log is emptied behind a write, unless somebody reads from it. False: not now. */
static bool empty_log(struct task *task, struct store *store, struct erase *erase)
{
    for (int i = 0; i < TRIES; i++) {
        sqlite_want_empty_log(store);
        if (sqlite_writing(task, store, touch, erase) != OK)
            return false;
        for (int k = 0; k < LOOKS && sqlite_emptying(store) == LOG_WANTED; k++)
            usleep(LOOK_US);
        if (sqlite_emptying(store) == LOG_EMPTIED)
            return true;
    }
    return false;
}

static void tell_delay(struct task *task, const struct erase *erase)
{
    int64_t since_ms = clock_wall_ms() - erase->erasing_ms;

    if (since_ms > TOLD_MS)
        log_bounded(LOG_WARNING, task, "deleted data is still in the store's log",
                    LOG_I("for_s", since_ms / 1000),
                    LOG_S("mend", "stop the other program that reads the store"));
}

enum err sqlite_erase(struct task *task, struct store *store, int64_t before_ms,
                      unsigned *ret_count)
{
    struct erase erase = {.before_ms = before_ms};
    enum err e = sqlite_reading(task, store, look, &erase);

    *ret_count = 0;
    if (e != OK || !is_due(&erase))
        return e;
    e = sqlite_writing(task, store, merge_some, &erase);
    if (e == OK && erase.merged && !empty_log(task, store, &erase)) {
        tell_delay(task, &erase);
        return OK;
    }
    *ret_count = e == OK;
    return e == OK && erase.merged ? sqlite_writing(task, store, conclude, &erase) : e;
}
