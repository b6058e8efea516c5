#include "api/operations.h"

#include "account/manage.h"
#include "api/handlers.h"
#include "api/refusals.h"
#include "core/clock.h"
#include "core/email.h"
#include "core/field.h"
#include "core/log.h"
#include "core/loop.h"
#include "http/reply.h"

#include <assert.h>
#include <string.h>

#define USER                                                                                       \
    {                                                                                              \
        .name = "user", .kind = FIELD_TEXT, .min = 1, .max_bytes = 400,                            \
        .rule = "name the user: an e-mail address or an id",                                       \
        .rule_max = "name the user: an e-mail address or an id",                                   \
        .help = "One user, by e-mail address or id."                                               \
    }

#define DRY_RUN                                                                                    \
    {                                                                                              \
        .name = "dry_run", .kind = FIELD_FLAG, .optional = true,                                   \
        .help = "Only report what differs."                                                        \
    }

#define LIMIT_KEY_RULE                                                                             \
    "give a key: ROUTE:ip:ADDRESS, ROUTE:net:IPV6 (net56 and net48 for the networks around it), "  \
    "ROUTE:user:ID, ROUTE:email:ADDRESS, ROUTE:session:ID or login_failures:login:EMAIL, the "     \
    "route as its setting names it in small letters and a kind by which it counts, such as "       \
    "auth_login:ip:203.0.113.9"

#define NETWORK                                                                                    \
    {                                                                                              \
        .name = "network", .kind = FIELD_TEXT, .min = 1, .max_bytes = 64,                          \
        .rule = "give an address or a network, such as 203.0.113.9 or 2001:db8::/32",              \
        .rule_max = "give an address or a network, such as 203.0.113.9 or 2001:db8::/32"           \
    }

static const char *const event_states[] = {EVENT_WAITING, EVENT_DONE, EVENT_IGNORED, EVENT_DEAD,
                                           NULL};

const struct field fields_new_admin[] = {
    {.name = "email",
     .kind = FIELD_EMAIL,
     .rule = "Valid email is required",
     .rule_max = "Valid email is required"},
    {.name = "fullname",
     .kind = FIELD_NAME,
     .optional = true,
     .min = 2,
     .max = 100,
     .rule = "Full name must be at least 2 characters long",
     .rule_max = "Full name must be at most 100 characters long",
     .rule_text = "Full name must not contain control characters",
     .help = "The name of the administrator."},
    {0}};
const struct field fields_user[] = {USER, {0}};
const struct field fields_some_user[] = {
    {.name = "user", .kind = FIELD_TEXT, .optional = true, .max_bytes = 400}, {0}};
const struct field fields_search[] = {
    {.name = "search", .kind = FIELD_TEXT, .optional = true, .max_bytes = 400}, {0}};
const struct field fields_some_mail[] = {
    {.name = "mail",
     .kind = FIELD_TEXT,
     .optional = true,
     .max_bytes = 64,
     .rule_max = "give the id of a mail, as `manus mail list` shows it"},
    {0}};
const struct field fields_job[] = {{.name = "name",
                                    .kind = FIELD_TEXT,
                                    .min = 1,
                                    .max_bytes = 64,
                                    .rule = "name the job, as `manus jobs list` shows it",
                                    .rule_max = "name the job, as `manus jobs list` shows it"},
                                   {0}};
const struct field fields_limit_key[] = {{.name = "key",
                                          .kind = FIELD_TEXT,
                                          .min = 1,
                                          .max_bytes = 512,
                                          .rule = LIMIT_KEY_RULE,
                                          .rule_max = LIMIT_KEY_RULE},
                                         {0}};
const struct field fields_ban[] = {
    NETWORK,
    {.name = "for",
     .kind = FIELD_DURATION,
     .optional = true,
     .min = 1,
     .max = 366 * 86400,
     .rule = "give how long, from a second to a year, such as 30m, 1h or 7d",
     .help = "How long, e.g. 30m, 1h or 7d. Default: 1h."},
    {0}};
const struct field fields_network[] = {NETWORK, {0}};
const struct field fields_event_state[] = {
    {.name = "state", .kind = FIELD_CHOICE, .optional = true, .choices = event_states}, {0}};
const struct field fields_event[] = {{.name = "event",
                                      .kind = FIELD_TEXT,
                                      .min = 1,
                                      .max_bytes = 255,
                                      .rule = "name the event, as the list of events shows it",
                                      .rule_max = "name the event, as the list of events shows it"},
                                     {0}};
const struct field fields_sync[] = {USER, DRY_RUN, {0}};
const struct field fields_sync_all[] = {DRY_RUN,
                                        {.name = "cursor",
                                         .kind = FIELD_TEXT,
                                         .optional = true,
                                         .max_bytes = 300,
                                         .rule_max = "give the next of the last answer"},
                                        {0}};
const struct field fields_link[] = {USER,
                                    {.name = "customer",
                                     .kind = FIELD_TEXT,
                                     .min = 1,
                                     .max_bytes = 255,
                                     .rule = "name the customer at Stripe: cus_…",
                                     .rule_max = "name the customer at Stripe: cus_…"},
                                    {0}};
const struct field fields_status[] = {
    {.name = "status", .kind = FIELD_TEXT, .optional = true, .max_bytes = 64}, {0}};
