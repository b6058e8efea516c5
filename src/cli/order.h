/* The order in which parts (parts.h) are opened, started and stopped. All are opened in the order
 * of their rows, then started. To stop, all are told, and then waited for in the opposite order, so
 * that none loses what it uses. On the main thread. */
#pragma once

#include "cli/parts.h"

/* False, and why: what was open is closed again. */
bool order_open(const struct part *rows, size_t count, struct program *program,
                const char **ret_why);
void order_start(const struct part *rows, size_t count, struct program *program);

/* At the signal: tells those that requests do without. */
void order_stop_early(const struct part *rows, size_t count, struct program *program);

/* When no request runs any more. False: a part has not ended in its time. The log names it, those
 * before it are not closed, and the process is to end without another look at the program. */
bool order_stop(const struct part *rows, size_t count, struct program *program);
