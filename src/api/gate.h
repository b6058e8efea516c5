/* Who may use a route: the access column of the routes table against the token of the request. */
#pragma once

#include "http/request.h"

/* On the loop: answers from the token and from what is remembered; leaves to gate_load() what the
 * store must be asked. */
enum err gate(struct request *req);

/* RFC 6750 section 2.1; NULL if there is no such credential. */
const char *gate_bearer_token(const struct request *req);

/* On the loop, with the body: the limits that go by what is in it. */
enum err gate_body(struct request *req);

/* On the lane. */
enum err gate_load(struct request *req);
