/* Finds the route of a request. Compiled from the rows once; then read-only and for any thread. */
#pragma once

#include "http/route.h"

struct router;

enum { ROUTER_PARAMS = 4, ROUTER_METHODS = 8 };

struct route_match {
    const struct route *route; /* NULL with allow: the path is known, the method is not */
    const char *allow;         /* NULL: the path is unknown */
    const char *path;          /* as the table has it; NULL likewise */
    struct {
        const char *name;
        const char *value; /* percent-decoded, in the memory given */
    } params[ROUTER_PARAMS];
};

/* Aborts on rows that contradict each other: a defect of the table. */
struct router *router_new(void *mem, const struct route *rows);

/* Every path of the table and its allowed methods, in the order of the rows: for what is derived.
 */
const struct route *router_rows(const struct router *router);

/* `path` as it was sent, without the query. ERR_BAD_REQUEST for a path that two readers could take
 * for different ones: encoded NUL, slash, backslash or control characters, dot segments, empty
 * segments, broken percent-encoding. Else OK, and `ret` says what was found. */
must_check enum err router_find(const struct router *router, void *mem, const char *method,
                                const char *path, struct route_match *ret);
