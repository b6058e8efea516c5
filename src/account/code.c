#include "account/code.h"

#include "account/password.h"
#include "core/clock.h"
#include "mail/outbox.h"

#include <sodium.h>
#include <string.h>

enum { DIGITS = 6, CODES = 1000000, LIFE_MS = 5 * 60000, WAIT_MS = 60000 };

static const char reset[] = "reset";

/* Whoever reads the store cannot try the million codes without the key. */
static void hash_code(struct task *task, const struct settings *settings, const char *email,
                      const char *code, uint8_t ret[CRYPTO_HASH_BYTES])
{
    const char *text = mem_printf(task->mem, "one-time code\n%s\n%s\n%s", reset, email, code);

    crypto_hmac(ret, settings->jwt_secret->bytes, settings->jwt_secret->len, text, strlen(text));
}

static enum err refuse_early(struct task *task, int64_t left_ms)
{
    return fail(task, ERR_BAD_REQUEST,
                mem_printf(task->mem,
                           "Please wait %d seconds before requesting a new verification code",
                           (int)((left_ms + 999) / 1000)));
}

enum err code_send(struct task *task, const struct accounts *accounts,
                   const struct settings *settings, const char *email, enum language language)
{
    int64_t now_ms = clock_wall_ms(), left_ms;
    struct code code = {
        .purpose = reset, .email = email, .created_ms = now_ms, .expires_ms = now_ms + LIFE_MS};
    struct mail mail = {.created_ms = now_ms};
    enum code_issued issued;
    struct user user;
    const char *digits;
    bool found;
    enum err e;

    if (!outbox_is_configured(settings))
        return fail(task, ERR_BAD_REQUEST, "Email configuration is incomplete");
    e = store_user_by_email(task, accounts->sessions.store, email, &found, &user);
    if (e != OK)
        return e;
    /* The same work for everybody: a mail to nobody is dropped when it is due. */
    mail.to = found && user.is_active ? email : "";
    digits = mem_printf(task->mem, "%0*u", DIGITS, randombytes_uniform(CODES));
    hash_code(task, settings, email, digits, code.hash);
    mail.content = letter_reset_code(task->mem, settings, email, language, digits, LIFE_MS / 60000);
    e = store_code_issue(task, accounts->sessions.store, &code, WAIT_MS, &mail, &issued, &left_ms);
    return e == OK && issued == CODE_TOO_SOON ? refuse_early(task, left_ms) : e;
}

static enum err refuse_code(struct task *task)
{
    return fail(task, ERR_UNAUTHENTICATED, "Invalid or expired verification code");
}

static enum err use_code(struct task *task, const struct accounts *accounts,
                         const struct settings *settings, const char *email, const char *code,
                         struct user *ret)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    bool right, found;
    enum err e;

    hash_code(task, settings, email, code, hash);
    e = store_code_try(task, accounts->sessions.store, reset, email, hash, clock_wall_ms(), &right);
    if (e != OK)
        return e;
    if (!right)
        return refuse_code(task);
    e = store_user_by_email(task, accounts->sessions.store, email, &found, ret);
    if (e != OK)
        return e;
    return found && ret->is_active ? OK : refuse_code(task);
}

enum err code_reset_password(struct task *task, const struct accounts *accounts,
                             const struct settings *settings, const char *email, const char *code,
                             const char *new_password, const char *client, bool *ret_common)
{
    struct audit audit = {.action = "user.reset_password", .address = client, .detail = "by code"};
    struct user user = {0};
    const char *hash;
    enum err e = password_check(task, settings, new_password, ret_common);

    if (e == OK)
        e = use_code(task, accounts, settings, email, code, &user);
    if (e == OK)
        e = password_hash(task, settings, new_password, &hash);
    if (e != OK)
        return e;
    audit.at_ms = clock_wall_ms();
    audit.actor = mem_printf(task->mem, "user:%s", user.id);
    audit.subject = user.id;
    return manage_set_password(task, accounts, user.id, hash, &audit);
}
