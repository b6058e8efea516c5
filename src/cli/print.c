/* The commands that print what the tables hold. */
#include "api/build.h"
#include "api/errors.h"
#include "api/openapi.h"
#include "api/routes.h"
#include "cli/cli.h"
#include "cli/labels.h"
#include "core/metrics.h"
#include "core/settings_print.h"

#include <stdio.h>

int command_settings(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct settings *settings;

    if (argument_option(arguments, "env") != NULL) {
        fputs(settings_as_env(mem), stdout);
        return EX_OK;
    }
    if (argument_option(arguments, "markdown") != NULL) {
        fputs(settings_as_markdown(mem), stdout);
        return EX_OK;
    }
    settings = cli_load_settings(mem, arguments, true);
    if (argument_option(arguments, "json") != NULL)
        puts(settings_as_json(mem, settings));
    else if (settings != NULL)
        fputs(settings_as_values(mem, settings), stdout);
    return settings == NULL ? EX_CONFIG : EX_OK;
}

int command_routes(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);

    (void)arguments;
    fputs(routes_as_markdown(mem), stdout);
    return EX_OK;
}

int command_errors(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);

    (void)arguments;
    fputs(errors_as_markdown(mem), stdout);
    return EX_OK;
}

int command_metrics(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);

    (void)arguments;
    labels_name(mem, 0);
    fputs(metrics_as_markdown(mem), stdout);
    return EX_OK;
}

int command_openapi(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct settings_input input = cli_settings_input(arguments);
    struct settings_report report = {0};
    /* Without settings that a server would start with, it is that of the defaults. */
    auto_json json_t *document = openapi_document(mem, settings_load(mem, &input, &report), routes);

    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    return EX_OK;
}

int command_version(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);

    (void)arguments;
    printf("manus %s (commit %s of %s)\n", MANUS_VERSION, build_commit(mem), build_time(mem));
    return EX_OK;
}
