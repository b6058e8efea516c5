#include "watch/ready.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/mem.h"
#include "remote/mend.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

enum {
    FRESH_MS = 1000,
    STALE_MS = 5000, /* good enough while a new look is under way */
    PROBE_MS = 1200,
};

struct probe {
    struct ready_row row;
    struct job job;
    struct ready *ready;
    bool running; /* also beyond the deadline of whoever asked */
    bool awaited; /* by the present look */
    struct check found;
};

struct ready {
    struct probe probes[READY_MOST];
    size_t count;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool looking;
    unsigned awaited;                /* probes */
    struct check checks[READY_MOST]; /* of the present look */
    int64_t looked_ms;               /* monotonic; 0: never */
    struct ready_report report;      /* of the last one */
};

const char *check_status_name(enum check_status status)
{
    static const char *const names[] = {"skipped", "healthy", "unhealthy"};

    return names[status];
}

static void run_probe(struct job *job)
{
    struct probe *probe = container_of(job, struct probe, job);
    const struct ready_row *row = &probe->row;
    int64_t started_ms = clock_mono_ms();
    const char *wrong = row->probe(row->arg, PROBE_MS);

    probe->found = (struct check){
        .name = row->name,
        .status = wrong == NULL ? CHECK_HEALTHY : CHECK_UNHEALTHY,
        .message = wrong == NULL ? row->message : wrong,
        .latency_ms = clock_mono_ms() - started_ms,
    };
}

/* Of the present look. */
static struct check *check_of(struct ready *ready, const struct probe *probe)
{
    return &ready->checks[probe - ready->probes];
}

static void end_probe(struct job *job, enum err outcome)
{
    struct probe *probe = container_of(job, struct probe, job);
    struct ready *ready = probe->ready;

    pthread_mutex_lock(&ready->lock);
    probe->running = false;
    if (outcome == OK)
        *check_of(ready, probe) = probe->found;
    if (probe->awaited)
        ready->awaited--;
    probe->awaited = false;
    pthread_cond_broadcast(&ready->changed);
    pthread_mutex_unlock(&ready->lock);
}

/* Under the lock. Until its probe ends, a check stands as one that did not answer. False if there
 * is nothing to start: it is not configured, or an earlier probe still hangs. */
static bool prepare_probe(struct ready *ready, struct probe *probe)
{
    const char *name = probe->row.name;
    struct check *check = check_of(ready, probe);

    if (!probe->row.is_configured) {
        *check = (struct check){name, CHECK_SKIPPED, "Not configured", 0};
        return false;
    }
    *check = (struct check){name, CHECK_UNHEALTHY, "No answer in time", READY_DEADLINE_MS};
    if (probe->running)
        return false;
    probe->running = probe->awaited = true;
    ready->awaited++;
    return true;
}

/* Without the lock: the job may end on this thread's heels. */
static void submit_probes(struct ready *ready, const bool start[READY_MOST])
{
    for (size_t i = 0; i < ready->count; i++) {
        struct probe *probe = &ready->probes[i];

        if (start[i] && lane_submit(probe->row.lane, &probe->job) != OK)
            end_probe(&probe->job, ERR_BUSY);
    }
}

static void tell_change(const struct ready_row *row, const struct check *before,
                        const struct check *now)
{
    char message[64];

    if (row->title == NULL || before->status == now->status)
        return;
    if (now->status == CHECK_UNHEALTHY) {
        snprintf(message, sizeof message, "%s cannot be used", row->title);
        log_warning(NULL, message, LOG_S("why", now->message),
                    LOG_S("mend", mend_of(row->name, now->message)));
    } else if (before->status == CHECK_UNHEALTHY) {
        snprintf(message, sizeof message, "%s can be used again", row->title);
        log_info(NULL, message);
    }
}

/* Under the lock. */
static void conclude(struct ready *ready)
{
    struct ready_report *report = &ready->report;

    report->readiness = READY;
    for (size_t i = 0; i < ready->count; i++) {
        struct probe *probe = &ready->probes[i];

        probe->awaited = false;
        tell_change(&probe->row, &report->checks[i], &ready->checks[i]);
        report->checks[i] = ready->checks[i];
        if (report->checks[i].status != CHECK_UNHEALTHY)
            continue;
        if (probe->row.is_critical)
            report->readiness = READY_NOT;
        else if (report->readiness == READY)
            report->readiness = READY_DEGRADED;
    }
    ready->awaited = 0;
    ready->looked_ms = clock_mono_ms();
    ready->looking = false;
    pthread_cond_broadcast(&ready->changed);
}

/* Under the lock, which it gives up for a while. */
static void begin_look(struct ready *ready)
{
    bool start[READY_MOST] = {false};

    ready->looking = true;
    for (size_t i = 0; i < ready->count; i++)
        start[i] = prepare_probe(ready, &ready->probes[i]);
    pthread_mutex_unlock(&ready->lock);
    submit_probes(ready, start);
    pthread_mutex_lock(&ready->lock);
}

/* Under the lock. */
static bool is_good(const struct ready *ready)
{
    int64_t age_ms = clock_mono_ms() - ready->looked_ms;

    return ready->looked_ms != 0 && age_ms < (ready->looking ? STALE_MS : FRESH_MS);
}

void ready_check(struct ready *ready, struct ready_report *ret)
{
    struct timespec deadline = clock_deadline(READY_DEADLINE_MS);
    bool mine;
    int wrong = 0;

    pthread_mutex_lock(&ready->lock);
    mine = !ready->looking && !is_good(ready);
    if (mine)
        begin_look(ready);
    while (ready->looking && !(mine && ready->awaited == 0) && wrong == 0)
        wrong = pthread_cond_timedwait(&ready->changed, &ready->lock, &deadline);
    if (mine)
        conclude(ready);
    *ret = ready->report;
    pthread_mutex_unlock(&ready->lock);
}

bool ready_look(struct ready *ready, struct ready_report *ret)
{
    bool good;

    pthread_mutex_lock(&ready->lock);
    good = is_good(ready);
    if (good)
        *ret = ready->report;
    pthread_mutex_unlock(&ready->lock);
    return good;
}

static int close_ready(struct ready *ready)
{
    pthread_mutex_destroy(&ready->lock);
    pthread_cond_destroy(&ready->changed);
    return 0;
}

struct ready *ready_open(void *mem, const struct ready_row *rows, size_t count)
{
    struct ready *ready = mem_new(mem, struct ready);

    assert(count <= READY_MOST);
    ready->count = ready->report.count = count;
    for (size_t i = 0; i < count; i++) {
        ready->probes[i] = (struct probe){.row = rows[i], .ready = ready};
        ready->probes[i].job.run = run_probe;
        ready->probes[i].job.done = end_probe;
    }
    pthread_mutex_init(&ready->lock, NULL);
    clock_condition(&ready->changed);
    talloc_set_destructor(ready, close_ready);
    return ready;
}
