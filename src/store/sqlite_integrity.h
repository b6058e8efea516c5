/* Whether the SQLite file is sound, while others may write to it.
 *
 * Who reads in one transaction keeps the log from beginning anew, so that it grows with all that is
 * written. The whole is therefore checked at once only as long as the log hardly grows meanwhile;
 * else each table under the same bound; and what is too large for that in pieces of a few
 * milliseconds: each row and each entry of an index, whether it makes sense and has its
 * counterpart. What only the whole can show (pages that belong to no table, or to two) is not
 * looked for then. */
#pragma once

#include "store/sqlite_db.h"

struct sqlite_integrity {
    const struct store_progress *progress; /* NULL: nobody waits */
    /* Asked often, on another thread: it is to end now, with ERR_STORE. NULL: never. */
    bool (*is_over)(void *argument);
    void *argument;
    bool quick;   /* each by itself, without the counterparts */
    bool by_rows; /* for tests: at once in pieces, and each of one row */

    bool in_parts; /* the result: the whole could not be checked at once */
};

/* On a connection that nobody else uses meanwhile. *ret_fault: the first fault; NULL: it is sound.
 */
must_check enum err sqlite_integrity_check(struct task *task, struct sqlite_db *db,
                                           struct sqlite_integrity *how, const char **ret_fault);
