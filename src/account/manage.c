#include "account/manage.h"

#include "account/notice.h"
#include "account/password.h"
#include "account/provider.h"
#include "core/clock.h"
#include "core/loop.h"

#include <string.h>

static struct store *store_of(const struct accounts *accounts)
{
    return accounts->sessions.store;
}

/* The tokens of this user are looked at anew. */
static void forget(const struct accounts *accounts, const char *user_id)
{
    identity_forget_user(accounts->sessions.identity, user_id);
    identity_forget_sessions_of(accounts->sessions.identity, user_id);
}

static enum err refuse(struct task *task, enum user_changed changed)
{
    switch (changed) {
    case USER_CHANGED:
        return OK;
    case USER_UNKNOWN:
        return fail(task, ERR_NOT_FOUND, "User not found");
    case USER_OUTDATED:
        return fail(task, ERR_BAD_REQUEST, "Invalid old password");
    default:
        return fail(task, ERR_BAD_REQUEST, "The last active administrator cannot be removed");
    }
}

enum err manage_find_user(struct task *task, const struct accounts *accounts, const char *user_id,
                          struct user *ret)
{
    bool found;
    enum err e = store_user_by_id(task, store_of(accounts), user_id, &found, ret);

    assert_off_loops();
    if (e != OK)
        return e;
    return found ? OK : fail(task, ERR_NOT_FOUND, "User not found");
}

/* Whom the settings make, only they change. */
static enum err check_changeable(struct task *task, const char *user_id)
{
    if (strcmp(user_id, PROVIDER_LOCAL_ID) != 0 && strcmp(user_id, PROVIDER_NONE_ID) != 0)
        return OK;
    return fail(task, ERR_BAD_REQUEST,
                "This account belongs to AUTH_PROVIDER: change it in the settings");
}

enum err manage_confirm(struct task *task, const struct user *user, const char *password,
                        const char *text)
{
    enum password_answer answer;
    enum err e = password_verify(task, user->password_hash, password, &answer);

    if (e != OK)
        return e;
    return answer != PASSWORD_WRONG ? OK : fail(task, ERR_WRONG_PASSWORD, text);
}

/* The user, if the password is theirs. */
static enum err confirm(struct task *task, const struct accounts *accounts, const char *user_id,
                        const char *password, const char *text, struct user *ret)
{
    enum err e = manage_find_user(task, accounts, user_id, ret);

    return e == OK ? manage_confirm(task, ret, password, text) : e;
}

enum err manage_change_password(struct task *task, const struct accounts *accounts,
                                const char *user_id, const struct keep *keep,
                                const char *old_password, const char *new_password,
                                const struct audit *audit, enum language language, bool *ret_common)
{
    enum user_changed changed;
    struct user user;
    const char *hash;
    enum err e;

    assert_off_loops();
    if (task->settings->auth_provider != PROVIDER_PASSWORD)
        return fail(task, ERR_BAD_REQUEST, "Password change is not available");
    e = password_check(task, "New password", new_password, ret_common);
    if (e == OK)
        e = confirm(task, accounts, user_id, old_password, "Invalid old password", &user);
    if (e == OK)
        e = password_hash(task, new_password, &hash);
    if (e == OK)
        e = store_user_set_password(task, store_of(accounts), user_id, hash, keep,
                                    &user.valid_from_ms, audit, &changed);
    forget(accounts, user_id);
    if (e == OK)
        e = refuse(task, changed);
    if (e == OK)
        notice_password_changed(task, accounts, &user, audit->at_ms, language);
    return e;
}

enum err manage_set_password(struct task *task, const struct accounts *accounts,
                             const struct user *user, const char *hash, const struct audit *audit,
                             enum language language)
{
    enum user_changed changed;
    enum err e = check_changeable(task, user->id);

