#include "job/jobs.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/thread.h"
#include "job/cron.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    LOOK_MS = 250, /* at what is watched, and whether a lane takes work again */
    LEASE_MS = 60000,
    STORE_MS = 10000,
    DETAIL_BYTES = 200,
    HOLDER_BYTES = 96,
};

#define NEVER INT64_MAX

struct entry;

struct job_run {
    struct job job;
    struct entry *entry;
    bool running; /* the jobs' lock */
    bool forced;  /* it runs whenever it ran last */

    int64_t deadline_ms, again_ms; /* the run's own from here on; again_ms 0: by the row */
    bool was_taken;                /* by the store; else it did not run */
};

struct entry {
    const struct job_row *row;
    struct jobs *jobs;
    struct cron cron;
    struct job_run runs[JOB_WORKERS];

    /* Under the jobs' lock. */
    int64_t next_ms;  /* monotonic */
    int64_t began_ms; /* monotonic; 0: never */
    bool woken, forced;
    unsigned watched;
    unsigned ended;                 /* runs, counted */
    int64_t tried_ms, succeeded_ms; /* wall clock */
    int64_t known_ms;               /* when the lease was last taken, as far as is known here */
    enum job_outcome outcome;       /* of the last run */
    char detail[DETAIL_BYTES];

    int64_t fence;                  /* of the lease that is held here; 0: none is */
    _Atomic(int64_t) held_until_ms; /* monotonic */
};

struct jobs {
    struct jobs_settings settings;
    char holder[HOLDER_BYTES];
    struct entry entries[JOBS_MOST];
    size_t count;

    pthread_mutex_t lock;
    pthread_cond_t changed, ended; /* for the scheduler; for who waits for a run */
    pthread_t thread;
    bool has_thread, joins;
    atomic_bool stopping;
    struct job keeper;
    bool keeps; /* the keeper is under way */
    int64_t kept_ms;
};

/* Opening */

static const char *read_row(void *mem, struct entry *entry)
{
    const struct job_row *row = entry->row;
    const char *wrong = row->cron == NULL ? NULL : cron_parse(mem, row->cron, &entry->cron);

    if (wrong != NULL)
        return mem_printf(mem, "the schedule of the job %s is wrong: %s", row->name, wrong);
    if (row->workers < 1 || row->workers > JOB_WORKERS || (row->once && row->workers != 1) ||
        row->budget_ms <= 0 || (row->cron != NULL && row->every_ms != 0))
        return mem_printf(mem, "the row of the job %s makes no sense", row->name);
    return NULL;
}

static void run_on_lane(struct job *job);
static void end_on_lane(struct job *job, enum err outcome);
static void keep_leases(struct job *job);
static void kept_leases(struct job *job, enum err outcome);

static void open_entry(struct jobs *jobs, struct entry *entry)
{
    const struct job_row *row = entry->row;

    entry->jobs = jobs;
    entry->next_ms = row->every_ms == 0 && row->cron == NULL ? NEVER
                                                             : clock_mono_ms() + row->first_ms;
    entry->known_ms = row->at_start ? LEASE_ANYHOW : 0;
    entry->watched = row->watched == NULL ? 0 : row->watched(jobs->settings.app);
    for (unsigned i = 0; i < row->workers; i++) {
        entry->runs[i].entry = entry;
        entry->runs[i].job.run = run_on_lane;
        entry->runs[i].job.done = end_on_lane;
    }
}

struct jobs *jobs_open(void *mem, const struct jobs_settings *settings, const char **ret_wrong)
{
    struct jobs *jobs = mem_new(mem, struct jobs);
    const struct job_row *row = settings->rows;

