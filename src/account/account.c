#include "account/account.h"

#include "account/password.h"
#include "core/clock.h"

static struct password_cost cost_of(const struct settings *settings)
{
    return (struct password_cost){settings->argon2_memory, settings->argon2_passes};
}

static enum err refuse_taken(struct task *task)
{
    return fail(task, ERR_INVALID, "Email already exists");
}

enum err account_register(struct task *task, const struct accounts *accounts,
                          const struct settings *settings, const char *fullname, const char *email,
                          const char *password, const struct device *device, struct user *ret_user,
                          struct tokens *ret_tokens)
{
    struct password_cost cost = cost_of(settings);
    struct session_record session;
    enum user_created created;
    bool taken;
    enum err e = store_user_by_email(task, accounts->sessions.store, email, &taken, ret_user);

    if (e != OK)
        return e;
    if (taken)
        return refuse_taken(task);
    *ret_user = (struct user){
        .id = crypto_id(task->mem), .fullname = fullname, .email = email, .is_active = true};
    e = password_hash(task, &cost, password, &ret_user->password_hash);
    if (e != OK)
        return e;
    ret_user->created_ms = ret_user->updated_ms = ret_user->last_login_ms = clock_wall_ms();
    session = session_begin(task, settings, ret_user, device, ret_tokens);
    e = store_user_create(task, accounts->sessions.store, ret_user, &session, &created);
    if (e != OK)
        return e;
    if (created == USER_EMAIL_TAKEN)
        return refuse_taken(task);
    task->user_id = ret_user->id;
    return OK;
}

enum err account_login(struct task *task, const struct accounts *accounts,
                       const struct settings *settings, const char *email, const char *password,
                       const struct device *device, struct user *ret_user,
                       struct tokens *ret_tokens)
{
    struct password_cost cost = cost_of(settings);
    struct session_record session;
    bool found, matches, opened;
    enum err e = store_user_by_email(task, accounts->sessions.store, email, &found, ret_user);

    if (e != OK)
        return e;
    e = password_verify(task, &cost, found ? ret_user->password_hash : NULL, password, &matches);
    if (e != OK)
        return e;
    if (!matches || !ret_user->is_active)
        return fail(task, ERR_UNAUTHENTICATED, "Invalid email or password");
    session = session_begin(task, settings, ret_user, device, ret_tokens);
    e = store_session_open(task, accounts->sessions.store, &session, &opened);
    if (e != OK)
        return e;
    ret_user->last_login_ms = session.created_ms;
    identity_forget_user(accounts->sessions.identity, ret_user->id);
    task->user_id = ret_user->id;
    return OK;
}
