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
                          .address = "local",
                          .detail = ""};
}

/* By address or by id. */
static enum err find(struct task *task, const struct accounts *accounts,
                     const struct admin_request *request, struct user *ret)
{
    const char *email = email_sent(task->mem, request->who);
    bool found = false;
    enum err e = OK;

    if (email != NULL)
        e = account_find(task, accounts, email, &found, ret);
    if (e == OK && !found)
        return manage_find_user(task, accounts, request->who, ret);
    return e;
}

/* Chosen by a stranger: control characters, and those that turn the direction of what follows, are
 * shown as their code, and the whole stands apart from its line (Unicode Standard Annex 9). */
static void put_isolated(struct text *out, const char *name)
{
    text_add(out, "\u2068");
    for (size_t width; *name != '\0'; name += width) {
        const unsigned char *at = (const unsigned char *)name;

        width = unicode_width(name, strlen(name));
        if (width == 0)
            width = 1;
        if (unicode_has_control(mem_copy(out->mem, name, width)))
            text_printf(out, "\\x%02x", at[width - 1]);
        else if (width == 3 && at[0] == 0xe2 &&
                 ((at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) ||
                  (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9)))
            text_printf(out, "\\u20%x", 0x20 + (at[1] - 0x80) * 0x40 + at[2] - 0xa0);
        else
            text_put(out, name, width);
    }
    text_add(out, "\u2069");
}

/* As it is where nothing in it can mislead. */
static void put_address(struct text *out, const char *email)
{
    if (email_is_ascii(email) && !unicode_has_control(email))
        text_add(out, email);
    else
        put_isolated(out, email);
}

static void put_user_line(struct text *out, const struct user *user)
{
    char created[TEXT_TIME_SIZE];

    text_time(created, user->created_ms);
    text_printf(out, "%s  %-5s  %-8s  %s  ", user->id, user->is_admin ? "admin" : "user",
                user->is_active ? "active" : "inactive", created);
    put_address(out, user->email);
    text_add(out, "  ");
    put_isolated(out, user->fullname);
    text_char(out, '\n');
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
    const char *email = email_normalise(task->mem, request->who), *password = "";
    const char *fullname = unicode_trim(task->mem, request->fullname == NULL ? "Administrator"
                                                                             : request->fullname);
    size_t name_length = unicode_length(fullname);
    struct user user;
    struct audit audit;
    enum user_created created = USER_EMAIL_TAKEN;
    bool taken;
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
    user.created_ms = user.updated_ms = user.verified_ms = clock_wall_ms();
    e = account_find(task, accounts, email_sent(task->mem, request->who), &taken,
                     &(struct user){0});
    if (e == OK && !taken)
        e = hash_random(task, settings, &password, &user.password_hash);
    audit = audit_of(request, "admin.create", user.id);
    if (e == OK && !taken)
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
    struct store_page page = {NULL, STORE_PAGE};
    size_t shown = 0;
    enum err e;

    (void)settings;
    do {
        struct user *users;
        size_t count;

        e = store_users(task, accounts->sessions.store, request->who, &page, &users, &count,
                        &page.cursor);
        for (size_t i = 0; e == OK && i < count; i++)
            put_user_line(out, &users[i]);
        shown += e == OK ? count : 0;
    } while (e == OK && page.cursor != NULL && shown < STORE_PAGE);
    if (e == OK && page.cursor != NULL)
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
    text_printf(out, "address %s, mails in %s\n",
                user.verified_ms != 0 ? "confirmed" : "not confirmed",
                user.language == NULL ? "the browser's language" : user.language);
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
    e = manage_set_password(task, accounts, settings, &user, hash, &audit, LANGUAGE_ENGLISH);
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

/* Mail */

static enum err list_mails(struct task *task, const struct accounts *accounts,
                           const struct settings *settings, const struct admin_request *request,
                           struct text *out)
{
    struct mail *mails;
    size_t count;
    int64_t waiting;
    enum err e = store_mails(task, accounts->sessions.store, &mails, &count);

    (void)settings;
    (void)request;
    if (e == OK)
        e = store_mail_count(task, accounts->sessions.store, &waiting);
    if (e != OK)
        return e;
    for (size_t i = 0; i < count; i++) {
        char created[TEXT_TIME_SIZE], next[TEXT_TIME_SIZE];

        text_time(created, mails[i].created_ms);
        text_time(next, mails[i].next_ms);
        text_printf(out, "%s  accepted %s  attempts %u  next %s  to ", mails[i].id, created,
                    mails[i].attempts, next);
        put_address(out, *mails[i].to == '\0' ? "nobody" : mails[i].to);
        text_printf(out, "  %s\n", mails[i].error);
    }
    text_printf(out, "%lld unsent\n", (long long)waiting);
    return OK;
}

static enum err retry_mails(struct task *task, const struct accounts *accounts,
                            const struct settings *settings, const struct admin_request *request,
                            struct text *out)
{
    unsigned count;
    enum err e = store_mail_retry(task, accounts->sessions.store, request->who, clock_wall_ms(),
                                  &count);

    (void)settings;
    if (e == OK && request->who != NULL && count == 0)
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem,
                               "mail %s is not waiting: it was sent or given up; `manus mail "
                               "list` shows the unsent mails",
                               request->who));
    if (e == OK)
        text_printf(out, "retrying %u now\n", count);
    return e;
}

const struct admin_action admin_actions[] = {
    {"admin", "create", true,
     "Make an administrator with a random password, which is printed once.", create},
    {"admin", "promote", true, "Make a user an administrator.", promote},
    {"admin", "demote", true, "Make an administrator a user again.", demote},
    {"admin", "list", false, "List users, newest first; with words, only those that match.", list},
    {"admin", "show", true, "Show a user and their sessions.", show},
    {"admin", "reset-password", true, "Give a user a random password, and end their sessions.",
     reset_password},
    {"admin", "revoke-sessions", true, "End a user's sessions.", revoke_sessions},
    {"mail", "list", false, "List the unsent mails, the next due first.", list_mails},
    {"mail", "retry", false, "Retry all unsent mails now, or only mail NUMBER.", retry_mails},
    {0},
};

enum err admin_run(struct task *task, const struct accounts *accounts,
                   const struct settings *settings, const struct admin_request *request,
                   struct text *out)
{
    const struct admin_action *action = admin_actions;

    while (action->name != NULL && (strcmp(action->command, request->command) != 0 ||
                                    strcmp(action->name, request->action) != 0))
        action++;
    if (action->name == NULL)
        return fail(task, ERR_INVALID, "there is no such action");
    if (action->needs_who && request->who == NULL)
        return fail(task, ERR_INVALID, "name the user: an e-mail address or an id");
    return action->run(task, accounts, settings, request, out);
}
