#include "api/guard.h"

#include "account/identity.h"
#include "account/provider.h"
#include "api/app.h"
#include "api/gate.h"
#include "api/handlers.h"
#include "api/origin.h"
#include "api/shapes.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/text.h"
#include "http/client.h"
#include "http/reply.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { PATH_BYTES = 2048, METHOD_BYTES = 32 };

static const char own_path[] = "/api/v1/gate";

/* What is guarded, and the method that begins a run there: with it, one is charged. */
static const struct guarded {
    const char *path;
    const char *metered; /* NULL: none */
} guarded[] = {
    {"/api/v1/sessions", "PUT"},
    {"/api/v1/agent/execute", "POST"},
    {"/api/v1/sandbox", NULL},
};

static int hex_value(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Decodes the path of the target, once. False if that leaves a doubt: separators, NUL and control
 * characters that are encoded, percent signs that are (so that decoding twice changes it), bytes
 * beyond ASCII, parameters, backslashes. */
static bool decode(const char *target, char out[PATH_BYTES])
{
    size_t len = 0;

    for (const char *at = target; *at != '\0' && *at != '?'; at++) {
        int byte = (unsigned char)*at;

        if (byte == '%') {
            int high = hex_value(at[1]), low = high < 0 ? -1 : hex_value(at[2]);

            if (low < 0)
                return false;
            byte = high * 16 + low;
            if (byte == '/')
                return false;
            at += 2;
        }
        if (byte <= ' ' || byte >= 0x7f || strchr("\\;%#?", byte) != NULL || len + 1 == PATH_BYTES)
            return false;
        out[len++] = (char)byte;
    }
    out[len] = '\0';
    return out[0] == '/';
}

/* Empty and dot segments. */
static bool has_odd_segments(const char *path)
{
    for (const char *at = path; *at == '/'; at += 1 + strcspn(at + 1, "/")) {
        size_t len = strcspn(at + 1, "/");

        if ((len == 0 && at[1] == '/') || (len == 1 && at[1] == '.') ||
            (len == 2 && at[1] == '.' && at[2] == '.'))
            return true;
    }
    return false;
}

enum guard_path guard_classify(const char *method, const char *target)
{
    char path[PATH_BYTES];

    if (!decode(target, path) || has_odd_segments(path) || *method == '\0' ||
        strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") != strlen(method))
        return GUARD_UNSAFE;
    for (size_t i = 0; i < count_of(guarded); i++) {
        size_t len = strlen(guarded[i].path);

        if (strncmp(path, guarded[i].path, len) != 0 || (path[len] != '/' && path[len] != '\0'))
            continue;
        /* With a slash behind it, some applications take it for the same. */
        return guarded[i].metered != NULL && strcasecmp(method, guarded[i].metered) == 0 &&
                       (path[len] == '\0' || path[len + 1] == '\0')
                   ? GUARD_METERED
                   : GUARD_FREE;
    }
    return GUARD_OUTSIDE;
}

/* What is asked about */

struct question {
    const char *method, *target;
};

/* Joins what one source says to what others have said; false if they differ, or it says half. */
static bool agree(struct question *q, const struct request *req, enum known_header method_name,
                  enum known_header target_name)
{
    const char *method = request_header(req, method_name);
    const char *target = request_header(req, target_name);

    if (req->headers[method_name].count == 0 && req->headers[target_name].count == 0)
        return true;
    if (method == NULL || target == NULL)
        return false;
    if (q->method != NULL && (strcmp(q->method, method) != 0 || strcmp(q->target, target) != 0))
        return false;
    *q = (struct question){method, target};
    return true;
}

static bool read_question(const struct request *req, struct question *ret)
{
    const char *below = req->target + sizeof own_path - 1;

    *ret = (struct question){0};
    if (strncmp(req->target, own_path, sizeof own_path - 1) != 0)
        return false;
    if (*below == '/' && below[1] != '\0')
        *ret = (struct question){req->method, below};
    return agree(ret, req, HEADER_ORIGINAL_METHOD, HEADER_ORIGINAL_URI) &&
           agree(ret, req, HEADER_FORWARDED_METHOD, HEADER_FORWARDED_URI) && ret->method != NULL;
}

static bool may_ask(const struct request *req)
{
    return networks_have(&req->task.settings->gate_proxies, &req->peer);
}

/* Answers */

static enum err deny(struct request *req, int status, const char *detail)
{
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    assert(status >= 400);
    put_string(&w, "detail", detail);
    return reply_end(req, status, &w);
}

/* All of the headers, so that whatever a client has sent by these names is overwritten. */
static enum err allow(struct request *req, const struct user *user,
                      const struct entitlement *entitlement)
{
    reply_header(req, "X-Manus-User", user == NULL ? "" : user->id);
    reply_header(req, "X-Manus-Role", user == NULL ? "" : user->is_admin ? "admin" : "user");
    reply_header(req, "X-Manus-Plan", entitlement == NULL ? "" : entitlement->plan_name);
    reply_header(req, "X-Manus-Status", entitlement == NULL ? "" : entitlement->status);
    return reply_empty(req, 200);
}

static enum err deny_stranger(struct request *req)
{
    reply_header(req, "WWW-Authenticate", "Bearer");
    return deny(req, 401, "Authentication required");
}

static enum err deny_payment(struct request *req, const struct entitlement *entitlement)
{
    const char *why = entitlement_reason(req->task.mem, entitlement);
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_number(&w, "code", 402);
    put_string(&w, "msg", why);
    put_string(&w, "detail", why);
    put_string(&w, "error_code", "SUBSCRIPTION_LIMIT_REACHED");
    put_object(&w, "subscription");
    put_string(&w, "plan", entitlement->plan_name);
    put_string(&w, "status", entitlement->status);
    put_number(&w, "monthly_runs", entitlement->used);
    put_number(&w, "monthly_runs_limit", entitlement->limit);
    put_end(&w);
    return reply_end(req, 402, &w);
}

/* What needs nobody's identity. True: answered. */
static bool answer_path(struct request *req, enum guard_path *ret)
{
    struct question question;

    if (!may_ask(req)) {
        deny(req, 403, "This address may not call the gate");
        return true;
    }
    if (!read_question(req, &question)) {
        deny(req, 400, "The proxy must say which request this is about, once and clearly");
        return true;
    }
    *ret = guard_classify(question.method, question.target);
    if (*ret == GUARD_UNSAFE)
        deny(req, 400, "This path can be understood in more than one way");
    else if (*ret == GUARD_OUTSIDE)
        deny(req, 403, "This path is not guarded");
    else if (strcmp(question.method, "OPTIONS") == 0)
        allow(req, NULL, NULL);
    else if (!origin_may_ask(req, question.method))
        deny(req, 403, "Pages of this origin may not change anything here");
    else if (req->claims == NULL)
        deny_stranger(req);
    return req->reply.status != 0;
}

/* What UNVERIFIED_MAY says of everything that is not the account itself. True: answered. */
static bool deny_unverified(struct request *req, const struct user *user)
{
    if (user->verified_ms != 0 || req->task.settings->unverified_may == UNVERIFIED_EVERYTHING)
        return false;
    deny(req, 403, "Email is not verified");
    return true;
}

static enum err cannot_judge(struct request *req, enum err e)
{
    log_bounded(LOG_WARNING, &req->task, "the gate cannot decide",
                LOG_S("error", err_info(e)->name), LOG_S("detail", req->task.text));
    if (e == ERR_NOT_FOUND)
        return deny_stranger(req);
    reply_header(req, "Retry-After", "1");
    return deny(req, 503, "Service temporarily unavailable, please try again");
}

static struct entitlement stand(const struct request *req, const struct subscription *subscription,
                                int64_t now_ms)
{
    return entitlement_of(app_of(req)->billing->plans, req->task.settings, subscription, now_ms);
}

/* A run that is charged while its request waits on the loop. */
struct run {
    struct billing_charge charge;
    struct request *req;
    const struct user *user;
    enum err outcome;
};

static void on_charged(struct billing_charge *charge, enum err e)
{
    struct run *run = container_of(charge, struct run, charge);

    run->outcome = e;
    request_go_on(run->req);
}

static void begin_run(struct request *req, const struct user *user,
                      const struct subscription *known, const struct entitlement *entitlement,
                      int64_t now_ms)
{
    struct run *run = mem_new(req->task.mem, struct run);
    enum err e;

    assert(req->writing == NULL && entitlement->verdict == STANDING_GOOD);
    *run = (struct run){
        {.done = on_charged, .gone = &req->job.gone, .entitlement = *entitlement}, req, user, OK};
    req->task.user_id = user->id;
    e = billing_consume_later(&req->task, app_of(req)->billing, known, now_ms, &run->charge);
    if (e != OK) {
        cannot_judge(req, e);
        return;
    }
    req->writing = run;
    req->waits = true;
}

/* False: what was remembered is out of date, and what is stored must be read. */
static bool end_run(struct request *req, const struct run *run)
{
    const struct entitlement *entitlement = &run->charge.entitlement;

    assert(run->req == req);
    if (run->outcome != OK)
        cannot_judge(req, run->outcome);
    else if (run->charge.is_outdated)
        return false;
    else if (entitlement->verdict == STANDING_GOOD)
        allow(req, run->user, entitlement);
    else
        deny_payment(req, entitlement);
    return true;
}

/* On the loop: all that memory can answer, and the charge of a run for whom it knows. */
bool guard_fast(struct request *req)
{
    struct app *app = app_of(req);
    int64_t within_ms = req->task.settings->gate_staleness * 1000;
    const struct subscription *known;
    struct session_record *session;
    enum identity_answer answer;
    enum guard_path path;
    struct entitlement entitlement;
    int64_t now_ms;
    struct user *user;

    if (req->writing != NULL)
        return end_run(req, take_ptr(req->writing));
    if (answer_path(req, &path))
        return true;
    req->writes = path == GUARD_METERED;
    answer = identity_peek_within(app->accounts.sessions.identity, req->task.mem, req->claims,
                                  within_ms, &user, &session);
    if (answer == IDENTITY_UNKNOWN)
        return false;
    if (answer == IDENTITY_REFUSED || !provider_admits(req->task.settings, user)) {
        deny_stranger(req);
        return true;
    }
    if (deny_unverified(req, user))
        return true;
    known = billing_peek(app->billing, req->task.mem, user->id, within_ms);
    if (known == NULL)
        return false;
    now_ms = clock_wall_ms();
    entitlement = path == GUARD_FREE
                      ? stand(req, known, now_ms)
                      : billing_entitlement(app->billing, req->task.settings, known, now_ms);
    if (path == GUARD_FREE)
        allow(req, user, &entitlement);
    else if (entitlement.verdict != STANDING_GOOD)
        deny_payment(req, &entitlement);
    else
        begin_run(req, user, known, &entitlement, now_ms);
    return true;
}

static enum err judge(struct request *req, enum guard_path path, const struct user *user)
{
    struct app *app = app_of(req);
    int64_t within_ms = req->task.settings->gate_staleness * 1000;
    const struct subscription *known = billing_peek(app->billing, req->task.mem, user->id,
                                                    within_ms);
    struct subscription read;
    struct entitlement entitlement;
    enum err e = OK;

    if (path == GUARD_METERED) {
        e = billing_consume(&req->task, app->billing, user->id, known, &entitlement);
        if (e != OK)
            return e;
        return entitlement.verdict == STANDING_GOOD ? allow(req, user, &entitlement)
                                                    : deny_payment(req, &entitlement);
    }
    if (known == NULL) {
        e = billing_subscription(&req->task, app->billing, user->id, &read);
        known = &read;
    }
    if (e != OK)
        return e;
    entitlement = stand(req, known, clock_wall_ms());
    return allow(req, user, &entitlement);
}

/* On the lane. */
enum err guard(struct request *req)
{
    struct app *app = app_of(req);
    struct session_record *session;
    enum identity_answer answer;
    enum guard_path path;
    struct user *user;
    enum err e;

    if (answer_path(req, &path))
        return OK;
    answer = identity_peek_within(app->accounts.sessions.identity, req->task.mem, req->claims,
                                  req->task.settings->gate_staleness * 1000, &user, &session);
    e = OK;
    if (answer == IDENTITY_UNKNOWN)
        e = identity_load(&req->task, app->accounts.sessions.identity, req->claims, &answer, &user,
                          &session);
    if (e == OK && (answer == IDENTITY_REFUSED || !provider_admits(req->task.settings, user)))
        return deny_stranger(req);
    if (e == OK && deny_unverified(req, user))
        return OK;
    if (e == OK) {
        req->task.user_id = user->id;
        e = judge(req, path, user);
    }
    if (e == OK)
        return OK;
    return cannot_judge(req, e);
}
