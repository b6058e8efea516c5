/* Operations on accounts, and the audit trail of them. */
#include "api/operations.h"

#include "account/manage.h"
#include "account/password.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"

#define USER_LAYOUT                                                                                \
    "{id}  {role:5}  {is_active?active/inactive:8}  {created_at}  {email}  {fullname}"

static void put_user_row(struct answer *a, const char *name, const struct user *user)
{
    answer_row(a, name, USER_LAYOUT);
    answer_string(a, "id", user->id);
    answer_string(a, "fullname", user->fullname);
    answer_string(a, "email", user->email);
    answer_string(a, "role", user->is_admin ? "admin" : "user");
    answer_flag(a, "is_active", user->is_active);
    answer_time(a, "created_at", user->created_ms);
    answer_time(a, "updated_at", user->updated_ms);
    answer_time(a, "last_login_at", user->last_login_ms);
    answer_row_end(a);
}

static void put_password(struct answer *a, const char *password)
{
    answer_row(a, NULL, NULL);
    answer_string(a, "password", password);
    answer_row_end(a);
}

static enum err hash_random(struct task *task, const char **ret_password, const char **ret_hash)
{
    *ret_password = crypto_id(task->mem);
    return password_hash(task, *ret_password, ret_hash);
}

enum err user_create(struct task *task, struct operation_call *call)
{
    const struct accounts *accounts = &call->app->accounts;
    const char *sent = operation_value(call, "email"),
               *fullname = operation_value(call, "fullname");
    const char *password = "";
    struct user user = {.id = crypto_id(task->mem),
                        .fullname = fullname == NULL ? "Administrator" : fullname,
                        .email = email_normalise(task->mem, sent),
                        .is_admin = true,
                        .is_active = true};
    struct audit audit;
    enum user_created created = USER_EMAIL_TAKEN;
    bool taken;
    enum err e = account_find(task, accounts, sent, &taken, &(struct user){0});

    user.created_ms = user.updated_ms = user.verified_ms = clock_wall_ms();
    if (e == OK && !taken)
        e = hash_random(task, &password, &user.password_hash);
    audit = operation_audit(call, user.id, "");
    if (e == OK && !taken)
        e = store_user_create(task, call->app->store, &user, NULL, &audit, &created);
    if (e != OK)
        return e;
    if (created == USER_EMAIL_TAKEN)
        return fail(task, ERR_INVALID,
                    "the address already exists: to make that person an administrator, promote "
                    "them");
    put_user_row(call->answer, "user", &user);
    put_password(call->answer, password);
    return OK;
}

static enum err set_role(struct task *task, struct operation_call *call, bool is_admin)
{
    struct user user;
    struct audit audit;
    enum err e = operation_user(task, call, &user);

    if (e != OK)
        return e;
    audit = operation_audit(call, user.id, is_admin ? "admin" : "user");
    e = manage_set_role(task, &call->app->accounts, user.id, is_admin, &audit, &user);
    if (e == OK)
        put_user_row(call->answer, "user", &user);
    return e;
}

enum err user_promote(struct task *task, struct operation_call *call)
{
    return set_role(task, call, true);
}

enum err user_demote(struct task *task, struct operation_call *call)
{
    return set_role(task, call, false);
}

static enum err set_active(struct task *task, struct operation_call *call, bool is_active)
{
    struct user user;
    struct audit audit;
    enum err e = operation_user(task, call, &user);

    if (e != OK)
        return e;
    audit = operation_audit(call, user.id, "");
    e = manage_set_active(task, &call->app->accounts, user.id, is_active, &audit);
    user.is_active = is_active;
    if (e == OK)
        put_user_row(call->answer, "user", &user);
    return e;
}

enum err user_activate(struct task *task, struct operation_call *call)
{
    return set_active(task, call, true);
}

enum err user_deactivate(struct task *task, struct operation_call *call)
{
    return set_active(task, call, false);
}

enum err user_list(struct task *task, struct operation_call *call)
{
    struct store_page page = {NULL, STORE_PAGE};
    struct answer *a = call->answer;
    size_t shown = 0;
    enum err e;