    if (e == OK)
        e = store_user_set_password(task, store_of(accounts), user->id, hash, NULL, NULL, audit,
                                    &changed);
    forget(accounts, user->id);
    if (e == OK)
        e = refuse(task, changed);
    if (e == OK)
        notice_password_changed(task, accounts, user, audit->at_ms, language);
    return e;
}

enum err manage_change_fullname(struct task *task, const struct accounts *accounts,
                                const char *user_id, const char *fullname,
                                const struct audit *audit, struct user *ret)
{
    enum user_changed changed;
    enum err e = store_user_set_fullname(task, store_of(accounts), user_id, fullname, audit,
                                         &changed);

    identity_forget_user(accounts->sessions.identity, user_id);
    if (e == OK)
        e = refuse(task, changed);
    return e == OK ? manage_find_user(task, accounts, user_id, ret) : e;
}

enum err manage_change_language(struct task *task, const struct accounts *accounts,
                                const char *user_id, const char *language,
                                const struct audit *audit, struct user *ret)
{
    enum user_changed changed;
    enum err e = store_user_set_language(task, store_of(accounts), user_id, language, audit,
                                         &changed);

    identity_forget_user(accounts->sessions.identity, user_id);
    if (e == OK)
        e = refuse(task, changed);
    return e == OK ? manage_find_user(task, accounts, user_id, ret) : e;
}

enum err manage_delete_self(struct task *task, const struct accounts *accounts, const char *user_id,
                            const char *password, const struct audit *audit)
{
    enum user_changed changed;
    struct user user;
    enum err e = confirm(task, accounts, user_id, password, "Invalid password", &user);

    assert_off_loops();
    if (e != OK)
        return e;
    e = store_user_delete(task, store_of(accounts), user_id, &user.valid_from_ms, audit, &changed);
    forget(accounts, user_id);
    if (e == OK && changed == USER_OUTDATED)
        return fail(task, ERR_BAD_REQUEST, "Invalid password");
    return e == OK ? refuse(task, changed) : e;
}

enum err manage_set_active(struct task *task, const struct accounts *accounts, const char *user_id,
                           bool is_active, const struct audit *audit)
{
    enum user_changed changed;
    enum err e = check_changeable(task, user_id);

    if (e == OK)
        e = store_user_set_active(task, store_of(accounts), user_id, is_active, audit, &changed);

    forget(accounts, user_id);
    return e == OK ? refuse(task, changed) : e;
}

enum err manage_set_role(struct task *task, const struct accounts *accounts, const char *user_id,
                         bool is_admin, const struct audit *audit, struct user *ret)
{
    enum user_changed changed;
    enum err e = check_changeable(task, user_id);

    assert_off_loops();
    if (e == OK)
        e = store_user_set_role(task, store_of(accounts), user_id, is_admin, audit, &changed);

    forget(accounts, user_id);
    if (e == OK)
        e = refuse(task, changed);
    return e == OK ? manage_find_user(task, accounts, user_id, ret) : e;
}

enum err manage_end_sessions(struct task *task, const struct accounts *accounts,
                             const char *user_id, const struct keep *keep,
                             const struct audit *audit, unsigned *ret_count)
{
    enum err e = store_sessions_end(task, store_of(accounts), user_id, keep, audit, ret_count);

    assert_off_loops();
    forget(accounts, user_id);
    return e;
}

enum err manage_end_session(struct task *task, const struct accounts *accounts, const char *user_id,
                            const char *session_id, const struct audit *audit)
{
    struct session_record session;
    bool found;
    enum err e = store_session_by_id(task, store_of(accounts), session_id, &found, &session);

    if (e != OK)
        return e;
    if (!found || session.ended_ms != 0 || session.expires_ms <= clock_wall_ms() ||
        strcmp(session.user_id, user_id) != 0)
        return fail(task, ERR_NOT_FOUND, "Session not found");
    e = store_session_end(task, store_of(accounts), session_id, audit->at_ms, audit);
    identity_forget_session(accounts->sessions.identity, session_id);
    return e;
}
