/* Changes to users by themselves and by administrators, each with its line in the audit trail. */
#include "store/sqlite_parts.h"

#include <string.h>

enum change {
    SET_PASSWORD,
    SET_FULLNAME,
    SET_EMAIL,
    SET_LANGUAGE,
    SET_ACTIVE,
    SET_ROLE,
    VERIFY,
    DELETE_USER,
    END_SESSIONS,
};

struct change_user {
    enum change change;
    const char *id;
    const char *text;        /* the hash, the name, the address, the language */
    bool flag;               /* is active, is an administrator */
    const struct keep *keep; /* the login that goes on; NULL: none */
    const int64_t *valid_from_ms;
    const struct audit *audit;
    enum user_changed *ret;
    unsigned *ret_count; /* of sessions; may be NULL */
};

enum err sqlite_append_audit(struct task *task, struct sqlite_db *db, const struct audit *audit)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_AUDIT_INSERT);

    if (s != NULL) {
        sqlite3_bind_int64(s, 1, audit->at_ms);
        sqlite_bind(s, 2, audit->actor);
        sqlite_bind(s, 3, audit->action);
        sqlite_bind(s, 4, audit->subject);
        sqlite_bind(s, 5, audit->address);
        sqlite_bind(s, 6, audit->detail);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err end_sessions(struct task *task, struct sqlite_db *db, const struct change_user *c)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_SESSIONS_END);
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, c->id);
        sqlite3_bind_int64(s, 2, c->audit->at_ms);
        sqlite_bind(s, 3, c->keep == NULL ? NULL : c->keep->session_id);
    }
    e = sqlite_db_run(task, db, s, &changes);
    if (c->ret_count != NULL)
        *c->ret_count = (unsigned)changes;
    return e == OK && changes > 0 ? sqlite_forget_sessions(task, db, SQL_SESSIONS_FORGET, c->id)
                                  : e;
}

static enum err update_user(struct task *task, struct sqlite_db *db, const struct change_user *c,
                            int *ret_changes)
{
    static const enum sqlite_statement statements[] = {
        [SET_PASSWORD] = SQL_USER_PASSWORD, [SET_FULLNAME] = SQL_USER_FULLNAME,
        [SET_EMAIL] = SQL_USER_EMAIL,       [SET_LANGUAGE] = SQL_USER_LANGUAGE,
        [SET_ACTIVE] = SQL_USER_ACTIVE,     [SET_ROLE] = SQL_USER_ROLE,
        [VERIFY] = SQL_USER_VERIFY,         [DELETE_USER] = SQL_USER_DELETE,
        [END_SESSIONS] = SQL_USER_VOID,
    };
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statements[c->change]);
    int64_t spared_s = c->keep == NULL ? 0 : c->keep->issued_s;

    if (s == NULL)
        return task->err;
    sqlite_bind(s, 1, c->id);
    if (c->change <= SET_LANGUAGE)
        sqlite_bind(s, 2, c->text);
    else if (c->change == SET_ACTIVE || c->change == SET_ROLE)
        sqlite3_bind_int(s, 2, c->flag);
    else if (c->change == VERIFY || c->change == END_SESSIONS)
        sqlite3_bind_int64(s, 2, c->audit->at_ms);
    if (c->change <= SET_ROLE)
        sqlite3_bind_int64(s, 3, c->audit->at_ms);
    if (c->change == SET_PASSWORD || c->change == END_SESSIONS)
        sqlite3_bind_int64(s, c->change == SET_PASSWORD ? 4 : 3, spared_s);
    return sqlite_db_run(task, db, s, ret_changes);
}

static enum err forget_mails(struct task *task, struct sqlite_db *db, const char *email)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_MAILS_FORGET);

    if (s != NULL)
        sqlite_bind(s, 1, email);
    return sqlite_db_run(task, db, s, NULL);
}

