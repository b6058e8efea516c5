#include "core/settings_doubt.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLOCK_SECONDS = 24 * 3600 }; /* clocks of machines that share files may differ a little */

struct doubts {
    void *mem;
    const struct settings *settings;
    void (*tell)(void *context, bool is_problem, const char *text);
    void *context;
};

static bool begins(const struct secret *secret, const char *start)
{
    return secret != NULL && strncmp((const char *)secret->bytes, start, strlen(start)) == 0;
}

static void look_at_proxies(const struct doubts *d)
{
    if (d->settings->proxy_protocol && d->settings->trusted_proxies.count == 0)
        d->tell(d->context, true,
                "PROXY_PROTOCOL: is on, but TRUSTED_PROXIES is empty, so every connection would be "
                "closed; set TRUSTED_PROXIES to the addresses of your proxies");
}

static void look_at_stripe(const struct doubts *d)
{
    const struct settings *s = d->settings;

    for (size_t i = 0; i < s->stripe_webhook_secret.count; i++) {
        if (!begins(s->stripe_webhook_secret.of[i], "whsec_"))
            d->tell(d->context, false,
                    "STRIPE_WEBHOOK_SECRET: does not begin with whsec_, so no event can be "
                    "verified; copy the signing secret from the endpoint's page in Stripe's "
                    "dashboard");
    }
    if (strcasecmp(s->environment, "production") == 0 &&
        (begins(s->stripe_secret, "sk_test_") || begins(s->stripe_secret, "rk_test_")))
        d->tell(d->context, false,
                "STRIPE_SECRET_KEY: is a test key, but ENVIRONMENT is production, so nobody really "
                "pays; give a live key, or set ENVIRONMENT to staging");
}

static void look_at_authorities(const struct doubts *d)
{
    const char *path = d->settings->ca_file;

    if (path != NULL && *path != '\0' && access(path, R_OK) != 0)
        d->tell(d->context, false,
                mem_printf(d->mem,
                           "SSL_CERT_FILE: %s cannot be read (%s), so no TLS connection to another "
                           "service works; correct the path, or remove the setting",
                           path, strerror(errno)));
}

/* A store that was written tomorrow: the clock was set back, or has lost its battery. */
static void look_at_clock(const struct doubts *d)
{
    const char *path = mem_printf(d->mem, "%s/manus.sqlite", d->settings->data_dir);
    int64_t now_ms = clock_wall_ms();
    char now[TEXT_TIME_SIZE], then[TEXT_TIME_SIZE];
    struct stat st;

    if (d->settings->data_dir == NULL || stat(path, &st) != 0 ||
        st.st_mtim.tv_sec <= now_ms / 1000 + CLOCK_SECONDS)
        return;
    text_time(now, now_ms);
    text_time(then, (int64_t)st.st_mtim.tv_sec * 1000);
    d->tell(d->context, false,
            mem_printf(d->mem,
                       "the clock of this machine says %s, but the store was last written at %s; "
                       "set the clock, or tokens and codes expire at the wrong time",
                       now, then));
}

/* What the shell or the service manager allows. */
struct bound {
    int which;
    unsigned unit;
    uint64_t least; /* in that unit */
    const char *name, *unit_name, *effect;
};

static const struct bound bounds[] = {
    {RLIMIT_NOFILE, 1, 400, "open files", "",
     "which leaves few connections or none; raise it (ulimit -n, or LimitNOFILE= in the unit)"},
    {RLIMIT_NPROC, 1, 200, "processes", "",
     "and threads count as such; raise it (ulimit -u, or LimitNPROC= in the unit)"},
    {RLIMIT_AS, 1 << 20, 2048, "address space", " MiB",
     "which may be too little for all threads; remove it (ulimit -v, or LimitAS= in the unit)"},
    {RLIMIT_FSIZE, 1 << 20, UINT64_MAX, "a file's size", " MiB",
     "at which the store fails; remove it (ulimit -f, or LimitFSIZE= in the unit)"},
};

static void look_at_limits(const struct doubts *d)
{
    for (size_t i = 0; i < count_of(bounds); i++) {
        const struct bound *bound = &bounds[i];
        struct rlimit limit;
        rlim_t most;

        if ((bound->which == RLIMIT_NPROC && geteuid() == 0) ||
            getrlimit((__rlimit_resource_t)bound->which, &limit) != 0)
            continue;
        /* serve takes as many files as it may. */
        most = bound->which == RLIMIT_NOFILE ? limit.rlim_max : limit.rlim_cur;
        if (most != RLIM_INFINITY && most / bound->unit < bound->least)
            d->tell(d->context, false,
                    mem_printf(d->mem, "the limit of %s is %llu%s, %s", bound->name,
                               (unsigned long long)(most / bound->unit), bound->unit_name,
                               bound->effect));
    }
}

void settings_doubt(void *mem, const struct settings *settings,
                    void (*tell)(void *context, bool is_problem, const char *text), void *context)
{
    const struct doubts doubts = {mem, settings, tell, context};

    look_at_proxies(&doubts);
    look_at_stripe(&doubts);
    look_at_authorities(&doubts);
    look_at_clock(&doubts);
    look_at_limits(&doubts);
}
