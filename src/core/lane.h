/* Lanes: small bounded thread pools for work that blocks, one per kind of waiting, so that a flood
 * on one never delays another.
 *
 * Jobs run first in, first out. A job that has waited for longer than the lane's bound, or whose
 * submitter has gone, is finished unrun.
 * Threads: lane_submit() from any; run() on a thread of the lane; done() on the loop that
 * submitted, or on the lane if no loop did. Memory: the caller owns the job, which stays valid
 * until done(). Times: ms, monotonic. */
#pragma once

#include "core/err.h"
#include "core/loop.h"

#include <stdatomic.h>
#include <stdint.h>

struct lane;

struct job {
    void (*run)(struct job *job);
    /* outcome: OK when run() ran; else ERR_EXPIRED or ERR_GONE, and it did not. */
    void (*done)(struct job *job, enum err outcome);
    atomic_bool gone; /* set by whoever submitted when nobody waits for the result any more */

    struct job *next; /* from here on: the lane's own */
    struct loop *home;
    struct post post;
    int64_t queued_us;
    enum err outcome;
};

struct lane_settings {
    const char *name; /* at most 15 bytes: the threads are named so */
    unsigned threads;
    unsigned max_queued;
    int64_t max_wait_ms;
    int nice;       /* added to the threads' niceness: work that may wait behind the loops */
    unsigned label; /* in core/metrics.def */
};

struct lane *lane_open(void *mem, const struct lane_settings *settings);

/* ERR_BUSY at once when the queue is full or its oldest job has waited too long; then neither run()
 * nor done() is called. */
must_check enum err lane_submit(struct lane *lane, struct job *job);

/* Finishes the jobs that have waited too long although no thread came free. To be called a few
 * times a second. */
void lane_expire(struct lane *lane);

/* Jobs that wait or run. */
unsigned lane_load(struct lane *lane);

/* Runs what is queued, then ends the threads; joins them. */
void lane_close(struct lane *lane);
