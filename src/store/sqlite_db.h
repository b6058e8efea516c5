/* One connection to the SQLite file: opening, prepared statements, and SQLite's result codes as
 * ours. One thread at a time uses a connection. */
#pragma once

#include "core/task.h"
#include "store/sqlite_billing_sql.h"
#include "store/store.h"

#include <sqlite3.h>

#define SQLITE_USER_COLUMNS                                                                        \
    "user_id, fullname, email, password_hash, role = 'admin', is_active, created_at, updated_at,"  \
    " last_login_at, valid_from, language, verified_at, spared_at"
#define SQLITE_MAIL_COLUMNS                                                                        \
    "number, recipient, content, created_at, next_at, attempts, error, expires_at"
#define SQLITE_LEASE_COLUMNS "name, holder, fence, until, taken_at, succeeded_at"
#define SQLITE_SESSION_COLUMNS                                                                     \
    "session_id, user_id, created_at, last_used_at, expires_at, ended_at, address, user_agent,"    \
    " chain, device"

/* A session that has ended and whose id does not come again (store_session_open()). */
#define SQLITE_SESSION_OVER "ended_at <> 0 AND device <> ''"

/* user_counts_as_admin() of a row. */
#define SQLITE_COUNTS                                                                              \
    "role = 'admin' AND is_active AND"                                                             \
    " coalesce(password_hash, '') NOT LIKE '" STORE_SETTINGS_HASH "%'"

/* What the search index does not hold: setting that writes the index anew. */
#define SQLITE_USER_SET                                                                            \
    "password_hash = ?2, role = ?3, is_active = ?4, updated_at = ?5, valid_from = ?6,"             \
    " spared_at = ?7, language = ?8, verified_at = ?9"

/* Of a code that stands where another is to be put. */
#define SQLITE_CODE_HOLDS                                                                          \
    "expires_at > excluded.created_at"                                                             \
    " AND expires_at <= excluded.created_at + " SQLITE_LONGEST_CODE

