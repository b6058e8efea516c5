#include "account/account.h"

#include "account/password.h"
#include "core/clock.h"
#include "core/log.h"

static enum err refuse_taken(struct task *task)
{
    return fail(task, ERR_INVALID, "Email already exists");
}

enum err account_register(struct task *task, const struct accounts *accounts,
                          const struct settings *settings, const char *fullname, const char *email,
                          const char *password, const struct device *device, struct user *ret_user,
                          struct tokens *ret_tokens, bool *ret_common)
{
    struct session_record session;
    enum user_created created;
    bool taken;
    enum err e = password_check(task, settings, password, ret_common);

    if (e == OK)
        e = store_user_by_email(task, accounts->sessions.store, email, &taken, ret_user);
    if (e != OK)
        return e;
    if (taken)
        return refuse_taken(task);
    *ret_user = (struct user){
        .id = crypto_id(task->mem), .fullname = fullname, .email = email, .is_active = true};
    e = password_hash(task, settings, password, &ret_user->password_hash);
    if (e != OK)
        return e;
    ret_user->created_ms = ret_user->updated_ms = ret_user->last_login_ms = clock_wall_ms();
    session = session_begin(task, settings, ret_user, device, ret_tokens);
    e = store_user_create(task, accounts->sessions.store, ret_user, &session, NULL, &created);
    if (e != OK)
        return e;
    if (created == USER_EMAIL_TAKEN)
        return refuse_taken(task);
    task->user_id = ret_user->id;
    return OK;
}

/* The login does not fail when this does: the old hash is as good as it was. */
static void renew_hash(struct task *task, const struct accounts *accounts,
                       const struct settings *settings, const struct user *user,
                       const char *password)
{
    const char *hash;
    enum err e = password_hash(task, settings, password, &hash);

    if (e == OK)
        e = store_user_rehash(task, accounts->sessions.store, user->id, user->password_hash, hash);
    if (e != OK)
        log_warning(task, "a password keeps its old hash", LOG_S("detail", task->text));
}

enum err account_login(struct task *task, const struct accounts *accounts,
                       const struct settings *settings, const char *email, const char *password,
                       const struct device *device, struct user *ret_user,
                       struct tokens *ret_tokens)
{
    struct session_record session;
    enum password_answer answer;
    bool found, opened;
    enum err e = store_user_by_email(task, accounts->sessions.store, email, &found, ret_user);

    if (e != OK)
        return e;
    e = password_verify(task, settings, found ? ret_user->password_hash : NULL, password, &answer);
    if (e != OK)
        return e;
    if (answer == PASSWORD_WRONG || !ret_user->is_active)
        return fail(task, ERR_UNAUTHENTICATED, "Invalid email or password");
    if (answer == PASSWORD_OUTDATED && settings->password_rehash)
        renew_hash(task, accounts, settings, ret_user, password);
    session = session_begin(task, settings, ret_user, device, ret_tokens);
    e = store_session_open(task, accounts->sessions.store, &session, &opened);
    if (e != OK)
        return e;
    ret_user->last_login_ms = session.created_ms;
    identity_forget_user(accounts->sessions.identity, ret_user->id);
    task->user_id = ret_user->id;
    return OK;
}
