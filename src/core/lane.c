#include "core/lane.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/metrics.h"
#include "core/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

struct lane {
    struct lane_settings settings;
    pthread_t *threads;

    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct job *first, **last;
    unsigned queued, running;
    bool closing;
};

static void report(struct post *post)
{
    struct job *job = container_of(post, struct job, post);

    assert(loop_current() == job->home);
    job->done(job, job->outcome);
}

static void finish(struct job *job, enum err outcome)
{
    job->outcome = outcome;
    if (job->home == NULL) {
        job->done(job, outcome);
        return;
    }
    job->post.run = report;
    loop_post(job->home, &job->post);
}

static struct job *pop(struct lane *lane)
{
    struct job *job = lane->first;

    assert(job != NULL && lane->queued > 0);
    lane->first = job->next;
    if (lane->first == NULL)
        lane->last = &lane->first;
    lane->queued--;
    assert((lane->first == NULL) == (lane->queued == 0));
    return job;
}

static bool has_waited_too_long(const struct lane *lane, const struct job *job)
{
    return clock_mono_us() - job->queued_us > lane->settings.max_wait_ms * 1000;
}

static void run_job(struct lane *lane, struct job *job)
{
    int64_t began_us = clock_mono_us();
    enum err outcome = OK;

    metric_observe(METRIC_lane_wait_seconds, lane->settings.label, began_us - job->queued_us);
    if (atomic_load(&job->gone))
        outcome = ERR_GONE;
    else if (has_waited_too_long(lane, job))
        outcome = ERR_EXPIRED;
    else
        job->run(job);
    if (outcome == OK)
        metric_observe(METRIC_lane_run_seconds, lane->settings.label, clock_mono_us() - began_us);
    metric_add_of(METRIC_lane_refused, lane->settings.label, 0, outcome == ERR_EXPIRED);
    finish(job, outcome);
}

static void *work(void *arg)
{
    struct lane *lane = arg;

    pthread_setname_np(pthread_self(), lane->settings.name);
    if (lane->settings.nice != 0)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), lane->settings.nice);
    pthread_mutex_lock(&lane->lock);
    for (;;) {
        while (lane->first == NULL && !lane->closing)
            pthread_cond_wait(&lane->filled, &lane->lock);
        if (lane->first == NULL)
            break;

        struct job *job = pop(lane);
        lane->running++;
        pthread_mutex_unlock(&lane->lock);
        run_job(lane, job);
        pthread_mutex_lock(&lane->lock);
        assert(lane->running > 0);
        lane->running--;
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

struct lane *lane_open(void *mem, const struct lane_settings *settings)
{
    struct lane *lane = mem_new(mem, struct lane);

    assert(settings->threads > 0 && settings->max_queued > 0);
    assert(strlen(settings->name) < 16);
    lane->settings = *settings;
    lane->threads = mem_array(lane, pthread_t, settings->threads);
    lane->last = &lane->first;
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->filled, NULL);
    for (unsigned i = 0; i < settings->threads; i++) {
        if (thread_start(&lane->threads[i], work, lane) != 0) {
            fprintf(stderr,
                    "manus: cannot start thread %u of lane %s: raise the limit of threads\n", i + 1,
                    settings->name);
            abort();
        }
    }
    return lane;
}

enum err lane_submit(struct lane *lane, struct job *job)
{
    enum err e = OK;

    assert(job->run != NULL && job->done != NULL);
    job->home = loop_current();
    job->next = NULL;
    job->queued_us = clock_mono_us();
    pthread_mutex_lock(&lane->lock);
    if (lane->closing || lane->queued >= lane->settings.max_queued ||
        (lane->first != NULL && has_waited_too_long(lane, lane->first))) {
        e = ERR_BUSY;
    } else {
        *lane->last = job;
        lane->last = &job->next;
        lane->queued++;
        pthread_cond_signal(&lane->filled);
    }
    pthread_mutex_unlock(&lane->lock);
    metric_add_of(METRIC_lane_refused, lane->settings.label, 0, e != OK);
    return e;
}

void lane_expire(struct lane *lane)
{
    struct job *expired = NULL, **last = &expired, *next;

    pthread_mutex_lock(&lane->lock);
    while (lane->first != NULL && has_waited_too_long(lane, lane->first)) {
        *last = pop(lane);
        last = &(*last)->next;
    }
    *last = NULL;
    pthread_mutex_unlock(&lane->lock);

    for (struct job *job = expired; job != NULL; job = next) {
        next = job->next;
        metric_add_of(METRIC_lane_refused, lane->settings.label, 0, 1);
        finish(job, ERR_EXPIRED);
    }
}

unsigned lane_load(struct lane *lane)
{
    unsigned load;

    pthread_mutex_lock(&lane->lock);
    load = lane->queued + lane->running;
    pthread_mutex_unlock(&lane->lock);
    return load;
}

void lane_close(struct lane *lane)
{
    assert_off_loops();
    pthread_mutex_lock(&lane->lock);
    lane->closing = true;
    pthread_cond_broadcast(&lane->filled);
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < lane->settings.threads; i++)
        pthread_join(lane->threads[i], NULL);
    assert(lane->first == NULL && lane->running == 0);
    pthread_cond_destroy(&lane->filled);
    pthread_mutex_destroy(&lane->lock);
}
