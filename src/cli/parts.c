#include "cli/parts.h"

#include "cli/check.h"
#include "cli/open.h"
#include "core/clock.h"
#include "limit/probe.h"
#include "mail/letter.h"
#include "mail/outbox.h"
#include "remote/redis.h"
#include "remote/stripe.h"

enum {
    STOP_MS = 9000,
    PEERS_STOP_MS = 1000, /* the resolver of a probe may hang for long */
};

/* The store */

static const char *store_probe(const void *program, int64_t timeout_ms)
{
    const struct program *p = program;
    auto_tree void *mem = mem_tree(1024);
    struct task task = {
        .mem = mem, .job = "ready", .deadline_ms = clock_mono_ms() + READY_DEADLINE_MS};
    enum err e = store_ping(&task, p->app.store);

    (void)timeout_ms;
    if (e == OK)
        return NULL;
    log_bounded(LOG_WARNING, &task, "the store does not answer", LOG_S("detail", task.text));
    return e == ERR_STORE_FULL ? "Disk full" : "Cannot be read or written";
}

static const char *store_shown(const struct program *p)
{
    return store_name(p->app.store);
}

static bool mongodb_is_configured(const struct settings *settings)
{
    return settings->mongodb_uri != NULL;
}

/* Limits and Redis */

static const char *limiter_shown(const struct program *p)
{
    if (!p->settings->rate_limit_enabled)
        return "off";
    return p->redis == NULL ? "in memory"
                            : mem_printf(p->mem, "Redis at %s", redis_target_shown(p->redis));
}

static const char *redis_place(void *mem, const struct program *p)
{
    (void)mem;
    return redis_target_shown(p->redis);
}

/* It is asked twice. */
static const char *redis_probe(const void *program, int64_t timeout_ms)
{
    return limit_probe(((const struct program *)program)->redis, timeout_ms / 2);
}

/* Stripe */

static const char *stripe_balance_probe(const void *program, int64_t timeout_ms)
{
    return stripe_probe(((const struct program *)program)->settings, timeout_ms);
}

/* Mails */

static const char *mail_shown(const struct program *p)
{
    if (letter_has_server(p->settings))
        return mem_printf(p->mem, "through %s", p->settings->email_host);
    return outbox_is_configured(p->settings)
               ? mem_printf(p->mem, "files in %s/outbox", p->settings->data_dir)
               : "none, because EMAIL_HOST is not set";
}

const struct part parts[] = {
    {.name = "listen", .examine = check_listening, .open = open_listeners},
    {.name = "store",
     .probe = store_probe,
     .lane = LANE_STORE,
     .is_critical = true,
     .examine = check_store,
     .label = "Store",
     .field = "store",
     .shown = store_shown,
     .open = open_store,
     .stop_wait = close_store,
     .stop_ms = STOP_MS},
    {.name = "mongodb",
     .is_configured = mongodb_is_configured,
     .probe = store_probe,
     .lane = LANE_STORE},
    /* From here on the log has lines. It ends with the process. */
    {.name = "log", .open = open_log},
    {.name = "accounts", .open = open_accounts},
    {.name = "billing", .open = open_billing},
    {.name = "limits",
     .examine = check_limits,
     .label = "Limits",
     .field = "limiter",
     .shown = limiter_shown,
     .open = open_limiter,
     .start = start_limiter,
     .stop_begin = stop_limiter,
     .stop_wait = close_limiter,
     .stop_ms = STOP_MS},
    {.name = "passwords", .examine = check_hash},
    /* Lanes run what others submit until those have ended, and are told nothing. */
    {.name = "lanes", .open = open_lanes, .stop_wait = close_lanes, .stop_ms = STOP_MS},
    {.name = "lanes for peers",
     .open = open_peer_lanes,
     .stop_wait = close_peer_lanes,
     .stop_ms = PEERS_STOP_MS},
    {.name = "redis",
     .title = "Redis",
     .is_configured = redis_is_configured,
     .place = redis_place,
     .probe = redis_probe,
     .probe_ms = 6000,
     .lane = LANE_REMOTE,
     .tells_itself = true},
    {.name = "stripe",
     .title = "Stripe",
     .is_configured = stripe_is_configured,
     .probe = stripe_balance_probe,
     .lane = LANE_REMOTE,
     .healthy = "API accessible",
     .examine = check_stripe},
    {.name = "mail",
     .title = "a mail server",
     .is_configured = letter_has_server,
     .examine = check_mail,
     .label = "Mails",
     .field = "mails",
     .shown = mail_shown},
    {.name = "ready", .open = open_ready},
    {.name = "pages", .open = open_pages},
    {.name = "jobs",
     .open = open_jobs,
     .start = start_jobs,
     .stop_begin = stop_jobs,
     .stop_wait = wait_for_jobs,
     .stop_ms = STOP_MS,
     .stops_early = true},
    {.name = "loops",
     .open = open_loops,
     .stop_begin = stop_loops,
     .stop_wait = close_loops,
     .stop_ms = STOP_MS},
    {.name = "admin",
     .examine = check_admin_socket,
     .start = start_admin_socket,
     .stop_begin = stop_admin_socket,
     .stop_wait = close_admin_socket,
     .stop_ms = STOP_MS},
    {.name = "outbox", .examine = check_outbox},
};

const size_t part_count = count_of(parts);

bool part_is_configured(const struct part *part, const struct settings *settings)
{
    return part->is_configured == NULL || part->is_configured(settings);
}
