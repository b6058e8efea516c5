/* Users: who they are, and new ones. Changes to them are in sqlite_manage.c. */
#include "store/sqlite_parts.h"

struct user sqlite_user(struct task *task, sqlite3_stmt *s)
{
    return (struct user){
        .id = sqlite_db_text(task, s, 0),
        .fullname = sqlite_db_text(task, s, 1),
        .email = sqlite_db_text(task, s, 2),
        .password_hash = sqlite_db_text(task, s, 3),
        .is_admin = sqlite3_column_int(s, 4) != 0,
        .is_active = sqlite3_column_int(s, 5) != 0,
        .created_ms = sqlite3_column_int64(s, 6),
        .updated_ms = sqlite3_column_int64(s, 7),
        .last_login_ms = sqlite3_column_int64(s, 8),
        .valid_from_ms = sqlite3_column_int64(s, 9),
        .language = sqlite_db_text(task, s, 10),
        .verified_ms = sqlite3_column_int64(s, 11),
        .spared_s = sqlite3_column_int64(s, 12),
    };
}

struct find_user {
    enum sqlite_statement by;
    const char *key;
    bool *ret_found;
    struct user *ret;
};

static enum err find_user(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct find_user *find = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, find->by);
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, find->key);
    e = sqlite_db_row(task, db, s, find->ret_found);
    if (e != OK || !*find->ret_found)
        return e;
    *find->ret = sqlite_user(task, s);
    return OK;
}

enum err sqlite_find_user(struct task *task, struct sqlite_db *db, const char *id, bool *ret_found,
                          struct user *ret)
{
    return find_user(task, db, &(struct find_user){SQL_USER_BY_ID, id, ret_found, ret});
}

enum err sqlite_user_by_email(struct task *task, struct store *store, const char *email,
                              bool *ret_found, struct user *ret)
{
    return sqlite_reading(task, store, find_user,
                          &(struct find_user){SQL_USER_BY_EMAIL, email, ret_found, ret});
}

enum err sqlite_user_by_id(struct task *task, struct store *store, const char *id, bool *ret_found,
                           struct user *ret)
{
    return sqlite_reading(task, store, find_user,
                          &(struct find_user){SQL_USER_BY_ID, id, ret_found, ret});
}

struct create_user {
    const struct user *user;
    const struct session_record *session;
    const struct audit *audit;
    enum user_created *ret;
};

static enum err insert_user(struct task *task, struct sqlite_db *db, const struct user *user,
                            int *ret_changes)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USER_INSERT);

    if (s != NULL) {
        sqlite_bind(s, 1, user->id);
        sqlite_bind(s, 2, user->email);
        sqlite_bind(s, 3, user->fullname);
        sqlite_bind(s, 4, user->password_hash);
        sqlite_bind(s, 5, user->is_admin ? "admin" : "user");
        sqlite3_bind_int(s, 6, user->is_active);
        sqlite3_bind_int64(s, 7, user->created_ms);
        sqlite3_bind_int64(s, 8, user->updated_ms);
        sqlite3_bind_int64(s, 9, user->last_login_ms);
        sqlite3_bind_int64(s, 10, user->valid_from_ms);
        sqlite_bind(s, 11, user->language);
        sqlite3_bind_int64(s, 12, user->verified_ms);
    }
    return sqlite_db_run(task, db, s, ret_changes);
}

static enum err create_user(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct create_user *create = argument;
    int changes = 0;
    enum err e = insert_user(task, db, create->user, &changes);

    if (e != OK)
        return e;
    *create->ret = changes == 0 ? USER_EMAIL_TAKEN : USER_CREATED;
    if (changes == 0)
        return OK;
    if (create->session != NULL) {
        e = sqlite_put_session(task, db, create->session, &changes);
        if (e == OK && changes == 0)
            e = fail(task, ERR_STORE, "a new user's first session has an id that is in use");
    }
    if (e == OK && create->audit != NULL)
        e = sqlite_append_audit(task, db, create->audit);
    return e;
}

enum err sqlite_user_create(struct task *task, struct store *store, const struct user *user,
                            const struct session_record *session, const struct audit *audit,
                            enum user_created *ret)
{
    return sqlite_writing(task, store, create_user,
                          &(struct create_user){user, session, audit, ret});
}

struct user_time {
    const char *id;
    int64_t ms;
};

static enum err void_tokens(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct user_time *void_from = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USER_VOID);

    if (s != NULL) {
        sqlite_bind(s, 1, void_from->id);
        sqlite3_bind_int64(s, 2, void_from->ms);
        sqlite3_bind_int64(s, 3, 0);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_user_void_tokens(struct task *task, struct store *store, const char *id,
                                 int64_t from_ms)
{
    return sqlite_writing(task, store, void_tokens, &(struct user_time){id, from_ms});
}
