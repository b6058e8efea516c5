#include "billing/admin.h"

#include "billing/doctor.h"
#include "cli/admin_socket.h"
#include "cli/cli.h"
#include "core/clock.h"

#include <stdio.h>
#include <string.h>

enum { RUN_MS = 55000, FIND_PAGES = 10000 };

struct asking {
    const struct settings *settings;
    const struct plans *plans;
    struct store *store; /* open here, since no server runs; else NULL */
    struct billing *billing;
};

static int misused(void)
{
    fputs("manus billing: give an action: inbox list [STATE], inbox show EVENT, inbox replay "
          "EVENT, inbox replay dead, sync --user WHO, sync --all, link WHO CUSTOMER, or doctor; "
          "run: manus help billing\n",
          stderr);
    return EX_USAGE;
}

/* On the store itself: no server has it. */
static enum err run_here(struct task *task, struct asking *a, const char *action, const char *what,
                         const char **ret_text)
{
    struct billing_request request = {action, what, "system"};
    struct text out = text_open(task->mem, 1024);
    enum err e;

    if (a->store == NULL) {
        a->store = cli_open_store(task, a->settings, false);
        if (a->store == NULL)
            return task->err;
        a->billing = billing_open(task->mem, a->store, a->settings, a->plans);
    }
    e = billing_run(task, a->billing, a->settings, &request, &out);
    *ret_text = out.s;
    return e;
}

static enum err ask(struct task *task, struct asking *a, const char *action, const char *what,
                    const char **ret_text)
{
    struct admin_request request = {.command = "billing", .action = action, .who = what};
    bool reached = false;
    enum err e = OK;

    *ret_text = "";
    task->deadline_ms = clock_mono_ms() + RUN_MS;
    if (a->store == NULL)
        e = admin_socket_ask(task, a->settings->data_dir, &request, &reached, ret_text);
    return e == OK && !reached ? run_here(task, a, action, what, ret_text) : e;
}

static int conclude(struct task *task, enum err e)
{
    if (e == OK)
        return EX_OK;
    fprintf(stderr, "manus billing: %s\n", task->text);
    return err_info(e)->blame == BLAME_CALLER ? EX_DATAERR : EX_UNAVAILABLE;
}

static int ask_once(struct task *task, struct asking *a, const char *action, const char *what)
{
    const char *text;
    enum err e = ask(task, a, action, what, &text);

    if (e == OK)
        fputs(text, stdout);
    return conclude(task, e);
}

struct progress {
    const char *cursor; /* as the store gives it; "0": there is none */
    unsigned long compared, different, failed;
};

/* The last line of a page: "next CURSOR COMPARED DIFFERENT FAILED". NULL if it is not there; else
 * where it begins. */
static const char *read_last_line(struct task *task, const char *text, struct progress *progress)
{
    const char *last = text;
    char *at;

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (*line != '\0')
            last = line;
    }
    if (last == NULL || strncmp(last, "next ", 5) != 0)
        return NULL;
    progress->cursor = mem_printf(task->mem, "%.*s", (int)strcspn(last + 5, " "), last + 5);
    at = (char *)last + 5 + strlen(progress->cursor);
    progress->compared += strtoul(at, &at, 10);
    progress->different += strtoul(at, &at, 10);
    progress->failed += strtoul(at, &at, 10);
    return last;
}

/* Who pays for a plan and is linked to nobody: each comes into the inbox. */
static enum err find_unlinked(struct task *task, struct asking *a)
{
    const char *place = "0", *text;
    unsigned long found = 0;
    enum err e = OK;

    for (int i = 0; i < FIND_PAGES && *place != '\0'; i++) {
        char *rest;

        e = ask(task, a, "sync unlinked", place, &text);
        found += e == OK ? strtoul(text, &rest, 10) : 0;
        place = e == OK ? mem_string(task->mem, rest + strspn(rest, " ")) : "";
    }
    if (found > 0)
        printf("%lu subscriptions of plans were linked to nobody: see inbox list\n", found);
    return e;
}

/* Page by page; a line of progress where somebody looks on. */
static int sync_all(struct task *task, struct asking *a, bool dry)
{
    struct progress progress = {.cursor = "0"};
    enum err e;

    do {
        const char *text, *last;

        e = ask(task, a, dry ? "sync page --dry-run" : "sync page", progress.cursor, &text);
        progress.cursor = "0";
        last = e == OK ? read_last_line(task, text, &progress) : NULL;
        if (last != NULL && isatty(STDERR_FILENO))
            fprintf(stderr, "\r%lu compared, %lu different", progress.compared, progress.different);
        else if (last != NULL)
            fwrite(text, 1, (size_t)(last - text), stdout);
    } while (strcmp(progress.cursor, "0") != 0);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (e == OK)
        printf("%lu compared, %lu %s, %lu failed\n", progress.compared, progress.different,
               dry ? "different" : "mended", progress.failed);
    if (e == OK && !dry)
        e = find_unlinked(task, a);
    return conclude(task, e);
}

static int examine(struct task *task, const struct asking *a)
{
    struct text out = text_open(task->mem, 1024);
    bool good;

    task->deadline_ms = clock_mono_ms() + RUN_MS;
    good = doctor_examine(task, a->settings, a->plans, &out);
    fputs(out.s, stdout);
    return good ? EX_OK : EX_UNAVAILABLE;
}

static int run(struct task *task, struct asking *a, const struct arguments *arguments)
{
    const char *action = argument_word(arguments, 0), *deed = argument_word(arguments, 1);
    const char *user = argument_option(arguments, "user");
    bool dry = argument_option(arguments, "dry-run") != NULL;

    if (strcmp(action, "doctor") == 0)
        return examine(task, a);
    if (strcmp(action, "sync") == 0 && user != NULL)
        return ask_once(task, a, dry ? "sync --dry-run" : "sync", user);
    if (strcmp(action, "sync") == 0 && argument_option(arguments, "all") != NULL)
        return sync_all(task, a, dry);
    if (strcmp(action, "link") == 0 && deed != NULL && argument_word(arguments, 2) != NULL)
        return ask_once(task, a, "link",
                        mem_printf(task->mem, "%s %s", deed, argument_word(arguments, 2)));
    if (strcmp(action, "inbox") == 0 && deed != NULL)
        return ask_once(task, a, mem_printf(task->mem, "inbox %s", deed),
                        argument_word(arguments, 2));
    return misused();
}

int command_billing(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .job = "billing"};
    struct asking a = {0};
    int status;

    if (argument_word(arguments, 0) == NULL)
        return misused();
    a.settings = cli_load_settings(mem, arguments, false);
    a.plans = a.settings == NULL ? NULL : cli_load_plans(mem, a.settings);
    if (a.plans == NULL)
        return EX_CONFIG;
    status = run(&task, &a, arguments);
    if (a.store != NULL)
        store_close(a.store);
    return status;
}
