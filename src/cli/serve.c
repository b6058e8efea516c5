#include "api/gate.h"
#include "api/limits.h"
#include "api/pages.h"
#include "api/routes.h"
#include "cli/control.h"
#include "cli/labels.h"
#include "cli/order.h"
#include "core/text.h"
#include "limit/limiter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum {
    SPARE_DESCRIPTORS = 200, /* for files, probes and what waits to be accepted */
    MAX_LOOPS = 64,
};

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

static struct server *new_server(struct program *p, unsigned descriptors)
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
    return server_new(p->mem, &app, &limits, p->listeners, p->loops, p->loop_count);
}

/* Parts that nobody needs to begin with; NULL: all are configured. */
static const char *not_set_up(const struct program *p)
{
    struct text list = text_open(p->mem, 64);

    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].title != NULL && !part_is_configured(&parts[i], p->settings))
            text_printf(&list, "%s%s", list.len == 0 ? "" : ", ", parts[i].title);
    }
    return list.len == 0 ? NULL : list.s;
}

static void put_labelled(struct program *p, FILE *out)
{
    const char *before = "";

    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].label == NULL)
            continue;
        fprintf(out, "%s%s: %s.", before, parts[i].label, parts[i].shown(p));
        before = " ";
    }
    fputc('\n', out);
}

/* For who has just started it: what to do now. */
static void greet(struct program *p)
{
    const struct settings *settings = p->settings;
    const char *absent = not_set_up(p);
    const char *file = argument_option(p->arguments, "env-file");
    bool has_url = settings->public_url != NULL && *settings->public_url != '\0';

    printf("manus %s listens on %s: open %s in a browser, stop it with Ctrl-C.\n", MANUS_VERSION,
           p->listeners->shown,
           has_url ? settings->public_url : settings_served_url(p->mem, settings));
    put_labelled(p, stdout);
    if (settings->auth_provider == PROVIDER_PASSWORD)
        printf("To create an administrator, run in another terminal: %s admin create "
               "you@example.com%s%s\n",
               program_invocation_name, file == NULL ? "" : " --env-file ",
               file == NULL ? "" : file);
    if (absent != NULL)
        printf("Not set up (optional): %s.\n", absent);
    fflush(stdout);
}

static struct log_field text_field(const char *name, const char *text)
{
    return (struct log_field){
        .name = name, .name_len = strlen(name), .text = text, .is_text = true};
}

static void log_started(struct program *p)
{
    struct log_field *fields = mem_array(p->mem, struct log_field, part_count + 3);
    size_t count = 0;

    fields[count++] = text_field("version", MANUS_VERSION);
    fields[count++] = text_field("listens", p->listeners->shown);
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].field != NULL)
            fields[count++] = text_field(parts[i].field, parts[i].shown(p));
    }
    fields[count++] = text_field("optional_not_set_up", not_set_up(p));
    if (log_wants(LOG_INFO))
        log_write(LOG_INFO, NULL, "started", fields, count);
}

static int cannot(const char *why)
{
    fprintf(stderr, "manus serve: %s\n", why);
    return EX_UNAVAILABLE;
}

static int serve(struct program *p)
{
    unsigned descriptors = raise_descriptors();
    struct control *control;
    const char *why;
    bool all_ended;

    p->loop_count = p->settings->threads == 0 ? program_cores() : (unsigned)p->settings->threads;
    if (p->loop_count > MAX_LOOPS)
        p->loop_count = MAX_LOOPS;
    labels_name(p->mem, p->loop_count);
    if (!order_open(parts, part_count, p, &why)) {
        log_stop();
        return cannot(why);
    }
    control = control_open(p);
    p->app.server = new_server(p, descriptors);
    order_start(parts, part_count, p);
    if (p->settings->rate_limit_enabled)
        limiter_wait_for_redis(p->app.limiter);
    server_start(p->app.server);
    if (p->log_format == LOG_TEXT)
        greet(p);
    else
        log_started(p);
    if (!control_run(control)) {
        log_critical(NULL, "a thread hangs: exiting without waiting for it");
        log_stop();
        _exit(EX_SOFTWARE);
    }
    server_abort(p->app.server);
    all_ended = order_stop(parts, part_count, p);
    log_info(NULL, "stopped");
    log_stop();
    /* What the store has acknowledged is durable without being closed. */
    if (!all_ended)
        _exit(EX_OK);
    return EX_OK;
}

int command_serve(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct program *p = mem_new(mem, struct program);
    int status = program_load(mem, arguments, p);

    return status == EX_OK ? serve(p) : status;
}
