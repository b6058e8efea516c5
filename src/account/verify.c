#include "account/verify.h"

#include "account/code.h"
#include "account/notice.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/text.h"
#include "mail/letter.h"
#include "mail/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LINK_HOURS = 24, HOUR_S = 3600 };

static const char *mac_of(struct task *task, const struct secret *key, const char *user_id,
                          int64_t expires_s, const char *email)
{
    const char *text = mem_printf(task->mem, "verification link\n%s\n%lld\n%s", user_id,
                                  (long long)expires_s, email);
    uint8_t mac[CRYPTO_HASH_BYTES];

    crypto_hmac(mac, key->bytes, key->len, text, strlen(text));
    return text_base64url(task->mem, mac, sizeof mac);
}

/* PUBLIC_URL; without it, where mails are files of this machine, the address that is served. What a
 * request says of the host is no source for it. */
static const char *base_of_links(void *mem, const struct settings *settings)
{
    if (settings->public_url != NULL && *settings->public_url != '\0')
        return settings->public_url;
    return letter_is_file(settings) ? settings_served_url(mem, settings) : NULL;
}

/* NULL: nobody knows where it would lead. Behind # the token reaches no log and no other site. */
static const char *link_of(struct task *task, const struct user *user)
{
    int64_t expires_s = clock_wall_ms() / 1000 + LINK_HOURS * HOUR_S;
    const char *base = base_of_links(task->mem, task->settings);

    if (base == NULL)
        return NULL;
    return mem_printf(task->mem, "%s/verify-email#%s.%lld.%s", base, user->id, (long long)expires_s,
                      mac_of(task, task->settings->jwt_secret, user->id, expires_s, user->email));
}

enum err verify_send(struct task *task, const struct accounts *accounts, const struct user *user,
                     enum language language)
{
    struct mail mail = {.to = notice_recipient(task, user)};
    struct code code;
    const char *digits;

    assert_off_loops();
    if (task->settings->auth_provider != PROVIDER_PASSWORD)
        return fail(task, ERR_BAD_REQUEST, "Email verification is not available");
    if (user->verified_ms != 0)
        return fail(task, ERR_BAD_REQUEST, "Email is already verified");
    if (!outbox_is_configured(task->settings))
        return fail(task, ERR_BAD_REQUEST, "Email configuration is incomplete");
    code = code_make(task, CODE_VERIFY, user->email, &digits);
    mail.created_ms = code.created_ms;
    mail.expires_ms = code.created_ms + LINK_HOURS * HOUR_S * 1000;
    mail.content = letter_verify(task->mem, task->settings, user->email,
                                 language_of_choice(user->language, language), digits, CODE_MINUTES,
                                 link_of(task, user), LINK_HOURS);
    return code_issue(task, accounts, &code, "verify", &mail);
}

void verify_welcome(struct task *task, const struct accounts *accounts, const struct user *user,
                    enum language language)
{
    if (!task->settings->email_verification || !outbox_is_configured(task->settings))
        return;
    if (verify_send(task, accounts, user, language) != OK)
        log_bounded(LOG_WARNING, task, "the mail that confirms an address could not be queued",
                    LOG_S("user", user->id), LOG_S("detail", task->text));
}

static enum err note(struct task *task, const struct accounts *accounts, const struct user *user,
                     const char *client, enum user_changed *ret)
{
    struct audit audit = {.at_ms = clock_wall_ms(),
                          .actor = mem_printf(task->mem, "user:%s", user->id),
                          .action = "user.verify_email",
                          .subject = user->id,
                          .address = client,
                          .detail = "by link"};
    enum err e = store_user_verify(task, accounts->sessions.store, user->id, &audit, ret);

    identity_forget_user(accounts->sessions.identity, user->id);
    return e;
}

static enum err refuse_link(struct task *task)
{
    return fail(task, ERR_UNAUTHENTICATED, "Invalid or expired verification link");
}

/* USER.EXPIRY.MAC; false if it is anything else, or too old. */
static bool split(struct task *task, const char *token, const char **ret_user_id,
                  int64_t *ret_expires_s, const char **ret_mac)
{
    const char *expiry = strchr(token, '.'), *mac = expiry == NULL ? NULL : strchr(expiry + 1, '.');
    char *end;

    if (mac == NULL || expiry - token != CRYPTO_ID_LEN)
        return false;
    errno = 0;
    *ret_expires_s = strtoll(expiry + 1, &end, 10);
    *ret_user_id = mem_copy(task->mem, token, CRYPTO_ID_LEN);
    *ret_mac = mac + 1;
    /* The one spelling that was signed. */
    return end == mac && errno == 0 && *ret_expires_s > clock_wall_ms() / 1000 &&
           strncmp(expiry + 1, mem_printf(task->mem, "%lld.", (long long)*ret_expires_s),
                   (size_t)(mac - expiry)) == 0;
}

static bool is_signed(struct task *task, const struct user *user, int64_t expires_s,
                      const char *mac)
{
    for (size_t i = 0; i <= task->settings->jwt_previous.count; i++) {
        const struct secret *key = i == 0 ? task->settings->jwt_secret
                                          : task->settings->jwt_previous.of[i - 1];
        const char *right = mac_of(task, key, user->id, expires_s, user->email);

        if (strlen(mac) == strlen(right) && crypto_equal(mac, right, strlen(right)))
            return true;
    }
    return false;
}

static enum err look_at_link(struct task *task, const struct accounts *accounts, const char *token,
                             struct user *ret)
{
    const char *user_id, *mac;
    int64_t expires_s;
    bool found;
    enum err e;

    if (!split(task, token, &user_id, &expires_s, &mac))
        return refuse_link(task);
    e = store_user_by_id(task, accounts->sessions.store, user_id, &found, ret);
    if (e != OK)
        return e;
    if (!found || !ret->is_active || ret->verified_ms != 0 || !is_signed(task, ret, expires_s, mac))
        return refuse_link(task);
    return OK;
}

static struct code_use use_of(const struct verification *verification)
{
    return (struct code_use){.purpose = CODE_VERIFY,
                             .email = verification->email,
                             .digits = verification->code,
                             .client = verification->client};
}

enum err verify_look(struct task *task, const struct accounts *accounts,
                     const struct verification *verification, struct user *ret)
{
    const struct code_use use = use_of(verification);

    assert_off_loops();
    if (verification->token != NULL)
        return look_at_link(task, accounts, verification->token, ret);
    return code_look(task, accounts, &use, ret);
}

enum err verify_do(struct task *task, const struct accounts *accounts,
                   const struct verification *verification, const struct user *user)
{
    const struct code_use use = use_of(verification);
    enum user_changed changed;
    struct user now;
    enum err e;

    assert_off_loops();
    if (verification->token == NULL)
        return code_use(task, accounts, &use, &now);
    e = note(task, accounts, user, verification->client, &changed);
    return e == OK && changed != USER_CHANGED ? refuse_link(task) : e;
}
