/* Changes to users by themselves and by administrators, each with its line in the audit trail. */
#include "store/sqlite_parts.h"
#include "store/user_change.h"

struct change_user {
    const char *id;
    struct user_wanted wanted;
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
        sqlite_bind(s, 3, c->wanted.keep == NULL ? NULL : c->wanted.keep->session_id);
    }
    e = sqlite_db_run(task, db, s, &changes);
    if (c->ret_count != NULL)
        *c->ret_count = (unsigned)changes;
    return e == OK && changes > 0 ? sqlite_forget_sessions(task, db, SQL_SESSIONS_FORGET, c->id)
                                  : e;
}

static enum err put_user(struct task *task, struct sqlite_db *db, const struct user *user,
                         bool renames, int *ret_changes)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(
        task, db, renames ? SQL_USER_RENAME : SQL_USER_STORE);

    if (s == NULL)
        return task->err;
    sqlite_bind(s, 1, user->id);
    sqlite_bind(s, 2, user->password_hash);
    sqlite_bind(s, 3, user->is_admin ? "admin" : "user");
    sqlite3_bind_int(s, 4, user->is_active);
    sqlite3_bind_int64(s, 5, user->updated_ms);
    sqlite3_bind_int64(s, 6, user->valid_from_ms);
    sqlite3_bind_int64(s, 7, user->spared_s);
    sqlite_bind(s, 8, user->language);
    sqlite3_bind_int64(s, 9, user->verified_ms);
    if (renames) {
        sqlite_bind(s, 10, user->email);
        sqlite_bind(s, 11, user->fullname);
    }
    return sqlite_db_run(task, db, s, ret_changes);
}

static enum err run_with(struct task *task, struct sqlite_db *db, enum sqlite_statement statement,
                         const char *key, const char *other)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, statement);

    if (s != NULL)
        sqlite_bind(s, 1, key);
    if (s != NULL && other != NULL)
        sqlite_bind(s, 2, other);
    return sqlite_db_run(task, db, s, NULL);
}

static enum err has_other_admin(struct task *task, struct sqlite_db *db, const char *id, bool *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_USER_OTHER_ADMIN);

    if (s != NULL)
        sqlite_bind(s, 1, id);
    return sqlite_db_row(task, db, s, ret);
}

/* The user's own row. *ret_stored false: nothing was written, and *c->ret says why. */
static enum err write_user(struct task *task, struct sqlite_db *db, const struct change_user *c,
                           const struct user_outcome *outcome, bool *ret_stored)
{
    int changes = 0;
    enum err e = OK;

    *ret_stored = true;
    if (outcome->needs_other_admin)
        e = has_other_admin(task, db, c->id, ret_stored);
    if (e != OK || !*ret_stored) {
        *c->ret = USER_LAST_ADMIN;
        return e;
    }
    if (c->wanted.change == CHANGE_GONE)
        return run_with(task, db, SQL_USER_DELETE, c->id, NULL);
    e = put_user(task, db, &outcome->after, outcome->renames, &changes);
    *ret_stored = changes > 0;
    if (e == OK && !*ret_stored)
        *c->ret = USER_EMAIL_IN_USE;
    return e;
}

static enum err change_user(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct change_user *c = argument;
    struct subscription subscription;
    struct user_outcome outcome;
    struct user user;
    bool found, stored, subscribed = false;
    enum err e = sqlite_find_user(task, db, c->id, &found, &user);

    *c->ret = USER_UNKNOWN;
    if (e != OK || !found)
        return e;
    outcome = user_change(&user, &c->wanted);
    *c->ret = outcome.answer;
    if (!outcome.is_written)
        return OK;
    if (c->wanted.change == CHANGE_GONE)
        e = sqlite_find_subscription(task, db, c->id, &subscribed, &subscription);
    if (e == OK)
        e = write_user(task, db, c, &outcome, &stored);
    if (e != OK || !stored)
        return e;
    if (outcome.ends_sessions)
        e = end_sessions(task, db, c);
    if (e == OK && outcome.forgets_codes)
        e = run_with(task, db, SQL_CODES_FORGET, user.email, outcome.codes);
    if (e == OK && outcome.carries_trial)
        e = sqlite_note_trial(task, db, c->id);
    if (e == OK && outcome.forgets_mails)
        e = run_with(task, db, SQL_MAILS_FORGET, user.email, NULL);
    if (e == OK && outcome.leaves_traces)
        e = sqlite_note_removal(task, db, c->audit->at_ms);
    if (e == OK && subscribed)
        e = sqlite_forget_billing(task, db, &subscription, c->audit->at_ms);
    return e == OK ? sqlite_append_audit(task, db, c->audit) : e;
}