    answer_list(a, "users");
    do {
        struct user *users;
        size_t count;

        e = store_users(task, call->app->store, operation_value(call, "search"), &page, &users,
                        &count, &page.cursor);
        for (size_t i = 0; e == OK && i < count; i++)
            put_user_row(a, NULL, &users[i]);
        shown += e == OK ? count : 0;
    } while (e == OK && page.cursor != NULL && shown < STORE_PAGE);
    answer_list_end(a);
    if (e == OK && page.cursor != NULL)
        answer_say(a, "… and more: search by a word");
    return e;
}

static void put_sessions(struct answer *a, const struct session_record *sessions, size_t count)
{
    answer_list(a, "sessions");
    for (size_t i = 0; i < count; i++) {
        answer_row(a, NULL, "session {id}  last used {last_used_at}  from {address}  {device}");
        answer_string(a, "id", sessions[i].id);
        answer_string(a, "device", sessions[i].agent);
        answer_string(a, "address", sessions[i].address);
        answer_time(a, "created_at", sessions[i].created_ms);
        answer_time(a, "last_used_at", sessions[i].last_used_ms);
        answer_time(a, "expires_at", sessions[i].expires_ms);
        answer_row_end(a);
    }
    answer_list_end(a);
}

enum err user_show(struct task *task, struct operation_call *call)
{
    struct answer *a = call->answer;
    struct user user;
    struct session_record *sessions;
    size_t count;
    enum err e = operation_user(task, call, &user);

    if (e == OK)
        e = store_sessions_of(task, call->app->store, user.id, clock_wall_ms(), &sessions, &count);
    if (e != OK)
        return e;
    put_user_row(a, "user", &user);
    answer_row(a, NULL,
               "address {email_verified?confirmed/not confirmed}, mails in {language|the browser's "
               "language}");
    answer_flag(a, "email_verified", user.verified_ms != 0);
    answer_string(a, "language", user.language);
    answer_row_end(a);
    put_sessions(a, sessions, count);
    return OK;
}

enum err user_reset_password(struct task *task, struct operation_call *call)
{
    const char *password, *hash;
    struct user user;
    struct audit audit;
    enum err e = operation_user(task, call, &user);

    if (e == OK)
        e = hash_random(task, &password, &hash);
    if (e != OK)
        return e;
    audit = operation_audit(call, user.id, "");
    e = manage_set_password(task, &call->app->accounts, &user, hash, &audit, LANGUAGE_ENGLISH);
    if (e == OK)
        put_password(call->answer, password);
    return e;
}

enum err user_end_sessions(struct task *task, struct operation_call *call)
{
    struct user user;
    struct audit audit;
    unsigned count;
    enum err e = operation_user(task, call, &user);

    if (e != OK)
        return e;
    audit = operation_audit(call, user.id, "");
    e = manage_end_sessions(task, &call->app->accounts, user.id, NULL, &audit, &count);
    if (e != OK)
        return e;
    answer_row(call->answer, NULL, "{revoked} sessions ended");
    answer_number(call->answer, "revoked", count);
    answer_row_end(call->answer);
    return OK;
}

enum err audit_list(struct task *task, struct operation_call *call)
{
    const struct store_page newest = {NULL, STORE_PAGE};
    struct answer *a = call->answer;
    struct user user = {0};
    struct audit *trail;
    size_t count;
    const char *next;
    enum err e = operation_value(call, "user") == NULL ? OK : operation_user(task, call, &user);

    if (e == ERR_NOT_FOUND) /* the trail of somebody who is gone stays */
        user.id = operation_value(call, "user");
    else if (e != OK)
        return e;
    e = store_audit_trail(task, call->app->store, user.id, &newest, &trail, &count, &next);
    if (e != OK)
        return e;
    answer_list(a, "audit");
    for (size_t i = 0; i < count; i++) {
        answer_row(a, NULL, "{at}  {actor}  {action}  {subject|-}  {address|-}  {detail}");
        answer_time(a, "at", trail[i].at_ms);
        answer_string(a, "actor", trail[i].actor);
        answer_string(a, "action", trail[i].action);
        answer_string(a, "subject", trail[i].subject);
        answer_string(a, "address", trail[i].address);
        answer_string(a, "detail", trail[i].detail);
        answer_row_end(a);
    }
    answer_list_end(a);
    if (next != NULL)
        answer_say(a, "… and older ones");
    return OK;
}