    jobs->settings = *settings;
    if (jobs->settings.lease_ms == 0)
        jobs->settings.lease_ms = LEASE_MS;
    *ret_wrong = NULL;
    if (gethostname(jobs->holder, sizeof jobs->holder - 48) != 0)
        jobs->holder[0] = '\0';
    jobs->holder[sizeof jobs->holder - 48] = '\0';
    snprintf(jobs->holder + strlen(jobs->holder), 48, "/%d/%.6s", (int)getpid(), crypto_id(jobs));
    for (; row->name != NULL && *ret_wrong == NULL; row++) {
        struct entry *entry = &jobs->entries[jobs->count++];

        assert(jobs->count <= JOBS_MOST);
        entry->row = row;
        *ret_wrong = read_row(mem, entry);
        if (*ret_wrong == NULL)
            open_entry(jobs, entry);
    }
    if (*ret_wrong != NULL)
        return NULL;
    jobs->keeper.run = keep_leases;
    jobs->keeper.done = kept_leases;
    pthread_mutex_init(&jobs->lock, NULL);
    clock_condition(&jobs->changed);
    clock_condition(&jobs->ended);
    return jobs;
}

static struct entry *entry_of(struct jobs *jobs, const char *name)
{
    for (size_t i = 0; i < jobs->count; i++) {
        if (strcmp(jobs->entries[i].row->name, name) == 0)
            return &jobs->entries[i];
    }
    return NULL;
}

/* When */

static int64_t by_chance(int64_t most_ms)
{
    uint32_t random;

    if (most_ms <= 0)
        return 0;
    crypto_random(&random, sizeof random);
    return random % most_ms;
}

/* How long from now, when it last began at `tried_ms` by the wall clock. A time that lies ahead was
 * noted by a clock that was wrong. */
static int64_t wait_after(const struct entry *entry, int64_t tried_ms)
{
    int64_t now_ms = clock_wall_ms(), next_ms;

    if (tried_ms > now_ms)
        tried_ms = now_ms;
    if (entry->row->cron == NULL && entry->row->every_ms == 0)
        return NEVER;
    next_ms = entry->row->cron != NULL ? cron_next(&entry->cron, tried_ms)
                                       : tried_ms + entry->row->every_ms;
    return (next_ms > now_ms ? next_ms - now_ms : 0) + by_chance(entry->row->jitter_ms);
}

static void plan(struct entry *entry, int64_t wait_ms)
{
    entry->next_ms = wait_ms == NEVER ? NEVER : clock_mono_ms() + wait_ms;
}

static void count(const struct entry *entry, enum metric metric)
{
    metric_add_of(metric, (unsigned)(entry - entry->jobs->entries), 0, 1);
}

/* After a failure that comes with no time to try again. */
static int64_t retry_ms(const struct jobs *jobs)
{
    return jobs->settings.lease_ms / 6;
}

/* Running: on a thread of a lane */

bool job_goes_on(struct job_run *run)
{
    const struct entry *entry = run->entry;
    int64_t now_ms = clock_mono_ms();

    return !atomic_load(&entry->jobs->stopping) && now_ms < run->deadline_ms &&
           (!entry->row->once || now_ms < atomic_load(&entry->held_until_ms));
}

const struct settings *job_settings(const struct job_run *run)
{
    const struct jobs_settings *settings = &run->entry->jobs->settings;

    return settings->settings == NULL ? NULL : settings->settings(settings->app);
}

void job_again(struct job_run *run, int64_t in_ms)
{
    assert(run->entry != NULL);
    run->again_ms = in_ms > 0 ? in_ms : 1;
}

void job_needs_help(struct job_run *run)
{
    jobs_wake(run->entry->jobs, run->entry->row->name);
}

/* Under the lock: what a run has come to. */
static void note(struct entry *entry, enum job_outcome outcome, const char *detail)
{
    entry->outcome = outcome;
    snprintf(entry->detail, sizeof entry->detail, "%s", detail == NULL ? "" : detail);
}

