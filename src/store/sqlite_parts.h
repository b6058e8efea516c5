/* What the files of the embedded store share. */
#pragma once

#include "store/implementation.h"
#include "store/sqlite_db.h"
#include "store/sqlite_writer.h"

/* Runs `read` on a connection that nobody else uses meanwhile. */
must_check enum err sqlite_reading(struct task *task, struct store *store,
                                   enum err (*read)(struct task *, struct sqlite_db *, void *),
                                   void *argument);

/* Runs `write` on the writer's connection, inside a savepoint of its own. */
must_check enum err sqlite_writing(struct task *task, struct store *store, sqlite_write *write,
                                   void *argument);
must_check enum err sqlite_writing_later(struct task *task, struct store *store,
                                         sqlite_write *write, void *argument,
                                         struct store_later *later);

/* Work that waits for its turn, taken by one worker: the statement leases the first row that is due
 * at ?1 until ?2 and returns it. A write. */
struct sqlite_take {
    enum sqlite_statement statement;
    int64_t now_ms, lease_ms;
    void (*read_row)(struct task *task, sqlite3_stmt *s, void *row);
    void *row;
    bool *ret_found;
};

must_check enum err sqlite_take(struct task *task, struct store *store,
                                const struct sqlite_take *take);

/* The bytes must live until the statement is done. */
void sqlite_bind(sqlite3_stmt *s, int at, const char *text);

/* From a row of SQLITE_USER_COLUMNS. */
struct user sqlite_user(struct task *task, sqlite3_stmt *s);

/* From a row of SQLITE_SESSION_COLUMNS. */
must_check enum err sqlite_session(struct task *task, sqlite3_stmt *s, struct session_record *ret);

/* A part of a write: with its device. *ret_changes 0: its id is in use. */
must_check enum err sqlite_put_session(struct task *task, struct sqlite_db *db,
                                       const struct session_record *session, int *ret_changes);

/* A part of a write: of the sessions that have ended, those of the user (SQL_SESSIONS_FORGET) or
 * the one (SQL_SESSION_FORGET) that need not be remembered go. */
must_check enum err sqlite_forget_sessions(struct task *task, struct sqlite_db *db,
                                           enum sqlite_statement statement, const char *id);

/* A part of a write. */
must_check enum err sqlite_find_user(struct task *task, struct sqlite_db *db, const char *id,
                                     bool *ret_found, struct user *ret);

/* A part of a write; in sqlite_manage.c. */
must_check enum err sqlite_append_audit(struct task *task, struct sqlite_db *db,
                                        const struct audit *audit);

/* A part of a write; in sqlite_mail.c. ERR_BUSY when too many wait. */
must_check enum err sqlite_put_mail(struct task *task, struct sqlite_db *db,
                                    const struct mail *mail);

/* The mailbox of a user who began a trial has had it, whatever becomes of them. */
must_check enum err sqlite_note_trial(struct task *task, struct sqlite_db *db, const char *user_id);

/* From a row of SQLITE_SUBSCRIPTION_COLUMNS. */
struct subscription sqlite_subscription(struct task *task, sqlite3_stmt *s);

/* A part of a write: all of a subscription that was read but its trial, gift and usage.
 * *ret_changes 0: its customer is somebody else's. */
must_check enum err sqlite_put_subscription(struct task *task, struct sqlite_db *db,
                                            const struct subscription *subscription,
                                            int *ret_changes);

/* Parts of a write. */
must_check enum err sqlite_find_subscription(struct task *task, struct sqlite_db *db,
                                             const char *user_id, bool *ret_found,
                                             struct subscription *ret);
must_check enum err sqlite_find_customer(struct task *task, struct sqlite_db *db,
                                         const char *customer_id, bool *ret_found,
                                         struct subscription *ret);
must_check enum err sqlite_forget_billing(struct task *task, struct sqlite_db *db,
                                          const struct subscription *subscription, int64_t now_ms);

/* A part of a write: a name or address was removed or replaced (sqlite_erase()). */
must_check enum err sqlite_note_removal(struct task *task, struct sqlite_db *db, int64_t at_ms);

/* The writer's (sqlite_writer.h). */
void sqlite_want_empty_log(struct store *store);
enum sqlite_emptying sqlite_emptying(struct store *store);

/* A page of a list. The statement's parameters are: numbers below ?1, ?2 rows, and the text ?3. */
struct sqlite_list {
    enum sqlite_statement statement;
    const char *text; /* NULL: it has none */
    size_t row_size;
    enum err (*read_row)(struct task *task, sqlite3_stmt *s, void *row);
    int number_column; /* by which the next page is found */

    int64_t first;
    unsigned limit;
    void *rows; /* from here on: what was found */
    unsigned room;
    size_t count;
    const char *next;
};

/* In sqlite_lists.c. */
must_check enum err sqlite_list(struct task *task, struct store *store, struct sqlite_list *list,
                                const struct store_page *page);

/* The number of a row is the text of its cursor, or of its id. NULL of 0; 0: it is no such text. */
const char *sqlite_number_text(void *mem, int64_t number);
int64_t sqlite_number(const char *text);

/* A part of a write; in sqlite_manage.c. */
must_check enum err sqlite_do_code_action(struct task *task, struct sqlite_db *db,
                                          const struct code_action *action);

/* From a row of SQLITE_MAIL_COLUMNS; in sqlite_mail.c. */
struct mail sqlite_mail(struct task *task, sqlite3_stmt *s);

/* The operations, each in the file of its topic. */
#define STORE_OPERATION(topic, name, when, work, parameters, arguments)                            \
    enum err sqlite_##name parameters;
#include "store/operations.def"

/* DATA_DIR, which is made if it is missing, and its lock, held until the process ends or *ret_fd is
 * closed. */
must_check enum err sqlite_take_folder(struct task *task, const char *folder, int *ret_fd);
