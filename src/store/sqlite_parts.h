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

/* The bytes must live until the statement is done. */
void sqlite_bind(sqlite3_stmt *s, int at, const char *text);

/* From a row of SQLITE_USER_COLUMNS. */
struct user sqlite_user(struct task *task, sqlite3_stmt *s);

/* From a row of SQLITE_SESSION_COLUMNS. */
must_check enum err sqlite_session(struct task *task, sqlite3_stmt *s, struct session_record *ret);

/* A part of a write. */
must_check enum err sqlite_find_user(struct task *task, struct sqlite_db *db, const char *id,
                                     bool *ret_found, struct user *ret);

/* A part of a write; in sqlite_manage.c. */
must_check enum err sqlite_append_audit(struct task *task, struct sqlite_db *db,
                                        const struct audit *audit);

/* Operations of store/store.h, in sqlite_manage.c. */
enum err sqlite_user_set_password(struct task *task, struct store *store, const char *id,
                                  const char *hash, const char *keep, const struct audit *audit,
                                  enum user_changed *ret);
enum err sqlite_user_rehash(struct task *task, struct store *store, const char *id,
                            const char *old_hash, const char *new_hash);
enum err sqlite_user_set_fullname(struct task *task, struct store *store, const char *id,
                                  const char *fullname, const struct audit *audit,
                                  enum user_changed *ret);
enum err sqlite_user_set_active(struct task *task, struct store *store, const char *id,
                                bool is_active, const struct audit *audit, enum user_changed *ret);
enum err sqlite_user_set_role(struct task *task, struct store *store, const char *id, bool is_admin,
                              const struct audit *audit, enum user_changed *ret);
enum err sqlite_user_delete(struct task *task, struct store *store, const char *id,
                            const struct audit *audit, enum user_changed *ret);
enum err sqlite_sessions_end(struct task *task, struct store *store, const char *user_id,
                             const char *keep, const struct audit *audit, unsigned *ret_count);

/* In sqlite_mail.c. */
enum err sqlite_code_issue(struct task *task, struct store *store, const struct code *code,
                           int64_t wait_ms, const struct mail *mail, enum code_issued *ret,
                           int64_t *ret_left_ms);
enum err sqlite_code_try(struct task *task, struct store *store, const char *purpose,
                         const char *email, const uint8_t *hash, int64_t now_ms, bool *ret_right);
enum err sqlite_mail_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                          bool *ret_found, struct mail *ret);
enum err sqlite_mail_done(struct task *task, struct store *store, int64_t number);
enum err sqlite_mail_postpone(struct task *task, struct store *store, int64_t number,
                              int64_t next_ms, const char *error);
enum err sqlite_mails(struct task *task, struct store *store, struct mail **ret, size_t *ret_count);

/* In sqlite_lists.c. */
enum err sqlite_users(struct task *task, struct store *store, const char *search,
                      const struct store_page *page, struct user **ret, size_t *ret_count,
                      int64_t *ret_next);
enum err sqlite_audit_trail(struct task *task, struct store *store, const char *subject,
                            const struct store_page *page, struct audit **ret, size_t *ret_count,
                            int64_t *ret_next);
enum err sqlite_sessions_of(struct task *task, struct store *store, const char *user_id,
                            int64_t now_ms, struct session_record **ret, size_t *ret_count);
