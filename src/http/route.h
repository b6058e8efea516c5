/* A row of the routes table, from which everything about an endpoint is derived. */
#pragma once

#include "core/err.h"
#include "core/field.h"

#include <stddef.h>

struct request;

enum access { ACCESS_PUBLIC, ACCESS_USER, ACCESS_ADMIN };

/* Where a handler runs: on the event loop if it never blocks, else on the lane of the scarcest
 * thing that it waits for. */
enum lane_id { LANE_LOOP, LANE_STORE, LANE_HASH, LANE_REMOTE, LANE_JOB, LANE_COUNT };

/* Answers the request by one of the reply_* functions and returns OK, or fails. */
typedef enum err handler(struct request *req);

/* Tries the same on the loop, without waiting for anything; false leaves it to the lane. */
typedef bool fast_handler(struct request *req);

#define ROUTE_DEFAULT_LIMITS "100/minute;1000/hour"

struct route {
    const char *method; /* GET answers HEAD too; NULL ends a table */
    const char *path;   /* /a/{b}: one non-empty segment is b */
    const char *summary;
    const char *limits; /* "5/minute;20/hour"; NULL: the default */
    enum access access;
    enum lane_id lane;
    const struct field *body; /* NULL: a body is read and ignored */
    size_t max_body;          /* bytes; 0: HTTP_BODY_BYTES */
    fast_handler *fast;       /* NULL: none */
    handler *handle;
};
