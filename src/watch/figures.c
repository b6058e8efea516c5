#include "watch/figures.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"

enum { EVERY_MS = 1000, DEADLINE_MS = 10000 };

struct figures {
    struct store *store;
    struct lane *lane;
    struct job job;
    atomic_bool running;
    bool was_ill;       /* the job's own */
    int64_t counted_ms; /* monotonic */
};

static void forget(void)
{
    metric_set(METRIC_store_up, 0);
    metric_set(METRIC_mails_waiting, METRIC_UNKNOWN);
    metric_set(METRIC_events_waiting, METRIC_UNKNOWN);
    metric_set(METRIC_events_lost, METRIC_UNKNOWN);
    metric_set(METRIC_audit_lines, METRIC_UNKNOWN);
}

static enum err count(struct task *task, struct store *store)
{
    struct event_counts events;
    int64_t mails, lines;
    enum err e = store_ping(task, store);

    if (e == OK)
        e = store_mail_count(task, store, &mails);
    if (e == OK)
        e = store_event_counts(task, store, &events);
    if (e == OK)
        e = store_audit_count(task, store, &lines);
    if (e != OK)
        return e;
    metric_set(METRIC_store_up, 1);
    metric_set(METRIC_mails_waiting, mails);
    metric_set(METRIC_events_waiting, events.waiting);
    metric_set(METRIC_events_lost, events.dead);
    metric_set(METRIC_audit_lines, lines);
    return OK;
}

static void run(struct job *job)
{
    struct figures *figures = container_of(job, struct figures, job);
    auto_tree void *mem = mem_tree(1024);
    struct task task = {.mem = mem, .job = "figures", .deadline_ms = clock_mono_ms() + DEADLINE_MS};
    bool is_ill = count(&task, figures->store) != OK;

    if (is_ill)
        forget();
    if (is_ill && !figures->was_ill)
        log_warning(&task, "the metrics of the store cannot be read", LOG_S("detail", task.text));
    figures->was_ill = is_ill;
}

static void done(struct job *job, enum err outcome)
{
    if (outcome != OK)
        forget();
    atomic_store(&container_of(job, struct figures, job)->running, false);
}

struct figures *figures_open(void *mem, struct store *store, struct lane *lane)
{
    struct figures *figures = mem_new(mem, struct figures);

    figures->store = store;
    figures->lane = lane;
    figures->job.run = run;
    figures->job.done = done;
    figures->counted_ms = clock_mono_ms() - EVERY_MS;
    forget();
    metric_set(METRIC_store_up, METRIC_UNKNOWN); /* nobody has looked yet */
    return figures;
}

void figures_tick(struct figures *figures)
{
    int64_t now_ms = clock_mono_ms();

    if (now_ms - figures->counted_ms < EVERY_MS)
        return;
    /* What hangs in the store is no news of it. */
    if (atomic_exchange(&figures->running, true)) {
        if (now_ms - figures->counted_ms > DEADLINE_MS)
            forget();
        return;
    }
    figures->counted_ms = now_ms;
    if (lane_submit(figures->lane, &figures->job) == OK)
        return;
    forget();
    atomic_store(&figures->running, false);
}
