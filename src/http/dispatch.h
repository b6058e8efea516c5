/* What happens to a request between its parsing and its handler, and after it. Knows no socket.
 * On the loop, but for dispatch_run(). */
#pragma once

#include "http/worker.h"

/* Names the request and its client; routes it, answers OPTIONS, asks the gate, checks the size of
 * the body. True if the reply is set: the body is not wanted. */
bool dispatch_head(struct worker *worker, struct request *req, const struct address *peer);

/* The most bytes of body that the request may have. */
size_t dispatch_max_body(const struct request *req);

/* Checks the body; answers on the loop if it can. False if the handler runs on a lane, whose job
 * then ends with `done`. */
bool dispatch_body(struct worker *worker, struct request *req,
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
