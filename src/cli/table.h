/* The table of commands, in cli.c, and what is made from it: help and the man page in help.c, the
 * completion of three shells in completion.c. */
#pragma once

#include "cli/cli.h"
#include "core/text.h"

enum { OPTIONS = 8, WORDS = 3, EXAMPLES = 3 };

struct option_row {
    const char *name;  /* without its dashes */
    const char *value; /* what the value is called; NULL: it takes none */
    const char *help;
    unsigned choice; /* of those with one number only one may be given; 0: it stands by itself */
};

struct action_row {
    /* "inbox show EVENT": words in small letters stand for themselves; or a whole command line */
    const char *usage;
    const char *help;
};

struct command_row {
    const char *name;
    const char *words[WORDS]; /* what may follow */
    const char *summary;
    const char *details;
    struct option_row options[OPTIONS]; /* beside those of its operations */
    const struct action_row *actions;   /* beside those of api/operations.def; NULL: none */
    struct action_row examples[EXAMPLES];
    command *run;
};

extern const struct command_row cli_commands[];
extern const size_t cli_command_count;

/* The command that was given. */
const struct command_row *arguments_row(const struct arguments *arguments);

/* The option of that number; NULL behind the last. */
const struct option_row *cli_option(const struct command_row *row, size_t i);

/* The action of that number; false behind the last. */
bool cli_action(void *mem, const struct command_row *row, size_t i, struct action_row *ret);

void help_put_all(struct text *out);
void help_put_command(struct text *out, const struct command_row *row);
void help_put_man_page(struct text *out);

void completion_put_bash(struct text *out);
void completion_put_zsh(struct text *out);
void completion_put_fish(struct text *out);
