#include "cli/cli.h"

#include "account/admin.h"
#include "core/crypto.h"
#include "core/text.h"
#include "remote/transfer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTIONS = 5, WORDS = 3, LINE_WIDTH = 92 };

struct option_row {
    const char *name;  /* without its dashes */
    const char *value; /* what the value is called; NULL: it takes none */
    const char *help;
};

struct command_row {
    const char *name;
    const char *words[WORDS]; /* what may follow */
    const char *summary;
    const char *details;
    struct option_row options[OPTIONS];
    command *run;
};

struct arguments {
    const struct command_row *row;
    const char *values[OPTIONS];
    const char *words[WORDS];
    unsigned word_count;
    bool wants_help;
};

#define ENV_FILE                                                                                   \
    {                                                                                              \
        "env-file", "FILE", "Read settings from FILE instead of .env in the working folder."       \
    }

static const struct command_row commands[] = {
    {.name = "serve",
     .summary = "Serve until SIGTERM or SIGINT.",
     .details =
         "Listens on HOST and PORT, or on the sockets of the service manager (LISTEN_FDS). "
         "SIGTERM and SIGINT let the requests under way end and then exit 0. SIGQUIT, or SIGINT "
         "again after a second, ends at once. SIGHUP reads the settings again that can change "
         "while it runs.",
     .options = {ENV_FILE},
     .run = command_serve},
    {.name = "check",
     .summary = "Say what serve would do, and try what it depends on.",
     .details = "Reads the settings, tries to listen, looks at the store and its disk, times the "
                "password hash and tries each configured peer: a line for each, with where it is, "
                "how long it took and how to mend what is wrong. Changes nothing. Exit status 69 "
                "if something is wrong.",
     .options = {ENV_FILE},
     .run = command_check},
    {.name = "init",
     .summary = "Write a .env with a random key.",
     .details = "The file is readable by its owner only. One that is there is never overwritten.",
     .options = {{"env-file", "FILE", "Write FILE instead of .env in the working folder."}},
     .run = command_init},
    {.name = "admin",
     .words = {"ACTION", "WHO"},
     .summary = "Make administrators, find and stop users.",
     .details =
         "Acts through the server that has the store, or on the store when none runs; the "
         "audit trail names the user of the operating system. ACTION is create, promote, "
         "demote, list, show, reset-password or revoke-sessions; WHO is an e-mail address or "
         "an id, for list words to search for.",
     .options = {ENV_FILE, {"fullname", "NAME", "The name of whom create makes."}},
     .run = command_admin},
    {.name = "mail",
     .words = {"ACTION", "NUMBER"},
     .summary = "List the mails that wait to be sent, or try them at once.",
     .details = "ACTION is list or retry; with a NUMBER, retry tries that one alone.",
     .options = {ENV_FILE},
     .run = command_mail},
    {.name = "limits",
     .words = {"ACTION", "WHAT"},
     .summary = "Show or reset what a rate limit counts, ban a network, or try a rule.",
     .details =
         "show KEY and reset KEY ask the running server; a key is such as "
         "auth_login:ip:203.0.113.9 or auth_me:user:ID. show --top lists who asks most. "
         "ban NETWORK refuses it altogether for a time, unban NETWORK no longer, and bans "
         "lists them. test RULE says what a rule such as 5/minute;20/hour would have said to "
         "the requests of one client at the times, in seconds, that stand in a file or come "
         "on standard input, one a line.",
     .options = {ENV_FILE,
                 {"times", "FILE", "For test: read the times from FILE."},
                 {"top", NULL, "For show: who asks most of this server."},
                 {"for", "TIME", "For ban: how long, such as 30m, 1h or 7d; an hour if absent."}},
     .run = command_limits},
    {.name = "billing",
     .words = {"ACTION", "DEED", "WHAT"},
     .summary = "See to events of Stripe, compare with Stripe, examine its setup.",
     .details =
         "inbox list [STATE] shows the events that came (waiting, done, ignored, dead), inbox show "
         "EVENT one of them with what it said, inbox replay EVENT applies it anew, inbox replay "
         "dead all that were given up. sync compares one user, or all, with Stripe and mends what "
         "differs. link WHO CUSTOMER gives what a customer at Stripe pays to a user. doctor says "
         "whether Stripe is set up as it must be, and how to mend it.",
     .options = {ENV_FILE,
                 {"user", "WHO", "For sync: an e-mail address or an id."},
                 {"all", NULL, "For sync: everybody whom Stripe knows."},
                 {"dry-run", NULL, "For sync: only say what differs."}},
     .run = command_billing},
    {.name = "restore",
     .words = {"FILE"},
     .summary = "Put a copy in the place of the embedded store.",
     .details =
         "Refuses while a server has DATA_DIR. Copies FILE, with the log FILE-wal if one is there, "
         "checks the copy, and only then puts it in place; what was there is kept beside it under "
         "a name with the date. If FILE is the store's own file, which somebody has copied there, "
         "it stays, without the log of the one before.",
     .options = {ENV_FILE},
     .run = command_restore},
    {.name = "settings",
     .summary = "Print the settings in force and where each comes from.",
     .details = "Secrets are never printed.",
     .options = {ENV_FILE,
                 {"env", NULL, "Print the table of settings as .env.example."},
                 {"json", NULL, "Print the table and the values in force as JSON."},
                 {"markdown", NULL, "Print the table of settings as docs/settings.md."}},
     .run = command_settings},
    {.name = "routes",
     .summary = "Print every route with who may use it and its limits.",
     .details = "As docs/routes.md holds it.",
     .run = command_routes},
    {.name = "openapi",
     .summary = "Print the OpenAPI 3.1 document of the API.",
     .details = "As /api/v1/openapi.json gives it.",
     .run = command_openapi},
    {.name = "version",
     .summary = "Print the version and the commit.",
     .details = "",
     .run = command_version},
    {.name = "help",
     .words = {"COMMAND"},
     .summary = "Explain a command, or list all.",
     .details = "",
     .options = {{"man", NULL, "Print the man page."},
                 {"completion", NULL, "Print the completion script for bash."}},
     .run = command_help},
};

