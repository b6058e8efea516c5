#include "cli/cli.h"

#include "cli/table.h"
#include "cli/usage.h"
#include "core/crypto.h"
#include "core/text.h"
#include "remote/transfer.h"
#include "store/store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct arguments {
    const struct command_row *row;
    const char *values[2 * OPTIONS];
    const char *words[WORDS];
    unsigned word_count;
    bool wants_help;
};

#define ENV_FILE                                                                                   \
    {                                                                                              \
        "env-file", "FILE", "Read settings from FILE instead of .env in the working folder."       \
    }

#define JSON                                                                                       \
    {                                                                                              \
        "json", NULL, "Print the answer as JSON."                                                  \
    }

static const struct action_row limits_actions[] = {
    {"test RULE", "Show what a rule would answer to requests at given times."},
    {0},
};

const struct command_row cli_commands[] = {
    {.name = "serve",
     .summary = "Run the server until SIGTERM or SIGINT.",
     .details =
         "Listens on HOST and PORT, or on the sockets of the service manager (LISTEN_FDS). "
         "SIGTERM and SIGINT finish the requests in progress and exit with status 0. SIGQUIT, or "
         "a second SIGINT after one second, stops at once. SIGHUP reloads the settings that are "
         "marked live.",
     .options = {ENV_FILE},
     .examples = {{"manus serve", "Run with the settings of .env in this folder."},
                  {"manus serve --env-file /etc/manus/manus.env",
                   "Run as the unit manus.service does."}},
     .run = command_serve},
    {.name = "check",
     .summary = "Test the settings and everything that serve depends on.",
     .details = "Reads the settings, binds the port, tests the store and its disk, times a "
                "password hash and calls each configured service. Prints a line for each with its "
                "address, its latency and, if it fails, how to fix it. Changes nothing. Exit "
                "status 69 if anything fails.",
     .options = {ENV_FILE},
     .examples = {{"manus check --env-file /etc/manus/manus.env",
                   "Test before you start the server, or when something fails."}},
     .run = command_check},
    {.name = "init",
     .summary = "Write a .env with a random key.",
     .details = "Only its owner can read the file. An existing file is never overwritten.",
     .options = {{"env-file", "FILE", "Write FILE instead of .env in the working folder."}},
     .examples = {{"manus init && manus serve", "Create the settings and start the server."}},
     .run = command_init},
    {.name = "admin",
     .words = {"ACTION", "WHO"},
     .summary = "Create administrators and manage users.",
     .details = "Works through the running server, or directly on the store if no server runs. The "
                "audit trail records which user of the operating system ran the command. WHO is an "
                "e-mail address or an id; WORDS are parts of a name or address.",
     .options = {ENV_FILE, JSON},
     .examples = {{"manus admin create ann@example.com --fullname 'Ann Lee'",
                   "Create an administrator and print a random password."},
                  {"manus admin list ann", "Find users by name or address."},
                  {"manus admin reset-password ann@example.com",
                   "Give a locked-out user a new password."}},
     .run = command_operate},
    {.name = "mail",
     .words = {"ACTION", "NUMBER"},
     .summary = "List the unsent mails, or retry them now.",
     .details = "Shows why each mail is unsent, never its content.",
     .options = {ENV_FILE, JSON},
     .examples = {{"manus mail list", "List the unsent mails with the last error of each."},
                  {"manus mail retry 17", "Retry mail 17 now."}},
     .run = command_operate},
    {.name = "jobs",
     .words = {"ACTION", "NAME"},
     .summary = "List the recurring jobs, or run one now.",
     .details =
         "The running server does the work. If no server runs, list shows what the store knows "
         "and run does the work itself.",
     .options = {ENV_FILE, JSON},
     .examples = {{"manus jobs list", "Show when each job ran and when it runs next."},
                  {"manus jobs run reconcile", "Compare all subscriptions with Stripe now."}},
     .run = command_operate},
    {.name = "limits",
     .words = {"ACTION", "WHAT"},
     .summary = "Show or reset rate limits, ban a network, or test a rule.",
     .details =
         "Every action except test asks the running server, which counts in its memory or in "
         "Redis. A KEY looks like auth_login:ip:203.0.113.9 or auth_me:user:ID. test applies RULE, "
         "e.g. 5/minute;20/hour, to the requests of one client. It reads the times of these "
         "requests from a file or from standard input, in seconds and one per line.",
     .options = {ENV_FILE, JSON, {"times", "FILE", "For test: read the times from FILE."}},
     .actions = limits_actions,
     .examples = {{"manus limits show auth_login:ip:203.0.113.9",
                   "Show how many logins this address has left."},
                  {"manus limits ban 203.0.113.0/24 --for 7d", "Ban a network for a week."},
                  {"seq 1 2 60 | manus limits test 5/minute",
                   "Test a rule with one request every two seconds."}},
     .run = command_limits},
    {.name = "billing",
     .words = {"ACTION", "ARGUMENT", "ARGUMENT"},
     .summary = "Show Stripe's events, compare users with Stripe, check its setup.",
     .details = "Works through the running server, or directly on the store if no server runs.",
     .options = {ENV_FILE, JSON},
     .examples = {{"manus billing doctor", "Check the setup, or find out why billing fails."},
                  {"manus billing inbox list dead",
                   "List the events that manus no longer retries."},
                  {"manus billing sync --all --dry-run",
                   "Report what differs from Stripe, change nothing."}},
     .run = command_operate},
    {.name = "restore",
     .words = {"FILE"},
     .summary = "Restore the embedded store from a copy.",
     .details =
         "Stop the server first: restore refuses to run beside it. It copies FILE (and FILE-wal, "
         "if there is one), checks the copy, and only then replaces the store. The old store is "
         "kept beside the new one under a name with the date. If FILE is the store's own file, its "
         "log may belong to another file. restore then tries the file with the log and without it. "
         "If only one of the two is sound, restore uses that one. If both are, it prints what each "
         "contains, and you choose with --with-log or --without-log.",
     .options = {ENV_FILE,
                 {"with-log", NULL, "Apply the log FILE-wal.", 1},
                 {"without-log", NULL, "Leave the log FILE-wal out.", 1}},
     .examples = {{"manus restore copy.db", "Restore copy.db while the server is stopped."}},
     .run = command_restore},
    {.name = "settings",
     .summary = "Print the current settings and the source of each.",
     .details = "Secrets are never printed.",
     .options = {ENV_FILE,
                 {"env", NULL, "Print all settings in the format of .env.example.", 1},
                 {"json", NULL, "Print all settings with their current values as JSON.", 1},
                 {"markdown", NULL, "Print all settings in the format of docs/settings.md.", 1}},
     .examples = {{"manus settings", "Show each value and whether .env or a default set it."}},
     .run = command_settings},
    {.name = "routes",
     .summary = "Print every route, who may use it and its rate limits.",
     .details = "The output is the table of docs/routes.md.",
     .run = command_routes},
    {.name = "errors",
     .summary = "Print every error with its format, status and text.",
     .details = "The output is docs/errors.md.",
     .run = command_errors},
    {.name = "metrics",
     .summary = "Print every metric with its labels and what it is.",
     .details = "The output is docs/metrics.md.",
     .run = command_metrics},
    {.name = "openapi",
     .summary = "Print the OpenAPI 3.1 document of the API.",
     .details = "The output is that of /api/v1/openapi.json with the default settings.",
     .run = command_openapi},
    {.name = "version",
     .summary = "Print the version and the commit.",
     .details = "",
     .run = command_version},
    {.name = "help",
     .words = {"COMMAND"},
     .summary = "Explain a command, or list all commands.",
     .details = "",
     .options = {{"man", NULL, "Print the man page.", 1},
                 {"completion", NULL, "Print the completion script for bash.", 1},
                 {"completion-zsh", NULL, "Print the completion script for zsh.", 1},
                 {"completion-fish", NULL, "Print the completion script for fish.", 1}},
     .examples = {{"manus help limits", "Explain one command."},
                  {"manus help --completion >~/.local/share/bash-completion/completions/manus",
                   "Install completion in bash for this user."}},
     .run = command_help},
};

