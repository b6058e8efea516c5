#include "store/sqlite_schema.h"

/* Step i leads from user_version i to i + 1. A step that was released is never changed. */
static const char *const steps[] = {
    "CREATE TABLE users ("
    "  number INTEGER PRIMARY KEY,"
    "  user_id TEXT NOT NULL UNIQUE,"
    "  email TEXT NOT NULL UNIQUE,"
    "  fullname TEXT NOT NULL,"
    "  password_hash TEXT,"
    "  role TEXT NOT NULL CHECK (role IN ('user', 'admin')),"
    "  is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),"
    "  created_at INTEGER NOT NULL,"
    "  updated_at INTEGER NOT NULL,"
    "  last_login_at INTEGER NOT NULL DEFAULT 0,"
    "  valid_from INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE TABLE sessions ("
    "  session_id TEXT NOT NULL UNIQUE,"
    "  user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,"
    "  created_at INTEGER NOT NULL,"
    "  expires_at INTEGER NOT NULL,"
    "  last_used_at INTEGER NOT NULL,"
    "  ended_at INTEGER NOT NULL DEFAULT 0,"
    "  address TEXT NOT NULL,"
    "  user_agent TEXT NOT NULL,"
    "  chain TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX sessions_user ON sessions (user_id);"
    "CREATE INDEX sessions_expiry ON sessions (expires_at);"
    "CREATE TABLE touched (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;"
    "CREATE INDEX users_admins ON users (user_id) WHERE role = 'admin';"
    "CREATE VIRTUAL TABLE users_words USING fts5(email, fullname, content = 'users',"
    "  content_rowid = 'number', prefix = '2 3', tokenize = 'unicode61 remove_diacritics 2');"
    "CREATE TRIGGER users_words_insert AFTER INSERT ON users BEGIN"
    "  INSERT INTO users_words(rowid, email, fullname)"
    "    VALUES(new.number, new.email, new.fullname); END;"
    "CREATE TRIGGER users_words_delete AFTER DELETE ON users BEGIN"
    "  INSERT INTO users_words(users_words, rowid, email, fullname)"
    "    VALUES('delete', old.number, old.email, old.fullname); END;"
    "CREATE TRIGGER users_words_update AFTER UPDATE OF email, fullname ON users BEGIN"
    "  INSERT INTO users_words(users_words, rowid, email, fullname)"
    "    VALUES('delete', old.number, old.email, old.fullname);"
    "  INSERT INTO users_words(rowid, email, fullname)"
    "    VALUES(new.number, new.email, new.fullname); END;"
    "CREATE TABLE codes ("
    "  purpose TEXT NOT NULL,"
    "  email TEXT NOT NULL,"
    "  hash BLOB NOT NULL,"
    "  created_at INTEGER NOT NULL,"
    "  expires_at INTEGER NOT NULL,"
    "  tries INTEGER NOT NULL DEFAULT 0,"
    "  UNIQUE (purpose, email)"
    ") STRICT;"
    "CREATE INDEX codes_expiry ON codes (expires_at);"
    "CREATE TABLE mails ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  recipient TEXT NOT NULL,"
    "  content TEXT NOT NULL,"
    "  created_at INTEGER NOT NULL,"
    "  next_at INTEGER NOT NULL,"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  error TEXT NOT NULL DEFAULT ''"
    ") STRICT;"
    "CREATE INDEX mails_due ON mails (next_at);"
    "CREATE TABLE audit ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  at INTEGER NOT NULL,"
    "  actor TEXT NOT NULL,"
    "  action TEXT NOT NULL,"
    "  subject TEXT NOT NULL,"
    "  address TEXT NOT NULL,"
    "  detail TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX audit_subject ON audit (subject, number);"
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN"
    "  SELECT raise(ABORT, 'the audit trail is append-only'); END;"
    "CREATE TRIGGER audit_remains BEFORE DELETE ON audit BEGIN"
    "  SELECT raise(ABORT, 'the audit trail is append-only'); END;",
};

int sqlite_schema_version(void)
{
    return (int)count_of(steps);
}

enum err sqlite_schema_read(struct task *task, struct sqlite_db *db, int *ret)
{
    sqlite3_stmt *statement = NULL;
    enum err e = OK;

    if (sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        e = sqlite_db_fail(task, db);
    else
        *ret = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return e;
}

static enum err take_step(struct task *task, struct sqlite_db *db, int step)
{
    const char *sql = mem_printf(task->mem, "BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT",
                                 steps[step], step + 1);
    enum err e = sqlite_db_exec(task, db, sql);

    if (e != OK && !sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return e;
}

enum err sqlite_schema_accept(struct task *task, struct sqlite_db *db)
{
    int version = 0;
    enum err e = sqlite_schema_read(task, db, &version);

    if (e != OK)
        return e;
    if (version < 0)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "its schema is %d, which no manus writes: restore a backup",
                               version));
    if (version > sqlite_schema_version())
        return fail(
            task, ERR_STORE,
            mem_printf(task->mem,
                       "a newer manus has written this store (schema %d, this program knows "
                       "%d): run that version, or restore a backup made before the upgrade",
                       version, sqlite_schema_version()));
    return OK;
}

enum err sqlite_schema_migrate(struct task *task, struct sqlite_db *db)
{
    int version = 0;
    enum err e = sqlite_schema_read(task, db, &version);

    for (; e == OK && version < sqlite_schema_version(); version++)
        e = take_step(task, db, version);
    return e;
}
