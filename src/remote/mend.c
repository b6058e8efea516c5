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
    {"redis", "Has too few replicas", "start its replicas, or lower its min-replicas-to-write"},
    {"redis", "Cannot save", "give it disk space, or set its stop-writes-on-bgsave-error to no"},
    {"redis", "Loading its data", "wait until it has loaded its data"},
    {"redis", "Lacks a command",
     "upgrade it to 6.2 or newer, or give the command back that its configuration renames"},
    {"redis", "Is a cluster that is down", "repair the cluster: redis-cli --cluster check"},
    {"redis", "Has no room", "raise its maxclients, or close connections of other programs"},
    {"redis", "Connection lost",
     "set REDIS_TLS=true if this port speaks TLS, correct SSL_CERT_FILE, or see its log "
     "(maxclients, protected-mode)"},
    {"redis", "No answer in time",
     "correct REDIS_PORT and REDIS_TLS, raise REDIS_TIMEOUT_MS, or see its log"},
    {"redis", "", "check Redis and its log"},
    {"stripe", "API key lacks a permission",
     "give the key the permissions that docs/billing.md lists, in Stripe's dashboard"},
    {"stripe", "API key refused", "set STRIPE_SECRET_KEY to a key that Stripe's dashboard shows"},
    {"stripe", "TLS", "install the package ca-certificates, or set SSL_CERT_FILE"},
    {"stripe", "Is not Stripe", "correct STRIPE_API_BASE: another server answers there"},
    {"stripe", "Unexpected answer",
     "correct STRIPE_API_BASE, or see whether status.stripe.com reports a failure"},
    {"stripe", "Knows no price",
     "correct STRIPE_PRICE_ID_… or PLANS_FILE, or set STRIPE_SECRET_KEY to the key of the mode "
     "(test or live) that has the price"},
    {"stripe", "OUTBOUND_NETWORKS", "add the network of its address to OUTBOUND_NETWORKS"},
    {"stripe", "Too many requests",
     "wait; if it stays, find the program that uses this account's rate limit"},
    {"stripe", "", "check this machine's DNS resolver and firewall, and HTTPS_PROXY if it is set"},
    {"mail", "no sender", "set EMAIL_FROM"},
    {"mail", "the mail server's name", "correct EMAIL_HOST"},
    {"mail", "the mail server refuses the user", "correct EMAIL_USERNAME and EMAIL_PASSWORD"},
    {"mail", "the mail server offers no login",
     "set EMAIL_PORT to the port for submission (587 or 465), or leave EMAIL_USERNAME empty"},
    {"mail", "the mail server refuses the sender",
     "set EMAIL_FROM to an address that this server sends for, or set EMAIL_USERNAME and "
     "EMAIL_PASSWORD"},
    {"mail", "the certificate of the mail server",
     "set EMAIL_HOST to the name in the certificate, or SSL_CERT_FILE to the authority that "
     "issued it"},
    {"mail", "the mail server does not speak TLS",
     "set EMAIL_PORT to 587 (STARTTLS) or 465 (TLS), or EMAIL_PLAIN=true to send without TLS"},
    {"mail", "the mail server does not answer",
     "correct EMAIL_HOST, or set EMAIL_PORT to 587 (STARTTLS) or 465 (TLS from the first byte)"},
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
