#include "watch/ready.h"

#include "core/clock.h"
#include "core/log.h"
#include "remote/mend.h"
#include "remote/stripe.h"

#include <pthread.h>
#include <string.h>

enum {
    FRESH_MS = 1000,
    STALE_MS = 5000, /* good enough while a new look is under way */
    PROBE_MS = 1200,
};

struct probe {
    struct job job;
    struct ready *ready;
    enum check_name name;
    bool running; /* also beyond the deadline of whoever asked */
    bool awaited; /* by the present look */
    struct check found;
};

struct ready {
    const struct settings *settings;
    const struct redis_target *redis; /* NULL: none */
    redis_use *use_redis;
    struct store *store;
    struct lane *lanes[CHECKS];
    struct probe probes[CHECKS];

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool looking;
    unsigned awaited;            /* probes */
    struct check checks[CHECKS]; /* of the present look */
    int64_t looked_ms;           /* monotonic; 0: never */
    struct ready_report report;  /* of the last one */
};

const char *check_name(enum check_name name)
{
    static const char *const names[CHECKS] = {"store", "mongodb", "redis", "stripe"};

    return names[name];
}

const char *check_status_name(enum check_status status)
{
    static const char *const names[] = {"skipped", "healthy", "unhealthy"};

    return names[status];
}

static bool is_configured(const struct ready *ready, enum check_name name)
{
    switch (name) {
    case CHECK_STORE:
        return true;
    case CHECK_REDIS:
        return ready->redis != NULL;
    case CHECK_STRIPE:
        return stripe_is_configured(ready->settings);
    default:
        return false;
    }
}

static bool is_critical(const struct ready *ready, enum check_name name)
{
    const struct texts *listed = &ready->settings->ready_critical;

    if (name == CHECK_STORE)
        return true;
    for (size_t i = 0; i < listed->count; i++) {
        if (strcmp(listed->of[i], check_name(name)) == 0)
            return true;
    }
    return false;
}

static const char *probe_store(const struct ready *ready)
{
    auto_tree void *mem = mem_tree(1024);
    struct task task = {
        .mem = mem, .job = "ready", .deadline_ms = clock_mono_ms() + READY_DEADLINE_MS};
    enum err e = store_ping(&task, ready->store);

    if (e == OK)
        return NULL;
    log_bounded(LOG_WARNING, &task, "the store does not answer", LOG_S("detail", task.text));
    return e == ERR_STORE_FULL ? "Disk full" : "Cannot be read or written";
}

/* What is wrong; NULL if all is well. */
static const char *look_at(const struct ready *ready, enum check_name name)
{
    switch (name) {
    case CHECK_STORE:
        return probe_store(ready);
    case CHECK_REDIS:
        return ready->use_redis(ready->redis, PROBE_MS / 2);
    default:
        return stripe_probe(ready->settings, PROBE_MS);
    }
}

static void run_probe(struct job *job)
{
    struct probe *probe = container_of(job, struct probe, job);
    int64_t started_ms = clock_mono_ms();
    const char *wrong = look_at(probe->ready, probe->name);

    probe->found = (struct check){
        .status = wrong == NULL ? CHECK_HEALTHY : CHECK_UNHEALTHY,
        .message = wrong != NULL                 ? wrong
                   : probe->name == CHECK_STRIPE ? "API accessible"
                                                 : "Connected",
        .latency_ms = clock_mono_ms() - started_ms,
    };
}

static void end_probe(struct job *job, enum err outcome)
{
    struct probe *probe = container_of(job, struct probe, job);
    struct ready *ready = probe->ready;

    pthread_mutex_lock(&ready->lock);
    probe->running = false;
    if (outcome == OK)
        ready->checks[probe->name] = probe->found;
    if (probe->awaited)
        ready->awaited--;
    probe->awaited = false;
    pthread_cond_broadcast(&ready->changed);
    pthread_mutex_unlock(&ready->lock);
}

/* Under the lock. Until its probe ends, a check stands as one that did not answer. False if there
 * is nothing to start: it is not configured, or an earlier probe still hangs. */
static bool prepare_probe(struct ready *ready, enum check_name name)
{
    struct probe *probe = &ready->probes[name];

    if (!is_configured(ready, name)) {
        ready->checks[name] = (struct check){CHECK_SKIPPED, "Not configured", 0};
        return false;
    }
    ready->checks[name] = (struct check){CHECK_UNHEALTHY, "No answer in time", READY_DEADLINE_MS};
    if (probe->running)
        return false;
    probe->running = probe->awaited = true;
    ready->awaited++;
    return true;
}

/* Without the lock: the job may end on this thread's heels. */
static void submit_probes(struct ready *ready, const bool start[CHECKS])
{
    for (int name = 0; name < CHECKS; name++) {
        if (start[name] && lane_submit(ready->lanes[name], &ready->probes[name].job) != OK)
            end_probe(&ready->probes[name].job, ERR_BUSY);
    }
}

/* The store and the limiter speak for themselves. */
static void tell_change(enum check_name name, const struct check *before, const struct check *now)
{
    if (name != CHECK_STRIPE || before->status == now->status)
        return;
    if (now->status == CHECK_UNHEALTHY)
        log_warning(NULL, "Stripe cannot be used", LOG_S("why", now->message),
                    LOG_S("mend", mend_of(check_name(name), now->message)));
    else if (before->status == CHECK_UNHEALTHY)
        log_info(NULL, "Stripe can be used again");
}

/* Under the lock. */
static void conclude(struct ready *ready)
{
    struct ready_report *report = &ready->report;

    for (int name = 0; name < CHECKS; name++)
        tell_change((enum check_name)name, &report->checks[name], &ready->checks[name]);
    memcpy(report->checks, ready->checks, sizeof report->checks);
    report->readiness = READY;
    for (int name = 0; name < CHECKS; name++) {
        ready->probes[name].awaited = false;
        if (report->checks[name].status != CHECK_UNHEALTHY)
            continue;
        if (is_critical(ready, (enum check_name)name))
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
    bool start[CHECKS];

    ready->looking = true;
    for (int name = 0; name < CHECKS; name++)
        start[name] = prepare_probe(ready, (enum check_name)name);
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

struct ready *ready_open(void *mem, const struct settings *settings,
                         const struct redis_target *redis, redis_use *use_redis,
                         struct store *store, struct lane *store_lane, struct lane *remote_lane)
{
    struct ready *ready = mem_new(mem, struct ready);

    ready->settings = settings;
    ready->redis = redis;
    ready->use_redis = use_redis;
    ready->store = store;
    for (int name = 0; name < CHECKS; name++) {
        ready->lanes[name] = name == CHECK_STORE ? store_lane : remote_lane;
        ready->probes[name] = (struct probe){.ready = ready, .name = (enum check_name)name};
        ready->probes[name].job.run = run_probe;
        ready->probes[name].job.done = end_probe;
    }
    pthread_mutex_init(&ready->lock, NULL);
    clock_condition(&ready->changed);
    talloc_set_destructor(ready, close_ready);
    return ready;
}
