/* A row of the routes table, from which everything about an endpoint is derived. */
#pragma once

#include "core/err.h"
#include "core/field.h"

#include <stddef.h>
#include <stdint.h>

struct request;

enum access {
    ACCESS_PUBLIC,
    ACCESS_OPTIONAL, /* anybody; who sends a valid token is known to the handler */
    ACCESS_USER,
    ACCESS_ADMIN,
    ACCESS_GUARD,   /* the handler judges; a valid token is read before */
    ACCESS_METRICS, /* administrators, and who has METRICS_TOKEN */
};

/* What a user may use whose address is not confirmed, by UNVERIFIED_MAY. */
enum unverified {
    UNVERIFIED_NEEDS_EVERYTHING, /* with "everything" only */
    UNVERIFIED_NEEDS_ACCOUNT,    /* with "account" too */
    UNVERIFIED_ALWAYS,
};

/* Whose requests a route's limits count together. */
enum limited_by {
    LIMITED_BY_CALLER,           /* the user of a valid token, else the client's address */
    LIMITED_BY_CLIENT_AND_EMAIL, /* the client's address, and the address in the field `email` */
    LIMITED_BY_REFUSALS,         /* the client's address, and only what the handler refuses */
    LIMITED_BY_SESSION, /* of the field `refresh_token`, if that verifies, else as caller */
};

/* Where a handler runs: on the event loop if it never blocks, else on the lane of the scarcest
 * thing that it waits for. */
enum lane_id {
    LANE_LOOP,
    LANE_STORE, /* reads only: it has threads whatever becomes of what is written */
    LANE_WRITE,
    LANE_HASH,
    LANE_REMOTE,
    LANE_EVENT, /* what others tell us, and what follows from it */
    LANE_JOB,
    LANE_OPERATOR, /* what operators ask on the admin socket */
    LANE_COUNT
};

/* Answers the request by one of the reply_* functions and returns OK, or fails. */
typedef enum err handler(struct request *req);

/* Tries the same on the loop, without waiting for anything; false leaves it to the lane. True
 * without an answer: the task has failed; with `waits` set: it is called again after
 * request_go_on(), and job.gone is set if nobody waits any more. */
typedef bool fast_handler(struct request *req);

/* A member of the query. Absent, it has no value; present, it must be what its row says. */
struct query_row {
    const char *name; /* NULL ends the rows */
    const char *help;
    int64_t low, high; /* a whole number within; 0, 0: text */
    bool required;     /* for the document; the handler refuses what lacks it */
};

/* An answer other than success that the handler itself gives. */
struct refusal {
    int status; /* 0 ends the rows */
    const char *msg;
    const char *reply; /* as in struct route, without the envelope; NULL: an error */
};

/* What the head of a request shows to be wrong, before its body is read; NULL: nothing. On the
 * loop.
 */
typedef const struct refusal *head_check(const struct request *req);

#define ROUTE_DEFAULT_LIMITS "100/minute;1000/hour"

/* By which AUTH_PROVIDER it is of use. */
enum offered { OFFERED_ALWAYS, OFFERED_WITH_LOGIN, OFFERED_WITH_PASSWORDS };

struct route {
    const char *method; /* GET answers HEAD too; * answers all, OPTIONS too; NULL ends a table */
    const char *path;   /* /a/{b}: one non-empty segment is b; {b*} at the end: all that is left */
    const char *summary;
    const char *limits; /* "5/minute;20/hour"; NULL: the default */
    enum limited_by limited_by;
    enum access access;
    enum unverified unverified;
    enum lane_id lane;
    const struct query_row *query; /* NULL: it has none */
    const struct field *body;      /* NULL: a body is read and ignored */
    bool body_optional;            /* a request without one has none of the fields */
    size_t max_body;               /* bytes; 0: HTTP_BODY_BYTES */
    head_check *check_head;        /* of a route LIMITED_BY_REFUSALS; NULL: none */
    fast_handler *fast;            /* NULL: none */
    handler *handle;

    /* For people and their tools only. */
    const char *tag;   /* the heading it stands under; NULL: no part of the API */
    const char *reply; /* what success says, by its name in api/schemas.json; NULL: nothing */
    enum offered offered;
    bool bare;         /* without the envelope */
    const char *media; /* its type if it is no JSON */
    const struct refusal *refusals;
};