/* How the lease came out: whether it is ours, and if not when to look again. */
static bool judge_taking(struct job_run *run, enum lease_taken taken, const struct lease *lease,
                         int64_t before_ms)
{
    struct entry *entry = run->entry;
    struct jobs *jobs = entry->jobs;
    int64_t left_ms = lease->until_ms - clock_wall_ms(), lease_ms = jobs->settings.lease_ms;

    assert(entry->row->once);
    pthread_mutex_lock(&jobs->lock);
    entry->known_ms = taken == LEASE_HELD ? entry->known_ms : lease->taken_ms;
    entry->succeeded_ms = lease->succeeded_ms;
    if (taken == LEASE_TAKEN) {
        entry->fence = lease->fence;
        atomic_store(&entry->held_until_ms, before_ms + lease_ms);
        entry->tried_ms = lease->taken_ms;
        pthread_cond_signal(&jobs->changed); /* it is to be kept */
    } else if (taken == LEASE_HELD) {
        /* Soon after it would end: whoever has it may have died. */
        left_ms = left_ms < 0 ? 0 : left_ms > lease_ms ? lease_ms : left_ms;
        plan(entry, left_ms + 1 + by_chance(lease_ms / 4));
        note(entry, JOB_HELD, lease->holder);
    } else {
        entry->tried_ms = lease->taken_ms;
        plan(entry, wait_after(entry, lease->taken_ms));
        note(entry, JOB_DONE, "");
    }
    pthread_mutex_unlock(&jobs->lock);
    return taken == LEASE_TAKEN;
}

static enum err take_lease(struct task *task, struct job_run *run, bool *ret_taken)
{
    struct entry *entry = run->entry;
    struct jobs *jobs = entry->jobs;
    int64_t before_ms = clock_mono_ms(), known_ms;
    enum lease_taken taken;
    struct lease lease;
    enum err e;

    pthread_mutex_lock(&jobs->lock);
    known_ms = run->forced ? LEASE_ANYHOW : entry->known_ms;
    pthread_mutex_unlock(&jobs->lock);
    e = store_lease_take(task, jobs->settings.store, entry->row->name, jobs->holder,
                         jobs->settings.lease_ms, known_ms, &taken, &lease);
    *ret_taken = e == OK && judge_taking(run, taken, &lease, before_ms);
    if (e != OK) {
        log_bounded(LOG_WARNING, task, "the lease of a job cannot be taken",
                    LOG_S("detail", task->text));
        job_again(run, retry_ms(jobs));
    }
    return e;
}

static void give_lease_back(struct job_run *run, bool succeeded)
{
    struct entry *entry = run->entry;
    struct jobs *jobs = entry->jobs;
    auto_tree void *mem = mem_tree(1024);
    struct task task = {
        .mem = mem, .job = entry->row->name, .deadline_ms = clock_mono_ms() + STORE_MS};
    int64_t fence;

    pthread_mutex_lock(&jobs->lock);
    fence = entry->fence;
    assert(fence != 0);
    entry->fence = 0;
    atomic_store(&entry->held_until_ms, 0);
    pthread_mutex_unlock(&jobs->lock);
    if (store_lease_release(&task, jobs->settings.store, entry->row->name, fence, succeeded) != OK)
        log_warning(&task, "a lease cannot be given back, and ends by itself",
                    LOG_S("detail", task.text));
}

/* Under its lease, if it needs one. */
static enum err run_once(struct task *task, struct job_run *run)
{
    struct entry *entry = run->entry;
    bool once = entry->row->once;
    enum err e = OK;

    run->was_taken = !atomic_load(&entry->jobs->stopping);
    if (once && run->was_taken)
        e = take_lease(task, run, &run->was_taken);
    if (e != OK || !run->was_taken)
        return e;
    e = entry->row->run(task, run, entry->jobs->settings.app);
    if (once && clock_mono_ms() >= atomic_load(&entry->held_until_ms)) {
        count(entry, METRIC_leases_lost);
        log_warning(task, "a job has lost its lease, and another instance may have run it");
    }
    if (once)
        give_lease_back(run, e == OK);
    return e;
}

