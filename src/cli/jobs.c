#include "api/jobs.h"

#include "cli/admin_socket.h"
#include "cli/cli.h"
#include "core/clock.h"

#include <stdio.h>
#include <string.h>

enum { RUN_MS = 30000, HERE_MS = 3600 * 1000 };

static int misused(void)
{
    fputs("manus jobs: say list, or run NAME; run: manus help jobs\n", stderr);
    return EX_USAGE;
}

/* On the store itself: no server has it. */
static enum err run_here(struct task *task, const struct settings *settings,
                         const struct plans *plans, const char *action, const char *name,
                         const char **ret_text)
{
    struct store *store = cli_open_store(task, settings, false);
    struct text out = text_open(task->mem, 1024);
    struct app *app = mem_new(task->mem, struct app);
    struct jobs *jobs;
    const char *wrong;
    enum err e;

    if (store == NULL)
        return task->err;
    task->deadline_ms = clock_mono_ms() + HERE_MS;
    atomic_init(&app->settings, settings);
    app->store = store;
    app->billing = billing_open(task->mem, store, settings, plans);
    jobs = app_jobs_open(task->mem, app, NULL, &wrong);
    e = jobs == NULL ? fail(task, ERR_INVALID, wrong)
                     : app_jobs_command(task, jobs, action, name, &out);
    *ret_text = out.s == NULL ? "" : out.s;
    store_close(store);
    return e;
}

int command_jobs(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .job = "jobs", .deadline_ms = clock_mono_ms() + RUN_MS};
    struct admin_request request = {.command = "jobs",
                                    .action = argument_word(arguments, 0),
                                    .who = argument_word(arguments, 1)};
    const struct settings *settings;
    const struct plans *plans;
    const char *text = "";
    bool reached;
    enum err e;

    if (request.action == NULL || strcmp(request.action, request.who == NULL ? "list" : "run") != 0)
        return misused();
    settings = cli_load_settings(mem, arguments, false);
    plans = settings == NULL ? NULL : cli_load_plans(mem, settings);
    if (plans == NULL)
        return EX_CONFIG;
    e = admin_socket_ask(&task, settings->data_dir, &request, &reached, &text);
    if (e == OK && !reached)
        e = run_here(&task, settings, plans, request.action, request.who, &text);
    if (e == OK) {
        fputs(text, stdout);
        return EX_OK;
    }
    fprintf(stderr, "manus jobs: %s\n", task.text);
    return err_info(e)->blame == BLAME_CALLER ? EX_DATAERR : EX_UNAVAILABLE;
}
