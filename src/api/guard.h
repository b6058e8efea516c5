/* The guard: may this request go on to the application? Asked by the proxy in front of it, for the
 * paths that begin runs and those below them.
 *
 * What is asked about stands in X-Original-Method and X-Original-URI (nginx), X-Forwarded-Method
 * and X-Forwarded-Uri (Traefik, Caddy), or in the path behind /api/v1/gate and the method itself
 * (Envoy). Where several are there they must say the same, so that nobody can ask about one request
 * and send another. */
#pragma once

#include "core/mem.h"

#include <stddef.h>

enum guard_path {
    GUARD_UNSAFE,  /* two readers could understand it differently */
    GUARD_OUTSIDE, /* not guarded */
    GUARD_METERED, /* the method PUT or POST, whichever begins a run there */
    GUARD_FREE,
};

/* What a method and a target (path and query, as they were sent) ask for. Pure. */
enum guard_path guard_classify(const char *method, const char *target);
