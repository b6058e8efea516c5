/* Readiness: are the things that manus depends on there? Each is probed on a thread of its own,
 * with a deadline; the answers serve for a second, so that a busy balancer costs the dependencies
 * one probe a second at most. What they are and how they are probed is told by who opens it.
 *
 * Any thread. ready_look() never waits; ready_check() waits for READY_DEADLINE_MS at most. */
#pragma once

#include "core/lane.h"

#include <stdbool.h>

struct ready;

enum { READY_DEADLINE_MS = 1500, READY_MOST = 16 };

/* One dependency. The texts are static. */
struct ready_row {
    const char *name;
    const char *message; /* while it is healthy */
    const char *title;   /* the log tells when it is lost and when it is back; NULL: it does not */
    bool is_configured;
    bool is_critical;
    struct lane *lane;
    /* NULL: it can be used; else what is wrong, static. Blocks, each answer for the timeout at
     * most. */
    const char *(*probe)(const void *arg, int64_t timeout_ms);
    const void *arg;
};

enum check_status { CHECK_SKIPPED, CHECK_HEALTHY, CHECK_UNHEALTHY };

struct check {
    const char *name;
    enum check_status status;
    const char *message; /* static */
    int64_t latency_ms;  /* 0 if it was skipped */
};

enum readiness { READY, READY_DEGRADED, READY_NOT };

struct ready_report {
    enum readiness readiness;
    size_t count;
    struct check checks[READY_MOST]; /* in the order of the rows */
};

/* READY_MOST rows at most, which are copied. Close the lanes before freeing it. */
struct ready *ready_open(void *mem, const struct ready_row *rows, size_t count);

/* What was found within the last second, or lately while somebody is looking again; false if that
 * is too long ago. */
bool ready_look(struct ready *ready, struct ready_report *ret);

/* Looks again, or joins whoever does. */
void ready_check(struct ready *ready, struct ready_report *ret);

const char *check_status_name(enum check_status status);
