/* What the files of the embedded store share. */
#pragma once

#include "store/sqlite_db.h"
#include "store/sqlite_writer.h"
#include "store/store.h"

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

/* Parts of a write; in sqlite_billing.c. */
must_check enum err sqlite_find_subscription(struct task *task, struct sqlite_db *db,
                                             const char *user_id, bool *ret_found,
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
    int64_t next;
};

/* In sqlite_lists.c. */
must_check enum err sqlite_list(struct task *task, struct store *store, struct sqlite_list *list,
                                const struct store_page *page);

/* A part of a write; in sqlite_manage.c. */
must_check enum err sqlite_do_deed(struct task *task, struct sqlite_db *db,
                                   const struct code_deed *deed);

/* Operations of store/store.h, in sqlite_manage.c. */
enum err sqlite_user_set_password(struct task *task, struct store *store, const char *id,
                                  const char *hash, const struct keep *keep,
                                  const int64_t *valid_from_ms, const struct audit *audit,
                                  enum user_changed *ret);
enum err sqlite_user_rehash(struct task *task, struct store *store, const char *id,
                            const char *old_hash, const char *new_hash);
enum err sqlite_user_set_fullname(struct task *task, struct store *store, const char *id,
                                  const char *fullname, const struct audit *audit,
                                  enum user_changed *ret);
enum err sqlite_user_set_email(struct task *task, struct store *store, const char *id,
                               const char *email, const struct audit *audit,
                               enum user_changed *ret);
enum err sqlite_user_set_language(struct task *task, struct store *store, const char *id,
                                  const char *language, const struct audit *audit,
                                  enum user_changed *ret);
enum err sqlite_user_verify(struct task *task, struct store *store, const char *id,
                            const struct audit *audit, enum user_changed *ret);
enum err sqlite_user_set_active(struct task *task, struct store *store, const char *id,
                                bool is_active, const struct audit *audit, enum user_changed *ret);
enum err sqlite_user_set_role(struct task *task, struct store *store, const char *id, bool is_admin,
                              const struct audit *audit, enum user_changed *ret);
enum err sqlite_user_delete(struct task *task, struct store *store, const char *id,
                            const int64_t *valid_from_ms, const struct audit *audit,
                            enum user_changed *ret);
enum err sqlite_sessions_end(struct task *task, struct store *store, const char *user_id,
                             const struct keep *keep, const struct audit *audit,
                             unsigned *ret_count);

/* In sqlite_mail.c. */
struct mail sqlite_mail(struct task *task, sqlite3_stmt *s); /* from a row of SQLITE_MAIL_COLUMNS */
enum err sqlite_code_issue(struct task *task, struct store *store, const struct code *code,
                           int64_t wait_ms, const struct mail *mail, enum code_issued *ret,
                           int64_t *ret_left_ms);
enum err sqlite_code_try(struct task *task, struct store *store, const char *purpose,
                         const char *email, const uint8_t *hash, int64_t now_ms,
                         const struct code_deed *deed, bool *ret_right);
enum err sqlite_mail_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                          bool *ret_found, struct mail *ret);
enum err sqlite_mail_done(struct task *task, struct store *store, int64_t number);
enum err sqlite_mail_postpone(struct task *task, struct store *store, int64_t number,
                              int64_t next_ms, const char *error);
enum err sqlite_mail_put(struct task *task, struct store *store, const struct mail *mail,
                         bool *ret_withheld);
enum err sqlite_mail_retry(struct task *task, struct store *store, int64_t number, int64_t now_ms,
                           unsigned *ret_count);
enum err sqlite_mail_count(struct task *task, struct store *store, int64_t *ret);
enum err sqlite_mails(struct task *task, struct store *store, struct mail **ret, size_t *ret_count);

extern const struct billing_operations sqlite_billing_operations;

/* In sqlite_events.c. */
enum err sqlite_event_put(struct task *task, struct store *store, const struct event *event,
                          int64_t lease_ms, struct event_kept *ret);
