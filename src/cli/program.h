/* The server as a whole. program_load() reads what it needs before anything is opened, for `serve`,
 * which opens it, and `check`, which tries it. On the main thread. */
#pragma once

#include "api/app.h"
#include "cli/cli.h"
#include "core/log.h"

struct program {
    void *mem;
    const struct arguments *arguments;
    struct settings *settings; /* as loaded at the start */
    const struct plans *plans;
    struct redis_target *redis; /* NULL: none is configured */
    unsigned loop_count;
    enum log_format log_format;

    struct app app;
    struct listeners *listeners;
    struct lane *lanes[LANE_COUNT];
    struct loop **loops;
    struct admin_socket *admin; /* NULL: there is none */
    struct figures *figures;
};

/* Settings, plans, limits, where Redis is. EX_OK, or EX_CONFIG when standard error has been told
 * what is wrong. */
int program_load(void *mem, const struct arguments *arguments, struct program *ret);

/* Processors of the machine. */
unsigned program_cores(void);

/* The sockets: the service manager's, or those of HOST and PORT. NULL, and why, and how to mend
 * it. */
struct listeners *program_listen(void *mem, const struct settings *settings, unsigned loops,
                                 const char **ret_why);
