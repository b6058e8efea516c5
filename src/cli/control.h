/* The main thread while the server runs: signals, the order of stopping, reading settings again,
 * the service manager's watchdog, and what is to be done from time to time. */
#pragma once

#include "cli/program.h"

struct control;

/* From now on signals are heeded, once control_run() runs. */
struct control *control_open(struct program *program);

/* Returns once the last connection has ended, or after the time-outs at most. false: something
 * still hangs. */
bool control_run(struct control *control);
