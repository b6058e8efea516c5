/* Operations on mails that wait and on recurring jobs. */
#include "api/operations.h"

#include "api/jobs.h"
#include "core/clock.h"

enum { RUN_ANSWER_MS = 20000 };

enum err mail_list(struct task *task, struct operation_call *call)
{
    struct answer *a = call->answer;
    struct mail *mails;
    size_t count;
    int64_t waiting;
    enum err e = store_mails(task, call->app->store, &mails, &count);

    if (e == OK)
        e = store_mail_count(task, call->app->store, &waiting);
    if (e != OK)
        return e;
    answer_list(a, "mails");
    for (size_t i = 0; i < count; i++) {
        answer_row(a, NULL,
                   "{id}  accepted {created_at}  attempts {attempts}  next {next_at}  to "
                   "{to|nobody}  {error}");
        answer_string(a, "id", mails[i].id);
        answer_time(a, "created_at", mails[i].created_ms);
        answer_number(a, "attempts", mails[i].attempts);
        answer_time(a, "next_at", mails[i].next_ms);
        answer_string(a, "to", *mails[i].to == '\0' ? NULL : mails[i].to);
        answer_string(a, "error", mails[i].error);
        answer_row_end(a);
    }
    answer_list_end(a);
    answer_row(a, NULL, "{waiting} unsent");
    answer_number(a, "waiting", waiting);
    answer_row_end(a);
    return OK;
}

enum err mail_retry(struct task *task, struct operation_call *call)
{
    const char *id = operation_value(call, "mail");
    unsigned count;
    enum err e = store_mail_retry(task, call->app->store, id, clock_wall_ms(), &count);

    if (e == OK && id != NULL && count == 0)
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem,
                               "mail %s is not waiting: it was sent or given up; `manus mail "
                               "list` shows the unsent mails",
                               id));
    if (e == OK)
        e = operation_note(
            task, call, "",
            mem_printf(task->mem, "mail %s, %u of them", id == NULL ? "all" : id, count));
    if (e != OK)
        return e;
    answer_row(call->answer, NULL, "retrying {retried} now");
    answer_number(call->answer, "retried", count);
    answer_row_end(call->answer);
    return OK;
}

enum err job_list(struct task *task, struct operation_call *call)
{
    return jobs_list(task, call->app->jobs, call->answer);
}

static enum err tell_of_job(struct task *task, struct operation_call *call, const char *name,
                            bool is_done)
{
    enum err e = operation_note(task, call, "", name);

    if (e != OK)
        return e;
    answer_row(call->answer, NULL, "{job}: {is_done?done/it still runs; see: manus jobs list}");
    answer_string(call->answer, "job", name);
    answer_flag(call->answer, "is_done", is_done);
    answer_row_end(call->answer);
    return OK;
}

enum err job_run(struct task *task, struct operation_call *call)
{
    const char *name = operation_value(call, "name"), *text;
    int64_t until_ms = clock_mono_ms() + RUN_ANSWER_MS;
    struct task waiting = *task;
    enum job_outcome asked;
    enum err e;

    if (call->app->server != NULL && until_ms < task->deadline_ms)
        waiting.deadline_ms = until_ms;
    e = jobs_run(&waiting, call->app->jobs, name, &asked, &text);
    if (e != OK)
        return fail(task, e, waiting.text);
    if (asked != JOB_UNKNOWN)
        task->job = name; /* of the line that says who has asked for it */
    switch (asked) {
    case JOB_DONE:
    case JOB_UNDER_WAY:
        return tell_of_job(task, call, name, asked == JOB_DONE);
    case JOB_FAILED:
        return fail(task, ERR_REMOTE, mem_printf(task->mem, "%s failed: %s", name, text));
    case JOB_HELD:
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem,
                               "%s is already running, in %s: try again when it has ended", name,
                               text));
    default:
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem, "there is no job %s; the jobs are %s", name,
                               app_jobs_names(task->mem)));
    }
}
