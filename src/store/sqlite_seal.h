/* Whether manus.sqlite and its log (-wal) belong together. SQLite applies a log to whatever file
 * stands beside it: over a copy that somebody has put there it would undo the restore, or damage
 * it.
 *
 * The content cannot tell: a copy of an hour ago is what the file would hold had the log not been
 * copied into it for an hour. So size and time of the file are noted (manus.sqlite-seal) each time
 * that this program has written to it, and a file of another time was written by somebody else.
 * While it is being written to, nothing is claimed. Where the log's index says that more of the log
 * has been copied since, a tool that knows SQLite did it, and the file is no other.
 *
 * A file that is put there while a server runs is noticed by the same: from then on the server
 * writes neither to it nor to the log, and leaves both as they are when it stops. */
#pragma once

#include "core/task.h"

#include <sqlite3.h>

struct sqlite_seal;

/* The seal of the store `path`, broken. The folder's lock is held. */
struct sqlite_seal *sqlite_seal_open(void *mem, const char *path);

/* Before the store's file is written to, and after. They nest, on any thread. False: it looks as if
 * the file were another, and is not to be written to; the seal stands. SQLite has a connection to
 * the file throughout: closing a descriptor of it would drop its locks. */
must_check bool sqlite_seal_break(struct sqlite_seal *seal);
void sqlite_seal_set(struct sqlite_seal *seal);

/* sqlite3_wal_checkpoint_v2() under a broken seal: the one way to copy the log. SQLITE_BUSY also if
 * it cannot be broken. */
int sqlite_seal_checkpoint(struct sqlite_seal *seal, sqlite3 *handle, int mode, int *ret_log,
                           int *ret_copied);

/* What a tool that knows SQLite has done, such as one that copies the log for a backup, is noted; a
 * file that stays another for some seconds is told of, and is foreign from then on. To be called
 * each second. */
void sqlite_seal_refresh(struct sqlite_seal *seal);

/* The writer has begun the log anew, which is no sign of a tool. */
void sqlite_seal_log_begun(struct sqlite_seal *seal);

bool sqlite_seal_is_foreign(const struct sqlite_seal *seal);

/* What root makes in the folder of `path` is given to the folder's owner, who runs the server. */
void sqlite_give_away(int fd, const char *path);

/* After SQLite's last connection. NULL does nothing. */
void sqlite_seal_close(struct sqlite_seal *seal);

/* false: the file was replaced or written to by somebody else since, and there is a log that would
 * be applied to it. A server may be running. */
bool sqlite_seal_fits(const char *path);
