#include "cli/program.h"

#include "api/limits.h"
#include "api/routes.h"
#include "remote/redis.h"

#include <stdio.h>
#include <systemd/sd-daemon.h>

unsigned program_cores(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    return count < 1 ? 1 : (unsigned)count;
}

int program_load(void *mem, const struct arguments *arguments, struct program *ret)
{
    const struct limits *limits;
    const char *wrong;

    *ret = (struct program){.mem = mem, .arguments = arguments};
    ret->settings = cli_load_settings(mem, arguments, true);
    if (ret->settings == NULL)
        return EX_CONFIG;
    ret->plans = cli_load_plans(mem, ret->settings);
    if (ret->plans == NULL)
        return EX_CONFIG;
    limits = limits_compile(mem, ret->settings, routes, ret->plans, &wrong);
    if (limits == NULL) {
        fprintf(stderr, "manus: %s\n", wrong);
        return EX_CONFIG;
    }
    ret->redis = redis_target_new(mem, ret->settings, &wrong);
    if (wrong != NULL) {
        fprintf(stderr, "manus: Redis: %s\n", wrong);
        return EX_CONFIG;
    }
    atomic_init(&ret->app.settings, ret->settings);
    atomic_init(&ret->app.limits, limits);
    return EX_OK;
}

struct listeners *program_listen(void *mem, const struct settings *settings, unsigned loops,
                                 const char **ret_why)
{
    int inherited = sd_listen_fds(1);
    int fds[16];

    if (inherited <= 0)
        return listeners_bind(mem, settings->host, (unsigned)settings->port, loops, ret_why);
    if (inherited > (int)count_of(fds))
        inherited = count_of(fds);
    for (int i = 0; i < inherited; i++)
        fds[i] = SD_LISTEN_FDS_START + i;
    return listeners_inherit(mem, fds, (unsigned)inherited, loops, ret_why);
}
