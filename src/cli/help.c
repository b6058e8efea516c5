#include "cli/table.h"

#include "core/settings.h"

#include <string.h>

enum { LINE_WIDTH = 92 };

static const struct {
    const char *name, *help;
} exits[] =
    {
        {"0", "All went well."},
        {"64", "The command line is wrong."},
        {"65", "What the command was given is wrong, such as a user whom nobody knows."},
        {"66", "A file to read from cannot be read."},
        {"69",
         "Something that is needed is not there: the store, the port, a peer. For check: something "
         "is wrong."},
        {"70", "The server hung at its stop, and was ended."},
        {"73", "A file cannot be written."},
        {"74", "Standard output cannot be written to."},
        {"78", "A setting is wrong; each has its line."},
        {"128+n", "Ended at once by signal n."},
},
  signals[] =
      {
          {"SIGTERM, SIGINT",
           "No new connections; the requests under way finish, up to "
           "SHUTDOWN_TIMEOUT_SECONDS, then exit 0. SIGINT again after a second ends it "
           "at once."},
          {"SIGQUIT", "Ends at once."},
          {"SIGHUP",
           "Reads the settings again; those that can change while it runs do, and the log names "
           "the rest. A wrong setting changes nothing."},
},
  files[] = {
      {".env", "Settings, in the working folder, or the file that --env-file names."},
      {"/etc/manus/manus.env", "Settings of the unit manus.service."},
      {"DATA_DIR/manus.sqlite",
       "The embedded store, with its log -wal, its index -shm and its -seal, "
       "by which a foreign file is noticed."},
      {"DATA_DIR/manus.sqlite.before-*", "What manus restore has set aside."},
      {"DATA_DIR/bans", "The bans of manus limits."},
      {"DATA_DIR/outbox", "Mails, where no mail server is configured."},
      {"DATA_DIR/lock", "Held by the process that has the folder."},
      {"DATA_DIR/admin.sock", "By which admin, mail, limits and billing reach the server."},
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
        text_printf(out, "%s  %-21s %s\n", i == 0 ? "\nActions:\n" : "", action.usage, action.help);
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
        text_printf(out, "  %-21s %s\n", option_usage(out->mem, option), option->help);
    text_printf(out, "  %-21s %s\n", "--help", "Explain the command.");
    put_examples(out, row);
}

void help_put_all(struct text *out)
{
    text_add(out, "usage: manus COMMAND [OPTION ...]\n\n"
                  "Accounts, sessions and operations for the application behind it.\n\n");
    for (size_t i = 0; i < cli_command_count; i++)
        text_printf(out, "  %-10s %s\n", cli_commands[i].name, cli_commands[i].summary);
    text_add(out, "\nTo begin: manus init && manus serve\n");
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
        "sessions and operations for the application behind it\n"
        ".SH SYNOPSIS\n.B manus\n.I COMMAND\n.RI [ ACTION ]\n.RI [ WORD \" ...]\"\n"
        ".RI [ OPTION \" ...]\"\n.SH COMMANDS\n",
        MANUS_VERSION);
    for (size_t i = 0; i < cli_command_count; i++)
        put_man_command(out, &cli_commands[i]);
    text_add(out,
             ".SH ENVIRONMENT\nEvery setting may stand in the environment, which wins over the "
             "file; a secret NAME may come from the file that NAME_FILE names.\n");
    for (size_t i = 0; i < SETTING_COUNT; i++)
        put_entry(out, setting_rows[i].name, setting_rows[i].help);
    text_add(out, ".SH FILES\n");
    PUT_ENTRIES(out, files);
    text_add(out, ".SH SIGNALS\nThe server heeds these:\n");
    PUT_ENTRIES(out, signals);
    text_add(out, ".SH EXIT STATUS\n");
    PUT_ENTRIES(out, exits);
    put_man_examples(out);
}
