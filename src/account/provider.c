#include "account/provider.h"

#include "account/manage.h"
#include "account/password.h"
#include "core/clock.h"
#include "core/email.h"
#include "core/log.h"
#include "core/loop.h"

#include <string.h>

/* Before a stored hash that serves for AUTH_PROVIDER=local only: no other login understands it. */
static const char local_mark[] = STORE_SETTINGS_HASH;

static struct audit audit_of(const char *action, const char *id)
{
    return (struct audit){.at_ms = clock_wall_ms(),
                          .actor = "system:manus",
                          .action = action,
                          .subject = id,
                          .address = "",
                          .detail = "AUTH_PROVIDER"};
}

static const char *local_password(const struct settings *settings)
{
    return (const char *)settings->local_password->bytes;
}

static const char *local_hash(const struct user *user)
{
    size_t len = strlen(local_mark);

    return user->password_hash != NULL && strncmp(user->password_hash, local_mark, len) == 0
               ? user->password_hash + len
               : NULL;
}

static enum err hash_local(struct task *task, const char **ret)
{
    const char *hash;
    enum err e = password_hash(task, local_password(task->settings), &hash);

    if (e == OK)
        *ret = mem_printf(task->mem, "%s%s", local_mark, hash);
    return e;
}

static enum err create(struct task *task, const struct accounts *accounts, struct user *user)
{
    struct audit audit = audit_of("admin.create", user->id);
    enum user_created created;
    enum err e;

    user->is_active = true;
    user->created_ms = user->updated_ms = user->verified_ms = audit.at_ms;
    e = store_user_create(task, accounts->sessions.store, user, NULL, &audit, &created);
    if (e == OK && created == USER_EMAIL_TAKEN)
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem,
                               "somebody else has the address %s: set LOCAL_AUTH_EMAIL "
                               "to another",
                               user->email));
    return e;
}

/* Makes or changes the account of the local administrator. */
static enum err prepare_local(struct task *task, const struct accounts *accounts)
{
    struct audit audit = audit_of("user.set_password", PROVIDER_LOCAL_ID);
    const char *email = email_normalise(task->mem, task->settings->local_email), *hash = NULL;
    enum password_answer answer = PASSWORD_WRONG;
    enum user_changed changed;
    struct user user;
    bool found;
    enum err e = store_user_by_id(task, accounts->sessions.store, PROVIDER_LOCAL_ID, &found, &user);

    if (e == OK && found)
        e = password_verify(task, local_hash(&user), local_password(task->settings), &answer);
    if (e == OK && answer == PASSWORD_WRONG)
        e = hash_local(task, &hash);
    if (e != OK)
        return e;
    if (!found)
        return create(task, accounts,
                      &(struct user){.id = PROVIDER_LOCAL_ID,
                                     .fullname = "Local Admin",
                                     .email = email,
                                     .password_hash = hash,
                                     .is_admin = true});
    if (answer == PASSWORD_WRONG)
        e = store_user_set_password(task, accounts->sessions.store, user.id, hash, NULL, NULL,
                                    &audit, &changed);
    if (e == OK && strcmp(user.email, email) != 0) {
        audit.action = "user.set_email";
        e = store_user_set_email(task, accounts->sessions.store, user.id, email, &audit, &changed);
        if (e == OK && changed == USER_EMAIL_IN_USE)
            e = fail(task, ERR_INVALID, "somebody else has the address of LOCAL_AUTH_EMAIL");
    }
    audit.action = "user.set_role";
    if (e == OK)
        e = store_user_set_role(task, accounts->sessions.store, user.id, true, &audit, &changed);
    return e;
}

static enum err prepare_none(struct task *task, const struct accounts *accounts)
{
    struct user user;
    bool found;
    enum err e = store_user_by_id(task, accounts->sessions.store, PROVIDER_NONE_ID, &found, &user);

    if (e != OK || found)
        return e;
    return create(task, accounts,
                  &(struct user){.id = PROVIDER_NONE_ID,
                                 .fullname = "anonymous",
                                 .email = "anonymous@localhost"});
}

/* Of an account that may be missing. */
static enum err set_active(struct task *task, const struct accounts *accounts, const char *id,
                           bool is_active)
{
    struct audit audit = audit_of(is_active ? "user.activate" : "user.deactivate", id);
    enum user_changed changed;

    return store_user_set_active(task, accounts->sessions.store, id, is_active, &audit, &changed);
}

enum err provider_prepare(struct task *task, const struct accounts *accounts)
{
    bool local = task->settings->auth_provider == PROVIDER_LOCAL;
    bool none = task->settings->auth_provider == PROVIDER_NONE;
    enum err e = OK;

    assert_off_loops();
    if (local)
        e = prepare_local(task, accounts);
    else if (none)
        e = prepare_none(task, accounts);
    if (e == OK)
        e = set_active(task, accounts, PROVIDER_LOCAL_ID, local);
    return e == OK ? set_active(task, accounts, PROVIDER_NONE_ID, none) : e;
}

void provider_warn(const struct settings *settings)
{
    if (settings->auth_provider == PROVIDER_LOCAL && password_is_common(local_password(settings)))
        log_warning(NULL, "LOCAL_AUTH_PASSWORD is one of the most common passwords: set another");
}

bool provider_admits(const struct settings *settings, const struct user *user)
{
    switch (settings->auth_provider) {
    case PROVIDER_LOCAL:
        return strcmp(user->id, PROVIDER_LOCAL_ID) == 0;
    case PROVIDER_NONE:
        return strcmp(user->id, PROVIDER_NONE_ID) == 0;
    default:
        return strcmp(user->id, PROVIDER_LOCAL_ID) != 0 && strcmp(user->id, PROVIDER_NONE_ID) != 0;
    }
}

enum err provider_login(struct task *task, const struct accounts *accounts, const char *email,
                        const char *password, struct user *ret)
{
    bool none = task->settings->auth_provider == PROVIDER_NONE;
    const char *key = email_key(task->mem, email);
    enum password_answer answer;
    enum err e = manage_find_user(task, accounts, none ? PROVIDER_NONE_ID : PROVIDER_LOCAL_ID, ret);

    assert_off_loops();
    if (e != OK || none)
        return e;
    e = password_verify(task, strcmp(ret->email, key) == 0 ? local_hash(ret) : NULL, password,
                        &answer);
    if (e == OK && answer == PASSWORD_WRONG)
        e = fail(task, ERR_UNAUTHENTICATED, "Invalid email or password");
    return e;
}
