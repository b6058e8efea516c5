#include "account/code.h"

#include "account/bound.h"
#include "account/notice.h"
#include "account/password.h"
#include "account/provider.h"
#include "core/clock.h"
#include "core/email.h"
#include "core/loop.h"
#include "mail/outbox.h"

#include <sodium.h>
#include <string.h>

enum { DIGITS = 6, CODES = 1000000, LIFE_MS = CODE_MINUTES * 60000, WAIT_MS = 60000 };

/* Whoever reads the store cannot try the million codes without the key. */
static void hash_code(struct task *task, const char *purpose, const char *email, const char *code,
                      uint8_t ret[CRYPTO_HASH_BYTES])
{
    const char *text = mem_printf(task->mem, "one-time code\n%s\n%s\n%s", purpose, email, code);

    crypto_hmac(ret, task->settings->jwt_secret->bytes, task->settings->jwt_secret->len, text,
                strlen(text));
}

struct code code_make(struct task *task, const char *purpose, const char *email,
                      const char **ret_digits)
{
    int64_t now_ms = clock_wall_ms();
    struct code code = {
        .purpose = purpose, .email = email, .created_ms = now_ms, .expires_ms = now_ms + LIFE_MS};

    *ret_digits = mem_printf(task->mem, "%0*u", DIGITS, randombytes_uniform(CODES));
    hash_code(task, purpose, email, *ret_digits, code.hash);
    return code;
}

static enum err refuse_early(struct task *task, int64_t left_ms)
{
    return fail(task, ERR_BAD_REQUEST,
                mem_printf(task->mem,
                           "Please wait %d seconds before requesting a new verification code",
                           (int)((left_ms + 999) / 1000)));
}

enum err code_issue(struct task *task, const struct accounts *accounts, const struct code *code,
                    const char *kind, struct mail *mail)
{
    enum code_issued issued;
    int64_t left_ms;
    enum err e;

    assert_off_loops();
    bound_mail(task, kind, code->email, mail);
    e = store_code_issue(task, accounts->sessions.store, code, WAIT_MS, mail, &issued, &left_ms);

    if (e == OK && issued == CODE_WITHHELD)
        bound_tell(task, kind, mail);
    return e == OK && issued == CODE_TOO_SOON ? refuse_early(task, left_ms) : e;
}

static enum err refuse_code(struct task *task)
{
    return fail(task, ERR_UNAUTHENTICATED, "Invalid or expired verification code");
}

static struct audit audit_of(struct task *task, const struct user *user, const char *action,
                             const struct code_use *use)
{
    return (struct audit){.at_ms = clock_wall_ms(),
                          .actor = mem_printf(task->mem, "user:%s", user->id),
                          .action = action,
                          .subject = user->id,
                          .address = use->client,
                          .detail = "by code"};
}

/* Whose code it is: codes are kept under the stored address. *ret_admitted: and they may use it. */
static enum err find(struct task *task, const struct accounts *accounts, const char *email,
                     struct user *ret, bool *ret_admitted)
{
    bool found;
    enum err e;

    *ret = (struct user){.email = email_key(task->mem, email)};
    e = account_find(task, accounts, email, &found, ret);
    *ret_admitted = e == OK && found && ret->is_active && provider_admits(task->settings, ret);
    return e;
}

enum err code_use(struct task *task, const struct accounts *accounts, const struct code_use *use,
                  struct user *ret)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct audit password, verified;
    struct code_action action;
    bool right = false, admitted;
    enum err e = find(task, accounts, use->email, ret, &admitted);

    assert_off_loops();
    if (e != OK)
        return e;
    if (admitted) {
        password = audit_of(task, ret, "user.reset_password", use);
        verified = audit_of(task, ret, "user.verify_email", use);
        action = (struct code_action){.user_id = ret->id,
                                      .password_hash = use->password_hash,
                                      .password = &password,
                                      .verified = &verified};
    }
    hash_code(task, use->purpose, ret->email, use->digits, hash);
    e = store_code_try(task, accounts->sessions.store, use->purpose, ret->email, hash,
                       clock_wall_ms(), admitted ? &action : NULL, &right);
    /* A wrong code has changed nothing; of a write that failed nobody knows. */
    if (admitted && (right || e != OK)) {
        identity_forget_user(accounts->sessions.identity, ret->id);
        identity_forget_sessions_of(accounts->sessions.identity, ret->id);
    }
    if (e != OK)
        return e;
    return right && admitted ? OK : refuse_code(task);
}

enum err code_look(struct task *task, const struct accounts *accounts, const struct code_use *use,
                   struct user *ret)
{
    const struct code_action nothing = {.only_look = true};
    uint8_t hash[CRYPTO_HASH_BYTES];
    bool right = false, admitted;
    enum err e = find(task, accounts, use->email, ret, &admitted);

    assert_off_loops();
    if (e != OK)
        return e;
    hash_code(task, use->purpose, ret->email, use->digits, hash);
    e = store_code_try(task, accounts->sessions.store, use->purpose, ret->email, hash,
                       clock_wall_ms(), &nothing, &right);
    if (e != OK)
        return e;
    return right && admitted ? OK : refuse_code(task);
}

/* A new password by mail */

static enum err check_available(struct task *task)
{
    if (task->settings->auth_provider == PROVIDER_PASSWORD)
        return OK;
    return fail(task, ERR_BAD_REQUEST, "Password reset is not available");
}

enum err code_send(struct task *task, const struct accounts *accounts, const char *email,
                   enum language language)
{
    struct mail mail = {.to = ""};
    struct user user;
    struct code code;
    const char *digits;
    bool admitted;
    enum err e = check_available(task);

    assert_off_loops();
    if (e != OK)
        return e;
    if (!outbox_is_configured(task->settings))
        return fail(task, ERR_BAD_REQUEST, "Email configuration is incomplete");
    e = find(task, accounts, email, &user, &admitted);
    if (e != OK)
        return e;
    /* The same work for everybody: a mail to nobody is dropped when it is due. */
    if (admitted)
        mail.to = notice_recipient(task, &user);
    code = code_make(task, CODE_RESET, user.email, &digits);
    mail.created_ms = code.created_ms;
    mail.expires_ms = code.expires_ms;
    mail.content = letter_reset_code(task->mem, task->settings, user.email,
                                     language_of_choice(user.language, language), digits,
                                     CODE_MINUTES);
    /* Of a mailbox with one proved address and many that others registered behind a +, the first
     * has a count of its own. */
    return code_issue(task, accounts, &code, user.verified_ms != 0 ? "reset of the owner" : "reset",
                      &mail);
}

enum err code_reset_password(struct task *task, const struct accounts *accounts, const char *email,
                             const char *code, const char *new_password, const char *client,
                             enum language language, bool *ret_common)
{
    struct code_use use = {.purpose = CODE_RESET, .email = email, .digits = code, .client = client};
    struct user user;
    enum err e = check_available(task);

    assert_off_loops();
    if (e == OK)
        e = password_check(task, "New password", new_password, ret_common);
    /* Before the code is tried: what fails here leaves it as good as it was. */
    if (e == OK)
        e = password_hash(task, new_password, &use.password_hash);
    if (e == OK)
        e = code_use(task, accounts, &use, &user);
    if (e == OK)
        notice_password_changed(task, accounts, &user, clock_wall_ms(), language);
    return e;
}
