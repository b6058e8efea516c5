/* The usage of an operator's operation (api/operations.h), taken apart: what its command line
 * looks like, and the options and actions that come from it. On the main thread. */
#pragma once

#include "api/operations.h"
#include "cli/table.h"

enum { USAGE_PARTS = 6 };

struct command_usage {
    char *literals[USAGE_PARTS]; /* NULL ends them, as it does the words and options */
    char *words[USAGE_PARTS];    /* what stands for the first fields, in their order */
    struct usage_option {
        char *name;  /* without its dashes */
        char *value; /* what the value is called; NULL: it takes none */
        bool is_optional;
    } options[USAGE_PARTS];
};

/* Whether the operation belongs to that command. */
bool usage_is_of(const struct operation *operation, const char *name);

/* Without the name of the command. */
struct command_usage usage_read(void *mem, const struct operation *operation);

/* An option of that operation? */
bool usage_has_option(const struct command_usage *usage, const char *name);

/* The name of the field that an option is for: --dry-run is dry_run. */
char *usage_field_name(void *mem, const char *option);

/* The options of all operations of a command, each once, that of this number; NULL behind the last.
 * Those by which an operation is known contradict each other. Valid until another command's are
 * asked for. */
const struct option_row *usage_option(const char *name, size_t i);

/* The actions of a command likewise, without what may be left out; false behind the last. */
bool usage_action(void *mem, const char *name, size_t i, struct action_row *ret);