/* Of the rest of what is wanted. */
static struct change_user change_of(enum user_change change, const char *id,
                                    const struct audit *audit, enum user_changed *ret)
{
    return (struct change_user){
        .id = id, .wanted = {.change = change, .at_ms = audit->at_ms}, .audit = audit, .ret = ret};
}

enum err sqlite_do_code_action(struct task *task, struct sqlite_db *db,
                               const struct code_action *action)
{
    enum user_changed changed;
    struct change_user c;
    enum err e = OK;

    if (action->password_hash != NULL) {
        c = change_of(CHANGE_PASSWORD, action->user_id, action->password, &changed);
        c.wanted.text = action->password_hash;
        e = change_user(task, db, &c);
    }
    if (e != OK)
        return e;
    c = change_of(CHANGE_VERIFIED, action->user_id, action->verified, &changed);
    return change_user(task, db, &c);
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
    struct change_user c = change_of(CHANGE_PASSWORD, id, audit, ret);

    c.wanted.text = hash;
    c.wanted.keep = keep;
    c.wanted.valid_from_ms = valid_from_ms;

    return change(task, store, &c);
}

enum err sqlite_user_set_fullname(struct task *task, struct store *store, const char *id,
                                  const char *fullname, const struct audit *audit,
                                  enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_FULLNAME, id, audit, ret);

    c.wanted.text = fullname;

    return change(task, store, &c);
}

enum err sqlite_user_set_email(struct task *task, struct store *store, const char *id,
                               const char *email, const struct audit *audit, enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_EMAIL, id, audit, ret);

    c.wanted.text = email;

    return change(task, store, &c);
}

enum err sqlite_user_set_language(struct task *task, struct store *store, const char *id,
                                  const char *language, const struct audit *audit,
                                  enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_LANGUAGE, id, audit, ret);

    c.wanted.text = language;

    return change(task, store, &c);
}

enum err sqlite_user_verify(struct task *task, struct store *store, const char *id,
                            const struct audit *audit, enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_VERIFIED, id, audit, ret);

    return change(task, store, &c);
}

enum err sqlite_user_set_active(struct task *task, struct store *store, const char *id,
                                bool is_active, const struct audit *audit, enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_ACTIVE, id, audit, ret);

    c.wanted.flag = is_active;

    return change(task, store, &c);
}

enum err sqlite_user_set_role(struct task *task, struct store *store, const char *id, bool is_admin,
                              const struct audit *audit, enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_ROLE, id, audit, ret);

    c.wanted.flag = is_admin;

    return change(task, store, &c);
}

enum err sqlite_user_delete(struct task *task, struct store *store, const char *id,
                            const int64_t *valid_from_ms, const struct audit *audit,
                            enum user_changed *ret)
{
    struct change_user c = change_of(CHANGE_GONE, id, audit, ret);

    c.wanted.valid_from_ms = valid_from_ms;

    return change(task, store, &c);
}

enum err sqlite_sessions_end(struct task *task, struct store *store, const char *user_id,
                             const struct keep *keep, const struct audit *audit,
                             unsigned *ret_count)
{
    enum user_changed changed;
    struct change_user c = change_of(CHANGE_SESSIONS, user_id, audit, &changed);

    c.wanted.keep = keep;
    c.ret_count = ret_count;
    *ret_count = 0;
    return change(task, store, &c);
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
