#include "cli/open.h"

#include "account/provider.h"
#include "api/jobs.h"
#include "api/limits.h"
#include "api/routes.h"
#include "cli/admin_socket.h"
#include "cli/labels.h"
#include "limit/limiter.h"
#include "watch/figures.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

enum { QUEUED = 1024, QUEUED_MS = 2000, HASH_NICE = 5 };

bool open_listeners(struct program *p, const char **ret_why)
{
    p->listeners = program_listen(p->mem, p->settings, p->loop_count, ret_why);
    return p->listeners != NULL;
}

/* The store */

bool open_store(struct program *p, const char **ret_why)
{
    struct task task = {.mem = p->mem, .settings = p->settings, .job = "start"};

    p->app.store = store_open(&task, p->mem, p->settings);
    *ret_why = task.text;
    return p->app.store != NULL;
}

bool close_store(struct program *p, int64_t left_ms)
{
    (void)left_ms;
    store_close(p->app.store);
    return true;
}

/* What was found before there was a log is told now. */
bool open_log(struct program *p, const char **ret_why)
{
    const struct settings *settings = p->settings;

    (void)ret_why;
    p->log_format = settings->log_format == LOG_FORMAT_JSON   ? LOG_JSON
                    : settings->log_format == LOG_FORMAT_TEXT ? LOG_TEXT
                    : isatty(STDOUT_FILENO)                   ? LOG_TEXT
                                                              : LOG_JSON;
    log_start(STDOUT_FILENO, p->log_format, (enum log_level)settings->log_level);
    if (store_notice(p->app.store) != NULL)
        log_warning(NULL, "the store is new", LOG_S("detail", store_notice(p->app.store)));
    if (p->listeners->left_out != NULL)
        log_warning(NULL, "the server does not listen on every address of HOST",
                    LOG_S("reason", p->listeners->left_out));
    return true;
}

/* The domain */

bool open_accounts(struct program *p, const char **ret_why)
{
    struct task task = {.mem = p->mem, .settings = p->settings, .job = "start"};

    p->app.accounts.sessions.store = p->app.store;
    p->app.accounts.sessions.identity = identity_open(p->mem, p->app.store);
    if (provider_prepare(&task, &p->app.accounts) == OK)
        return true;
    *ret_why = task.text;
    return false;
}

bool open_billing(struct program *p, const char **ret_why)
{
    (void)ret_why;
    p->app.billing = billing_open(p->mem, p->app.store, p->settings, p->plans);
    return true;
}

bool open_pages(struct program *p, const char **ret_why)
{
    (void)ret_why;
    app_prepare(&p->app, p->mem);
    return true;
}

/* The limiter */

bool open_limiter(struct program *p, const char **ret_why)
{
    struct limiter_settings settings = {
        .max_keys = (size_t)p->settings->rate_limit_keys,
        .bans_file = mem_printf(p->mem, "%s/bans", p->settings->data_dir),
        .instances_file = mem_printf(p->mem, "%s/instances", p->settings->data_dir),
        .target = p->redis,
        .deadline_ms = p->settings->redis_timeout,
    };

    (void)ret_why;
    settings.names = limits_names(p->mem, routes, &settings.name_count);
    p->app.limiter = limiter_open(p->mem, &settings);
    limiter_show_metrics(p->app.limiter);
    limiter_set_fallback(p->app.limiter, (enum fallback)p->settings->rate_limit_fallback);
    return true;
}

void start_limiter(struct program *p)
{
    limiter_start(p->app.limiter, p->loops, p->loop_count, p->lanes[LANE_REMOTE]);
}

void stop_limiter(struct program *p)
{
    limiter_stop(p->app.limiter);
}

bool close_limiter(struct program *p, int64_t left_ms)
{
    (void)left_ms;
    limiter_close(p->app.limiter);
    return true;
}

/* Lanes */

static void open_lane(struct program *p, enum lane_id id, unsigned threads, int nice)
{
    const struct lane_settings settings = {lane_names[id], threads, QUEUED,
                                           QUEUED_MS,      nice,    LANE_LABEL(id)};

    p->lanes[id] = lane_open(p->mem, &settings);
}

