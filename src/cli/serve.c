#include "account/provider.h"
#include "api/gate.h"
#include "api/jobs.h"
#include "api/limits.h"
#include "api/pages.h"
#include "api/routes.h"
#include "cli/admin_socket.h"
#include "cli/control.h"
#include "cli/labels.h"
#include "cli/needs.h"
#include "core/log.h"
#include "core/thread.h"
#include "limit/limiter.h"
#include "limit/probe.h"
#include "mail/letter.h"
#include "mail/outbox.h"
#include "remote/redis.h"
#include "remote/stripe.h"
#include "watch/figures.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum {
    SPARE_DESCRIPTORS = 200, /* for files, probes and what waits to be accepted */
    MAX_LOOPS = 64,
    QUEUED = 1024,
    QUEUED_MS = 2000,
    HASH_NICE = 5,
    JOBS_STOP_MS = 9000,
    CLOSE_MS = 15000, /* all of closing, longer than the jobs and the store may take */
};

static unsigned processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    return count < 1 ? 1 : (unsigned)count;
}

/* As many descriptors as the system allows without asking. */
static unsigned raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < (1 << 20) ? limit.rlim_max : 1 << 20;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur > (1 << 20) ? 1 << 20 : (unsigned)limit.rlim_cur;
}

static unsigned connection_limit(const struct settings *settings, unsigned descriptors)
{
    unsigned most = descriptors > 2 * SPARE_DESCRIPTORS ? descriptors - SPARE_DESCRIPTORS
                                                        : descriptors / 2;

    if (settings->max_connections == 0 || settings->max_connections > most)
        return most;
    return (unsigned)settings->max_connections;
}

static void open_lanes(struct program *p)
{
    unsigned cores = processors();
    const struct lane_settings lanes[LANE_COUNT] = {
        [LANE_STORE] = {lane_names[LANE_STORE], 32, QUEUED, QUEUED_MS, 0, LANE_LABEL(LANE_STORE)},
        [LANE_WRITE] = {lane_names[LANE_WRITE], 32, QUEUED, QUEUED_MS, 0, LANE_LABEL(LANE_WRITE)},
        [LANE_HASH] = {lane_names[LANE_HASH], cores, QUEUED, QUEUED_MS, HASH_NICE,
                       LANE_LABEL(LANE_HASH)},
        [LANE_REMOTE] = {lane_names[LANE_REMOTE], 16, QUEUED, QUEUED_MS, 0,
                         LANE_LABEL(LANE_REMOTE)},
        [LANE_EVENT] = {lane_names[LANE_EVENT], 16, QUEUED, QUEUED_MS, 0, LANE_LABEL(LANE_EVENT)},
        [LANE_JOB] = {lane_names[LANE_JOB], 6, QUEUED, QUEUED_MS, 0, LANE_LABEL(LANE_JOB)},
    };

    for (int i = 0; i < LANE_COUNT; i++) {
        if (lanes[i].threads > 0)
            p->lanes[i] = lane_open(p->mem, &lanes[i]);
    }
}

static void start_loops(struct program *p)
{
    p->loops = mem_array(p->mem, struct loop *, p->loop_count);
    for (unsigned i = 0; i < p->loop_count; i++)
        p->loops[i] = loop_start(p->mem, i);
}

static struct server *new_server(struct program *p, struct listeners *listeners,
                                 unsigned descriptors)
{
    struct server_limits limits = {connection_limit(p->settings, descriptors)};
    struct server_app app = {
        .app = &p->app,
        .router = router_new(p->mem, routes),
        .settings = app_settings,
        .gate = gate,
        .bar = limits_bar,
        .missing = pages_missing,
        .admit = gate_body,
        .prepare = gate_load,
    };

    memcpy(app.lanes, p->lanes, sizeof app.lanes);
    return server_new(p->mem, &app, &limits, listeners, p->loops, p->loop_count);
}

/* Parts that nobody needs to begin with. */
static const char *optional_parts(void *mem, const struct settings *settings)
{
    const struct {
        const char *name;
        bool configured;
    } parts[] = {
        {"Redis", redis_is_configured(settings)},
        {"Stripe", stripe_is_configured(settings)},
        {"a mail server", letter_has_server(settings)},
    };
    struct text list = text_open(mem, 64);

    for (size_t i = 0; i < count_of(parts); i++) {
        if (!parts[i].configured)
            text_printf(&list, "%s%s", list.len == 0 ? "" : ", ", parts[i].name);
    }
    return list.len == 0 ? NULL : list.s;
}

