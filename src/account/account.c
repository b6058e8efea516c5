#include "account/account.h"

#include "account/notice.h"
#include "account/password.h"
#include "account/provider.h"
#include "account/verify.h"
#include "core/clock.h"
#include "core/email.h"
#include "core/log.h"
#include "core/loop.h"

enum { LOGIN_TRIES = 3 };

enum err account_find(struct task *task, const struct accounts *accounts, const char *email,
                      bool *ret_found, struct user *ret)
{
    const char *forms[EMAIL_FORMS];
    size_t count = email_forms(task->mem, email, forms);
    enum err e = OK;

    assert_off_loops();
    *ret_found = false;
    for (size_t i = 0; e == OK && !*ret_found && i < count; i++)
        e = store_user_by_email(task, accounts->sessions.store, forms[i], ret_found, ret);
    return e;
}

static enum err refuse_taken(struct task *task)
{
    return fail(task, ERR_INVALID, "Email already exists");
}

enum err account_register(struct task *task, const struct accounts *accounts, const char *fullname,
                          const char *email, const char *password, const struct device *device,
                          struct user *ret_user, struct tokens *ret_tokens, bool *ret_common)
{
    struct session_record session;
    enum user_created created;
    bool taken;
    enum err e;

    assert_off_loops();
    if (task->settings->auth_provider != PROVIDER_PASSWORD)
        return fail(task, ERR_BAD_REQUEST, "Registration is not allowed");
    e = password_check(task, "Password", password, ret_common);
    if (e == OK)
        e = account_find(task, accounts, email, &taken, ret_user);
    if (e != OK)
        return e;
    if (taken)
        return refuse_taken(task);
    *ret_user = (struct user){.id = crypto_id(task->mem),
                              .fullname = fullname,
                              .email = email_key(task->mem, email),
                              .is_active = true};
    e = password_hash(task, password, &ret_user->password_hash);
    if (e != OK)
        return e;
    ret_user->created_ms = ret_user->updated_ms = ret_user->last_login_ms = clock_wall_ms();
    session = session_begin(task, ret_user, device, ret_tokens);
    e = store_user_create(task, accounts->sessions.store, ret_user, &session, NULL, &created);
    if (e != OK)
        return e;
    if (created == USER_EMAIL_TAKEN)
        return refuse_taken(task);
    task->user_id = ret_user->id;
    verify_welcome(task, accounts, ret_user, device->language);
    return OK;
}

/* The login does not fail when this does: the old hash is as good as it was. */
static void renew_hash(struct task *task, const struct accounts *accounts, const struct user *user,
                       const char *password)
{
    const char *hash;
    enum err e = password_hash(task, password, &hash);

    if (e == OK)
        e = store_user_rehash(task, accounts->sessions.store, user->id, user->password_hash, hash);
    if (e != OK)
        log_bounded(LOG_WARNING, task, "a password keeps its old hash",
                    LOG_S("detail", task->text));
}

/* The user whose address and password these are. */
static enum err find(struct task *task, const struct accounts *accounts, const char *email,
                     const char *password, struct user *ret)
{
    enum password_answer answer;
    bool found;
    enum err e = account_find(task, accounts, email, &found, ret);

    if (e != OK)
        return e;
    e = password_verify(task, found ? ret->password_hash : NULL, password, &answer);
    if (e != OK)
        return e;
    if (answer == PASSWORD_WRONG || !ret->is_active || !provider_admits(task->settings, ret))
        return fail(task, ERR_UNAUTHENTICATED, "Invalid email or password");
    if (answer == PASSWORD_OUTDATED && task->settings->password_rehash)
        renew_hash(task, accounts, ret, password);
    return OK;
}

enum err account_login(struct task *task, const struct accounts *accounts, const char *email,
                       const char *password, const struct device *device, struct user *ret_user,
                       struct tokens *ret_tokens)
{
    enum session_opened opened = SESSION_USER_CHANGED;
    struct session_record session;
    enum err e = OK;

    assert_off_loops();
    /* Whose password changes while it is verified is looked at anew. */
    for (int i = 0; e == OK && opened == SESSION_USER_CHANGED && i < LOGIN_TRIES; i++) {
        if (task->settings->auth_provider == PROVIDER_PASSWORD)
            e = find(task, accounts, email, password, ret_user);
        else
            e = provider_login(task, accounts, email, password, ret_user);
        if (e != OK)
            return e;
        session = session_begin(task, ret_user, device, ret_tokens);
        e = store_session_open(task, accounts->sessions.store, &session, ret_user->valid_from_ms,
                               &opened);
    }
    if (e != OK)
        return e;
    if (opened == SESSION_USER_CHANGED)
        return fail(task, ERR_BUSY, "the account changes all the time");
    if (opened == SESSION_OPENED_ELSEWHERE)
        notice_new_device(task, accounts, ret_user, &session, device->language);
    ret_user->last_login_ms = session.created_ms;
    identity_forget_user(accounts->sessions.identity, ret_user->id);
    task->user_id = ret_user->id;
    return OK;
}
