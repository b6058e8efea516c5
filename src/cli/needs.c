#include "cli/needs.h"

#include "api/limits.h"
#include "api/routes.h"

#include <stdio.h>
#include <systemd/sd-daemon.h>

int needs_load(void *mem, const struct arguments *arguments, struct needs *ret)
{
    const char *wrong;

    *ret = (struct needs){.settings = cli_load_settings(mem, arguments, true)};
    if (ret->settings == NULL)
        return EX_CONFIG;
    ret->plans = cli_load_plans(mem, ret->settings);
    if (ret->plans == NULL)
        return EX_CONFIG;
    ret->limits = limits_compile(mem, ret->settings, routes, ret->plans, &wrong);
    if (ret->limits == NULL) {
        fprintf(stderr, "manus: %s\n", wrong);
        return EX_CONFIG;
    }
    ret->redis = redis_target_new(mem, ret->settings, &wrong);
    if (wrong != NULL) {
        fprintf(stderr, "manus: Redis: %s\n", wrong);
        return EX_CONFIG;
    }
    return EX_OK;
}

struct listeners *needs_listen(void *mem, const struct settings *settings, unsigned loops,
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
