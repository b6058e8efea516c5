/* The embedded store: one SQLite file in a folder (store/store.h on store/sqlite_writer.h). For
 * store/ and its tests; everybody else opens the store that the settings choose. */
#pragma once

#include "store/sqlite_integrity.h"
#include "store/store.h"

/* Opens the store in `folder`, which is made if it is missing. One process at a time has it.
 * NULL, and the task's text says what is wrong and how to mend it. */
struct store *sqlite_open(struct task *task, void *mem, const char *folder);

/* Whether there is a store in `folder`; also if it cannot be looked at. */
bool sqlite_is_there(struct task *task, const char *folder);

/* store_inspect(). A sound store is written to, as store_ping() does; where there is none, it must
 * be possible to make one. What sqlite_open() refuses is an error. */
must_check enum err sqlite_inspect(struct task *task, const char *folder, int *ret_version,
                                   const char **ret_fault, const char **ret_notice,
                                   struct sqlite_integrity *how);
