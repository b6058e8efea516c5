#include "job/sweep.h"

#include "core/clock.h"
#include "core/log.h"

enum {
    ROUNDS = 100,
    WRITE_MS = 10000,
    ERASE_MS = 6 * 60 * 60 * 1000, /* docs/backup.md promises a day */
};

#define DAY_MS INT64_C(86400000)

typedef enum err sweep_some(struct task *, struct store *, int64_t, unsigned *);

static enum err sweep(struct task *task, struct store *store, struct job_run *run, const char *what,
                      sweep_some *some, int64_t before_ms)
{
    unsigned count = 1, total = 0;
    enum err e = OK;

    for (int i = 0; i < ROUNDS && e == OK && count > 0 && job_goes_on(run); i++) {
        task->deadline_ms = clock_mono_ms() + WRITE_MS;
        count = 0;
        e = some(task, store, before_ms, &count);
        total += count;
    }
    if (e != OK)
        log_warning(task, "expired data cannot be removed", LOG_S("what", what),
                    LOG_S("detail", task->text));
    else if (total > 0)
        log_info(task, "expired data removed", LOG_S("what", what), LOG_I("count", total));
    return e;
}

enum err sweep_sessions(struct task *task, struct store *store, struct job_run *run)
{
    return sweep(task, store, run, "expired sessions", store_session_sweep, clock_wall_ms());
}

enum err sweep_names(struct task *task, struct store *store, struct job_run *run)
{
    return sweep(task, store, run, "traces of removed names", store_erase,
                 clock_wall_ms() - ERASE_MS);
}

static enum err sweep_lines(struct task *task, struct store *store, int64_t before_ms,
                            unsigned *ret_count)
{
    return store_audit_sweep(task, store, before_ms, clock_wall_ms() + DAY_MS, ret_count);
}

enum err sweep_audit(struct task *task, struct store *store, struct job_run *run)
{
    if (task->settings->audit_days == 0)
        return OK;
    return sweep(task, store, run, "audit trail", sweep_lines,
                 clock_wall_ms() - task->settings->audit_days * DAY_MS);
}
