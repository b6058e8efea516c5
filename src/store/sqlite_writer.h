/* The one thread that writes to the SQLite file. Writes that wait at the same time share one
 * transaction (a savepoint each) and one fsync, and are acknowledged only after it. Any thread may
 * write.
 *
 * The log is copied into the file by a thread of its own, beside the writer, which then begins it
 * anew: it stays below 16 MiB. A reader that lasts makes it grow, and costs nobody anything but
 * that. */
#pragma once

#include "store/later.h"
#include "store/sqlite_db.h"
#include "store/sqlite_seal.h"

struct sqlite_writer;

/* Carries a write out on the writer's connection, inside its transaction; what it reads it copies
 * to the task's memory, whose owner waits. A failure undoes this write alone. */
typedef enum err sqlite_write(struct task *task, struct sqlite_db *db, void *argument);

/* `db` is open and migrated; the writer takes it over. `path` is where it is; `seal` outlives it.
 */
struct sqlite_writer *sqlite_writer_start(void *mem, const char *path, const struct sqlite_db *db,
                                          struct sqlite_seal *seal);

/* Waits until it is durable. ERR_STORE: the outcome is unknown. ERR_BUSY: the task's deadline came
 * before the writer did, and it does not happen. */
must_check enum err sqlite_writer_run(struct task *task, struct sqlite_writer *writer,
                                      sqlite_write *write, void *argument);

/* The same without waiting, by the rules of store/later.h. What one turn of a loop begins is handed
 * over together, and told of together. */
must_check enum err sqlite_writer_begin(struct task *task, struct sqlite_writer *writer,
                                        sqlite_write *write, void *argument,
                                        struct store_later *later);

/* Ends those whose deadline came before the writer did. */
void sqlite_writer_expire(struct sqlite_writer *writer);

/* Once, behind the next write, the log is to be emptied, if all of it can be brought into the file:
 * it is kept when somebody reads from it. */
enum sqlite_emptying { LOG_KEPT, LOG_WANTED, LOG_EMPTIED };
void sqlite_writer_want_empty_log(struct sqlite_writer *writer);
enum sqlite_emptying sqlite_writer_emptying(struct sqlite_writer *writer);

/* Something was written within the last seconds, and nothing has failed since. */
bool sqlite_writer_is_proven(struct sqlite_writer *writer);

/* The disk has as much space left as the writer asks for. */
bool sqlite_has_space(const char *folder);

/* Closes the last connection to the file. A disk that does not answer is waited for some seconds;
 * then the process ends: what was acknowledged is in the log, and the next start finds it there. */
void sqlite_writer_stop(struct sqlite_writer *writer);
