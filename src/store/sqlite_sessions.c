/* Sessions, and the devices on which they were opened. */
#include "store/sqlite_parts.h"

enum { DEVICES_PER_USER = 200 };

static const char *device_of(const struct session_record *session)
{
    return session->device == NULL ? "" : session->device;
}

/* The devices outlive their sessions, until these would have expired. */
static enum err note_device(struct task *task, struct sqlite_db *db,
                            const struct session_record *session)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_DEVICE_NOTE);

    if (s != NULL) {
        sqlite_bind(s, 1, session->user_id);
        sqlite_bind(s, 2, device_of(session));
        sqlite3_bind_int64(s, 3, session->expires_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_put_session(struct task *task, struct sqlite_db *db,
                            const struct session_record *session, int *ret_changes)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSION_INSERT);
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, session->id);
        sqlite_bind(s, 2, session->user_id);
        sqlite3_bind_int64(s, 3, session->created_ms);
        sqlite3_bind_int64(s, 4, session->expires_ms);
        sqlite3_bind_int64(s, 5, session->last_used_ms);
        sqlite_bind(s, 6, session->address);
        sqlite_bind(s, 7, session->agent);
        sqlite_bind(s, 8, chain_text(task->mem, &session->chain));
        sqlite_bind(s, 9, device_of(session));
    }
    e = sqlite_db_run(task, db, s, ret_changes);
    return e == OK && *ret_changes > 0 ? note_device(task, db, session) : e;
}

struct open_session {
    const struct session_record *session;
    int64_t valid_from_ms;
    enum session_opened *ret;
};

static enum err note_login(struct task *task, struct sqlite_db *db,
                           const struct session_record *session)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USER_LOGIN);

    if (s != NULL) {
        sqlite_bind(s, 1, session->user_id);
        sqlite3_bind_int64(s, 2, session->created_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_forget_sessions(struct task *task, struct sqlite_db *db,
                                enum sqlite_statement statement, const char *id)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);

    if (s != NULL)
        sqlite_bind(s, 1, id);
    return sqlite_db_run(task, db, s, NULL);
}

static enum err cap_devices(struct task *task, struct sqlite_db *db, const char *user_id)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_DEVICES_CAP);

    if (s != NULL) {
        sqlite_bind(s, 1, user_id);
        sqlite3_bind_int(s, 2, DEVICES_PER_USER);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err cap_sessions(struct task *task, struct sqlite_db *db,
                             const struct session_record *session)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSION_CAP);
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, session->user_id);
        sqlite3_bind_int64(s, 2, session->created_ms);
        sqlite3_bind_int(s, 3, STORE_SESSIONS_PER_USER);
    }
    e = sqlite_db_run(task, db, s, &changes);
    return e == OK && changes > 0
               ? sqlite_forget_sessions(task, db, SQL_SESSIONS_FORGET, session->user_id)
               : e;
}

static enum err find_device(struct task *task, struct sqlite_db *db,
                            const struct session_record *session, bool *ret_is_new)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_DEVICES_KNOWN);
    bool row = false;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, session->user_id);
        sqlite_bind(s, 2, device_of(session));
    }
    e = sqlite_db_row(task, db, s, &row);
    *ret_is_new = row && sqlite3_column_int(s, 0) != 0 && sqlite3_column_int(s, 1) == 0;
    return e;
}

struct find_known {
    const char *email, *device;
    bool *ret;
};

static enum err find_known(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct find_known *find = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_DEVICE_KNOWN);

    if (s != NULL) {
        sqlite_bind(s, 1, find->email);
        sqlite_bind(s, 2, find->device);
    }
    return sqlite_db_row(task, db, s, find->ret);
}

enum err sqlite_device_known(struct task *task, struct store *store, const char *email,
                             const char *device, bool *ret)
{
    return sqlite_reading(task, store, find_known, &(struct find_known){email, device, ret});
}

static enum err open_session(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct open_session *open = argument;
    bool found, is_new = false;
    struct user user;
    int changes = 0;
    enum err e = sqlite_find_user(task, db, open->session->user_id, &found, &user);

    *open->ret = SESSION_USER_CHANGED;
    if (e != OK || !found || !user.is_active || user.valid_from_ms != open->valid_from_ms)
        return e;
    e = find_device(task, db, open->session, &is_new);
    if (e == OK)
        e = sqlite_put_session(task, db, open->session, &changes);
    *open->ret = changes == 0 ? SESSION_EXISTS : is_new ? SESSION_OPENED_ELSEWHERE : SESSION_OPENED;
    if (e == OK && changes > 0)
        e = note_login(task, db, open->session);
    if (e == OK && changes > 0)
        e = cap_sessions(task, db, open->session);
    if (e == OK && changes > 0 && is_new)
        e = cap_devices(task, db, open->session->user_id);
    return e;
}

enum err sqlite_session_open(struct task *task, struct store *store,
                             const struct session_record *session, int64_t valid_from_ms,
                             enum session_opened *ret)
{
    return sqlite_writing(task, store, open_session,
                          &(struct open_session){session, valid_from_ms, ret});
}

