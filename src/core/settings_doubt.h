/* What is in doubt about settings of which each is right by itself: two that contradict each other,
 * a file that is not there, a clock that is wrong. Reads the file system and the clock; any
 * thread. */
#pragma once

#include "core/settings.h"

/* Calls `tell` with a text in `mem` for each doubt, which says how to fix it. is_problem: the
 * program must not start so. */
void settings_doubt(void *mem, const struct settings *settings,
                    void (*tell)(void *context, bool is_problem, const char *text), void *context);
