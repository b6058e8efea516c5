/* The schema of the SQLite file: numbered migrations, applied once each, in order. */
#pragma once

#include "store/sqlite_db.h"

/* Refuses a file that a newer program wrote, before anything touches it: ERR_STORE, and the task's
 * text says what to do. */
must_check enum err sqlite_schema_accept(struct task *task, struct sqlite_db *db);

/* Brings an accepted file up to this program's schema, a transaction for each step. */
must_check enum err sqlite_schema_migrate(struct task *task, struct sqlite_db *db);

/* The number of the newest step that this program knows. */
int sqlite_schema_version(void);

/* The number in the file. */
must_check enum err sqlite_schema_read(struct task *task, struct sqlite_db *db, int *ret);
