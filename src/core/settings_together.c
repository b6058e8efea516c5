#include "core/settings_parts.h"

#include "core/unicode.h"

#include <string.h>
#include <strings.h>

enum { LOCAL_PASSWORD_BYTES = 1024, WEBHOOK_SECRETS = 3 };

static void check_local_password(struct loading *l)
{
    const struct secret *password = l->settings->local_password;

    if (l->settings->auth_provider != PROVIDER_LOCAL)
        return;
    if (password == NULL)
        problem(l, "LOCAL_AUTH_PASSWORD: is not set, but AUTH_PROVIDER is local; set it to the "
                   "administrator's password");
    else if (!unicode_is_valid((const char *)password->bytes, password->len) ||
             (int64_t)unicode_length((const char *)password->bytes) < l->settings->password_min ||
             password->len > LOCAL_PASSWORD_BYTES)
        problem(l,
                "LOCAL_AUTH_PASSWORD: has to be %lld characters (PASSWORD_MIN_LENGTH)"
                " to %d bytes long",
                (long long)l->settings->password_min, LOCAL_PASSWORD_BYTES);
}

static void check_mail(struct loading *l)
{
    const struct settings *s = l->settings;
    bool has_host = s->email_host != NULL && *s->email_host != '\0';
    bool has_from = (s->email_from != NULL && *s->email_from != '\0') ||
                    (s->email_username != NULL && strchr(s->email_username, '@') != NULL);
    bool only_by_server = strcasecmp(s->environment, "production") == 0;

    if (has_host && !has_from)
        warning(l, "EMAIL_HOST: is set, but there is no sender: set EMAIL_FROM, or nothing is "
                   "handed to that server");
    if (!only_by_server || (has_host && has_from))
        return;
    if (s->email_verification)
        warning(l, "EMAIL_VERIFICATION: is on, but no mail can be sent: set EMAIL_HOST and "
                   "EMAIL_FROM");
    if (s->unverified_may > 0)
        problem(l,
                "UNVERIFIED_MAY: nobody could confirm an address, since no mail can be sent; set "
                "EMAIL_HOST and EMAIL_FROM, or leave it at everything");
}

static void warn_of_openness(struct loading *l)
{
    const struct settings *s = l->settings;
    struct address address;

    if (s->auth_provider == PROVIDER_NONE && s->host != NULL && strcmp(s->host, "localhost") != 0 &&
        (!address_parse(s->host, strlen(s->host), &address) ||
         (address_is_v4(&address) ? address.bytes[12] != 127 : strcmp(s->host, "::1") != 0)))
        warning(l, "AUTH_PROVIDER: is none, and HOST lets other machines in: nobody has to log in");
}

void settings_check_together(struct loading *l)
{
    const struct settings *s = l->settings;

    if (s->stripe_secret != NULL && s->stripe_webhook_secret.count == 0 &&
        strstr((const char *)s->stripe_secret->bytes, "_live_") != NULL)
        problem(l, "STRIPE_WEBHOOK_SECRET: is not set, but STRIPE_SECRET_KEY is a live key; set it "
                   "to the signing secret of the webhook endpoint, or anybody could send events");
    if (s->stripe_secret != NULL && strncmp(s->stripe_api_base, "https://", 8) != 0 &&
        strstr((const char *)s->stripe_secret->bytes, "_live_") != NULL)
        problem(l, "STRIPE_API_BASE: is not https://, but STRIPE_SECRET_KEY is a live key, which "
                   "anybody on the way could read; unset it, or use a test key");
    if (s->stripe_secret != NULL && strncmp((const char *)s->stripe_secret->bytes, "sk_", 3) != 0 &&
        strncmp((const char *)s->stripe_secret->bytes, "rk_", 3) != 0)
        warning(l, "STRIPE_SECRET_KEY: begins neither with sk_ nor with rk_, so nothing is billed; "
                   "give a secret or restricted key, or unset it");
    if (s->stripe_webhook_secret.count > WEBHOOK_SECRETS)
        problem(l, "STRIPE_WEBHOOK_SECRET: has %zu values; give %d at most",
                s->stripe_webhook_secret.count, WEBHOOK_SECRETS);
    check_local_password(l);
    check_mail(l);
    warn_of_openness(l);
    settings_check_data_dir(l);
}
