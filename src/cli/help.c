#include "cli/table.h"

#include "core/settings.h"

#include <string.h>

enum { LINE_WIDTH = 92 };

static const struct {
    const char *name, *help;
} exits[] =
    {
        {"0", "Success."},
        {"64", "The command line is wrong."},
        {"65", "An argument is wrong, e.g. a user that does not exist."},
        {"66", "An input file cannot be read."},
        {"69",
         "Something that the command needs is unavailable: the store, the port, another service. "
         "For check: at least one test failed."},
        {"70", "The server did not stop in time and was killed."},
        {"73", "A file cannot be written."},
        {"74", "Standard output cannot be written to."},
        {"78", "A setting is wrong; every wrong setting has a line."},
        {"128+n", "Stopped at once by signal n."},
},
  signals[] =
      {
          {"SIGTERM, SIGINT",
           "Accepts no new connections, finishes the requests in progress within "
           "SHUTDOWN_TIMEOUT_SECONDS and exits with status 0. A second SIGINT after one second "
           "stops it at once."},
          {"SIGQUIT", "Stops at once."},
          {"SIGHUP",
           "Reloads the settings. Those that are marked live take effect; the log names the "
           "others. If any setting is wrong, nothing changes."},
},
  files[] = {
      {".env", "The settings, in the working folder; --env-file names another file."},
      {"/etc/manus/manus.env", "The settings of the unit manus.service."},
      {"DATA_DIR/manus.sqlite",
       "The embedded store, with its log -wal, the index -shm of the log, and -seal, which "
       "detects a file that was replaced by hand."},
      {"DATA_DIR/manus.sqlite.before-*", "The old store, kept by manus restore."},
      {"DATA_DIR/bans", "The bans of manus limits."},
      {"DATA_DIR/outbox", "Mails as files, if no mail server is configured."},
      {"DATA_DIR/lock", "Locked by the process that uses the folder."},
      {"DATA_DIR/admin.sock",
       "The socket through which the commands of operators reach the server."},
};

static void put_wrapped(struct text *out, const char *indent, const char *prose)
{
    size_t column = 0;

    while (*prose != '\0') {
        size_t word = strcspn(prose, " ");

        if (column > 0 && column + 1 + word > LINE_WIDTH) {
            text_char(out, '\n');
            column = 0;
        }
        text_add(out, column == 0 ? indent : " ");
        column += (column == 0 ? strlen(indent) : 1) + word;
        text_put(out, prose, word);
        prose += word;
        prose += strspn(prose, " ");
    }
    text_char(out, '\n');
}

static char *option_usage(void *mem, const struct option_row *option)
{
    return option->value == NULL ? mem_printf(mem, "--%s", option->name)
                                 : mem_printf(mem, "--%s %s", option->name, option->value);
}

static void put_usage(struct text *out, const struct command_row *row)
{
    const struct option_row *option;

    text_printf(out, "manus %s", row->name);
    for (size_t i = 0; (option = cli_option(row, i)) != NULL; i++)
        text_printf(out, " [%s]", option_usage(out->mem, option));
    for (size_t i = 0; i < WORDS && row->words[i] != NULL; i++)
        text_printf(out, " [%s]", row->words[i]);
}

static void put_actions(struct text *out, const struct command_row *row)
{
    struct action_row action;

    for (size_t i = 0; cli_action(out->mem, row, i, &action); i++)
        text_printf(out, "%s  %-22s %s\n", i == 0 ? "\nActions:\n" : "", action.usage, action.help);
}

static void put_examples(struct text *out, const struct command_row *row)
{
    for (size_t i = 0; i < EXAMPLES && row->examples[i].usage != NULL; i++)
        text_printf(out, "%s  %s\n      %s\n", i == 0 ? "\nExamples:\n" : "",
                    row->examples[i].usage, row->examples[i].help);
}