/* The next run, the last one's times and its outcome. Under the lock. */
static void conclude(struct job_run *run, enum err e, const char *text)
{
    struct entry *entry = run->entry;
    int64_t wait_ms = run->again_ms != 0 ? run->again_ms : wait_after(entry, entry->tried_ms);

    if (e == OK && !run->was_taken)
        return;
    note(entry, e == OK ? JOB_DONE : JOB_FAILED, text);
    count(entry, METRIC_job_runs);
    if (e != OK)
        count(entry, METRIC_job_failures);
    if (e == OK)
        entry->succeeded_ms = clock_wall_ms();
    /* What woke it is not told again. */
    if (e != OK && wait_ms == NEVER)
        plan(entry, retry_ms(entry->jobs));
    else if (run->again_ms != 0 || entry->row->workers == 1)
        plan(entry, wait_ms);
}

static void run_whole(struct job_run *run)
{
    struct entry *entry = run->entry;
    struct jobs *jobs = entry->jobs;
    auto_tree void *mem = mem_tree(4096);
    struct task task = {.mem = mem, .settings = job_settings(run), .job = entry->row->name};
    enum err e;

    run->deadline_ms = clock_mono_ms() + entry->row->budget_ms;
    run->again_ms = 0;
    task.deadline_ms = clock_mono_ms() + STORE_MS;
    pthread_mutex_lock(&jobs->lock);
    entry->tried_ms = entry->row->once ? entry->tried_ms : clock_wall_ms();
    pthread_mutex_unlock(&jobs->lock);
    e = run_once(&task, run);
    pthread_mutex_lock(&jobs->lock);
    conclude(run, e, e == OK ? "" : task.text);
    pthread_mutex_unlock(&jobs->lock);
}

static void run_on_lane(struct job *job)
{
    run_whole(container_of(job, struct job_run, job));
}

