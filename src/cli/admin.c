#include "account/admin.h"

#include "cli/admin_socket.h"
#include "cli/cli.h"
#include "core/clock.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

enum { RUN_MS = 30000 };

static const char *actor(void *mem)
{
    const struct passwd *entry = getpwuid(getuid());

    return entry == NULL ? mem_printf(mem, "system:%u", getuid())
                         : mem_printf(mem, "system:%s", entry->pw_name);
}

/* On the store itself: no server has it. */
static enum err run_here(struct task *task, const struct settings *settings,
                         const struct admin_request *request, const char **ret_text)
{
    bool makes = strcmp(request->command, "admin") == 0 && strcmp(request->action, "create") == 0;
    struct store *store = cli_open_store(task, settings, makes);
    struct text out = text_open(task->mem, 1024);
    struct accounts accounts;
    enum err e;

    if (store == NULL)
        return task->err;
    if (store_notice(store) != NULL)
        fprintf(stderr, "manus %s: %s\n", request->command, store_notice(store));
    accounts.sessions = (struct sessions){store, identity_open(task->mem, store)};
    e = admin_run(task, &accounts, settings, request, &out);
    *ret_text = out.s == NULL ? "" : out.s;
    store_close(store);
    return e;
}

static void print_actions(const char *name)
{
    fprintf(stderr, "manus %s: give an action:\n", name);
    for (const struct admin_action *action = admin_actions; action->name != NULL; action++) {
        if (strcmp(action->command, name) == 0)
            fprintf(stderr, "  %-15s %s\n", action->name, action->help);
    }
}

static int run_action(const struct arguments *arguments, const char *name, const char *fullname)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .job = name, .deadline_ms = clock_mono_ms() + RUN_MS};
    const struct settings *settings;
    struct admin_request request = {.command = name,
                                    .action = argument_word(arguments, 0),
                                    .who = argument_word(arguments, 1),
                                    .fullname = fullname,
                                    .actor = actor(mem)};
    const char *text = "";
    bool reached;
    enum err e;

    if (request.action == NULL) {
        print_actions(name);
        return EX_USAGE;
    }
    settings = cli_load_settings(mem, arguments, false);
    if (settings == NULL)
        return EX_CONFIG;
    e = admin_socket_ask(&task, settings->data_dir, &request, &reached, &text);
    if (e == OK && !reached)
        e = run_here(&task, settings, &request, &text);
    if (e == OK) {
        fputs(text, stdout);
        return EX_OK;
    }
    fprintf(stderr, "manus %s: %s\n", name, task.text);
    return err_info(e)->blame == BLAME_CALLER ? EX_DATAERR : EX_UNAVAILABLE;
}

int command_admin(const struct arguments *arguments)
{
    return run_action(arguments, "admin", argument_option(arguments, "fullname"));
}

int command_mail(const struct arguments *arguments)
{
    return run_action(arguments, "mail", NULL);
}