void help_put_command(struct text *out, const struct command_row *row)
{
    const struct option_row *option;

    text_add(out, "usage: ");
    put_usage(out, row);
    text_add(out, "\n\n");
    put_wrapped(out, "", row->summary);
    if (*row->details != '\0')
        put_wrapped(out, "", row->details);
    put_actions(out, row);
    text_add(out, "\nOptions:\n");
    for (size_t i = 0; (option = cli_option(row, i)) != NULL; i++)
        text_printf(out, "  %-22s %s\n", option_usage(out->mem, option), option->help);
    text_printf(out, "  %-22s %s\n", "--help", "Explain the command.");
    put_examples(out, row);
}

void help_put_all(struct text *out)
{
    text_add(out, "usage: manus COMMAND [OPTION ...]\n\n"
                  "Accounts, mail, rate limits and billing for your application.\n\n");
    for (size_t i = 0; i < cli_command_count; i++)
        text_printf(out, "  %-10s %s\n", cli_commands[i].name, cli_commands[i].summary);
    text_add(out, "\nTo start: manus init && manus serve\n");
}

/* As troff reads it: a leading dot and every backslash and dash would mean something else. */
static void put_troff(struct text *out, const char *prose)
{
    if (*prose == '.' || *prose == '\'')
        text_add(out, "\\&");
    for (; *prose != '\0'; prose++) {
        if (*prose == '-' || *prose == '\\')
            text_char(out, '\\');
        text_char(out, *prose);
    }
    text_char(out, '\n');
}

static void put_entry(struct text *out, const char *name, const char *prose)
{
    text_add(out, ".TP\n");
    put_troff(out, name);
    put_troff(out, prose);
}

static void put_man_command(struct text *out, const struct command_row *row)
{
    const struct option_row *option;
    struct action_row action;
    struct text usage = text_open(out->mem, 128);

    put_usage(&usage, row);
    text_add(out, ".SS ");
    put_troff(out, usage.s);
    put_troff(out, row->summary);
    if (*row->details != '\0')
        put_troff(out, row->details);
    for (size_t i = 0; cli_action(out->mem, row, i, &action); i++)
        put_entry(out, mem_printf(out->mem, "%s %s", row->name, action.usage), action.help);
    for (size_t i = 0; (option = cli_option(row, i)) != NULL; i++)
        put_entry(out, option_usage(out->mem, option), option->help);
}

static void put_man_examples(struct text *out)
{
    text_add(out, ".SH EXAMPLES\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct action_row *examples = cli_commands[i].examples;

        for (size_t j = 0; j < EXAMPLES && examples[j].usage != NULL; j++)
            put_entry(out, examples[j].usage, examples[j].help);
    }
}

#define PUT_ENTRIES(out, rows)                                                                     \
    for (size_t i_ = 0; i_ < count_of(rows); i_++)                                                 \
    put_entry((out), (rows)[i_].name, (rows)[i_].help)

void help_put_man_page(struct text *out)
{
    text_printf(
        out,
        ".TH MANUS 1 \"\" \"manus %s\" \"User Commands\"\n.ad l\n.SH NAME\nmanus \\- accounts, "
        "mail, rate limits and billing for your application\n"
        ".SH SYNOPSIS\n.B manus\n.I COMMAND\n.RI [ ACTION ]\n.RI [ WORD \" ...]\"\n"
        ".RI [ OPTION \" ...]\"\n.SH COMMANDS\n",
        MANUS_VERSION);
    for (size_t i = 0; i < cli_command_count; i++)
        put_man_command(out, &cli_commands[i]);
    text_add(out,
             ".SH ENVIRONMENT\nEach setting can be an environment variable, which overrides the "
             "settings file. For a secret NAME, NAME_FILE can name a file that holds it.\n");
    for (size_t i = 0; i < SETTING_COUNT; i++)
        put_entry(out, setting_rows[i].name, setting_rows[i].help);
    text_add(out, ".SH FILES\n");
    PUT_ENTRIES(out, files);
    text_add(out, ".SH SIGNALS\nThe server handles these signals:\n");
    PUT_ENTRIES(out, signals);
    text_add(out, ".SH EXIT STATUS\n");
    PUT_ENTRIES(out, exits);
    put_man_examples(out);
}
