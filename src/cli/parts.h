/* The table of parts: what the server depends on and what it starts. /api/v1/ready, `manus check`,
 * what is said at the start, and the order of starting and stopping (order.h) come from it. */
#pragma once

#include "cli/program.h"

/* False, and why: there is no server without it. */
typedef bool part_open(struct program *program, const char **ret_why);

typedef void part_step(struct program *program);

/* False: it still runs, and what it may use must not be closed. `left_ms` is what is left of its
 * time; what knows no time-out ignores it, and is left behind when the time is over. */
typedef bool part_wait(struct program *program, int64_t left_ms);

/* Says in a line of standard output what `serve` would do with it; false if it could not, or not
 * well. */
typedef bool part_examine(void *mem, const struct settings *settings);

/* What is absent in a row is NULL, false or 0: it does not apply. */
struct part {
    const char *name; /* for /ready, `manus check` and the log */

    /* What the server depends on */
    const char *title; /* for people; the start names it if it is not configured */
    bool (*is_configured)(const struct settings *settings); /* NULL: always */
    const char *(*place)(void *mem, const struct program *program);
    /* What is wrong, static; NULL: it can be used. Blocks, each answer for the timeout at most. Any
     * thread. */
    const char *(*probe)(const void *program, int64_t timeout_ms);
    int64_t probe_ms;      /* the timeout in `manus check` */
    enum lane_id lane;     /* on which /ready probes it; LANE_LOOP: /ready does not list it */
    const char *healthy;   /* what /ready says of it then; NULL: "Connected" */
    bool is_critical;      /* for /ready, whatever READY_CRITICAL says */
    bool tells_itself;     /* logs that it is lost, and /ready does not */
    part_examine *examine; /* in `manus check`, before the probe */

    /* The line about the start: on a terminal, in the log, and what is said */
    const char *label, *field;
    const char *(*shown)(const struct program *program);

    /* What the server starts */
    part_open *open;
    part_step *start;      /* when all are open */
    part_step *stop_begin; /* waits for nobody */
    part_wait *stop_wait;
    int64_t stop_ms;  /* since all were told */
    bool stops_early; /* told at the signal: requests that still run do without */
};

extern const struct part parts[];
extern const size_t part_count;

bool part_is_configured(const struct part *part, const struct settings *settings);
