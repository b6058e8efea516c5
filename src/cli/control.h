/* The main thread while the server runs: signals, the order of stopping, reading settings again,
 * the service manager's watchdog, and what is to be done from time to time. */
#pragma once

#include "api/app.h"
#include "cli/cli.h"

struct program {
    void *mem;
    const struct arguments *arguments;
    struct settings *settings; /* as loaded at the start */
    const struct plans *plans;
    struct app app;
    struct lane *lanes[LANE_COUNT];
    struct loop **loops;
    unsigned loop_count;
    struct redis_target *redis; /* NULL: none is configured */
    struct admin_socket *admin; /* NULL: there is none */
    struct figures *figures;
};

struct control;

/* From now on signals are heeded, once control_run() runs. */
struct control *control_open(struct program *program);

/* Returns once the last connection has ended, or after the time-outs at most. false: something
 * still hangs. */
bool control_run(struct control *control);