/* The statements, each prepared at its first use on a connection. */
#define SQLITE_STATEMENTS(X)                                                                       \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVE, "SAVEPOINT one")                                                                       \
    X(SAVE_UNDO, "ROLLBACK TO one")                                                                \
    X(SAVE_END, "RELEASE one")                                                                     \
    X(PING, "SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1)")                                  \
    X(TOUCH, "INSERT INTO touched(id, at) VALUES(1, ?1)"                                           \
             " ON CONFLICT(id) DO UPDATE SET at = excluded.at")                                    \
    X(USER_INSERT, "INSERT INTO users(user_id, email, fullname, password_hash, role, is_active,"   \
                   " created_at, updated_at, last_login_at, valid_from, language, verified_at)"    \
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"                    \
                   " ON CONFLICT(email) DO NOTHING")                                               \
    X(USER_BY_EMAIL, "SELECT " SQLITE_USER_COLUMNS " FROM users WHERE email = ?1")                 \
    X(USER_BY_ID, "SELECT " SQLITE_USER_COLUMNS " FROM users WHERE user_id = ?1")                  \
    X(USER_LOGIN, "UPDATE users SET last_login_at = ?2 WHERE user_id = ?1")                        \
    X(USER_VOID, "UPDATE users SET valid_from = ?2, spared_at = ?3"                                \
                 " WHERE user_id = ?1 AND valid_from < ?2")                                        \
    X(USER_REHASH,                                                                                 \
      "UPDATE users SET password_hash = ?3 WHERE user_id = ?1 AND password_hash = ?2")             \
    X(USER_STORE, "UPDATE users SET " SQLITE_USER_SET " WHERE user_id = ?1")                       \
    X(USER_RENAME, "UPDATE OR IGNORE users SET " SQLITE_USER_SET ", email = ?10, fullname = ?11"   \
                   " WHERE user_id = ?1")                                                          \
    X(USER_OTHER_ADMIN, "SELECT 1 FROM users WHERE " SQLITE_COUNTS " AND user_id <> ?1 LIMIT 1")   \
    X(USER_DELETE, "DELETE FROM users WHERE user_id = ?1")                                         \
    X(USERS, "SELECT " SQLITE_USER_COLUMNS ", number FROM users WHERE number < ?1"                 \
             " ORDER BY number DESC LIMIT ?2")                                                     \
    X(USERS_FOUND, "SELECT " SQLITE_USER_COLUMNS ", number FROM"                                   \
                   " (SELECT rowid AS found FROM users_words WHERE users_words MATCH ?3"           \
                   " AND rowid < ?1 ORDER BY rowid DESC LIMIT ?2)"                                 \
                   " CROSS JOIN users ON number = found")                                          \
    X(MERGE_BEGIN, "INSERT INTO users_words(users_words, rank) VALUES('merge', -16)")              \
    X(MERGE_ON, "INSERT INTO users_words(users_words, rank) VALUES('merge', 16)")                  \
    X(MERGE_SOME, "INSERT INTO users_words(users_words, rank) VALUES('merge', ?1)")                \
    X(AUDIT_INSERT, "INSERT INTO audit(at, actor, action, subject, address, detail)"               \
                    " VALUES(?1, ?2, ?3, ?4, ?5, ?6)")                                             \
    X(AUDIT_OLDEST, "SELECT at FROM audit WHERE at <= ?1 ORDER BY number LIMIT 1")                 \
    X(AUDIT_COUNT, "SELECT coalesce((SELECT max(number) FROM audit)"                               \
                   " - (SELECT min(number) FROM audit) + 1, 0)")                                   \
    X(AUDIT_LET_GO, "INSERT INTO audit_kept(id, since) VALUES(1, ?1)"                              \
                    " ON CONFLICT(id) DO UPDATE SET since = max(since, excluded.since)")           \
    X(AUDIT_SINCE, "SELECT since FROM audit_kept")                                                 \
    X(AUDIT_SINCE_SET, "UPDATE audit_kept SET since = ?1")                                         \
    X(AUDIT_SWEEP, "WITH first AS (SELECT number, at FROM audit ORDER BY number LIMIT 200)"        \
                   " DELETE FROM audit WHERE number < coalesce("                                   \
                   "(SELECT min(number) FROM first WHERE at BETWEEN ?1 AND ?2),"                   \
                   " (SELECT max(number) + 1 FROM first), 0)"                                      \
                   " AND number <= coalesce((SELECT max(number) FROM first WHERE at < ?1),"        \
                   " (SELECT max(number) FROM first))")                                            \
    X(AUDIT, "SELECT at, actor, action, subject, address, detail, number FROM audit"               \
             " WHERE number < ?1 ORDER BY number DESC LIMIT ?2")                                   \
    X(AUDIT_OF, "SELECT at, actor, action, subject, address, detail, number FROM audit"            \
                " WHERE subject = ?3 AND number < ?1 ORDER BY number DESC LIMIT ?2")               \
    X(AUDIT_BY, "SELECT at, actor, action, subject, address, detail, number FROM audit"            \
                " WHERE number < ?1 AND actor = ?3 AND actor <> 'user:' || subject"                \
                " ORDER BY number DESC LIMIT ?2")                                                  \
    X(SESSIONS_EVER, "SELECT " SQLITE_SESSION_COLUMNS " FROM sessions WHERE user_id = ?3"          \
                     " AND ?1 IS NOT NULL ORDER BY last_used_at DESC, rowid DESC LIMIT ?2")        \
    X(MAILS_TO, "SELECT number, recipient, '', created_at, next_at, attempts, error, expires_at"   \
                " FROM mails WHERE recipient = ?3"                                                 \
                " AND ?1 IS NOT NULL ORDER BY number LIMIT ?2")                                    \
    X(DEVICES_OF, "SELECT device, until FROM devices WHERE user_id = ?3 AND device <> ''"          \
                  " AND ?1 IS NOT NULL ORDER BY device LIMIT ?2")                                  \
    X(CODES_OF, "SELECT purpose, email, created_at, expires_at FROM codes WHERE email = ?3"        \
                " AND ?1 IS NOT NULL ORDER BY purpose LIMIT ?2")                                   \
    X(CODE_PUT, "INSERT INTO codes(purpose, email, hash, created_at, expires_at)"                  \
                " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(purpose, email) DO UPDATE SET"            \
                " hash = excluded.hash, created_at = excluded.created_at,"                         \
                " expires_at = excluded.expires_at, tries = 0")                                    \
    X(CODE_DELAY, "INSERT INTO codes(purpose, email, hash, created_at, expires_at)"                \
                  " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(purpose, email) DO UPDATE SET"          \
                  " hash = iif(" SQLITE_CODE_HOLDS ", hash, excluded.hash),"                       \
                  " tries = iif(" SQLITE_CODE_HOLDS ", tries, 0),"                                 \
                  " expires_at = iif(" SQLITE_CODE_HOLDS ", expires_at, excluded.expires_at),"     \
                  " created_at = excluded.created_at")                                             \
    X(CODE_CREATED, "SELECT created_at FROM codes WHERE purpose = ?1 AND email = ?2")              \
    X(CODE_TRY, "UPDATE codes SET tries = tries + 1 WHERE purpose = ?1 AND email = ?2"             \
                " AND expires_at > ?3 AND expires_at <= ?3 + " SQLITE_LONGEST_CODE                 \
                " AND tries < ?4 RETURNING hash")                                                  \
    X(CODE_SPARE, "UPDATE codes SET tries = tries - 1 WHERE purpose = ?1 AND email = ?2")          \
    X(CODE_USE, "DELETE FROM codes WHERE purpose = ?1 AND email = ?2")                             \
    X(CODE_SWEEP, "DELETE FROM codes WHERE rowid IN"                                               \
                  " (SELECT rowid FROM codes WHERE expires_at < ?1 LIMIT 10)")                     \
    X(CODES_FORGET, "DELETE FROM codes WHERE email = ?1 AND (?2 IS NULL OR purpose = ?2)")         \
    X(MAILS_FORGET, "DELETE FROM mails WHERE recipient = ?1")                                      \
    X(MAIL_COUNT, "SELECT count FROM tallies WHERE name = 'mails'")                                \
    X(MAIL_PUT, "INSERT INTO mails(recipient, content, created_at, next_at, expires_at)"           \
                " VALUES(?1, ?2, ?3, ?3, ?4)")                                                     \
    X(MAIL_COUNTED, "SELECT coalesce(sum(mails), 0) FROM mail_counts WHERE key = ?1"               \
                    " AND minute BETWEEN ?2 AND ?3")                                               \
    X(MAIL_CHARGE, "INSERT INTO mail_counts(key, minute, mails, until) VALUES(?1, ?2, 1, ?3)"      \
                   " ON CONFLICT(key, minute) DO UPDATE SET mails = mails + 1,"                    \
                   " until = max(until, excluded.until)")                                          \
    X(MAIL_COUNTS_SWEEP, "DELETE FROM mail_counts WHERE (key, minute) IN"                          \
                         " (SELECT key, minute FROM mail_counts WHERE until < ?1 LIMIT 10)")       \
    X(MAIL_RETRY, "UPDATE mails SET next_at = ?2 WHERE number = ?1")                               \
    X(MAILS_RETRY, "UPDATE mails SET next_at = ?2 WHERE number IN"                                 \
                   " (SELECT number FROM mails WHERE next_at > ?2 LIMIT 500)")                     \
    X(MAIL_TAKE, "UPDATE mails SET next_at = ?2, attempts = attempts + 1 WHERE number ="           \
                 " coalesce((SELECT number FROM mails WHERE next_at <= ?1"                         \
                 " ORDER BY next_at LIMIT 1), (SELECT number FROM mails WHERE " SQLITE_IS_AHEAD    \
                 " ORDER BY next_at LIMIT 1))"                                                     \
                 " RETURNING " SQLITE_MAIL_COLUMNS)                                                \
    X(MAIL_DONE, "DELETE FROM mails WHERE number = ?1")                                            \
    X(MAIL_POSTPONE, "UPDATE mails SET next_at = ?2, error = ?3 WHERE number = ?1")                \
    X(MAILS, "SELECT " SQLITE_MAIL_COLUMNS " FROM mails ORDER BY next_at LIMIT ?1")                \
    X(SESSIONS_OF, "SELECT " SQLITE_SESSION_COLUMNS " FROM sessions WHERE user_id = ?1"            \
                   " AND ended_at = 0 AND expires_at > ?2"                                         \
                   " ORDER BY last_used_at DESC, rowid DESC LIMIT ?3")                             \
    X(SESSIONS_END, "UPDATE sessions SET ended_at = ?2 WHERE user_id = ?1 AND ended_at = 0"        \
                    " AND session_id IS NOT ?3")                                                   \
    X(SESSION_INSERT, "INSERT INTO sessions(session_id, user_id, created_at, expires_at,"          \
                      " last_used_at, address, user_agent, chain, device)"                         \
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"                                \
                      " ON CONFLICT(session_id) DO NOTHING")                                       \
    X(DEVICES_KNOWN, "SELECT EXISTS (SELECT 1 FROM devices WHERE user_id = ?1),"                   \
                     " EXISTS (SELECT 1 FROM devices WHERE user_id = ?1 AND device = ?2)")         \
    X(DEVICE_KNOWN, "SELECT 1 FROM devices WHERE device = ?2 AND device <> ''"                     \
                    " AND user_id = (SELECT user_id FROM users WHERE email = ?1)")                 \
    X(DEVICE_NOTE, "INSERT INTO devices(user_id, device, until) VALUES(?1, ?2, ?3)"                \
                   " ON CONFLICT(user_id, device) DO UPDATE SET until = excluded.until"            \
                   " WHERE excluded.until > until + 86400000")                                     \
    X(DEVICES_CAP, "DELETE FROM devices WHERE user_id = ?1 AND device IN (SELECT device"           \
                   " FROM devices WHERE user_id = ?1 ORDER BY until DESC LIMIT -1 OFFSET ?2)")     \
    X(DEVICE_SWEEP, "DELETE FROM devices WHERE (user_id, device) IN"                               \
                    " (SELECT user_id, device FROM devices WHERE until < ?1 LIMIT 200)")           \
    X(SESSION_CAP, "UPDATE sessions SET ended_at = ?2 WHERE session_id IN (SELECT session_id"      \
                   " FROM sessions WHERE user_id = ?1 AND ended_at = 0 AND expires_at > ?2"        \
                   " ORDER BY last_used_at DESC, rowid DESC LIMIT -1 OFFSET ?3)")                  \
    X(SESSION_BY_ID, "SELECT " SQLITE_SESSION_COLUMNS " FROM sessions WHERE session_id = ?1")      \
    X(SESSION_FORGET, "DELETE FROM sessions WHERE session_id = ?1 AND " SQLITE_SESSION_OVER)       \
    X(SESSIONS_FORGET, "DELETE FROM sessions WHERE user_id = ?1 AND " SQLITE_SESSION_OVER)         \
    X(SESSION_END, "UPDATE sessions SET ended_at = ?2 WHERE session_id = ?1 AND ended_at = 0")     \
    X(SESSION_CHAIN, "UPDATE sessions SET chain = ?2, last_used_at = ?3 WHERE session_id = ?1")    \
    X(SESSION_SWEEP, "DELETE FROM sessions WHERE session_id IN"                                    \
                     " (SELECT session_id FROM sessions WHERE expires_at < ?1 LIMIT 200)")         \
    X(LEASE, "SELECT " SQLITE_LEASE_COLUMNS " FROM leases WHERE name = ?1")                        \
    X(LEASES, "SELECT " SQLITE_LEASE_COLUMNS " FROM leases ORDER BY name")                         \
    X(LEASE_TAKE, "INSERT INTO leases(name, holder, fence, until, taken_at)"                       \
                  " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(name) DO UPDATE SET"                    \
                  " holder = excluded.holder, fence = excluded.fence, until = excluded.until,"     \
                  " taken_at = excluded.taken_at")                                                 \
    X(LEASE_RENEW, "UPDATE leases SET until = ?4 WHERE name = ?1 AND fence = ?2 AND until > ?3")   \
    X(LEASE_RELEASE, "UPDATE leases SET until = 0, holder = '',"                                   \
                     " succeeded_at = iif(?3 > 0, ?3, succeeded_at)"                               \
                     " WHERE name = ?1 AND fence = ?2")                                            \
    X(LEASES_VOID, "UPDATE leases SET until = 0 WHERE until > 0")                                  \
    SQLITE_BILLING_STATEMENTS(X)

