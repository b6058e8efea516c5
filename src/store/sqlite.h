/* The embedded store: one SQLite file in a folder (store/store.h on store/sqlite_writer.h). */
#pragma once

#include "store/store.h"

/* Opens the store in `folder`, which is made if it is missing. One process at a time has it.
 * NULL, and the task's text says what is wrong and how to mend it. */
struct store *sqlite_open(struct task *task, void *mem, const char *folder);

/* Whether there is a store in `folder`; also if it cannot be looked at. */
bool sqlite_is_there(struct task *task, const char *folder);

/* Reads a store that may be in use by another process, for `manus check`: *ret_version is its
 * schema (0: there is none yet), *ret_fault the first fault that an integrity check finds,
 * *ret_notice what the store's notice would be. A sound one is written to, as store_ping() does;
 * where there is none, it must be possible to make one. What sqlite_open() refuses is an error. */
must_check enum err sqlite_inspect(struct task *task, const char *folder, int *ret_version,
                                   const char **ret_fault, const char **ret_notice);

struct sqlite_restored {
    const char *kept;   /* where what was there is now; NULL: nothing was */
    const char *log_is; /* what is wrong with the log, which was left out for that; NULL: nothing */
    int version;        /* its schema */
    int64_t users, last_ms; /* its last write; 0: none is known */
};

/* What to do with a log beside the file. By itself it is applied; where the file is the store's own
 * and may be another than the log's, both are tried. */
enum sqlite_log { SQLITE_LOG_BY_ITSELF, SQLITE_LOG_APPLIED, SQLITE_LOG_LEFT };

/* Puts a copy of `file` (a store) in the place of the store in `folder`, once it is found to be
 * sound; what was there is kept beside it. ERR_STORE and the text says why not, such as that it is
 * sound with and without its log, and holds what in each case; then nothing has changed. */
must_check enum err sqlite_restore(struct task *task, const char *folder, const char *file,
                                   enum sqlite_log log, struct sqlite_restored *ret);
