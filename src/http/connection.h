/* One client's connection: reads requests, has them dispatched, writes replies, in order.
 *
 * HEAD → BODY → RUN → WRITE → the next request, or LINGER → CLOSED. Each state that waits for the
 * client has one absolute deadline. All on the loop that accepted it. */
#pragma once

#include "http/worker.h"

/* Takes the next connection of the listener. */
void connection_accept(struct worker *worker, uv_stream_t *listener);

/* Takes over a socket that was accepted elsewhere. */
void connection_adopt(struct worker *worker, int fd);

/* Closes what is past its deadline; returns the next deadline, 0 if there is none. */
int64_t connection_expire(struct worker *worker, int64_t now_ms);

/* Closes the connection that has been idle for longest, or else the one for whose bytes, or for
 * whose taking ours, we have waited longest. False: each has a request under way with us. */
bool connection_evict(struct worker *worker);

/* Ends the connections that do nothing; those whose request lies in the socket already are served.
 */
void connection_drain(struct worker *worker);

void connection_abort_all(struct worker *worker);
