/* Where nobody has to log in, whatever reaches this server is its owner: so a page that their
 * browser shows must not. With AUTH_PROVIDER=none, unless the request has a token of ours (which no
 * page gets), Host must be an address, localhost or PUBLIC_URL's, so that no name that a stranger
 * points here is served (DNS rebinding); and what changes things must come from no page, from one
 * of ours, or from one of CORS_ORIGINS, by Origin and by Sec-Fetch-Site (Fetch Metadata), if they
 * are there. On a loop or a lane. */
#pragma once

#include "http/request.h"

/* ERR_FORBIDDEN with its text. */
must_check enum err origin_check(struct request *req);

/* The same for a request that a proxy asks about: how the proxy names this server says nothing. */
bool origin_may_ask(struct request *req, const char *method);