/* For the connection that writes: durable at every commit, one file of log. The schema's triggers
 * write the search index, a virtual table, which SQLite allows only where the schema is trusted. */
#define SQLITE_WRITER_PRAGMAS                                                                      \
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"              \
    "PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;"                                       \
    "PRAGMA journal_size_limit = 16777216; PRAGMA secure_delete = ON;"
#define SQLITE_READER_PRAGMAS                                                                      \
    "PRAGMA query_only = ON; PRAGMA cache_size = -1024; PRAGMA trusted_schema = OFF;"

enum sqlite_statement {
#define ENUMERATOR(name, sql) SQL_##name,
    SQLITE_STATEMENTS(ENUMERATOR)
#undef ENUMERATOR
        SQL_COUNT
};

struct sqlite_db {
    sqlite3 *handle;
    sqlite3_stmt *statements[SQL_COUNT];
};

/* SQLITE_OPEN_… flags. No connection copies the log when it closes.
 * ERR_STORE, and the task's text says why. */
must_check enum err sqlite_db_open(struct task *task, const char *path, int flags,
                                   struct sqlite_db *ret);
void sqlite_db_close(struct sqlite_db *db);

/* Prepares every statement: ERR_STORE if the file lacks a table or column that one needs. */
must_check enum err sqlite_db_prove(struct task *task, struct sqlite_db *db);

