/* What happens to a request between its parsing and its handler, and after it. Knows no socket.
 * On the loop, but for dispatch_run(). */
#pragma once

#include "http/worker.h"

enum dispatched {
    DISPATCH_GOES_ON,
    DISPATCH_ANSWERED, /* the reply is set; a body that is still to come is not wanted */
    DISPATCH_WAITS,    /* for request_go_on() if the request `waits`, else for its job */
    DISPATCH_WRITES,   /* waits for request_go_on() in its fast handler */
};

/* Names the request and its client; routes it, answers OPTIONS, asks the gate, checks the size of
 * the body. */
enum dispatched dispatch_head(struct worker *worker, struct request *req,
                              const struct address *peer);

/* From the gate on, after a wait there. */
enum dispatched dispatch_gate(struct worker *worker, struct request *req);

/* The most bytes of body that the request may have. */
size_t dispatch_max_body(const struct request *req);

/* Checks the body; answers on the loop if it can, else on a lane, whose job ends with `done`. */
enum dispatched dispatch_body(struct worker *worker, struct request *req,
                              void (*done)(struct job *job, enum err outcome));

/* From the last question on, after a wait there. */
enum dispatched dispatch_admit(struct worker *worker, struct request *req,
                               void (*done)(struct job *job, enum err outcome));

/* From the fast handler on, after a wait there. */
enum dispatched dispatch_start(struct worker *worker, struct request *req,
                               void (*done)(struct job *job, enum err outcome));

/* The reply to a request that is malformed, or has not come in time. */
void dispatch_refuse(struct worker *worker, struct request *req, const struct address *peer,
                     enum err why);

/* The reply of a request whose job did not run. */
void dispatch_unrun(struct request *req, enum err outcome);

/* The bytes of the reply's head. */
struct text dispatch_reply_head(struct worker *worker, struct request *req, bool keep_alive);

/* The access line. status 499: the client left first. */
void dispatch_log(const struct request *req, int status, size_t bytes);
