#include "http/dispatch.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"
#include "core/metrics.h"
#include "http/client.h"
#include "http/reply.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { REQUEST_ID_BYTES = 128, RUN_MS = 10000 };

static bool is_sane_id(const char *id)
{
    size_t len = id == NULL ? 0 : strlen(id);

    if (len == 0 || len > REQUEST_ID_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)id[i]) && strchr("-_.", id[i]) == NULL)
            return false;
    }
    return true;
}

static void set_deadline(struct request *req)
{
    req->task.deadline_ms = clock_turn_mono_us() / 1000 + RUN_MS;
}

static void identify(struct worker *worker, struct request *req, const struct address *peer)
{
    const char *id = request_header(req, HEADER_REQUEST_ID);

    req->peer = *peer;
    req->server = worker->app;
    req->app = worker->app->app;
    req->task.settings = worker->app->settings(worker->app->app);
    req->task.id = is_sane_id(id) ? id : worker_new_id(worker, req->own_id);
    set_deadline(req);
    if (req->unnamed)
        req->client = *peer;
    else if (req->task.settings->proxy_header == PROXY_HEADER_FORWARDED)
        req->client = client_address_forwarded(&req->task.settings->trusted_proxies, peer,
                                               req->forwarded.s);
    else
        req->client = client_address(&req->task.settings->trusted_proxies, peer,
                                     req->forwarded_for.s);
    address_text(req->client_text, &req->client);
}

static enum err answer_options(struct request *req, const char *allow)
{
    bool preflight = request_header(req, HEADER_ORIGIN) != NULL &&
                     request_header(req, HEADER_PREFLIGHT_METHOD) != NULL;

    if (preflight && request_listed_origin(req) != NULL) {
        reply_header(req, "Access-Control-Allow-Methods", allow);
        reply_header(req, "Access-Control-Allow-Headers",
                     "Authorization, Content-Type, Stripe-Signature, X-Request-Id, "
                     "sentry-trace, baggage, traceparent, tracestate");
        reply_header(req, "Access-Control-Max-Age", "600");
    }
    reply_header(req, "Allow", allow);
    return reply_empty(req, 204);
}

/* RFC 9112 section 6: a body longer than what is announced as wanted is not read. */
static enum err check_size(const struct request *req)
{
    return req->content_length > (int64_t)dispatch_max_body(req) ? ERR_BODY_TOO_LARGE : OK;
}

static enum err find_route(struct worker *worker, struct request *req)
{
    bool options = strcmp(req->method, "OPTIONS") == 0;
    enum err e;

    if (strcmp(req->path, "*") == 0)
        return answer_options(req, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    e = router_find(worker->app->router, req->task.mem, req->method, req->path, &req->match);
    if (e != OK)
        return e;
    if (req->match.allow == NULL)
        return ERR_NOT_FOUND;
    if (options && req->match.route == NULL)
        return answer_options(req, req->match.allow);
    return req->match.route == NULL ? ERR_METHOD : OK;
}

enum dispatched dispatch_gate(struct worker *worker, struct request *req)
{
    enum err e;