const struct field fields_gift[] = {USER,
                                    {.name = "plan",
                                     .kind = FIELD_TEXT,
                                     .min = 1,
                                     .max_bytes = 32,
                                     .rule = "name a plan",
                                     .rule_max = "Plan must be at most 32 bytes long"},
                                    {.name = "runs",
                                     .kind = FIELD_INTEGER,
                                     .optional = true,
                                     .min = 1,
                                     .max = 1000000000,
                                     .rule = "Runs must be from 1 to 1000000000",
                                     .help = "So many runs a period, in place of the plan's."},
                                    {.name = "days",
                                     .kind = FIELD_INTEGER,
                                     .optional = true,
                                     .min = 1,
                                     .max = 36500,
                                     .rule = "Days must be from 1 to 36500",
                                     .help = "For so many days. Default: without end."},
                                    {0}};

const struct query_row query_user[] = {{"user", "The user, by e-mail address or id.", 0, 0, true},
                                       {0}};
const struct query_row query_limit_key[] = {
    {"key", "The key, such as auth_login:ip:203.0.113.9.", 0, 0, true}, {0}};
const struct query_row query_event[] = {{"event", "The id of the event.", 0, 0, true}, {0}};

const struct operation operations[] = {
#define OPERATION(operation_, route_) {UNWRAP operation_, .route = {UNWRAP route_}},
#define OPERATION_ROUTED OPERATION
#include "api/operations.def"
#undef OPERATION
#undef OPERATION_ROUTED
    {0}};

const struct operation *operation_by_name(const char *name)
{
    const struct operation *operation = operations;

    while (operation->name != NULL && strcmp(operation->name, name) != 0)
        operation++;
    return operation->name == NULL ? NULL : operation;
}

enum err operation_read(struct task *task, struct operation_call *call,
                        const char *(*text_of)(void *arg, const char *name), void *arg)
{
    const struct field *field = call->operation->fields;

    for (size_t i = 0; field != NULL && field[i].name != NULL; i++) {
        const char *wrong = field_read_text(task->mem, &field[i], text_of(arg, field[i].name),
                                            &call->values[i]);

        if (wrong != NULL)
            return fail(task, ERR_INVALID, wrong);
    }
    return OK;
}

enum err operation_do(struct task *task, struct operation_call *call)
{
    const struct operation *operation = call->operation;
    enum err e;

    assert_off_loops();
    e = operation->run(task, call);
    assert(e != OK || operation->audit == NULL || call->has_noted);
    log_info(task, "administration", LOG_S("actor", call->actor), LOG_S("action", operation->name),
             LOG_S("error", e == OK ? NULL : err_info(e)->name));
    return e;
}

/* For runs */

const char *operation_value(const struct operation_call *call, const char *name)
{
    const struct field *field = call->operation->fields;
    size_t i = 0;

    while (strcmp(field[i].name, name) != 0)
        i++;
    return call->values[i];
}

int64_t operation_number(const struct operation_call *call, const char *name, int64_t otherwise)
{
    const char *value = operation_value(call, name);

    return value == NULL ? otherwise : strtoll(value, NULL, 10);
}

struct audit operation_audit(struct operation_call *call, const char *subject, const char *detail)
{
    call->has_noted = true;
    return (struct audit){.at_ms = clock_wall_ms(),
                          .actor = call->actor,
                          .action = call->operation->audit,
                          .subject = subject,
                          .address = call->address,
                          .detail = detail};
}

enum err operation_note(struct task *task, struct operation_call *call, const char *subject,
                        const char *detail)
{
    struct audit audit = operation_audit(call, subject, detail);

    return store_audit_append(task, call->app->store, &audit);
}

enum err operation_user(struct task *task, const struct operation_call *call, struct user *ret)
{
    const char *who = operation_value(call, "user"), *email = email_sent(task->mem, who);
    const struct accounts *accounts = &call->app->accounts;
    bool found = false;
    enum err e = OK;

    if (email != NULL)
        e = account_find(task, accounts, email, &found, ret);
    if (e == OK && !found)
        return manage_find_user(task, accounts, who, ret);
    return e;
}

/* HTTP */

static const struct operation *operation_of(const struct route *row)
{
    const struct operation *operation = operations;

    while (operation->route.path == NULL || strcmp(operation->route.path, row->path) != 0 ||
           strcmp(operation->route.method, row->method) != 0)
        operation++;
    return operation;
}

static const char *query_text(void *req, const char *name)
{
    return request_query(req, name);
}

enum err operate(struct request *req)
{
    void *mem = req->task.mem;
    struct operation_call call = {.operation = operation_of(req->match.route),
                                  .app = app_of(req),
                                  .actor = mem_printf(mem, "user:%s", req->user->id),
                                  .address = req->client_text,
                                  .answer = answer_open(mem, ANSWER_JSON)};
    struct json_writer w;
    struct text body;
    enum err e = OK;

    if (req->match.route->body == NULL)
        e = operation_read(&req->task, &call, query_text, req);
    else
        memcpy(call.values, req->values, sizeof call.values);
    if (e == OK)
        e = operation_do(&req->task, &call);
    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_json(&w, "data", answer_end(call.answer, mem));
    return reply_end_ok(req, &w);
}