/* Runs statements that return no rows. */
must_check enum err sqlite_db_exec(struct task *task, struct sqlite_db *db, const char *sql);

/* Runs a checking pragma. *ret_fault: NULL if it says ok, else its first line. */
must_check enum err sqlite_db_check(struct task *task, struct sqlite_db *db, const char *pragma,
                                    const char **ret_fault);

/* Ready to be bound. NULL, and the task has failed. sqlite_db_done() gives it back. */
sqlite3_stmt *sqlite_db_statement(struct task *task, struct sqlite_db *db,
                                  enum sqlite_statement which);

/* Cleanup attribute: resets a statement and forgets its bindings. */
void sqlite_db_done(sqlite3_stmt **statement);
#define auto_statement __attribute__((cleanup(sqlite_db_done)))

/* Steps a statement that returns no rows. *ret_changes may be NULL. */
must_check enum err sqlite_db_run(struct task *task, struct sqlite_db *db, sqlite3_stmt *statement,
                                  int *ret_changes);

/* Steps a statement that returns a row at most. */
must_check enum err sqlite_db_row(struct task *task, struct sqlite_db *db, sqlite3_stmt *statement,
                                  bool *ret_row);

/* The one number that a statement without parameters gives. */
must_check enum err sqlite_db_number(struct task *task, struct sqlite_db *db,
                                     enum sqlite_statement which, int64_t *ret);

/* A statement without parameters or rows. */
must_check enum err sqlite_db_simple(struct task *task, struct sqlite_db *db,
                                     enum sqlite_statement which);

/* What failed last did so because the file makes no sense, or cannot be read as a whole. */
bool sqlite_db_is_damaged(const struct sqlite_db *db);

/* Every byte of the store can be read, so that what makes no sense in it is damage. What cannot be
 * read SQLite may take for damage as well. */
bool sqlite_db_is_readable(struct sqlite_db *db);

#define SQLITE_UNREADABLE                                                                          \
    "the disk cannot be read: look into the system's log (dmesg) for what is wrong with it; the "  \
    "store itself may be sound"

/* ERR_STORE_FULL or ERR_STORE, with SQLite's text, and how to mend what the machine or the files
 * cause; that stands in the log too, once a minute. */
enum err sqlite_db_fail(struct task *task, struct sqlite_db *db);

/* A copy in the task's memory; NULL stays NULL. */
const char *sqlite_db_text(struct task *task, sqlite3_stmt *statement, int column);