static const char *limiter_shown(const struct program *p)
{
    if (!p->settings->rate_limit_enabled)
        return "off";
    return p->redis == NULL ? "in memory"
                            : mem_printf(p->mem, "Redis at %s", redis_target_shown(p->redis));
}

static const char *mail_shown(const struct program *p)
{
    if (letter_has_server(p->settings))
        return mem_printf(p->mem, "through %s", p->settings->email_host);
    return outbox_is_configured(p->settings)
               ? mem_printf(p->mem, "files in %s/outbox", p->settings->data_dir)
               : "none, because EMAIL_HOST is not set";
}

/* For who has just started it: what to do now. */
static void greet(struct program *p, const struct listeners *listeners)
{
    const struct settings *settings = p->settings;
    const char *parts = optional_parts(p->mem, settings);
    const char *file = argument_option(p->arguments, "env-file");
    bool has_url = settings->public_url != NULL && *settings->public_url != '\0';

    printf("manus %s listens on %s: open %s in a browser, stop it with Ctrl-C.\n", MANUS_VERSION,
           listeners->shown,
           has_url ? settings->public_url : settings_served_url(p->mem, settings));
    printf("Store: %s. Mails: %s. Limits: %s.\n", store_name(p->app.store), mail_shown(p),
           limiter_shown(p));
    if (settings->auth_provider == PROVIDER_PASSWORD)
        printf("To create an administrator, run in another terminal: %s admin create "
               "you@example.com%s%s\n",
               program_invocation_name, file == NULL ? "" : " --env-file ",
               file == NULL ? "" : file);
    if (parts != NULL)
        printf("Not set up (optional): %s.\n", parts);
    fflush(stdout);
}

static void announce(struct program *p, const struct listeners *listeners, enum log_format format)
{
    if (format == LOG_TEXT) {
        greet(p, listeners);
        return;
    }
    log_info(NULL, "started", LOG_S("version", MANUS_VERSION), LOG_S("listens", listeners->shown),
             LOG_S("store", store_name(p->app.store)), LOG_S("limiter", limiter_shown(p)),
             LOG_S("mails", mail_shown(p)),
             LOG_S("optional_not_set_up", optional_parts(p->mem, p->settings)));
}

static void start_log(const struct settings *settings, enum log_format *ret)
{
    *ret = settings->log_format == LOG_FORMAT_JSON   ? LOG_JSON
           : settings->log_format == LOG_FORMAT_TEXT ? LOG_TEXT
           : isatty(STDOUT_FILENO)                   ? LOG_TEXT
                                                     : LOG_JSON;
    log_start(STDOUT_FILENO, *ret, (enum log_level)settings->log_level);
}

static int cannot(const char *why)
{
    fprintf(stderr, "manus serve: %s\n", why);
    return EX_UNAVAILABLE;
}

/* Whoever waits for a disk that does not answer cannot be told to end. */
static void *end_in_time(void *unused)
{
    (void)unused;
    usleep(CLOSE_MS * 1000);
    log_critical(NULL, "closing takes too long: exiting without waiting for it",
                 LOG_S("mend", "check the disk of DATA_DIR"));
    log_stop();
    _exit(EX_SOFTWARE);
}

static void bound_closing(void)
{
    pthread_t thread;

    if (thread_start(&thread, end_in_time, NULL) == 0)
        pthread_detach(thread);
}

/* After the last connection: nothing runs on the loops and for requests on the lanes. */
static void close_down(struct program *p)
{
    bool ended;

    bound_closing();
    server_abort(p->app.server);
    jobs_stop_begin(p->app.jobs);
    limiter_stop(p->app.limiter);
    for (unsigned i = 0; i < p->loop_count; i++)
        loop_stop(p->loops[i]);
    for (unsigned i = 0; i < p->loop_count; i++)
        loop_join(p->loops[i]);
    admin_socket_close(p->admin);
    ended = jobs_stop_wait(p->app.jobs, JOBS_STOP_MS);
    lane_close(p->lanes[LANE_HASH]);
    lane_close(p->lanes[LANE_JOB]);
    lane_close(p->lanes[LANE_STORE]);
    lane_close(p->lanes[LANE_WRITE]);
    limiter_close(p->app.limiter);
    /* What it has acknowledged is durable without being closed. */
    if (ended)
        store_close(p->app.store);
    else
        log_warning(NULL, "a job goes on: exiting without closing the store");
    log_info(NULL, "stopped");
    log_stop();
    /* The resolver of a probe may hang for longer than anybody wants to wait. */
    if (lane_load(p->lanes[LANE_REMOTE]) > 0 || lane_load(p->lanes[LANE_EVENT]) > 0)
        _exit(EX_OK);
    lane_close(p->lanes[LANE_REMOTE]);
    lane_close(p->lanes[LANE_EVENT]);
}

