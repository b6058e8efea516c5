#include "cli/table.h"

#include <string.h>

/* The word of that number in an action's usage, if it stands for itself. */
static const char *literal(void *mem, const char *usage, unsigned which)
{
    size_t len;

    for (; which > 0 && usage != NULL; which--) {
        usage = strchr(usage, ' ');
        usage = usage == NULL ? NULL : usage + 1;
    }
    if (usage == NULL || *usage < 'a' || *usage > 'z')
        return NULL;
    len = strcspn(usage, " ");
    return mem_printf(mem, "%.*s", (int)len, usage);
}

/* The first words of the actions, each once; with `first`, the second ones behind it. */
static void put_actions(struct text *out, const struct command_row *row, const char *first)
{
    const char *last = "";
    struct action_row action;

    for (size_t i = 0; cli_action(out->mem, row, i, &action); i++) {
        const char *word = literal(out->mem, action.usage, 0);

        if (first != NULL)
            word = strcmp(word, first) == 0 ? literal(out->mem, action.usage, 1) : NULL;
        if (word == NULL || strcmp(word, last) == 0)
            continue;
        text_printf(out, " %s", word);
        last = word;
    }
}

/* What may stand behind a command: options, actions, commands to explain. */
static void put_words(struct text *out, const struct command_row *row)
{
    const struct option_row *option;

    text_add(out, "--help");
    for (size_t i = 0; (option = cli_option(row, i)) != NULL; i++)
        text_printf(out, " --%s", option->name);
    put_actions(out, row, NULL);
    for (size_t i = 0; row->run == command_help && i < cli_command_count; i++)
        text_printf(out, " %s", cli_commands[i].name);
}

static bool takes_file(const struct command_row *row)
{
    return row->words[0] != NULL && strcmp(row->words[0], "FILE") == 0;
}

/* Calls `put` for each first word behind which a second one stands. */
static void for_each_group(struct text *out,
                           void (*put)(struct text *out, const struct command_row *row,
                                       const char *first))
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *last = "";
        struct action_row action;

        for (size_t j = 0; cli_action(out->mem, &cli_commands[i], j, &action); j++) {
            const char *first = literal(out->mem, action.usage, 0);

            if (literal(out->mem, action.usage, 1) != NULL && strcmp(first, last) != 0) {
                put(out, &cli_commands[i], first);
                last = first;
            }
        }
    }
}

/* bash */

static void put_bash_group(struct text *out, const struct command_row *row, const char *first)
{
    text_printf(out, "    '%s %s') COMPREPLY=($(compgen -W \"", row->name, first);
    put_actions(out, row, first);
    text_add(out, "\" -- \"$word\")); return ;;\n");
}

void completion_put_bash(struct text *out)
{
    text_add(out, "_manus()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
                  "    local before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                  "    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; i < cli_command_count; i++)
        text_printf(out, "%s ", cli_commands[i].name);
    text_add(out, "\" -- \"$word\"))\n        return\n    fi\n    case \"$command $before\" in\n"
                  "    *' --env-file' | *' --times') COMPREPLY=($(compgen -f -- \"$word\")); "
                  "return ;;\n");
    for_each_group(out, put_bash_group);
    text_add(out, "    esac\n    case $command in\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        text_printf(out, "    %s) COMPREPLY=($(compgen %s-W \"", cli_commands[i].name,
                    takes_file(&cli_commands[i]) ? "-f " : "");
        put_words(out, &cli_commands[i]);
        text_add(out, "\" -- \"$word\")) ;;\n");
    }
    text_add(out, "    esac\n}\ncomplete -F _manus manus\n");
}

/* 'text', with what ends a quotation inside of it. */
static void put_quoted(struct text *out, const char *text)
{
    text_char(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            text_add(out, "'\\''");
        else
            text_char(out, *text);
    }
    text_char(out, '\'');
}

/* zsh */

static void put_zsh_group(struct text *out, const struct command_row *row, const char *first)
{
    text_printf(out, "    ('%s %s') compadd --", row->name, first);
    put_actions(out, row, first);
    text_add(out, "; return ;;\n");
}

void completion_put_zsh(struct text *out)
{
    text_add(out, "#compdef manus\n_manus()\n{\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        text_add(out, "        ");
        put_quoted(out,
                   mem_printf(out->mem, "%s:%s", cli_commands[i].name, cli_commands[i].summary));
        text_char(out, '\n');
    }
    text_add(out, "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n"
                  "        return\n    fi\n    case \"$words[2] $words[CURRENT-1]\" in\n"
                  "    (*' --env-file'|*' --times') _files; return ;;\n");
    for_each_group(out, put_zsh_group);
    text_add(out, "    esac\n    case $words[2] in\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        text_printf(out, "    (%s) compadd -- ", cli_commands[i].name);
        put_words(out, &cli_commands[i]);
        text_add(out, takes_file(&cli_commands[i]) ? "; _files ;;\n" : " ;;\n");
    }
    text_add(out, "    esac\n}\n_manus \"$@\"\n");
}

/* fish */

static void put_fish(struct text *out, const char *when, const char *what, const char *help)
{
    text_printf(out, "complete -c manus -n '%s' %s", when, what);
    if (help != NULL) {
        text_add(out, " -d ");
        put_quoted(out, help);
    }
    text_char(out, '\n');
}

static void put_fish_group(struct text *out, const struct command_row *row, const char *first)
{
    struct text words = text_open(out->mem, 64);

    put_actions(&words, row, first);
    put_fish(out,
             mem_printf(out->mem,
                        "__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s",
                        row->name, first),
             mem_printf(out->mem, "-a \"%s\"", words.s), NULL);
}

static void put_fish_command(struct text *out, const struct command_row *row)
{
    const char *when = mem_printf(out->mem, "__fish_seen_subcommand_from %s", row->name);
    const struct option_row *option;
    struct text words = text_open(out->mem, 64);

    put_fish(out, "__fish_use_subcommand", mem_printf(out->mem, "-a %s", row->name), row->summary);
    for (size_t i = 0; (option = cli_option(row, i)) != NULL; i++)
        put_fish(out, when,
                 mem_printf(out->mem, "-l %s%s", option->name,
                            option->value == NULL                ? ""
                            : strcmp(option->value, "FILE") == 0 ? " -r -F"
                                                                 : " -x"),
                 option->help);
    put_actions(&words, row, NULL);
    if (words.len > 0)
        put_fish(out, when, mem_printf(out->mem, "-a \"%s\"", words.s), NULL);
    if (takes_file(row))
        put_fish(out, when, "-F", NULL);
}

void completion_put_fish(struct text *out)
{
    text_add(out, "complete -c manus -f\n");
    for (size_t i = 0; i < cli_command_count; i++)
        put_fish_command(out, &cli_commands[i]);
    for_each_group(out, put_fish_group);
    for (size_t i = 0; i < cli_command_count; i++)
        put_fish(out, "__fish_seen_subcommand_from help",
                 mem_printf(out->mem, "-a %s", cli_commands[i].name), cli_commands[i].summary);
}
