/* One client's connection: reads requests, has them dispatched, writes replies, in order.
 *
 * HEAD → BODY → RUN → WRITE → the next request, or LINGER → CLOSED. Each state that waits for the
 * client has a deadline; a body that comes and a reply that is taken go on beyond it, at 500 bytes
 * a second at least. All on the loop that accepted it. */
#pragma once

#include "http/worker.h"

/* Takes the next connection of the listener. */
void connection_accept(struct worker *worker, uv_stream_t *listener);

/* Takes over a socket that was accepted elsewhere. */
void connection_adopt(struct worker *worker, int fd);

/* Closes what is past its deadline; returns the next deadline, 0 if there is none. */
int64_t connection_expire(struct worker *worker, int64_t now_ms);

/* Closes the connection that has kept us waiting for longest, for its bytes or for its taking ours,
 * those that were refused first. False: each but `except` has a request under way with us. */
bool connection_evict(struct worker *worker, const struct connection *except);

/* Closes the connection that has kept most memory for longest while we waited for it; false if none
 * does. */
bool connection_evict_largest(struct worker *worker);

/* Ends the connections that do nothing; those whose request lies in the socket already are served.
 */
void connection_drain(struct worker *worker);

void connection_abort_all(struct worker *worker);