static void open_limiter(struct program *p)
{
    struct limiter_settings settings = {
        .max_keys = (size_t)p->settings->rate_limit_keys,
        .bans_file = mem_printf(p->mem, "%s/bans", p->settings->data_dir),
        .instances_file = mem_printf(p->mem, "%s/instances", p->settings->data_dir),
        .target = p->redis,
        .deadline_ms = p->settings->redis_timeout,
    };

    settings.names = limits_names(p->mem, routes, &settings.name_count);
    p->app.limiter = limiter_open(p->mem, &settings);
    limiter_show_metrics(p->app.limiter);
    limiter_set_fallback(p->app.limiter, (enum fallback)p->settings->rate_limit_fallback);
}

static bool open_jobs(struct program *p, const char **ret_why)
{
    p->figures = figures_open(p->mem, p->app.store, p->lanes[LANE_JOB]);
    p->app.jobs = app_jobs_open(p->mem, &p->app, p->lanes, ret_why);
    return p->app.jobs != NULL;
}

static int serve(struct program *p)
{
    unsigned descriptors = raise_descriptors();
    struct task task = {.mem = p->mem, .job = "start"};
    struct listeners *listeners;
    struct control *control;
    enum log_format format;
    const char *why;

    p->loop_count = p->settings->threads == 0 ? processors() : (unsigned)p->settings->threads;
    if (p->loop_count > MAX_LOOPS)
        p->loop_count = MAX_LOOPS;
    labels_name(p->mem, p->loop_count);
    listeners = needs_listen(p->mem, p->settings, p->loop_count, &why);
    if (listeners == NULL)
        return cannot(why);
    p->app.store = store_open(&task, p->mem, p->settings);
    if (p->app.store == NULL)
        return cannot(task.text);
    p->app.accounts.sessions.store = p->app.store;
    p->app.accounts.sessions.identity = identity_open(p->mem, p->app.store);
    start_log(p->settings, &format);
    if (store_notice(p->app.store) != NULL)
        log_warning(NULL, "the store is new", LOG_S("detail", store_notice(p->app.store)));
    if (listeners->left_out != NULL)
        log_warning(NULL, "the server does not listen on every address of HOST",
                    LOG_S("reason", listeners->left_out));
    if (provider_prepare(&task, &p->app.accounts, p->settings) != OK) {
        log_stop();
        store_close(p->app.store);
        return cannot(task.text);
    }

    p->app.billing = billing_open(p->mem, p->app.store, p->settings, p->plans);
    control = control_open(p);
    atomic_init(&p->app.settings, p->settings);
    open_limiter(p);
    open_lanes(p);
    p->app.ready = ready_open(p->mem, p->settings, p->redis, limit_probe, p->app.store,
                              p->lanes[LANE_STORE], p->lanes[LANE_REMOTE]);
    app_prepare(&p->app, p->mem);
    if (!open_jobs(p, &why))
        return cannot(why);
    start_loops(p);
    limiter_start(p->app.limiter, p->loops, p->loop_count, p->lanes[LANE_REMOTE]);
    p->app.server = new_server(p, listeners, descriptors);
    jobs_start(p->app.jobs);
    p->admin = admin_socket_open(p->mem, &p->app, p->settings);
    if (p->settings->rate_limit_enabled)
        limiter_wait_for_redis(p->app.limiter);
    server_start(p->app.server);
    announce(p, listeners, format);
    if (!control_run(control)) {
        log_critical(NULL, "a thread hangs: exiting without waiting for it");
        log_stop();
        _exit(EX_SOFTWARE);
    }
    close_down(p);
    return EX_OK;
}

int command_serve(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct program *p = mem_new(mem, struct program);
    struct needs needs;
    int status = needs_load(mem, arguments, &needs);

    if (status != EX_OK)
        return status;
    p->mem = mem;
    p->arguments = arguments;
    p->settings = needs.settings;
    p->plans = needs.plans;
    p->redis = needs.redis;
    atomic_init(&p->app.limits, needs.limits);
    return serve(p);
}
