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

/* "outbox, inbox, …", for people. */
const char *app_jobs_names(void *mem);
