/* The commands that are operations of api/operations.def: asks the running server, or does them
 * here if none runs. */
#include "api/jobs.h"
#include "cli/admin_socket.h"
#include "cli/usage.h"
#include "core/clock.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

enum { RUN_MS = 3600 * 1000, BAR = 40 };

/* What was given on the command line for an operation. */
struct given {
    const struct arguments *arguments;
    const struct operation *operation;
    struct command_usage usage;
    unsigned literals;
    void *mem;
};

static const char *actor(void *mem)
{
    const struct passwd *entry = getpwuid(getuid());

    return entry == NULL ? mem_printf(mem, "system:%u", getuid())
                         : mem_printf(mem, "system:%s", entry->pw_name);
}

/* Finding the operation */

/* How much of what makes up an operation was given: its words, and the options it cannot do
 * without. 0: it is another one. */
static unsigned likeness(const struct given *given)
{
    unsigned like = 0;

    for (unsigned i = 0; given->usage.literals[i] != NULL; i++, like++) {
        const char *word = argument_word(given->arguments, i);

        if (word == NULL || strcmp(word, given->usage.literals[i]) != 0)
            return 0;
    }
    for (const struct usage_option *o = given->usage.options; o->name != NULL; o++) {
        if (!o->is_optional && argument_option(given->arguments, o->name) == NULL)
            return 0;
        like += !o->is_optional;
    }
    return like;
}

static bool find_operation(const struct arguments *arguments, struct given *ret)
{
    unsigned best = 0;

    for (const struct operation *o = operations; o->name != NULL; o++) {
        struct given given = {.arguments = arguments, .operation = o, .mem = ret->mem};
        unsigned like;

        if (!usage_is_of(o, arguments_row(arguments)->name))
            continue;
        given.usage = usage_read(ret->mem, o);
        like = likeness(&given);
        if (like <= best)
            continue;
        while (given.usage.literals[given.literals] != NULL)
            given.literals++;
        *ret = given;
        best = like;
    }
    return best > 0;
}

static int misused(const struct arguments *arguments, const char *problem)
{
    auto_tree void *mem = mem_tree(0);
    const struct command_row *row = arguments_row(arguments);
    struct action_row action;

    fprintf(stderr, "manus %s: %sgive an action:", row->name, problem);
    for (size_t i = 0; cli_action(mem, row, i, &action); i++)
        fprintf(stderr, "%s %s", i == 0 ? "" : ",", action.usage);
    fprintf(stderr, "; run: manus help %s\n", row->name);
    return EX_USAGE;
}

/* What does not belong to it is refused: nobody knows what was meant. */
static int check_rest(const struct given *given)
{
    const char *name = arguments_row(given->arguments)->name, *word;
    const struct option_row *option;
    unsigned words = 0;

    while (given->usage.words[words] != NULL)
        words++;
    word = given->literals + words < WORDS
               ? argument_word(given->arguments, given->literals + words)
               : NULL;
    if (word != NULL) {
        fprintf(stderr, "manus %s: unexpected argument: %s; run: manus help %s\n", name, word,
                name);
        return EX_USAGE;
    }
    for (size_t i = 0; (option = usage_option(name, i)) != NULL; i++) {
        if (argument_option(given->arguments, option->name) == NULL ||
            usage_has_option(&given->usage, option->name))
            continue;
        fprintf(stderr, "manus %s: --%s does not belong to %s; run: manus help %s\n", name,
                option->name, given->operation->usage, name);
        return EX_USAGE;
    }
    return EX_OK;
}

/* The text of a field; NULL: it was not given. */
static const char *text_of(void *arg, const char *name)
{
    const struct given *given = arg;

    for (const struct usage_option *o = given->usage.options; o->name != NULL; o++) {
        if (strcmp(usage_field_name(given->mem, o->name), name) == 0)
            return argument_option(given->arguments, o->name);
    }
    for (unsigned i = 0; given->usage.words[i] != NULL; i++) {
        if (strcmp(given->operation->fields[i].name, name) == 0)
            return argument_word(given->arguments, given->literals + i);
    }
    return NULL;
}

/* Whether it is the command line that is wrong, not what its arguments name: one is missing, or an
 * option has no number or time. */
static bool is_misused(const struct given *given)
{
    const struct field *field = given->operation->fields;

    for (unsigned i = 0; field != NULL && field[i].name != NULL; i++) {
        bool is_number = field[i].kind == FIELD_DURATION || field[i].kind == FIELD_INTEGER;
        bool is_option = i >= USAGE_PARTS || given->usage.words[i] == NULL;
        const char *text = text_of((void *)given, field[i].name), *value;

        if (text == NULL ? !field[i].optional
                         : is_option && is_number &&
                               field_read_text(given->mem, &field[i], text, &value) != NULL)
            return true;
    }
    return false;
}

/* Showing */

static bool shows_progress;

