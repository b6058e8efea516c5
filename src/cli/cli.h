/* The commands of the program: one table, from which parsing, help, completion and the man page
 * come. On the main thread. */
#pragma once

#include "billing/plans.h"

#include <sysexits.h>

struct arguments;
struct task;
struct store;

/* The value of an option, "" for one that takes none, NULL if it was not given. */
const char *argument_option(const struct arguments *arguments, const char *name);

/* What stands behind the command, counted from 0; NULL: nothing. */
const char *argument_word(const struct arguments *arguments, unsigned which);

/* Runs the command line; returns the exit status. */
int cli_run(int argc, char **argv);

/* The commands. Each returns the exit status: 0, or one of sysexits.h. */
typedef int command(const struct arguments *arguments);

command command_serve, command_check, command_init, command_settings, command_routes,
    command_version, command_help, command_operate, command_openapi, command_limits, command_errors,
    command_metrics, command_restore;

/* Settings as `serve` would load them; problems and, if asked for, warnings go to standard error, a
 * line each. NULL: there was a problem, and the exit status is EX_CONFIG. */
struct settings *cli_load_settings(void *mem, const struct arguments *arguments,
                                   bool show_warnings);

/* The plans that these settings name; NULL likewise. */
const struct plans *cli_load_plans(void *mem, const struct settings *settings);

/* The store for a command that found no server. Only `serve` makes one: NULL if there is none, and
 * the task's text says so, unless `may_make`, which says on standard error that it was made. */
struct store *cli_open_store(struct task *task, const struct settings *settings, bool may_make);

struct settings_input cli_settings_input(const struct arguments *arguments);
