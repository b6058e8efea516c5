/* Recurring work: a table of jobs, and one scheduler for all of them.
 *
 * A thread of its own submits to the lanes what is due: by the interval or the cron expression of
 * the row, when jobs_wake() says that there is work, or when what the row watches has changed. A
 * job that runs once over all instances runs under a lease of the store (store/lease.h), which is
 * renewed beside it; one that has lost its lease is told not to go on.
 * Metrics tell jobs apart by the numbers of their rows: name LABEL_job by the table.
 * Threads: any may call what is declared here, but for jobs_open() and the stopping. */
#pragma once

#include "core/answer.h"
#include "core/lane.h"
#include "core/text.h"
#include "store/store.h"

enum { JOB_WORKERS = 4, JOBS_MOST = 32 };

struct jobs;
struct job_run;

struct job_row {
    const char *name; /* NULL ends a table */
    /* A job without a schedule that fails is tried again after a sixth of the lease. */
    int64_t every_ms;  /* from the last beginning; 0: by the next */
    const char *cron;  /* NULL: only when it is woken, if every_ms is 0 too */
    int64_t first_ms;  /* after the start, if it is due then */
    bool at_start;     /* it is, whenever it ran last */
    int64_t jitter_ms; /* at most so much later, by chance */
    int64_t gap_ms;    /* at least so long after the last beginning, whoever wakes it */
    int64_t budget_ms; /* that one run may take */
    int64_t stop_ms;   /* that a stop waits for it at most; 0: for the whole budget of the stop */
    unsigned lane;     /* a number among those of jobs_open() */
    unsigned workers;  /* at a time here; JOB_WORKERS at most */
    bool once;         /* over all instances, one at a time; it has one worker */
    unsigned (*watched)(void *app); /* it is due when this changes; NULL: nothing. Never waits */
    /* Logs what fails; the task's text says it to operators. */
    enum err (*run)(struct task *task, struct job_run *run, void *app);
};

struct jobs_settings {
    const struct job_row *rows;
    struct lane *const *lanes;
    unsigned keeper_lane; /* on which leases are renewed */
    int64_t lease_ms;     /* 0: a minute */
    struct store *store;
    const struct settings *(*settings)(void *app); /* those in force */
    void *app;
};

/* NULL: a row makes no sense, and *ret_wrong says why. Nothing runs before jobs_start(). */
struct jobs *jobs_open(void *mem, const struct jobs_settings *settings, const char **ret_wrong);
void jobs_start(struct jobs *jobs);

/* There is work for the job of this name: it begins at once. If all of its workers are at work, one
 * of them looks again. */
void jobs_wake(struct jobs *jobs, const char *name);

/* Nothing is begun any more, and what runs is told to end. Waits for nobody. */
void jobs_stop_begin(struct jobs *jobs);

/* Waits for all together. False: something goes on, and the store must not be closed under it. */
bool jobs_stop_wait(struct jobs *jobs, int64_t budget_ms);

/* Within a run */

/* False: it must end, since the program stops, its time is up, or its lease is lost. */
bool job_goes_on(struct job_run *run);

/* The settings in force now. Those of the run's task are those of its beginning, and no longer
 * there when it has run for hours. */
const struct settings *job_settings(const struct job_run *run);

/* It is due again after `in_ms`, whatever its row says. */
void job_again(struct job_run *run, int64_t in_ms);

/* There is more to do than this one worker can at once. */
void job_needs_help(struct job_run *run);

/* By operators */

enum job_outcome {
    JOB_DONE,
    JOB_FAILED,    /* *ret_text: why */
    JOB_HELD,      /* *ret_text: by whom */
    JOB_UNDER_WAY, /* it goes on, beyond the task's deadline */
    JOB_UNKNOWN,
};

/* Runs it now, and waits until the task's deadline. Without jobs_start(): on this thread. */
must_check enum err jobs_run(struct task *task, struct jobs *jobs, const char *name,
                             enum job_outcome *ret, const char **ret_text);

/* The list "jobs": schedule, last attempt and success, next run, holder of each. */
must_check enum err jobs_list(struct task *task, struct jobs *jobs, struct answer *answer);
