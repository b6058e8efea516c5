#include "api/jobs.h"

#include "billing/catchup.h"
#include "billing/inbox.h"
#include "billing/reconcile.h"
#include "core/metrics.h"
#include "job/sweep.h"
#include "mail/outbox.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    HOUR_MS = 60 * MINUTE_MS,
    MAIL_STOP_MS = 2000,     /* a mail server that hangs is not worth more */
    ALONE_MS = 24 * HOUR_MS, /* nobody renews the lease, and opening the store ends it */
};

static enum err send_mails(struct task *task, struct job_run *run, void *app)
{
    return outbox_run(task, ((struct app *)app)->outbox, run);
}

static enum err apply_events(struct task *task, struct job_run *run, void *app)
{
    return inbox_run(task, ((struct app *)app)->inbox, run);
}

static enum err hasten_events(struct task *task, struct job_run *run, void *app)
{
    return inbox_hasten(task, ((struct app *)app)->inbox, run);
}

static enum err catch_up(struct task *task, struct job_run *run, void *app)
{
    return catchup_run(task, ((struct app *)app)->catchup, run);
}

static enum err compare(struct task *task, struct job_run *run, void *app)
{
    return reconcile_run(task, ((struct app *)app)->reconcile, run);
}

static enum err tell_of_trials(struct task *task, struct job_run *run, void *app)
{
    return reconcile_trials(task, ((struct app *)app)->reconcile, run);
}

static enum err remove_events(struct task *task, struct job_run *run, void *app)
{
    return inbox_sweep(task, ((struct app *)app)->inbox, run);
}

static enum err remove_sessions(struct task *task, struct job_run *run, void *app)
{
    return sweep_sessions(task, ((struct app *)app)->store, run);
}

static enum err remove_names(struct task *task, struct job_run *run, void *app)
{
    return sweep_names(task, ((struct app *)app)->store, run);
}

static enum err remove_lines(struct task *task, struct job_run *run, void *app)
{
    return sweep_audit(task, ((struct app *)app)->store, run);
}

static unsigned outages(void *app)
{
    return stripe_outages(((struct app *)app)->billing->stripe);
}

/* Mails and events are leased one by one in the store, so that every instance may work them off.
 * New ones wake their job; its interval is for those that were put off, and for events that a loop
 * has handed to the store. */
static const struct job_row rows[] = {
    {.name = "outbox",
     .every_ms = 500,
     .budget_ms = 10 * MINUTE_MS,
     .stop_ms = MAIL_STOP_MS,
     .lane = LANE_REMOTE,
     .workers = 3,
     .run = send_mails},
    {.name = "inbox",
     .every_ms = 200,
     .budget_ms = 10 * MINUTE_MS,
     .lane = LANE_EVENT,
     .workers = 4,
     .run = apply_events},
    {.name = "retry-events",
     .gap_ms = MINUTE_MS,
     .watched = outages,
     .budget_ms = MINUTE_MS,
     .lane = LANE_EVENT,
     .workers = 1,
     .run = hasten_events},
    {.name = "catch-up",
     .every_ms = HOUR_MS,
     .first_ms = SECOND_MS,
     .at_start = true,
     .watched = outages,
     .budget_ms = 30 * MINUTE_MS,
     .lane = LANE_EVENT,
     .workers = 1,
     .once = true,
     .run = catch_up},
    /* When few ask anything of Stripe; what was missed while nothing ran, an hour after the start.
     */
    {.name = "reconcile",
     .cron = "30 3 * * *",
     .jitter_ms = 30 * MINUTE_MS,
     .first_ms = HOUR_MS,
     .budget_ms = 20 * HOUR_MS,
     .lane = LANE_EVENT,
     .workers = 1,
     .once = true,
     .run = compare},
    {.name = "trial-notices",
     .every_ms = HOUR_MS,
     .at_start = true,
     .budget_ms = 30 * MINUTE_MS,
     .lane = LANE_EVENT,
     .workers = 1,
     .once = true,
     .run = tell_of_trials},
    {.name = "sweep-events",
     .every_ms = HOUR_MS,
     .at_start = true,
     .budget_ms = 30 * MINUTE_MS,
     .lane = LANE_EVENT,
     .workers = 1,
     .once = true,
     .run = remove_events},
    {.name = "sweep-sessions",
     .every_ms = 10 * MINUTE_MS,
     .first_ms = 2 * SECOND_MS,
     .at_start = true,
     .budget_ms = 10 * MINUTE_MS,
     .lane = LANE_JOB,
     .workers = 1,
     .once = true,
     .run = remove_sessions},
    {.name = "sweep-erased",
     .every_ms = 10 * MINUTE_MS,
     .first_ms = 2 * SECOND_MS,
     .at_start = true,
     .budget_ms = 10 * MINUTE_MS,
     .lane = LANE_JOB,
     .workers = 1,
     .once = true,
     .run = remove_names},
    {.name = "sweep-audit",
     .every_ms = 10 * MINUTE_MS,
     .first_ms = 2 * SECOND_MS,
     .at_start = true,
     .budget_ms = 10 * MINUTE_MS,
     .lane = LANE_JOB,
     .workers = 1,
     .once = true,
     .run = remove_lines},
    {.name = NULL},
};

static void wake(void *arg, enum store_work work)
{
    jobs_wake(arg, work == STORE_WORK_MAILS ? "outbox" : "inbox");
}

struct jobs *app_jobs_open(void *mem, struct app *app, struct lane *const *lanes,
                           const char **ret_wrong)
{
    const struct jobs_settings settings = {.rows = rows,
                                           .lanes = lanes,
                                           .keeper_lane = LANE_JOB,
                                           .lease_ms = lanes == NULL ? ALONE_MS : 0,
                                           .store = app->store,
                                           .settings = app_settings,
                                           .app = app};
    struct jobs *jobs;

    app->outbox = outbox_open(mem, app->store);
    app->inbox = inbox_open(mem, app->billing);
    app->reconcile = reconcile_open(mem, app->billing);
    app->catchup = catchup_open(mem, app->billing, app->inbox);
    jobs = jobs_open(mem, &settings, ret_wrong);
    if (jobs != NULL)
        store_tell(app->store, wake, jobs);
    return jobs;
}

void app_jobs_name_metrics(void)
{
    static const char *values[count_of(rows) - 1];

    for (size_t i = 0; i < count_of(values); i++)
        values[i] = rows[i].name;
    metric_name_values(LABEL_job, values, count_of(values));
}

const char *app_jobs_names(void *mem)
{
    struct text list = text_open(mem, 256);

    for (size_t i = 0; rows[i].name != NULL; i++)
        text_printf(&list, "%s%s", i == 0 ? "" : ", ", rows[i].name);
    return list.s;
}