static const struct command_row *find_command(const char *name)
{
    for (size_t i = 0; i < count_of(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static const struct option_row *next_option(const struct command_row *row, size_t i)
{
    return i < OPTIONS && row->options[i].name != NULL ? &row->options[i] : NULL;
}

const char *argument_option(const struct arguments *arguments, const char *name)
{
    const struct option_row *option;

    for (size_t i = 0; (option = next_option(arguments->row, i)) != NULL; i++) {
        if (strcmp(option->name, name) == 0)
            return arguments->values[i];
    }
    return NULL;
}

const char *argument_word(const struct arguments *arguments, unsigned which)
{
    return arguments->words[which];
}

/* Parsing */

static int misused(const struct command_row *row, const char *problem, const char *what)
{
    if (row == NULL)
        fprintf(stderr, "manus: %s %s; run: manus help\n", problem, what);
    else
        fprintf(stderr, "manus %s: %s %s; run: manus help %s\n", row->name, problem, what,
                row->name);
    return EX_USAGE;
}

/* --name VALUE or --name=VALUE. Moves `*at` on when the value is a word of its own. */
static int parse_option(struct arguments *a, char **argv, int *at)
{
    const char *given = argv[*at] + 2, *value = strchr(given, '=');
    size_t len = value == NULL ? strlen(given) : (size_t)(value - given);
    const struct option_row *option;

    for (size_t i = 0; (option = next_option(a->row, i)) != NULL; i++) {
        if (strlen(option->name) != len || memcmp(option->name, given, len) != 0)
            continue;
        if (option->value == NULL && value != NULL)
            return misused(a->row, "this option takes no value:", argv[*at]);
        a->values[i] = value == NULL ? "" : value + 1;
        if (option->value != NULL && value == NULL) {
            if (argv[*at + 1] == NULL)
                return misused(a->row, "a value is missing behind", argv[*at]);
            a->values[i] = argv[++*at];
        }
        return EX_OK;
    }
    return misused(a->row, "there is no option", argv[*at]);
}

/* May begin with a dash, as one id in 64 does. */
static int parse_word(struct arguments *a, const char *word)
{
    if (a->word_count == WORDS || a->row->words[a->word_count] == NULL)
        return misused(a->row, "this means nothing here:", word);
    a->words[a->word_count++] = word;
    return EX_OK;
}

static int parse(struct arguments *a, char **argv)
{
    bool words_only = false;

    for (int i = 0; argv[i] != NULL; i++) {
        int status = EX_OK;

        if (words_only)
            status = parse_word(a, argv[i]);
        else if (strcmp(argv[i], "--") == 0)
            words_only = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            a->wants_help = true;
        else if (strncmp(argv[i], "--", 2) == 0)
            status = parse_option(a, argv, &i);
        else
            status = parse_word(a, argv[i]);
        if (status != EX_OK)
            return status;
    }
    return EX_OK;
}

/* Help */

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
    for (size_t i = 0; (option = next_option(row, i)) != NULL; i++)
        text_printf(out, " [%s]", option_usage(out->mem, option));
    for (size_t i = 0; i < WORDS && row->words[i] != NULL; i++)
        text_printf(out, " [%s]", row->words[i]);
}

static void put_command_help(struct text *out, const struct command_row *row)
{
    const struct option_row *option;

    text_add(out, "usage: ");
    put_usage(out, row);
    text_add(out, "\n\n");
    put_wrapped(out, "", row->summary);
    if (*row->details != '\0')
        put_wrapped(out, "", row->details);
    text_char(out, '\n');
    for (size_t i = 0; (option = next_option(row, i)) != NULL; i++)
        text_printf(out, "  %-18s %s\n", option_usage(out->mem, option), option->help);
    text_printf(out, "  %-18s %s\n", "--help", "Explain the command.");
}

static void put_help(struct text *out)
{
    text_add(out, "usage: manus COMMAND [OPTION ...]\n\n"
                  "Accounts, sessions and operations for the application behind it.\n\n");
    for (size_t i = 0; i < count_of(commands); i++)
        text_printf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    text_add(out, "\nTo begin: manus init && manus serve\n");
}

/* What the first word behind a command may be. */
static void put_words(struct text *out, const struct command_row *row)
{
    if (row->run == command_help) {
        for (size_t i = 0; i < count_of(commands); i++)
            text_printf(out, " %s", commands[i].name);
    }
    for (const struct admin_action *action = admin_actions; action->name != NULL; action++) {
        if (strcmp(action->command, row->name) == 0)
            text_printf(out, " %s", action->name);
    }
}

static void put_completion(struct text *out)
{
    text_add(out, "_manus()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
                  "    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; i < count_of(commands); i++)
        text_printf(out, "%s ", commands[i].name);
    text_add(out, "\" -- \"$word\"))\n        return\n    fi\n"
                  "    if [ \"${COMP_WORDS[COMP_CWORD - 1]}\" = --env-file ]; then\n"
                  "        COMPREPLY=($(compgen -f -- \"$word\"))\n        return\n    fi\n"
                  "    case $command in\n");
    for (size_t i = 0; i < count_of(commands); i++) {
        const struct option_row *option;

        text_printf(out, "    %s) COMPREPLY=($(compgen -W \"--help", commands[i].name);
        for (size_t j = 0; (option = next_option(&commands[i], j)) != NULL; j++)
            text_printf(out, " --%s", option->name);
        put_words(out, &commands[i]);
        text_add(out, "\" -- \"$word\")) ;;\n");
    }
    text_add(out, "    esac\n}\ncomplete -F _manus manus\n");
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

static void put_man_command(struct text *out, const struct command_row *row)
{
    const struct option_row *option;
    struct text usage = text_open(out->mem, 128);

    put_usage(&usage, row);
    text_add(out, ".SS ");
    put_troff(out, usage.s);
    put_troff(out, row->summary);
    if (*row->details != '\0')
        put_troff(out, row->details);
    for (size_t i = 0; (option = next_option(row, i)) != NULL; i++) {
        text_add(out, ".TP\n");
        put_troff(out, option_usage(out->mem, option));
        put_troff(out, option->help);
    }
}

static void put_man_page(struct text *out)
{
    text_printf(
        out,
        ".TH MANUS 1 \"\" \"manus %s\" \"User Commands\"\n.ad l\n.SH NAME\nmanus \\- accounts, "
        "sessions and operations for the application behind it\n"
        ".SH SYNOPSIS\n.B manus\n.I COMMAND\n.RI [ OPTION \" ...]\"\n.SH COMMANDS\n",
        MANUS_VERSION);
    for (size_t i = 0; i < count_of(commands); i++)
        put_man_command(out, &commands[i]);
    text_add(out,
             ".SH ENVIRONMENT\nEvery setting may stand in the environment, which wins over the "
             "file; a secret NAME may come from the file that NAME_FILE names.\n");
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        text_add(out, ".TP\n");
        put_troff(out, setting_rows[i].name);
        put_troff(out, setting_rows[i].help);
    }
    text_add(out, ".SH EXIT STATUS\n.TP\n0\nAll went well.\n.TP\n64\nThe command line is wrong.\n"
                  ".TP\n69\nSomething that is needed is not there: the store, the port, a "
                  "dependency.\n.TP\n73\nA file cannot be written.\n.TP\n78\nA setting is wrong.\n"
                  ".SH FILES\n.TP\n\\&.env\nSettings, in the working folder.\n");
}

static void print(const struct text *out)
{
    fwrite(out->s, 1, out->len, stdout);
}

int command_help(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct text out = text_open(mem, 4096);
    const char *name = argument_word(arguments, 0);
    const struct command_row *row = name == NULL ? NULL : find_command(name);

    if (name != NULL && row == NULL)
        return misused(NULL, "there is no command", name);
    if (argument_option(arguments, "man") != NULL)
        put_man_page(&out);
    else if (argument_option(arguments, "completion") != NULL)
        put_completion(&out);
    else if (row != NULL)
        put_command_help(&out, row);
    else
        put_help(&out);
    print(&out);
    return EX_OK;
}

/* Settings */

struct settings_input cli_settings_input(const struct arguments *arguments)
{
    return (struct settings_input){environ, argument_option(arguments, "env-file")};
}

struct settings *cli_load_settings(void *mem, const struct arguments *arguments, bool show_warnings)
{
    struct settings_input input = cli_settings_input(arguments);
    struct settings_report report = {0};
    struct settings *settings = settings_load(mem, &input, &report);

    for (size_t i = 0; show_warnings && i < report.warning_count; i++)
        fprintf(stderr, "manus: warning: %s\n", report.warnings[i]);
    for (size_t i = 0; i < report.problem_count; i++)
        fprintf(stderr, "manus: %s\n", report.problems[i]);
    return settings;
}

const struct plans *cli_load_plans(void *mem, const struct settings *settings)
{
    struct texts problems;
    const struct plans *plans = plans_load(mem, settings, &problems);

    for (size_t i = 0; i < problems.count; i++)
        fprintf(stderr, "manus: %s\n", problems.of[i]);
    return plans;
}

/* Running */

static int run(struct arguments *arguments)
{
    int status;

    if (arguments->wants_help) {
        auto_tree void *mem = mem_tree(0);
        struct text out = text_open(mem, 1024);

        put_command_help(&out, arguments->row);
        print(&out);
        status = EX_OK;
    } else {
        status = arguments->row->run(arguments);
    }
    /* What did not fit its buffer may have failed long before. */
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == EX_OK) {
        fprintf(stderr, "manus: cannot write to standard output: %s\n", strerror(errno));
        status = EX_IOERR;
    }
    return status;
}

static const struct command_row *named(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    if (strcmp(word, "--version") == 0)
        word = "version";
    return find_command(word);
}

int cli_run(int argc, char **argv)
{
    struct arguments arguments = {0};
    int status;

    if (argc < 2) {
        arguments.row = find_command("help");
        command_help(&arguments);
        return EX_USAGE;
    }
    arguments.row = named(argv[1]);
    if (arguments.row == NULL)
        return misused(NULL, "there is no command", argv[1]);
    status = parse(&arguments, argv + 2);
    if (status != EX_OK)
        return status;

    /* Files that it makes hold secrets; a client that leaves and a file that may not grow are no
     * reason to end. */
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    crypto_start();
    transfer_start();
    return run(&arguments);
}