enum err sqlite_session(struct task *task, sqlite3_stmt *s, struct session_record *ret)
{
    const char *chain;

    *ret = (struct session_record){
        .id = sqlite_db_text(task, s, 0),
        .user_id = sqlite_db_text(task, s, 1),
        .created_ms = sqlite3_column_int64(s, 2),
        .last_used_ms = sqlite3_column_int64(s, 3),
        .expires_ms = sqlite3_column_int64(s, 4),
        .ended_ms = sqlite3_column_int64(s, 5),
        .address = sqlite_db_text(task, s, 6),
        .agent = sqlite_db_text(task, s, 7),
    };
    ret->device = sqlite_db_text(task, s, 9);
    chain = (const char *)sqlite3_column_text(s, 8);
    if (!chain_parse(chain == NULL ? "" : chain, &ret->chain))
        return fail(task, ERR_STORE, "a session's chain of tokens cannot be read");
    return OK;
}

struct find_session {
    const char *id;
    bool *ret_found;
    struct session_record *ret;
};

static enum err find_session(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct find_session *find = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSION_BY_ID);
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, find->id);
    e = sqlite_db_row(task, db, s, find->ret_found);
    if (e != OK || !*find->ret_found)
        return e;
    return sqlite_session(task, s, find->ret);
}

enum err sqlite_session_by_id(struct task *task, struct store *store, const char *id,
                              bool *ret_found, struct session_record *ret)
{
    return sqlite_reading(task, store, find_session, &(struct find_session){id, ret_found, ret});
}

struct end_session {
    const char *id;
    int64_t now_ms;
    const struct audit *audit;
};

static enum err end_session(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct end_session *end = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSION_END);
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, end->id);
        sqlite3_bind_int64(s, 2, end->now_ms);
    }
    e = sqlite_db_run(task, db, s, &changes);
    if (e == OK && changes > 0)
        e = sqlite_forget_sessions(task, db, SQL_SESSION_FORGET, end->id);
    return e == OK && changes > 0 && end->audit != NULL ? sqlite_append_audit(task, db, end->audit)
                                                        : e;
}

enum err sqlite_session_end(struct task *task, struct store *store, const char *id, int64_t now_ms,
                            const struct audit *audit)
{
    return sqlite_writing(task, store, end_session, &(struct end_session){id, now_ms, audit});
}

struct refresh {
    const char *id, *token_id;
    const struct chain_link *fresh;
    int64_t now_ms;
    enum session_refreshed *ret;
    struct chain_link *ret_successor;
};

static enum err save_chain(struct task *task, struct sqlite_db *db, const struct refresh *refresh,
                           const struct chain *chain)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSION_CHAIN);

    if (s != NULL) {
        sqlite_bind(s, 1, refresh->id);
        sqlite_bind(s, 2, chain_text(task->mem, chain));
        sqlite3_bind_int64(s, 3, refresh->now_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err refresh_session(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct refresh *r = argument;
    struct session_record session;
    bool found;
    enum err e = find_session(task, db, &(struct find_session){r->id, &found, &session});

    if (e != OK)
        return e;
    *r->ret = SESSION_OVER;
    if (!found || session.ended_ms != 0 || session.expires_ms <= r->now_ms)
        return OK;
    if (chain_use(&session.chain, r->token_id, r->fresh, r->now_ms, r->ret_successor) ==
        CHAIN_REUSED) {
        *r->ret = SESSION_REUSED;
        return end_session(task, db, &(struct end_session){r->id, r->now_ms, NULL});
    }
    *r->ret = SESSION_REFRESHED;
    return save_chain(task, db, r, &session.chain);
}

enum err sqlite_session_refresh(struct task *task, struct store *store, const char *id,
                                const char *token_id, const struct chain_link *fresh,
                                int64_t now_ms, enum session_refreshed *ret,
                                struct chain_link *ret_successor)
{
    return sqlite_writing(task, store, refresh_session,
                          &(struct refresh){id, token_id, fresh, now_ms, ret, ret_successor});
}

struct sweep {
    int64_t before_ms;
    unsigned *ret_count;
};

static enum err sweep_some(struct task *task, struct sqlite_db *db, enum sqlite_statement statement,
                           const struct sweep *sweep)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);
    int changes = 0;
    enum err e;

    if (s != NULL)
        sqlite3_bind_int64(s, 1, sweep->before_ms);
    e = sqlite_db_run(task, db, s, &changes);
    *sweep->ret_count += (unsigned)changes;
    return e;
}

static enum err sweep_sessions(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct sweep *sweep = argument;
    enum err e;

    *sweep->ret_count = 0;
    e = sweep_some(task, db, SQL_SESSION_SWEEP, sweep);
    return e == OK ? sweep_some(task, db, SQL_DEVICE_SWEEP, sweep) : e;
}

enum err sqlite_session_sweep(struct task *task, struct store *store, int64_t before_ms,
                              unsigned *ret_count)
{
    return sqlite_writing(task, store, sweep_sessions, &(struct sweep){before_ms, ret_count});
}
