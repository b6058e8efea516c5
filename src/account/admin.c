#include "account/admin.h"

#include "account/password.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/unicode.h"

#include <string.h>

enum { NAME_MAX_LENGTH = 100 };

static struct audit audit_of(const struct admin_request *request, const char *action,
                             const char *subject)
{
    return (struct audit){.at_ms = clock_wall_ms(),
                          .actor = request->actor,
                          .action = action,
                          .subject = subject,
                          .address = "",
                          .detail = ""};
}

/* By address or by id. */
static enum err find(struct task *task, const struct accounts *accounts,
                     const struct admin_request *request, struct user *ret)
{
    const char *email = email_normalise(task->mem, request->who);
    bool found = false;
    enum err e = OK;

    if (email != NULL)
        e = store_user_by_email(task, accounts->sessions.store, email, &found, ret);
    if (e == OK && !found)
        return manage_find_user(task, accounts, request->who, ret);
    return e;
}

static void put_user_line(struct text *out, const struct user *user)
{
    char created[TEXT_TIME_SIZE];

    text_time(created, user->created_ms);
    text_printf(out, "%s  %-5s  %-8s  %s  %s  %s\n", user->id, user->is_admin ? "admin" : "user",
                user->is_active ? "active" : "inactive", created, user->email, user->fullname);
}

static enum err hash_random(struct task *task, const struct settings *settings,
                            const char **ret_password, const char **ret_hash)
{
    *ret_password = crypto_id(task->mem);
    return password_hash(task, settings, *ret_password, ret_hash);
}

static enum err create(struct task *task, const struct accounts *accounts,
                       const struct settings *settings, const struct admin_request *request,
                       struct text *out)
{
    const char *email = email_normalise(task->mem, request->who), *password;
    const char *fullname = unicode_trim(task->mem, request->fullname == NULL ? "Administrator"
                                                                             : request->fullname);
    size_t name_length = unicode_length(fullname);
    struct user user;
    struct audit audit;
    enum user_created created;
    enum err e;

    if (email == NULL)
        return fail(task, ERR_INVALID, "Valid email is required");
    if (name_length < 2 || name_length > NAME_MAX_LENGTH || unicode_has_control(fullname))
        return fail(task, ERR_INVALID,
                    "Full name must have 2 to 100 characters and no control characters");
    user = (struct user){.id = crypto_id(task->mem),
                         .fullname = fullname,
                         .email = email,
                         .is_admin = true,
                         .is_active = true};
    user.created_ms = user.updated_ms = clock_wall_ms();
    e = hash_random(task, settings, &password, &user.password_hash);
    if (e != OK)
        return e;
    audit = audit_of(request, "admin.create", user.id);
    e = store_user_create(task, accounts->sessions.store, &user, NULL, &audit, &created);
    if (e != OK)
        return e;
    if (created == USER_EMAIL_TAKEN)
        return fail(task, ERR_INVALID,
                    "Email already exists: to make that person an administrator, promote them");
    put_user_line(out, &user);
    text_printf(out, "password: %s\n", password);
    return OK;
}

static enum err set_role(struct task *task, const struct accounts *accounts,
                         const struct admin_request *request, bool is_admin, struct text *out)
{
    struct user user;
    struct audit audit;
    enum err e = find(task, accounts, request, &user);

    if (e != OK)
        return e;
    audit = audit_of(request, "user.set_role", user.id);
    audit.detail = is_admin ? "admin" : "user";
    e = manage_set_role(task, accounts, user.id, is_admin, &audit, &user);
    if (e == OK)
        put_user_line(out, &user);
    return e;
}

static enum err promote(struct task *task, const struct accounts *accounts,
                        const struct settings *settings, const struct admin_request *request,
                        struct text *out)
{
    (void)settings;
    return set_role(task, accounts, request, true, out);
}

static enum err demote(struct task *task, const struct accounts *accounts,
                       const struct settings *settings, const struct admin_request *request,
                       struct text *out)
{
    (void)settings;
    return set_role(task, accounts, request, false, out);
}

static enum err list(struct task *task, const struct accounts *accounts,
                     const struct settings *settings, const struct admin_request *request,
                     struct text *out)
{
    const struct store_page newest = {0, STORE_PAGE};
    struct user *users;
    size_t count;
    int64_t next;
    enum err e = store_users(task, accounts->sessions.store, request->who, &newest, &users, &count,
                             &next);

    (void)settings;
    for (size_t i = 0; e == OK && i < count; i++)
        put_user_line(out, &users[i]);
    if (e == OK && next != 0)
        text_add(out, "… and more: search by a word\n");
    return e;
}

static enum err show(struct task *task, const struct accounts *accounts,
                     const struct settings *settings, const struct admin_request *request,
                     struct text *out)
{
    struct user user;
    struct session_record *sessions;
    size_t count;
    enum err e = find(task, accounts, request, &user);

    (void)settings;
    if (e == OK)
        e = store_sessions_of(task, accounts->sessions.store, user.id, clock_wall_ms(), &sessions,
                              &count);
    if (e != OK)
        return e;
    put_user_line(out, &user);
    for (size_t i = 0; i < count; i++) {
        char used[TEXT_TIME_SIZE];

        text_time(used, sessions[i].last_used_ms);
        text_printf(out, "session %s  last used %s  from %s  %s\n", sessions[i].id, used,
                    sessions[i].address, sessions[i].agent);
    }
    return OK;
}

static enum err reset_password(struct task *task, const struct accounts *accounts,
                               const struct settings *settings, const struct admin_request *request,
                               struct text *out)
{
    const char *password, *hash;
    struct user user;
    struct audit audit;
    enum err e = find(task, accounts, request, &user);

    if (e == OK)
        e = hash_random(task, settings, &password, &hash);
    if (e != OK)
        return e;
    audit = audit_of(request, "user.reset_password", user.id);
    e = manage_set_password(task, accounts, user.id, hash, &audit);
    if (e == OK)
        text_printf(out, "password: %s\n", password);
    return e;
}

static enum err revoke_sessions(struct task *task, const struct accounts *accounts,
                                const struct settings *settings,
                                const struct admin_request *request, struct text *out)
{
    struct user user;
    struct audit audit;
    unsigned count;
    enum err e = find(task, accounts, request, &user);

    (void)settings;
    if (e != OK)
        return e;
    audit = audit_of(request, "user.revoke_sessions", user.id);
    e = manage_end_sessions(task, accounts, user.id, NULL, &audit, &count);
    if (e == OK)
        text_printf(out, "%u sessions ended\n", count);
    return e;
}

const struct admin_action admin_actions[] = {
    {"create", true, "Make an administrator with a random password, which is printed once.",
     create},
    {"promote", true, "Make a user an administrator.", promote},
    {"demote", true, "Make an administrator a user again.", demote},
    {"list", false, "List users, newest first; with words, those whom they find.", list},
    {"show", true, "Show a user and where they are logged in.", show},
    {"reset-password", true, "Give a user a random password, and end their sessions.",
     reset_password},
    {"revoke-sessions", true, "End a user's sessions.", revoke_sessions},
    {0},
};

enum err admin_run(struct task *task, const struct accounts *accounts,
                   const struct settings *settings, const struct admin_request *request,
                   struct text *out)
{
    const struct admin_action *action = admin_actions;

    while (action->name != NULL && strcmp(action->name, request->action) != 0)
        action++;
    if (action->name == NULL)
        return fail(task, ERR_INVALID, "there is no such action");
    if (action->needs_who && request->who == NULL)
        return fail(task, ERR_INVALID, "say whom: an e-mail address or an id");
    return action->run(task, accounts, settings, request, out);
}
