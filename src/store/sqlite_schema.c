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

    "ALTER TABLE users ADD COLUMN language TEXT;"
    "ALTER TABLE users ADD COLUMN verified_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL DEFAULT '';",

    "CREATE TABLE subscriptions ("
    "  number INTEGER PRIMARY KEY,"
    "  subscription_id TEXT NOT NULL UNIQUE,"
    "  user_id TEXT NOT NULL UNIQUE REFERENCES users (user_id) ON DELETE CASCADE,"
    "  plan TEXT NOT NULL,"
    "  status TEXT NOT NULL CHECK (status IN"
    "    ('active', 'past_due', 'canceled', 'unpaid', 'trialing', 'incomplete')),"
    "  stripe_customer_id TEXT,"
    "  stripe_subscription_id TEXT,"
    "  stripe_price_id TEXT,"
    "  current_period_start INTEGER NOT NULL DEFAULT 0,"
    "  current_period_end INTEGER NOT NULL DEFAULT 0,"
    "  canceled_at INTEGER NOT NULL DEFAULT 0,"
    "  past_due_at INTEGER NOT NULL DEFAULT 0,"
    "  cancel_at_period_end INTEGER NOT NULL DEFAULT 0,"
    "  synced_at INTEGER NOT NULL DEFAULT 0,"
    "  customer_generation INTEGER NOT NULL DEFAULT 0,"
    "  is_trial INTEGER NOT NULL DEFAULT 0,"
    "  trial_start INTEGER NOT NULL DEFAULT 0,"
    "  trial_end INTEGER NOT NULL DEFAULT 0,"
    "  trial_told INTEGER NOT NULL DEFAULT 0,"
    "  gift_plan TEXT,"
    "  gift_runs INTEGER NOT NULL DEFAULT 0,"
    "  gift_until INTEGER NOT NULL DEFAULT 0,"
    "  monthly_agent_runs INTEGER NOT NULL DEFAULT 0,"
    "  usage_period INTEGER NOT NULL DEFAULT 0,"
    "  created_at INTEGER NOT NULL,"
    "  updated_at INTEGER NOT NULL,"
    "  revision INTEGER NOT NULL DEFAULT 1"
    ") STRICT;"
    "CREATE UNIQUE INDEX subscriptions_customer ON subscriptions (stripe_customer_id)"
    "  WHERE stripe_customer_id IS NOT NULL;"
    "CREATE INDEX subscriptions_trials ON subscriptions (trial_end)"
    "  WHERE is_trial AND NOT trial_told;"
    "CREATE TABLE usage_days ("
    "  user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,"
    "  day INTEGER NOT NULL,"
    "  runs INTEGER NOT NULL,"
    "  PRIMARY KEY (user_id, day)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE checkouts ("
    "  user_id TEXT NOT NULL UNIQUE REFERENCES users (user_id) ON DELETE CASCADE,"
    "  plan TEXT NOT NULL,"
    "  price_id TEXT NOT NULL,"
    "  success_url TEXT NOT NULL,"
    "  cancel_url TEXT NOT NULL,"
    "  key TEXT NOT NULL UNIQUE,"
    "  session_id TEXT UNIQUE,"
    "  url TEXT,"
    "  created_at INTEGER NOT NULL,"
    "  expires_at INTEGER NOT NULL DEFAULT 0,"
    "  leased_until INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE events ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  event_id TEXT NOT NULL UNIQUE,"
    "  type TEXT NOT NULL,"
    "  customer_id TEXT,"
    "  user_id TEXT,"
    "  payload TEXT NOT NULL,"
    "  state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'ignored', 'dead')),"
    "  error TEXT NOT NULL DEFAULT '',"
    "  received_at INTEGER NOT NULL,"
    "  next_at INTEGER NOT NULL,"
    "  done_at INTEGER NOT NULL DEFAULT 0,"
    "  attempts INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE INDEX events_due ON events (next_at) WHERE state = 'waiting';"
    "CREATE INDEX events_dead ON events (number) WHERE state = 'dead';"
    "CREATE INDEX events_customer ON events (customer_id, state);"
    "CREATE INDEX events_user ON events (user_id) WHERE user_id IS NOT NULL;"
    "CREATE INDEX events_done ON events (done_at) WHERE done_at > 0;",

    "ALTER TABLE users ADD COLUMN spared_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE mails ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX audit_actor ON audit (actor, number);",

    "CREATE TABLE mail_counts ("
    "  key TEXT NOT NULL,"
    "  minute INTEGER NOT NULL,"
    "  mails INTEGER NOT NULL,"
    "  until INTEGER NOT NULL,"
    "  PRIMARY KEY (key, minute)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX mail_counts_until ON mail_counts (until);",

    "CREATE TABLE audit_kept (id INTEGER PRIMARY KEY CHECK (id = 1), since INTEGER NOT NULL) "
    "STRICT;"
    "DROP TRIGGER audit_remains;"
    "CREATE TRIGGER audit_remains BEFORE DELETE ON audit"
    "  WHEN old.at >= coalesce((SELECT since FROM audit_kept), -9223372036854775808)"
    "    OR old.number > (SELECT min(number) FROM audit) BEGIN"
    "  SELECT raise(ABORT, 'the audit trail is append-only'); END;",

    "CREATE TABLE keys (name TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO keys(name, key) VALUES('trials', randomblob(32));"
    "CREATE TABLE trials ("
    "  mailbox BLOB PRIMARY KEY,"
    "  began_at INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "INSERT OR IGNORE INTO trials(mailbox, began_at)"
    "  SELECT mailbox_hash(key, email), trial_start FROM subscriptions JOIN users USING (user_id)"
    "  JOIN keys WHERE trial_start > 0 AND name = 'trials';",

    "ALTER TABLE subscriptions ADD COLUMN billing_anchor INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE subscriptions ADD COLUMN stripe_anchor INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE subscriptions ADD COLUMN ends_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE subscriptions ADD COLUMN unpaid_from INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE subscriptions ADD COLUMN stripe_notes TEXT;",

    "ALTER TABLE events ADD COLUMN leased_until INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE events ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;"
    "UPDATE events SET waits = attempts WHERE state = 'waiting';"
    "DROP INDEX events_due;"
    "CREATE INDEX events_first ON events (next_at) WHERE state = 'waiting' AND waits = 0;"
    "CREATE INDEX events_again ON events (next_at, attempts) WHERE state = 'waiting' AND waits > 0;"
    "CREATE INDEX events_in_work ON events (customer_id) WHERE leased_until > 0;",

    "CREATE TABLE marks (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;",

    "ALTER TABLE subscriptions ADD COLUMN customer_foreign INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE other_customers ("
    "  customer_id TEXT PRIMARY KEY,"
    "  user_id TEXT NOT NULL,"
    "  noted_at INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX other_customers_user ON other_customers (user_id, noted_at);",

    "ALTER TABLE subscriptions ADD COLUMN stripe_item_id TEXT;",

    "CREATE TABLE devices ("
    "  user_id TEXT NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,"
    "  device TEXT NOT NULL,"
    "  until INTEGER NOT NULL,"
    "  PRIMARY KEY (user_id, device)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX devices_until ON devices (until);"
    "INSERT INTO devices(user_id, device, until)"
    "  SELECT user_id, device, max(expires_at) FROM sessions GROUP BY user_id, device;"
    "DELETE FROM sessions WHERE ended_at <> 0 AND device <> '';"
    "CREATE INDEX mails_recipient ON mails (recipient);"
    "CREATE INDEX codes_email ON codes (email, purpose);"
    "CREATE TABLE tallies (name TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO tallies(name, count) SELECT 'mails', count(*) FROM mails;"
    "CREATE TRIGGER mails_come AFTER INSERT ON mails BEGIN"
    "  UPDATE tallies SET count = count + 1 WHERE name = 'mails'; END;"
    "CREATE TRIGGER mails_go AFTER DELETE ON mails BEGIN"
    "  UPDATE tallies SET count = count - 1 WHERE name = 'mails'; END;"
    "DROP INDEX IF EXISTS audit_actor;"
    "CREATE INDEX audit_others ON audit (actor, number) WHERE actor <> 'user:' || subject;"
    "CREATE INDEX subscriptions_status ON subscriptions (status, number);"
    "CREATE INDEX subscriptions_sold ON subscriptions (number)"
    "  WHERE stripe_customer_id IS NOT NULL;"
    "DROP INDEX IF EXISTS events_dead;"
    "CREATE INDEX events_state ON events (state, number);",

    "ALTER TABLE other_customers ADD COLUMN own INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX other_customers_user;"
    "CREATE INDEX other_customers_user ON other_customers (user_id, own, noted_at);"
    "ALTER TABLE subscriptions ADD COLUMN was_canceled INTEGER NOT NULL DEFAULT 0;",

    /* The writer merges a little with each group (sqlite_writer.c). By itself the index would merge
     * hundreds of pages in one write, or thousands where a level has 16 pieces. */
    "INSERT INTO users_words(users_words, rank) VALUES('automerge', 0);"
    "INSERT INTO users_words(users_words, rank) VALUES('crisismerge', 256);",

    /* By the texts of before: the numbers are those of EVENT_REASONS. */
    "ALTER TABLE events ADD COLUMN reason INTEGER NOT NULL DEFAULT 0;"
    "UPDATE events SET reason = CASE WHEN error LIKE 'paid twice%' THEN 2"
    "  WHEN error LIKE '%pays for a plan of the user%' THEN 3"
    "  WHEN error LIKE '%names no user here%' THEN 4"
    "  WHEN error LIKE 'its price stands in no plan%' THEN 5"
    "  WHEN type = 'unreadable' THEN 6 ELSE 1 END WHERE state = 'dead';",

    "CREATE TABLE leases ("
    "  name TEXT PRIMARY KEY,"
    "  holder TEXT NOT NULL,"
    "  fence INTEGER NOT NULL,"
    "  until INTEGER NOT NULL,"
    "  taken_at INTEGER NOT NULL,"
    "  succeeded_at INTEGER NOT NULL DEFAULT 0"
    ") STRICT, WITHOUT ROWID;",
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

/* Tables, and how many of them are ours: a store is made with all of its first step, or not. */
static enum err count_tables(struct task *task, struct sqlite_db *db, int *ret_all, int *ret_ours)
{
    static const char sql[] = "SELECT count(*), total(name IN ('sessions', 'touched', 'audit')) "
                              "FROM sqlite_master WHERE type = 'table'";
    sqlite3_stmt *statement = NULL;
    enum err e = OK;

    if (sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        e = sqlite_db_fail(task, db);
    } else {
        *ret_all = sqlite3_column_int(statement, 0);
        *ret_ours = sqlite3_column_int(statement, 1);
    }
    sqlite3_finalize(statement);
    return e;
}

enum err sqlite_schema_accept(struct task *task, struct sqlite_db *db)
{
    int version = 0, tables = 0, ours = 0;
    enum err e = sqlite_schema_read(task, db, &version);

    if (e == OK)
        e = count_tables(task, db, &tables, &ours);
    if (e != OK)
        return e;
    if (tables > 0 && (version == 0 || ours == 0))
        return fail(task, ERR_STORE,
                    "it is a database of another program: move it away, or set DATA_DIR to "
                    "another folder");
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
