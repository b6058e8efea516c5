#include "cli/control.h"

#include "api/limits.h"
#include "api/pages.h"
#include "api/routes.h"
#include "cli/order.h"
#include "core/clock.h"
#include "core/log.h"
#include "watch/figures.h"

#include <systemd/sd-daemon.h>

enum {
    TICK_MS = 250,
    STOPPING_TICK_MS = 5,
    TICKS_LOST = 8,              /* a hangup comes with the loss of the terminal, or never */
    HANG_MS = 1000,              /* for connections to close after they were aborted */
    RETIRED_MS = 10 * 60 * 1000, /* longer than any request lives */
    RETIRED = 64,
    INSIST_MS = 1000,
};

/* A sign of life that each loop gives when asked. */
struct pulse {
    struct post post;
    atomic_bool beaten;
};

struct control {
    struct program *program;
    uv_loop_t uv;
    uv_signal_t term, interrupt, quit, hangup;
    uv_timer_t tick;

    int64_t stopping_ms;    /* since when; 0: not yet */
    int64_t interrupted_ms; /* when somebody at a keyboard first asked; 0: not yet */
    bool draining, aborted, hangs;
    bool on_terminal[2]; /* standard input and output, at the start */
    bool in_foreground;  /* of the terminal, when it was last seen */
    int ticks_lost;      /* since that was gone */

    struct pulse *pulses;
    int64_t watchdog_ms, pulsed_ms; /* the interval, 0: none; the last sign to the manager */

    /* Settings that were replaced, and may still be read by a request. */
    struct retired {
        const struct settings *settings;
        int64_t at_ms;
    } retired[RETIRED];
    unsigned retired_count;
};

/* Stopping */

static void drain(struct control *c)
{
    c->draining = true;
    server_drain(c->program->app.server);
}

static void on_quit(uv_signal_t *signal, int number)
{
    (void)signal;
    log_warning(NULL, "stopped at once by a signal", LOG_I("signal", number));
    log_stop();
    _exit(128 + number);
}

/* Managers of services repeat SIGTERM, and a group of processes gets SIGINT more than once: who
 * wants the end at once asks again after a second. */
static void on_stop(uv_signal_t *signal, int number)
{
    struct control *c = signal->data;
    int64_t now_ms = clock_mono_ms();

    if (number == SIGINT && c->interrupted_ms == 0)
        c->interrupted_ms = now_ms;
    else if (number == SIGINT && now_ms - c->interrupted_ms >= INSIST_MS)
        on_quit(signal, number);
    if (c->stopping_ms != 0)
        return;
    c->stopping_ms = now_ms;
    order_stop_early(parts, part_count, c->program);
    log_info(NULL, "stopping", LOG_I("signal", number));
    sd_notify(0, "STOPPING=1");
    server_stop_keeping_alive(c->program->app.server);
    if (c->program->settings->shutdown_grace == 0)
        drain(c);
    uv_timer_set_repeat(&c->tick, STOPPING_TICK_MS);
    uv_timer_again(&c->tick);
}

static void go_on_stopping(struct control *c)
{
    const struct settings *settings = c->program->settings;
    struct server *server = c->program->app.server;
    int64_t since = clock_mono_ms() - c->stopping_ms - settings->shutdown_grace * 1000;
    unsigned left = server_connections(server);

    if (!c->draining && since >= 0)
        drain(c);
    if (c->draining && left == 0) {
        uv_stop(&c->uv);
        return;
    }
    if (!c->aborted && since >= settings->shutdown_timeout * 1000) {
        log_warning(NULL, "SHUTDOWN_TIMEOUT_SECONDS is over: closing the remaining connections",
                    LOG_I("connections", left));
        c->aborted = true;
        server_abort(server);
    }
    if (since >= settings->shutdown_timeout * 1000 + HANG_MS) {
        c->hangs = true;
        uv_stop(&c->uv);
    }
}

/* Settings */

static void free_retired(struct control *c)
{
    int64_t now_ms = clock_mono_ms();
    unsigned kept = 0;

    for (unsigned i = 0; i < c->retired_count; i++) {
        if (now_ms - c->retired[i].at_ms < RETIRED_MS)
            c->retired[kept++] = c->retired[i];
        else
            talloc_free((void *)c->retired[i].settings);
    }
    c->retired_count = kept;
}

static void retire(struct control *c, const struct settings *old)
{
    if (old != c->program->settings)
        c->retired[c->retired_count++] = (struct retired){old, clock_mono_ms()};
}

static void log_report(const struct settings_report *report)
{
    for (size_t i = 0; i < report->warning_count; i++)
        log_warning(NULL, "check a setting", LOG_S("detail", report->warnings[i]));
    for (size_t i = 0; i < report->problem_count; i++)
        log_error(NULL, "a setting is wrong", LOG_S("detail", report->problems[i]));
}

