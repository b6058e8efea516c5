#include "cli/cli.h"
#include "core/clock.h"
#include "store/embedded.h"

#include <inttypes.h>
#include <stdio.h>

static enum embedded_log log_of(const struct arguments *arguments)
{
    if (argument_option(arguments, "with-log") != NULL)
        return EMBEDDED_LOG_APPLIED;
    return argument_option(arguments, "without-log") != NULL ? EMBEDDED_LOG_LEFT
                                                             : EMBEDDED_LOG_BY_ITSELF;
}

int command_restore(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .job = "restore"};
    const char *file = argument_word(arguments, 0);
    const struct settings *settings;
    struct embedded_restored restored;

    if (file == NULL) {
        fputs("manus restore: FILE is missing; run: manus help restore\n", stderr);
        return EX_USAGE;
    }
    settings = task.settings = cli_load_settings(mem, arguments, false);
    if (settings == NULL)
        return EX_CONFIG;
    if (embedded_restore(&task, settings->data_dir, file, log_of(arguments), &restored) != OK) {
        fprintf(stderr, "manus restore: %s\n", task.text);
        return EX_UNAVAILABLE;
    }
    printf("restored %s from %s: sound, schema %d, %" PRId64 " users\n", restored.file, file,
           restored.version, restored.users);
    if (restored.log_is != NULL)
        printf("the log was not applied: with it, %s\n", restored.log_is);
    if (restored.kept == NULL)
        puts("there was no store before");
    else
        printf("the old store is kept as %s; to undo this, run: manus restore %s\n", restored.kept,
               restored.kept);
    return EX_OK;
}
