#include "remote/mend.h"

#include "core/mem.h"

#include <string.h>

/* The first row of the peer whose text it begins with. */
static const struct mend {
    const char *peer, *begins, *mend;
} mends[] = {
    {"redis", "Password", "set REDIS_PASSWORD and, if it has users, REDIS_USERNAME"},
    {"redis", "The user lacks",
     "give REDIS_USERNAME the permissions that docs/rate-limits.md lists"},
    {"redis", "TLS", "correct REDIS_TLS or SSL_CERT_FILE"},
    {"redis", "Is not Redis", "correct REDIS_HOST and REDIS_PORT"},
    {"redis", "Host not found", "correct REDIS_HOST"},
    {"redis", "Has no such database", "correct REDIS_DB"},
    {"redis", "No sentinel", "correct REDIS_SENTINELS and REDIS_SENTINEL_MASTER"},
    {"redis", "Cannot connect", "start it, or correct REDIS_HOST and REDIS_PORT"},
    {"redis", "Is a replica", "set REDIS_HOST and REDIS_PORT to the primary"},
    {"redis", "Out of memory", "raise its maxmemory, or delete data from it"},
    {"redis", "", "check Redis and its log"},
    {"stripe", "API key refused", "set STRIPE_SECRET_KEY to a key that Stripe's dashboard shows"},
    {"stripe", "TLS", "install the package ca-certificates, or set SSL_CERT_FILE"},
    {"stripe", "Is not Stripe", "correct STRIPE_API_BASE: another server answers there"},
    {"stripe", "Unexpected answer",
     "correct STRIPE_API_BASE, or see whether status.stripe.com reports a failure"},
    {"stripe", "", "check this machine's DNS resolver and firewall"},
    {"mail", "no sender", "set EMAIL_FROM"},
    {"mail", "the mail server's name", "correct EMAIL_HOST"},
    {"mail", "the mail server refuses the user", "correct EMAIL_USERNAME and EMAIL_PASSWORD"},
    {"mail", "the mail server offers no login",
     "set EMAIL_PORT to the port for submission (587 or 465), or leave EMAIL_USERNAME empty"},
    {"mail", "the mail server refuses the sender",
     "set EMAIL_FROM to an address that this server sends for, or set EMAIL_USERNAME and "
     "EMAIL_PASSWORD"},
    {"mail", "the mail server has no TLS",
     "use port 465 or 587, correct SSL_CERT_FILE, or set EMAIL_PLAIN=true to send without TLS"},
    {"mail", "the mail server rejects this machine",
     "ask its operator whether this machine may send"},
    {"mail", "the mail server refuses the mail",
     "correct EMAIL_FROM, or ask its operator whether this machine may send"},
    {"mail", "the file of a mail",
     "make DATA_DIR/outbox a folder that the user of manus may write to"},
    {"mail", "the folder of mails",
     "make DATA_DIR/outbox a folder that the user of manus may write to"},
    {"mail", "", "correct EMAIL_HOST and EMAIL_PORT (587, or 465 for TLS)"},
};

const char *mend_of(const char *peer, const char *wrong)
{
    for (size_t i = 0; i < count_of(mends) && wrong != NULL; i++) {
        if (strcmp(mends[i].peer, peer) == 0 &&
            strncmp(mends[i].begins, wrong, strlen(mends[i].begins)) == 0)
            return mends[i].mend;
    }
    return NULL;
}