const size_t cli_command_count = count_of(cli_commands);

static const struct command_row *find_command(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    }
    return NULL;
}

const struct option_row *cli_option(const struct command_row *row, size_t i)
{
    size_t own = 0;

    while (own < OPTIONS && row->options[own].name != NULL)
        own++;
    return i < own ? &row->options[i] : usage_option(row->name, i - own);
}

bool cli_action(void *mem, const struct command_row *row, size_t i, struct action_row *ret)
{
    size_t derived = 0;

    for (const struct operation *o = operations; o->name != NULL; o++)
        derived += usage_is_of(o, row->name);
    if (i < derived)
        return usage_action(mem, row->name, i, ret);
    if (row->actions == NULL)
        return false;
    *ret = row->actions[i - derived];
    return ret->usage != NULL;
}

const char *argument_option(const struct arguments *arguments, const char *name)
{
    const struct option_row *option;

    for (size_t i = 0; (option = cli_option(arguments->row, i)) != NULL; i++) {
        if (strcmp(option->name, name) == 0)
            return arguments->values[i];
    }
    return NULL;
}

const struct command_row *arguments_row(const struct arguments *arguments)
{
    return arguments->row;
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

    for (size_t i = 0; (option = cli_option(a->row, i)) != NULL; i++) {
        if (strlen(option->name) != len || memcmp(option->name, given, len) != 0)
            continue;
        if (option->value == NULL && value != NULL)
            return misused(a->row, "this option takes no value:", argv[*at]);
        a->values[i] = value == NULL ? "" : value + 1;
        if (option->value != NULL && value == NULL) {
            if (argv[*at + 1] == NULL)
                return misused(a->row, "a value is missing after", argv[*at]);
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
        return misused(a->row, "unexpected argument:", word);
    a->words[a->word_count++] = word;
    return EX_OK;
}

/* What contradicts itself is refused: nobody knows which one was meant. */
static int check_choices(const struct arguments *a)
{
    const struct option_row *option, *other;

    for (size_t i = 0; (option = cli_option(a->row, i)) != NULL; i++) {
        for (size_t j = 0; j < i; j++) {
            other = cli_option(a->row, j);
            if (option->choice == 0 || option->choice != other->choice || a->values[i] == NULL ||
                a->values[j] == NULL)
                continue;
            fprintf(stderr, "manus %s: give --%s or --%s, not both; run: manus help %s\n",
                    a->row->name, other->name, option->name, a->row->name);
            return EX_USAGE;
        }
    }
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
    return check_choices(a);
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
        help_put_man_page(&out);
    else if (argument_option(arguments, "completion") != NULL)
        completion_put_bash(&out);
    else if (argument_option(arguments, "completion-zsh") != NULL)
        completion_put_zsh(&out);
    else if (argument_option(arguments, "completion-fish") != NULL)
        completion_put_fish(&out);
    else if (row != NULL)
        help_put_command(&out, row);
    else
        help_put_all(&out);
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

struct store *cli_open_store(struct task *task, const struct settings *settings, bool may_make)
{
    bool is_there = store_is_there(task, settings);
    struct store *store;

    if (!is_there && !may_make) {
        (void)fail(task, ERR_STORE,
                   mem_printf(task->mem,
                              "there is no store in %s: run this where the server runs, name its "
                              "settings by --env-file, or set DATA_DIR",
                              settings->data_dir));
        return NULL;
    }
    store = store_open(task, task->mem, settings);
    if (store != NULL && !is_there)
        fprintf(stderr, "manus: there was no store in %s: a new one was made\n",
                settings->data_dir);
    return store;
}

/* Running */

static int run(struct arguments *arguments)
{
    int status;

    if (arguments->wants_help) {
        auto_tree void *mem = mem_tree(0);
        struct text out = text_open(mem, 1024);

        help_put_command(&out, arguments->row);
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