enum err sqlite_event_put_later(struct task *task, struct store *store, const struct event *event,
                                int64_t lease_ms, struct event_kept *ret,
                                struct store_later *later);
enum err sqlite_event_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                           bool *ret_found, struct event *ret);
enum err sqlite_event_done(struct task *task, struct store *store, const char *id,
                           const char *state, enum event_reason reason, const char *user_id,
                           const char *error, const struct mail *mail, int64_t now_ms);
enum err sqlite_events_done(struct task *task, struct store *store, const char *customer_id,
                            int64_t before_ms, const char *user_id, int64_t now_ms,
                            unsigned *ret_count);
enum err sqlite_event_postpone(struct task *task, struct store *store, const char *id,
                               int64_t now_ms, bool others, const char *error);
enum err sqlite_event_replay(struct task *task, struct store *store, const char *id, int64_t now_ms,
                             bool *ret_found);
enum err sqlite_event_by_id(struct task *task, struct store *store, const char *id, bool *ret_found,
                            struct event *ret);
enum err sqlite_events(struct task *task, struct store *store, const char *state,
                       const struct store_page *page, struct event **ret, size_t *ret_count,
                       int64_t *ret_next);
enum err sqlite_event_counts(struct task *task, struct store *store, struct event_counts *ret);
enum err sqlite_mark(struct task *task, struct store *store, const char *name, bool *ret_found,
                     int64_t *ret_ms);
enum err sqlite_mark_set(struct task *task, struct store *store, const char *name, int64_t at_ms);
enum err sqlite_events_hasten(struct task *task, struct store *store, int64_t now_ms,
                              unsigned *ret_count);
enum err sqlite_event_sweep(struct task *task, struct store *store, int64_t before_ms,
                            unsigned *ret_count);

/* In sqlite_erase.c. */
enum err sqlite_erase(struct task *task, struct store *store, int64_t before_ms,
                      unsigned *ret_count);

/* In sqlite_leases.c. */
enum err sqlite_lease_take(struct task *task, struct store *store, const char *name,
                           const char *holder, int64_t lease_ms, int64_t known_ms,
                           enum lease_taken *ret, struct lease *ret_lease);
enum err sqlite_lease_renew(struct task *task, struct store *store, const char *name, int64_t fence,
                            int64_t lease_ms, bool *ret_held);
enum err sqlite_lease_release(struct task *task, struct store *store, const char *name,
                              int64_t fence, bool succeeded);
enum err sqlite_leases(struct task *task, struct store *store, struct lease **ret,
                       size_t *ret_count);

/* In sqlite_audit.c. */
enum err sqlite_audit_count(struct task *task, struct store *store, int64_t *ret);
enum err sqlite_audit_sweep(struct task *task, struct store *store, int64_t before_ms,
                            int64_t ahead_ms, unsigned *ret_count);

/* In sqlite_lists.c. */
enum err sqlite_users(struct task *task, struct store *store, const char *search,
                      const struct store_page *page, struct user **ret, size_t *ret_count,
                      int64_t *ret_next);
enum err sqlite_audit_trail(struct task *task, struct store *store, const char *subject,
                            const struct store_page *page, struct audit **ret, size_t *ret_count,
                            int64_t *ret_next);
enum err sqlite_audit_by(struct task *task, struct store *store, const char *actor,
                         const struct store_page *page, struct audit **ret, size_t *ret_count,
                         int64_t *ret_next);
enum err sqlite_holdings(struct task *task, struct store *store, const struct user *user,
                         struct holdings *ret);
enum err sqlite_sessions_of(struct task *task, struct store *store, const char *user_id,
                            int64_t now_ms, struct session_record **ret, size_t *ret_count);

/* DATA_DIR, which is made if it is missing, and its lock, held until the process ends or *ret_fd is
 * closed. */
must_check enum err sqlite_take_folder(struct task *task, const char *folder, int *ret_fd);
