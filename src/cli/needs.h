/* What the server needs before it serves: `serve` takes it, `check` tries it, by the same code. On
 * the main thread. */
#pragma once

#include "cli/cli.h"
#include "http/server.h"
#include "remote/redis.h"

struct limits;

struct needs {
    struct settings *settings;
    const struct plans *plans;
    const struct limits *limits;
    struct redis_target *redis; /* NULL: none is configured */
};

/* Settings, plans, limits, where Redis is. EX_OK, or EX_CONFIG when standard error has been told
 * what is wrong. */
int needs_load(void *mem, const struct arguments *arguments, struct needs *ret);

/* The sockets: the service manager's, or those of HOST and PORT. NULL, and why, and how to mend
 * it. */
struct listeners *needs_listen(void *mem, const struct settings *settings, unsigned loops,
                               const char **ret_why);