static void reload(struct control *c)
{
    struct program *p = c->program;
    struct settings_input input = cli_settings_input(p->arguments);
    struct settings_report report = {0};
    void *mem = talloc_new(p->mem);
    struct settings *settings = settings_reload(mem, &input, p->settings, &report);
    const struct limits *limits = NULL;
    const char *wrong = NULL;

    log_report(&report);
    if (settings != NULL)
        limits = limits_compile(mem, settings, routes, p->plans, &wrong);
    if (wrong != NULL)
        log_error(NULL, "a setting is wrong", LOG_S("detail", wrong));
    if (limits == NULL) {
        log_error(NULL, "the settings are unchanged");
        talloc_free(mem);
        return;
    }
    /* With all that it points to, so that it can be freed by itself. */
    talloc_steal(p->mem, settings);
    talloc_steal(settings, mem);
    log_set_level((enum log_level)settings->log_level);
    atomic_store(&p->app.limits, limits);
    limiter_set_fallback(p->app.limiter, (enum fallback)settings->rate_limit_fallback);
    pages_follow(p->app.pages, settings, settings, routes);
    retire(c, atomic_exchange(&p->app.settings, settings));
    log_info(NULL, "settings reloaded");
}

/* Somebody has closed the window in which it ran. */
static bool has_lost_its_terminal(const struct control *c)
{
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++) {
        if (c->on_terminal[fd] && isatty(fd) == 0)
            return true;
    }
    return false;
}

/* A hangup is told to the leader of the session alone, and not every leader tells its children.
 * Whoever was put into the background is meant to go on. */
static void look_at_terminal(struct control *c)
{
    if (has_lost_its_terminal(c)) {
        if (c->in_foreground)
            on_stop(&c->hangup, SIGHUP);
        /* No hangup came with the loss: later ones are for reading the settings again. */
        else if (++c->ticks_lost > TICKS_LOST)
            c->on_terminal[0] = c->on_terminal[1] = false;
        return;
    }
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++) {
        if (c->on_terminal[fd])
            c->in_foreground = tcgetpgrp(fd) == getpgrp();
    }
}

static void on_hangup(uv_signal_t *signal, int number)
{
    struct control *c = signal->data;

    if (has_lost_its_terminal(c)) {
        on_stop(signal, number);
        return;
    }
    free_retired(c);
    if (c->retired_count == RETIRED) {
        log_warning(NULL, "the settings were reloaded too often: try later");
        return;
    }
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
    reload(c);
    sd_notify(0, "READY=1");
}

/* From time to time */

static void beat(struct post *post)
{
    atomic_store(&container_of(post, struct pulse, post)->beaten, true);
}

/* The manager hears from us as long as every loop turns. */
static void feed_watchdog(struct control *c)
{
    int64_t now_ms = clock_mono_ms();
    unsigned beaten = 0;

    if (c->watchdog_ms == 0 || now_ms - c->pulsed_ms < c->watchdog_ms / 3)
        return;
    for (unsigned i = 0; i < c->program->loop_count; i++)
        beaten += atomic_load(&c->pulses[i].beaten);
    if (beaten < c->program->loop_count)
        return;
    c->pulsed_ms = now_ms;
    sd_notify(0, "WATCHDOG=1");
    for (unsigned i = 0; i < c->program->loop_count; i++) {
        atomic_store(&c->pulses[i].beaten, false);
        loop_post(c->program->loops[i], &c->pulses[i].post);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct control *c = timer->data;

    for (int i = 0; i < LANE_COUNT; i++) {
        if (c->program->lanes[i] != NULL)
            lane_expire(c->program->lanes[i]);
    }
    store_expire(c->program->app.store);
    feed_watchdog(c);
    if (c->stopping_ms == 0)
        look_at_terminal(c);
    if (c->stopping_ms != 0) {
        go_on_stopping(c);
    } else {
        figures_tick(c->program->figures);
    }
}

static void on_signal(struct control *c, uv_signal_t *handle, uv_signal_cb call, int number)
{
    handle->data = c;
    uv_signal_init(&c->uv, handle);
    uv_signal_start(handle, call, number);
}

static void start_watchdog(struct control *c)
{
    uint64_t interval_us = 0;

    if (sd_watchdog_enabled(0, &interval_us) > 0)
        c->watchdog_ms = (int64_t)(interval_us / 1000);
    c->pulses = mem_array(c->program->mem, struct pulse, c->program->loop_count);
    for (unsigned i = 0; i < c->program->loop_count; i++) {
        c->pulses[i].post.run = beat;
        atomic_store(&c->pulses[i].beaten, true);
    }
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_loop(uv_loop_t *uv)
{
    sigset_t asks;

    /* Between libuv's handlers and none. */
    sigemptyset(&asks);
    sigaddset(&asks, SIGTERM);
    sigaddset(&asks, SIGINT);
    pthread_sigmask(SIG_BLOCK, &asks, NULL);
    uv_walk(uv, close_handle, NULL);
    uv_run(uv, UV_RUN_DEFAULT);
    uv_loop_close(uv);
}

struct control *control_open(struct program *program)
{
    struct control *c = mem_new(program->mem, struct control);

    c->program = program;
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
        c->on_terminal[fd] = isatty(fd) == 1;
    uv_loop_init(&c->uv);
    on_signal(c, &c->term, on_stop, SIGTERM);
    on_signal(c, &c->interrupt, on_stop, SIGINT);
    on_signal(c, &c->quit, on_quit, SIGQUIT);
    on_signal(c, &c->hangup, on_hangup, SIGHUP);
    return c;
}

bool control_run(struct control *c)
{
    c->tick.data = c;
    uv_timer_init(&c->uv, &c->tick);
    uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
    start_watchdog(c);
    sd_notify(0, "READY=1");
    uv_run(&c->uv, UV_RUN_DEFAULT);
    close_loop(&c->uv);
    /* It is ending: to be asked once more changes nothing. */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    return !c->hangs;
}