static void end_on_lane(struct job *job, enum err outcome)
{
    struct job_run *run = container_of(job, struct job_run, job);
    struct entry *entry = run->entry;
    struct jobs *jobs = entry->jobs;

    pthread_mutex_lock(&jobs->lock);
    assert(run->running);
    run->running = false;
    entry->ended += outcome == OK;
    /* The lane had no thread for it in time. */
    if (outcome != OK) {
        plan(entry, LOOK_MS);
        entry->forced |= run->forced;
    }
    pthread_cond_broadcast(&jobs->ended);
    pthread_cond_signal(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
}

/* Leases are renewed, on a lane */

static void keep_lease(struct task *task, struct entry *entry)
{
    struct jobs *jobs = entry->jobs;
    int64_t before_ms = clock_mono_ms(), fence;
    bool held = false;
    enum err e;

    pthread_mutex_lock(&jobs->lock);
    fence = entry->fence;
    pthread_mutex_unlock(&jobs->lock);
    if (fence == 0)
        return;
    task->deadline_ms = before_ms + jobs->settings.lease_ms / 3;
    e = store_lease_renew(task, jobs->settings.store, entry->row->name, fence,
                          jobs->settings.lease_ms, &held);
    if (e != OK)
        log_bounded(LOG_WARNING, task, "a lease cannot be renewed", LOG_S("job", entry->row->name),
                    LOG_S("detail", task->text));
    pthread_mutex_lock(&jobs->lock);
    /* It may have been given back meanwhile. */
    if (e == OK && entry->fence == fence)
        atomic_store(&entry->held_until_ms, held ? before_ms + jobs->settings.lease_ms : 0);
    pthread_mutex_unlock(&jobs->lock);
}

static void keep_leases(struct job *job)
{
    struct jobs *jobs = container_of(job, struct jobs, keeper);

    for (size_t i = 0; i < jobs->count; i++) {
        auto_tree void *mem = mem_tree(1024);
        struct task task = {.mem = mem, .job = "leases"};

        keep_lease(&task, &jobs->entries[i]);
    }
}

static void kept_leases(struct job *job, enum err outcome)
{
    struct jobs *jobs = container_of(job, struct jobs, keeper);

    (void)outcome;
    pthread_mutex_lock(&jobs->lock);
    assert(jobs->keeps);
    jobs->keeps = false;
    pthread_cond_broadcast(&jobs->ended);
    pthread_mutex_unlock(&jobs->lock);
}

/* Under the lock; returns when to look again. What still runs while the program stops ends before
 * its lease does. */
static int64_t keep(struct jobs *jobs, int64_t now_ms)
{
    int64_t every_ms = jobs->settings.lease_ms / 3;
    bool any = false;

    for (size_t i = 0; i < jobs->count; i++)
        any = any || jobs->entries[i].fence != 0;
    if (!any) {
        jobs->kept_ms = now_ms;
        return NEVER;
    }
    if (now_ms - jobs->kept_ms < every_ms)
        return jobs->kept_ms + every_ms;
    if (!jobs->keeps) {
        jobs->keeps = true;
        jobs->kept_ms = now_ms;
        if (lane_submit(jobs->settings.lanes[jobs->settings.keeper_lane], &jobs->keeper) != OK)
            jobs->keeps = false;
    }
    return now_ms + every_ms / 2 + 1;
}

/* The scheduler: under the lock */

static struct job_run *idle_run(struct entry *entry)
{
    for (unsigned i = 0; i < entry->row->workers; i++) {
        if (!entry->runs[i].running)
            return &entry->runs[i];
    }
    return NULL;
}

static void begin(struct entry *entry, struct job_run *run, int64_t now_ms)
{
    struct jobs *jobs = entry->jobs;

    assert(!run->running);
    run->running = true;
    run->forced = entry->forced;
    atomic_store(&run->job.gone, false);
    if (lane_submit(jobs->settings.lanes[entry->row->lane], &run->job) != OK) {
        run->running = false;
        plan(entry, LOOK_MS);
        return;
    }
    entry->woken = entry->forced = false;
    entry->began_ms = now_ms;
    /* What has one worker is planned when that ends. */
    plan(entry, entry->row->workers == 1 ? NEVER : wait_after(entry, clock_wall_ms()));
}

/* Begins what is due; returns when to look again. */
static int64_t look(struct entry *entry, int64_t now_ms)
{
    const struct job_row *row = entry->row;
    unsigned watched = row->watched == NULL ? 0 : row->watched(entry->jobs->settings.app);
    struct job_run *idle = idle_run(entry);
    int64_t from_ms = entry->began_ms == 0 ? 0 : entry->began_ms + row->gap_ms;

    if (watched != entry->watched) {
        entry->watched = watched;
        entry->woken = entry->forced = true;
    }
    if (idle == NULL)
        return NEVER; /* it is looked at when one of them ends */
    if (entry->woken && now_ms < from_ms)
        return from_ms;
    if (entry->woken || now_ms >= entry->next_ms)
        begin(entry, idle, now_ms);
    return entry->next_ms;
}

static void *schedule(void *argument)
{
    struct jobs *jobs = argument;
    bool watches = false;

    pthread_setname_np(pthread_self(), "jobs");
    for (size_t i = 0; i < jobs->count; i++)
        watches = watches || jobs->entries[i].row->watched != NULL;
    pthread_mutex_lock(&jobs->lock);
    while (!atomic_load(&jobs->stopping)) {
        int64_t now_ms = clock_mono_ms(), next_ms = keep(jobs, now_ms);

        for (size_t i = 0; i < jobs->count; i++) {
            int64_t entry_ms = look(&jobs->entries[i], now_ms);

            next_ms = entry_ms < next_ms ? entry_ms : next_ms;
        }
        if (watches && next_ms > now_ms + LOOK_MS)
            next_ms = now_ms + LOOK_MS;
        if (next_ms == NEVER) {
            pthread_cond_wait(&jobs->changed, &jobs->lock);
        } else if (next_ms > now_ms) {
            struct timespec until = clock_deadline(next_ms - now_ms);

            pthread_cond_timedwait(&jobs->changed, &jobs->lock, &until);
        }
    }
    /* A process that exits at once leaves no thread that has ended and that nobody has joined. */
    while (!jobs->joins)
        pthread_cond_wait(&jobs->changed, &jobs->lock);
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

void jobs_start(struct jobs *jobs)
{
    assert(!jobs->has_thread);
    jobs->has_thread = true;
    if (thread_start(&jobs->thread, schedule, jobs) != 0) {
        fputs("manus: cannot start the thread of jobs: raise the limit of threads\n", stderr);
        abort();
    }
}

void jobs_wake(struct jobs *jobs, const char *name)
{
    struct entry *entry = entry_of(jobs, name);

    if (entry == NULL)
        return;
    pthread_mutex_lock(&jobs->lock);
    entry->woken = true;
    pthread_cond_signal(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
}

/* Stopping */

void jobs_stop_begin(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    atomic_store(&jobs->stopping, true);
    pthread_cond_broadcast(&jobs->changed);
    pthread_cond_broadcast(&jobs->ended);
    pthread_mutex_unlock(&jobs->lock);
}

/* Under the lock: something runs; for how long the longest of it is waited for, within the budget.
 */
static bool is_at_work(const struct jobs *jobs, int64_t budget_ms, int64_t *ret_wait_ms)
{
    bool busy = jobs->keeps;

    *ret_wait_ms = busy ? budget_ms : 0;
    for (size_t i = 0; i < jobs->count; i++) {
        const struct entry *entry = &jobs->entries[i];
        int64_t most_ms = entry->row->stop_ms;

        if (most_ms == 0 || most_ms > budget_ms)
            most_ms = budget_ms;
        for (unsigned k = 0; k < entry->row->workers; k++) {
            if (!entry->runs[k].running)
                continue;
            busy = true;
            *ret_wait_ms = most_ms > *ret_wait_ms ? most_ms : *ret_wait_ms;
        }
    }
    return busy;
}

bool jobs_stop_wait(struct jobs *jobs, int64_t budget_ms)
{
    int64_t since_ms = clock_mono_ms(), wait_ms;
    bool busy;

    assert_off_loops();
    jobs_stop_begin(jobs);
    pthread_mutex_lock(&jobs->lock);
    jobs->joins = true;
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    if (jobs->has_thread)
        pthread_join(jobs->thread, NULL);
    jobs->has_thread = false;
    pthread_mutex_lock(&jobs->lock);
    while ((busy = is_at_work(jobs, budget_ms, &wait_ms))) {
        int64_t left_ms = since_ms + wait_ms - clock_mono_ms();
        struct timespec until = clock_deadline(left_ms);

        if (left_ms <= 0)
            break;
        pthread_cond_timedwait(&jobs->ended, &jobs->lock, &until);
    }
    pthread_mutex_unlock(&jobs->lock);
    return !busy;
}

/* By operators */

/* Under the lock: until a run has ended that began after this. */
static bool wait_for_a_run(struct task *task, struct jobs *jobs, struct entry *entry)
{
    int64_t left_ms = task->deadline_ms - clock_mono_ms();
    struct timespec until = clock_deadline(left_ms > 0 ? left_ms : 0);
    unsigned running = idle_run(entry) == NULL, ended = entry->ended;

    entry->woken = entry->forced = true;
    pthread_cond_signal(&jobs->changed);
    while (entry->ended - ended <= running && !atomic_load(&jobs->stopping)) {
        if (pthread_cond_timedwait(&jobs->ended, &jobs->lock, &until) != 0)
            return false;
    }
    return entry->ended - ended > running;
}

enum err jobs_run(struct task *task, struct jobs *jobs, const char *name, enum job_outcome *ret,
                  const char **ret_text)
{
    struct entry *entry = entry_of(jobs, name);

    assert_off_loops();
    *ret_text = "";
    *ret = JOB_UNKNOWN;
    if (entry == NULL)
        return OK;
    if (!jobs->has_thread) {
        entry->runs[0].forced = true;
        run_whole(&entry->runs[0]);
    }
    pthread_mutex_lock(&jobs->lock);
    *ret = jobs->has_thread && !wait_for_a_run(task, jobs, entry) ? JOB_UNDER_WAY : entry->outcome;
    *ret_text = mem_string(task->mem, entry->detail);
    pthread_mutex_unlock(&jobs->lock);
    return OK;
}

static const char *schedule_shown(void *mem, const struct job_row *row)
{
    int64_t s = row->every_ms / 1000;

    if (row->cron != NULL)
        return mem_printf(mem, "at %s UTC", row->cron);
    if (row->every_ms == 0)
        return "when it is needed";
    if (row->every_ms % 1000 != 0)
        return mem_printf(mem, "every %lld ms", (long long)row->every_ms);
    if (s % 3600 == 0)
        return mem_printf(mem, "every %lld h", (long long)s / 3600);
    return s % 60 == 0 ? mem_printf(mem, "every %lld min", (long long)s / 60)
                       : mem_printf(mem, "every %lld s", (long long)s);
}

#define JOB_LAYOUT(next)                                                                           \
    "{name:16} {schedule:18} {attempted_at|never:21} {succeeded_at|never:21} " next " {holder|-}"

/* What is known here and in the store of a job. */
static void put_row(struct task *task, struct answer *answer, struct jobs *jobs,
                    struct entry *entry, const struct lease *lease)
{
    int64_t tried_ms, succeeded_ms, next_ms, now_ms = clock_mono_ms();
    bool runs = false;

    pthread_mutex_lock(&jobs->lock);
    tried_ms = lease == NULL ? entry->tried_ms : lease->taken_ms;
    succeeded_ms = lease == NULL ? entry->succeeded_ms : lease->succeeded_ms;
    next_ms = entry->next_ms;
    for (unsigned i = 0; i < entry->row->workers; i++)
        runs = runs || entry->runs[i].running;
    pthread_mutex_unlock(&jobs->lock);
    next_ms = jobs->has_thread && next_ms != NEVER ? clock_wall_ms() + next_ms - now_ms : 0;
    answer_row(answer, NULL,
               jobs->has_thread && runs ? JOB_LAYOUT("now                  ")
                                        : JOB_LAYOUT("{next_at|-:21}"));
    answer_string(answer, "name", entry->row->name);
    answer_string(answer, "schedule", schedule_shown(task->mem, entry->row));
    answer_time(answer, "attempted_at", tried_ms);
    answer_time(answer, "succeeded_at", succeeded_ms);
    answer_time(answer, "next_at", next_ms);
    answer_flag(answer, "is_running", runs);
    answer_string(answer, "holder",
                  lease != NULL && lease->until_ms > clock_wall_ms() ? lease->holder
                  : runs                                             ? jobs->holder
                                                                     : NULL);
    answer_row_end(answer);
}

enum err jobs_list(struct task *task, struct jobs *jobs, struct answer *answer)
{
    struct lease *leases;
    size_t count;
    enum err e = store_leases(task, jobs->settings.store, &leases, &count);

    if (e != OK)
        return e;
    answer_say(answer, "%-16s %-18s %-21s %-21s %-21s %s", "NAME", "SCHEDULE", "LAST ATTEMPT",
               "LAST SUCCESS", "NEXT RUN", "HOLDER");
    answer_list(answer, "jobs");
    for (size_t i = 0; i < jobs->count; i++) {
        const struct lease *lease = NULL;

        for (size_t k = 0; k < count; k++) {
            if (strcmp(leases[k].name, jobs->entries[i].row->name) == 0)
                lease = &leases[k];
        }
        put_row(task, answer, jobs, &jobs->entries[i], lease);
    }
    answer_list_end(answer);
    return OK;
}
