/* What only the embedded store has: a file that can be copied, and put back while no server runs.
 */
#pragma once

#include "core/task.h"

struct embedded_restored {
    const char *file;   /* the store's */
    const char *kept;   /* where what was there is now; NULL: nothing was */
    const char *log_is; /* what is wrong with the log, which was left out for that; NULL: nothing */
    int version;        /* its schema */
    int64_t users, last_ms; /* its last write; 0: none is known */
};

/* What to do with a log beside the file. By itself it is applied; where the file is the store's own
 * and may be another than the log's, both are tried. */
enum embedded_log { EMBEDDED_LOG_BY_ITSELF, EMBEDDED_LOG_APPLIED, EMBEDDED_LOG_LEFT };

/* Puts a copy of `file` (a store) in the place of the store in `folder`, once it is found to be
 * sound; what was there is kept beside it. ERR_STORE and the text says why not, such as that it is
 * sound with and without its log, and holds what in each case; then nothing has changed. */
must_check enum err embedded_restore(struct task *task, const char *folder, const char *file,
                                     enum embedded_log log, struct embedded_restored *ret);
