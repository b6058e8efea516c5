#include "api/app.h"

#include "account/provider.h"
#include "api/build.h"
#include "api/pages.h"
#include "api/routes.h"
#include "core/clock.h"

const struct settings *app_settings(void *app)
{
    return atomic_load_explicit(&((struct app *)app)->settings, memory_order_acquire);
}

static const char *version_reply(void *mem, const struct settings *settings)
{
    auto_json json_t *json = json_pack(
        "{s:s,s:s,s:s,s:s}", "version",
        settings->app_version == NULL ? MANUS_VERSION : settings->app_version, "commit",
        settings->git_commit == NULL ? build_commit(mem) : settings->git_commit, "build_time",
        settings->build_time == NULL ? build_time(mem) : settings->build_time, "environment",
        settings->environment);
    auto_text char *text = json_dumps(json, JSON_COMPACT);

    return mem_string(mem, text);
}

void app_prepare(struct app *app, void *mem)
{
    const struct settings *settings = app_settings(app);

    app->started_ms = clock_mono_ms();
    app->version = version_reply(mem, settings);
    app->pages = pages_make(mem, settings, routes);
    provider_warn(settings);
}
