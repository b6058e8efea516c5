/* The table of recurring jobs, and what the program needs to run them. */
#pragma once

#include "api/app.h"
#include "job/jobs.h"

/* Opens the parts whose work recurs, and the jobs, whose work in the store wakes them from now on.
 * The app has its store and its billing. `lanes` NULL: jobs_run() alone is called. NULL, and why.
 */
struct jobs *app_jobs_open(void *mem, struct app *app, struct lane *const *lanes,
                           const char **ret_wrong);

/* The names of the jobs, for metrics. Before anything is counted. */
void app_jobs_name_metrics(void);

/* What `manus jobs` asks: list, or run NAME. Writes what it has to say into *out. */
must_check enum err app_jobs_command(struct task *task, struct jobs *jobs, const char *action,
                                     const char *name, struct text *out);
