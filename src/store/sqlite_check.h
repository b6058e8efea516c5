/* Checks the SQLite file for damage on a thread of its own, beside the writer and everybody else,
 * as store/sqlite_integrity.h does it: one check at a time, with a pause between two and a bound on
 * each, and ended at once by the stop.
 *
 * Only what is found in pages that could be read is damage; then the store is not written to until
 * a later check finds it sound. Any thread may ask. */
#pragma once

#include "core/task.h"

struct sqlite_checker;

struct sqlite_checker *sqlite_checker_start(void *mem, const char *path);

/* Something gave cause for a check: it is done soon. Never waits. */
void sqlite_checker_ask(struct sqlite_checker *checker);

/* ERR_STORE while the file is known to be damaged. */
must_check enum err sqlite_checker_admit(struct task *task, struct sqlite_checker *checker);

void sqlite_checker_stop(struct sqlite_checker *checker);

/* How long to wait behind a check: one that takes too long costs more than it tells, so it is tried
 * ever more rarely, but each day. */
int64_t sqlite_check_pause(int64_t last_ms, bool was_too_long);