static void hide_progress(void)
{
    if (shows_progress)
        fputs("\r\033[K", stderr);
    shows_progress = false;
}

static void show_progress(int64_t done, int64_t total)
{
    char bar[BAR + 1];

    if (!isatty(STDERR_FILENO))
        return;
    shows_progress = true;
    for (int i = 0; i < BAR; i++)
        bar[i] = total > 0 && i < done * BAR / total ? '#' : '.';
    bar[BAR] = '\0';
    if (total > 0)
        fprintf(stderr, "\r\033[K[%s] %lld of %lld", bar, (long long)done, (long long)total);
    else
        fprintf(stderr, "\r\033[K%lld done", (long long)done);
}

static void show_part(const char *text)
{
    if (*text == '\0')
        return;
    hide_progress();
    fputs(text, stdout);
    if (isatty(STDERR_FILENO))
        fflush(stdout);
}

static const struct admin_reader reader = {show_part, show_progress};

/* On the store itself: no server has it */

static bool show_growth(struct operation_call *call, int64_t done, int64_t total)
{
    auto_tree void *mem = mem_tree(0);

    show_part(answer_take(call->answer, mem));
    show_progress(done, total);
    return true;
}

static bool has_plans(const struct operation *operation)
{
    return usage_is_of(operation, "billing") || usage_is_of(operation, "jobs");
}

static enum err open_parts(struct task *task, struct operation_call *call)
{
    const struct operation *operation = call->operation;
    struct app *app = call->app;
    const struct plans *plans = NULL;
    const char *wrong;

    atomic_init(&app->settings, task->settings);
    if (has_plans(operation)) {
        plans = cli_load_plans(task->mem, task->settings);
        if (plans == NULL)
            return fail(task, ERR_INVALID, "the plans cannot be read");
    }
    if (!operation->is_here) {
        app->store = cli_open_store(task, task->settings, operation->makes_store);
        if (app->store == NULL)
            return task->err;
        if (store_notice(app->store) != NULL)
            fprintf(stderr, "manus: %s\n", store_notice(app->store));
        app->accounts.sessions = (struct sessions){app->store,
                                                   identity_open(task->mem, app->store)};
    }
    if (plans != NULL)
        app->billing = billing_open(task->mem, app->store, task->settings, plans);
    if (!operation->needs_jobs)
        return OK;
    app->jobs = app_jobs_open(task->mem, app, NULL, &wrong);
    return app->jobs != NULL ? OK : fail(task, ERR_INVALID, wrong);
}

static enum err run_here(struct task *task, struct operation_call *call)
{
    enum err e;

    if (call->operation->needs_server)
        return fail(task, ERR_REMOTE, "no server runs on DATA_DIR, and counts live in its memory");
    call->app = mem_new(task->mem, struct app);
    call->actor = actor(task->mem);
    call->address = "local";
    call->progress = call->operation->has_no_end ? show_growth : NULL;
    e = open_parts(task, call);
    if (e == OK)
        e = operation_do(task, call);
    if (e == OK)
        show_part(answer_end(call->answer, task->mem));
    if (call->app->store != NULL)
        store_close(call->app->store);
    return e;
}

static int run(struct given *given, const struct settings *settings)
{
    bool json = argument_option(given->arguments, "json") != NULL, reached = false;
    struct task task = {.mem = given->mem,
                        .settings = settings,
                        .job = "operator",
                        .deadline_ms = clock_mono_ms() + RUN_MS};
    struct operation_call call = {
        .operation = given->operation,
        .answer = answer_open(given->mem, json ? ANSWER_JSON : ANSWER_LINES)};
    enum err e = operation_read(&task, &call, text_of, given);
    bool misuse = e != OK && is_misused(given);

    if (e == OK && !given->operation->is_here) {
        const struct admin_question question = {given->operation, text_of, given, json};

        e = admin_socket_ask(&task, settings->data_dir, &question, &reader, &reached);
    }
    if (e == OK && !reached)
        e = run_here(&task, &call);
    hide_progress();
    if (e == OK && json)
        putchar('\n');
    if (e == OK)
        return call.is_bad ? EX_UNAVAILABLE : EX_OK;
    fprintf(stderr, "manus %s: %s\n", arguments_row(given->arguments)->name, task.text);
    if (misuse)
        return EX_USAGE;
    return err_info(e)->blame == BLAME_CALLER ? EX_DATAERR : EX_UNAVAILABLE;
}

int command_operate(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct given given = {.mem = mem};
    const struct settings *settings;
    int status;

    if (argument_word(arguments, 0) == NULL)
        return misused(arguments, "");
    if (!find_operation(arguments, &given))
        return misused(arguments, "there is no such action; ");
    status = check_rest(&given);
    if (status != EX_OK)
        return status;
    settings = cli_load_settings(mem, arguments, false);
    return settings == NULL ? EX_CONFIG : run(&given, settings);
}