bool open_lanes(struct program *p, const char **ret_why)
{
    (void)ret_why;
    open_lane(p, LANE_STORE, 32, 0);
    open_lane(p, LANE_WRITE, 32, 0);
    open_lane(p, LANE_HASH, program_cores(), HASH_NICE);
    open_lane(p, LANE_JOB, 6, 0);
    return true;
}

bool close_lanes(struct program *p, int64_t left_ms)
{
    (void)left_ms;
    lane_close(p->lanes[LANE_HASH]);
    lane_close(p->lanes[LANE_JOB]);
    lane_close(p->lanes[LANE_STORE]);
    lane_close(p->lanes[LANE_WRITE]);
    return true;
}

bool open_peer_lanes(struct program *p, const char **ret_why)
{
    (void)ret_why;
    open_lane(p, LANE_REMOTE, 16, 0);
    open_lane(p, LANE_EVENT, 16, 0);
    return true;
}

bool close_peer_lanes(struct program *p, int64_t left_ms)
{
    (void)left_ms;
    lane_close(p->lanes[LANE_REMOTE]);
    lane_close(p->lanes[LANE_EVENT]);
    return true;
}

/* Readiness */

static bool is_listed(const struct texts *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->of[i], name) == 0)
            return true;
    }
    return false;
}

bool open_ready(struct program *p, const char **ret_why)
{
    struct ready_row rows[READY_MOST];
    size_t count = 0;

    for (size_t i = 0; i < part_count; i++) {
        const struct part *part = &parts[i];

        if (part->lane == LANE_LOOP)
            continue;
        assert(count < READY_MOST);
        rows[count++] = (struct ready_row){
            .name = part->name,
            .message = part->healthy == NULL ? "Connected" : part->healthy,
            .title = part->tells_itself ? NULL : part->title,
            .is_configured = part_is_configured(part, p->settings),
            .is_critical = part->is_critical || is_listed(&p->settings->ready_critical, part->name),
            .lane = p->lanes[part->lane],
            .probe = part->probe,
            .arg = p,
        };
    }
    (void)ret_why;
    p->app.ready = ready_open(p->mem, rows, count);
    return true;
}

/* Jobs */

bool open_jobs(struct program *p, const char **ret_why)
{
    p->figures = figures_open(p->mem, p->app.store, p->lanes[LANE_JOB]);
    p->app.jobs = app_jobs_open(p->mem, &p->app, p->lanes, ret_why);
    return p->app.jobs != NULL;
}

void start_jobs(struct program *p)
{
    jobs_start(p->app.jobs);
}

void stop_jobs(struct program *p)
{
    jobs_stop_begin(p->app.jobs);
}

bool wait_for_jobs(struct program *p, int64_t left_ms)
{
    return jobs_stop_wait(p->app.jobs, left_ms);
}

/* Loops */

bool open_loops(struct program *p, const char **ret_why)
{
    (void)ret_why;
    p->loops = mem_array(p->mem, struct loop *, p->loop_count);
    for (unsigned i = 0; i < p->loop_count; i++)
        p->loops[i] = loop_start(p->mem, i);
    return true;
}

void stop_loops(struct program *p)
{
    for (unsigned i = 0; i < p->loop_count; i++)
        loop_stop(p->loops[i]);
}

bool close_loops(struct program *p, int64_t left_ms)
{
    (void)left_ms;
    for (unsigned i = 0; i < p->loop_count; i++)
        loop_join(p->loops[i]);
    return true;
}

/* The admin socket */

void start_admin_socket(struct program *p)
{
    p->admin = admin_socket_open(p->mem, &p->app, p->settings);
}

void stop_admin_socket(struct program *p)
{
    admin_socket_stop(p->admin);
}

bool close_admin_socket(struct program *p, int64_t left_ms)
{
    (void)left_ms;
    admin_socket_close(p->admin);
    return true;
}