    assert(req->match.route != NULL);
    req->waits = false;
    e = worker->app->gate(req);
    if (req->waits)
        return DISPATCH_WAITS;
    if (e == OK && req->reply.status == 0)
        e = check_size(req);
    if (e != OK)
        reply_failure(req, e);
    return req->reply.status != 0 ? DISPATCH_ANSWERED : DISPATCH_GOES_ON;
}

enum dispatched dispatch_head(struct worker *worker, struct request *req,
                              const struct address *peer)
{
    enum err e;

    identify(worker, req, peer);
    if (worker->app->bar(req))
        return DISPATCH_ANSWERED;
    e = find_route(worker, req);
    if (e != OK && !(e == ERR_NOT_FOUND && worker->app->missing(req)))
        reply_failure(req, e);
    return req->reply.status != 0 ? DISPATCH_ANSWERED : dispatch_gate(worker, req);
}

void dispatch_refuse(struct worker *worker, struct request *req, const struct address *peer,
                     enum err why)
{
    if (req->task.id == NULL)
        identify(worker, req, peer);
    reply_failure(req, why);
}

size_t dispatch_max_body(const struct request *req)
{
    const struct route *row = req->match.route;

    return row == NULL || row->max_body == 0 ? HTTP_BODY_BYTES : row->max_body;
}

/* Absent, application/json or application/…+json, with any parameters. Where nobody logs in, a page
 * of anybody may send a body without a type: so that is none there, unless a header comes along
 * that pages may not send unasked. */
static bool is_json_type(const struct request *req)
{
    const char *type = req->headers[HEADER_CONTENT_TYPE].value;
    size_t len;

    if (type == NULL)
        return req->task.settings->auth_provider != PROVIDER_NONE || req->body_len == 0 ||
               req->headers[HEADER_AUTHORIZATION].count > 0;
    len = strcspn(type, "; \t,");
    if (req->headers[HEADER_CONTENT_TYPE].count > 1 || type[len] == ',')
        return false;
    if (len == 16 && strncasecmp(type, "application/json", 16) == 0)
        return true;
    return len > 17 && strncasecmp(type, "application/", 12) == 0 &&
           strncasecmp(type + len - 5, "+json", 5) == 0;
}

static bool is_blank(const char *text, size_t len)
{
    return strspn(text, " \t\r\n") == len;
}

/* The body against the row's fields; if it will not do, the reply is set. */
static void read_body(struct request *req)
{
    struct json_problem problem;
    auto_json json_t *json = NULL;
    json_t *wrong;

    if (!is_json_type(req)) {
        wrong = fields_body_problem(
            "model_attributes_type",
            "Input should be a valid dictionary or object to extract fields from", -1, NULL);
        reply_json(req, 422, wrong);
        return;
    }
    if (req->body_len > 0 && !is_blank(req->body, req->body_len)) {
        json = json_read(req->body, req->body_len, &problem);
        if (json == NULL && problem.fault == JSON_UNSAFE) {
            reply_error(req, 400, "There was an error parsing the body");
            return;
        }
        if (json == NULL) {
            wrong = fields_body_problem("json_invalid", "JSON decode error", (long)problem.offset,
                                        problem.text);
            reply_json(req, 422, wrong);
            return;
        }
    }
    if (json == NULL && req->match.route->body_optional)
        return;
    assert(req->match.route->body != NULL);
    wrong = fields_read(req->task.mem, req->match.route->body, json, req->values);
    if (wrong != NULL)
        reply_json(req, 422, wrong);
}

/* While a peer or the disk is away, each request fails by the same cause. */
static struct log_bound failures[ERR_COUNT];

static void log_failure(const struct request *req, enum err e)
{
    const struct err_info *info = err_info(e);
    unsigned left_out = 0;
    enum log_level level = info->blame == BLAME_US ? LOG_ERROR : LOG_WARNING;

    if (info->blame == BLAME_CALLER ||
        (info->blame == BLAME_REMOTE && !log_bound_admits(&failures[e], &left_out)))
        return;
    log_at(level, &req->task, "request failed", LOG_S("error", info->name),
           LOG_S("detail", req->task.err == e ? req->task.text : NULL),
           LOG_S("at", req->task.err == e ? req->task.where : NULL),
           LOG_S("route", req->match.route->path), LOG_COUNT("left_out", left_out));
}

static void settle(struct request *req, enum err e)
{
    if (mem_is_over_cap(req->task.mem))
        e = fail(&req->task, ERR_INTERNAL, "the request needs more memory than one may have");
    else if (e == OK && req->reply.status == 0)
        e = fail(&req->task, ERR_INTERNAL, "a handler left its request unanswered");
    if (e == OK)
        return;
    log_failure(req, e);
    reply_failure(req, e);
}

/* On the lane. */
static void run(struct job *job)
{
    struct request *req = container_of(job, struct request, job);
    enum err e = req->server->prepare(req);

    assert_off_loops();
    if (e == OK && req->reply.status == 0)
        e = req->match.route->handle(req);
    settle(req, e);
}

enum dispatched dispatch_start(struct worker *worker, struct request *req,
                               void (*done)(struct job *job, enum err outcome))
{
    const struct route *row = req->match.route;

    assert(row != NULL);
    req->waits = false;
    if (row->fast != NULL && row->fast(req)) {
        if (req->waits)
            return DISPATCH_WRITES;
        if (req->reply.status == 0)
            settle(req, req->task.err);
        return DISPATCH_ANSWERED;
    }
    if (row->lane == LANE_LOOP) {
        settle(req, row->handle(req));
        return DISPATCH_ANSWERED;
    }
    req->job.run = run;
    req->job.done = done;
    if (lane_submit(worker->app->lanes[req->writes ? LANE_WRITE : row->lane], &req->job) == OK)
        return DISPATCH_WAITS;
    dispatch_unrun(req, ERR_BUSY);
    return DISPATCH_ANSWERED;
}

enum dispatched dispatch_admit(struct worker *worker, struct request *req,
                               void (*done)(struct job *job, enum err outcome))
{
    enum err e;

    req->waits = false;
    e = worker->app->admit(req);
    if (req->waits)
        return DISPATCH_WAITS;
    if (e != OK)
        reply_failure(req, e);
    return req->reply.status != 0 ? DISPATCH_ANSWERED : dispatch_start(worker, req, done);
}

enum dispatched dispatch_body(struct worker *worker, struct request *req,
                              void (*done)(struct job *job, enum err outcome))
{
    enum err e = request_check_query(req);

    set_deadline(req); /* a body may take longer to come than a request may run */
    if (e != OK) {
        reply_failure(req, e);
        return DISPATCH_ANSWERED;
    }
    /* A body that will not do is counted like any other, and answered if the count admits it. */
    if (req->match.route->body != NULL)
        (void)read_body(req);
    return dispatch_admit(worker, req, done);
}

void dispatch_unrun(struct request *req, enum err outcome)
{
    reply_failure(req, outcome);
}

static const char security_headers[] = "X-Content-Type-Options: nosniff\r\n"
                                       "X-Frame-Options: DENY\r\n"
                                       "Referrer-Policy: no-referrer\r\n"
                                       "Cross-Origin-Opener-Policy: same-origin\r\n"
                                       "Vary: Origin\r\n";

/* Inline, so that the length of a constant is one. */
static inline void put_header(struct text *out, const char *name, const char *value)
{
    text_add(out, name);
    text_put(out, ": ", 2);
    text_add(out, value);
    text_put(out, "\r\n", 2);
}

static void put_cors(struct text *out, const struct request *req)
{
    const char *origin = req->task.settings == NULL ? NULL : request_listed_origin(req);

    if (origin == NULL)
        return;
    put_header(out, "Access-Control-Allow-Origin", origin);
    put_header(out, "Access-Control-Expose-Headers",
               "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, "
               "X-RateLimit-Remaining, X-RateLimit-Reset, X-Password-Warning, X-Request-Id");
}

static void put_security(struct text *out, const struct request *req)
{
    const char *url = req->task.settings == NULL ? NULL : req->task.settings->public_url;

    text_put(out, security_headers, sizeof security_headers - 1);
    if (!req->reply.is_page)
        text_add(out, "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
    if (!req->reply.cacheable)
        text_add(out, "Cache-Control: no-store\r\n");
    if (url != NULL && strncmp(url, "https:", 6) == 0)
        text_add(out, "Strict-Transport-Security: max-age=31536000\r\n");
}

struct text dispatch_reply_head(struct worker *worker, struct request *req, bool keep_alive)
{
    const struct reply *reply = &req->reply;
    struct text out = text_open(req->task.mem, 900);

    text_add(&out, "HTTP/1.1 ");
    text_int(&out, reply->status);
    text_char(&out, ' ');
    text_add(&out, reply_reason(reply->status));
    text_put(&out, "\r\n", 2);
    put_header(&out, "Date", worker_date(worker));
    if (reply->content_type != NULL)
        put_header(&out, "Content-Type", reply->content_type);
    if (reply->status != 204 && reply->status != 304) {
        text_add(&out, "Content-Length: ");
        text_int(&out, (int64_t)reply->body_len);
        text_put(&out, "\r\n", 2);
    }
    if (req->task.id != NULL)
        put_header(&out, "X-Request-Id", req->task.id);
    put_security(&out, req);
    put_cors(&out, req);
    if (reply->head.len > 0)
        text_put(&out, reply->head.s, reply->head.len);
    if (!keep_alive)
        text_add(&out, "Connection: close\r\n");
    text_put(&out, "\r\n", 2);
    return out;
}

/* Who has no route is counted by 0. */
static void count_request(const struct request *req, int status, int64_t took_us)
{
    const struct route *route = req->match.route;
    unsigned number = route == NULL ? 0 : (unsigned)(route - router_rows(req->server->router)) + 1;

    assert(status >= 200 && status < 600);
    metric_add_of(METRIC_requests, number, STATUS_2XX + (unsigned)(status / 100 - 2), 1);
    metric_observe(METRIC_request_seconds, number, took_us);
}

void dispatch_log(const struct request *req, int status, size_t bytes)
{
    const char *path = req->match.path;
    int64_t took_us = clock_mono_us() - req->started_us;

    count_request(req, status, took_us);
    log_info(&req->task, "request", LOG_S("method", req->method == NULL ? "-" : req->method),
             LOG_S("route", path == NULL ? "-" : path), LOG_I("status", status),
             LOG_I("duration_us", took_us), LOG_I("bytes", bytes),
             LOG_S("client", req->client_text));
}