/* What was mailed before is worth nothing any more. */
static enum err forget_codes(struct task *task, struct sqlite_db *db, const struct change_user *c,
                             const char *email)
{
    static const bool forgets[] = {[SET_PASSWORD] = true,
                                   [SET_EMAIL] = true,
                                   [SET_ACTIVE] = true,
                                   [VERIFY] = true,
                                   [DELETE_USER] = true};

    auto_statement sqlite3_stmt *s = NULL;

    if (c->change >= count_of(forgets) || !forgets[c->change])
        return OK;
    s = sqlite_db_statement(task, db, SQL_CODES_FORGET);
    if (s != NULL) {
        sqlite_bind(s, 1, email);
        sqlite_bind(s, 2, c->change == VERIFY ? CODE_VERIFY : NULL);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static bool ends_sessions(const struct change_user *c)
{
    return c->change == SET_PASSWORD || c->change == SET_EMAIL || c->change == SET_ROLE ||
           c->change == END_SESSIONS || (c->change == SET_ACTIVE && !c->flag);
}

static bool leaves_traces(const struct change_user *c)
{
    return c->change == DELETE_USER || c->change == SET_EMAIL || c->change == SET_FULLNAME;
}

/* What is so already is neither written nor noted. */
static bool is_so(const struct change_user *c, const struct user *user)
{
    switch (c->change) {
    case SET_FULLNAME:
        return strcmp(user->fullname, c->text) == 0;
    case SET_LANGUAGE:
        return user->language != NULL && c->text != NULL && strcmp(user->language, c->text) == 0;
    case SET_ROLE:
        return user->is_admin == c->flag;
    case SET_ACTIVE:
        return user->is_active == c->flag;
    default:
        return false;
    }
}

static enum err change_user(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct change_user *c = argument;
    struct subscription subscription;
    struct user user;
    bool found, subscribed = false;
    int changes = 0;
    enum err e = sqlite_find_user(task, db, c->id, &found, &user);

    *c->ret = USER_UNKNOWN;
    if (e != OK || !found)
        return e;
    *c->ret = USER_OUTDATED;
    if (c->valid_from_ms != NULL && *c->valid_from_ms != user.valid_from_ms)
        return OK;
    *c->ret = c->change == VERIFY && user.verified_ms != 0 ? USER_VERIFIED : USER_CHANGED;
    if (*c->ret == USER_VERIFIED || is_so(c, &user))
        return OK;
    if (c->change == DELETE_USER)
        e = sqlite_find_subscription(task, db, c->id, &subscribed, &subscription);
    if (e == OK)
        e = update_user(task, db, c, &changes);
    if (e == OK && changes == 0 && c->change != END_SESSIONS) {
        *c->ret = c->change == SET_EMAIL ? USER_EMAIL_IN_USE : USER_LAST_ADMIN;
        return OK;
    }
    if (e == OK && ends_sessions(c))
        e = end_sessions(task, db, c);
    if (e == OK)
        e = forget_codes(task, db, c, user.email);
    if (e == OK && c->change == SET_EMAIL)
        e = sqlite_note_trial(task, db, c->id);
    /* What waits for somebody who has gone would go to the next of that address. */
    if (e == OK && c->change == DELETE_USER)
        e = forget_mails(task, db, user.email);
    if (e == OK && leaves_traces(c))
        e = sqlite_note_removal(task, db, c->audit->at_ms);
    if (e == OK && subscribed)
        e = sqlite_forget_billing(task, db, &subscription, c->audit->at_ms);
    return e == OK ? sqlite_append_audit(task, db, c->audit) : e;
}

enum err sqlite_do_deed(struct task *task, struct sqlite_db *db, const struct code_deed *deed)
{
    enum user_changed changed;
    enum err e = OK;

    if (deed->password_hash != NULL)
        e = change_user(task, db,
                        &(struct change_user){SET_PASSWORD, deed->user_id,
                                              .text = deed->password_hash, .audit = deed->password,
                                              .ret = &changed});
    if (e != OK)
        return e;
    return change_user(
        task, db,
        &(struct change_user){VERIFY, deed->user_id, .audit = deed->verified, .ret = &changed});
}

static enum err change(struct task *task, struct store *store, struct change_user *c)
{
    return sqlite_writing(task, store, change_user, c);
}

enum err sqlite_user_set_password(struct task *task, struct store *store, const char *id,
                                  const char *hash, const struct keep *keep,
                                  const int64_t *valid_from_ms, const struct audit *audit,
                                  enum user_changed *ret)
{
    return change(task, store,
                  &(struct change_user){SET_PASSWORD, id, .text = hash, .keep = keep,
                                        .valid_from_ms = valid_from_ms, .audit = audit,
                                        .ret = ret});
}

enum err sqlite_user_set_fullname(struct task *task, struct store *store, const char *id,
                                  const char *fullname, const struct audit *audit,
                                  enum user_changed *ret)
{
    return change(
        task, store,
        &(struct change_user){SET_FULLNAME, id, .text = fullname, .audit = audit, .ret = ret});
}

enum err sqlite_user_set_email(struct task *task, struct store *store, const char *id,
                               const char *email, const struct audit *audit, enum user_changed *ret)
{
    return change(task, store,
                  &(struct change_user){SET_EMAIL, id, .text = email, .audit = audit, .ret = ret});
}

enum err sqlite_user_set_language(struct task *task, struct store *store, const char *id,
                                  const char *language, const struct audit *audit,
                                  enum user_changed *ret)
{
    return change(
        task, store,
        &(struct change_user){SET_LANGUAGE, id, .text = language, .audit = audit, .ret = ret});
}

enum err sqlite_user_verify(struct task *task, struct store *store, const char *id,
                            const struct audit *audit, enum user_changed *ret)
{
    return change(task, store, &(struct change_user){VERIFY, id, .audit = audit, .ret = ret});
}

enum err sqlite_user_set_active(struct task *task, struct store *store, const char *id,
                                bool is_active, const struct audit *audit, enum user_changed *ret)
{
    return change(
        task, store,
        &(struct change_user){SET_ACTIVE, id, .flag = is_active, .audit = audit, .ret = ret});
}

enum err sqlite_user_set_role(struct task *task, struct store *store, const char *id, bool is_admin,
                              const struct audit *audit, enum user_changed *ret)
{
    return change(
        task, store,
        &(struct change_user){SET_ROLE, id, .flag = is_admin, .audit = audit, .ret = ret});
}

enum err sqlite_user_delete(struct task *task, struct store *store, const char *id,
                            const int64_t *valid_from_ms, const struct audit *audit,
                            enum user_changed *ret)
{
    return change(task, store,
                  &(struct change_user){DELETE_USER, id, .valid_from_ms = valid_from_ms,
                                        .audit = audit, .ret = ret});
}

enum err sqlite_sessions_end(struct task *task, struct store *store, const char *user_id,
                             const struct keep *keep, const struct audit *audit,
                             unsigned *ret_count)
{
    enum user_changed changed;

    *ret_count = 0;
    return change(task, store,
                  &(struct change_user){END_SESSIONS, user_id, .keep = keep, .audit = audit,
                                        .ret = &changed, .ret_count = ret_count});
}

struct rehash {
    const char *id, *old_hash, *new_hash;
};

static enum err rehash(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct rehash *r = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USER_REHASH);

    if (s != NULL) {
        sqlite_bind(s, 1, r->id);
        sqlite_bind(s, 2, r->old_hash);
        sqlite_bind(s, 3, r->new_hash);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_user_rehash(struct task *task, struct store *store, const char *id,
                            const char *old_hash, const char *new_hash)
{
    return sqlite_writing(task, store, rehash, &(struct rehash){id, old_hash, new_hash});
}
