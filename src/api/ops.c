#include "api/app.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "core/clock.h"
#include "core/metrics.h"
#include "core/text.h"
#include "http/reply.h"

#include <assert.h>
#include <string.h>

static void put_timestamp(struct json_writer *w)
{
    put_time(w, "timestamp", clock_turn_wall_ms());
}

enum err ops_health(struct request *req)
{
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_string(&w, "status", "healthy");
    put_timestamp(&w);
    put_string(&w, "service", req->task.settings->service_name);
    return reply_end(req, 200, &w);
}

enum err ops_live(struct request *req)
{
    int64_t up_ms = clock_mono_ms() - app_of(req)->started_ms;
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_string(&w, "status", "alive");
    put_timestamp(&w);
    put_json(
        &w, "uptime",
        mem_printf(req->task.mem, "%lld.%03d", (long long)(up_ms / 1000), (int)(up_ms % 1000)));
    return reply_end(req, 200, &w);
}

enum err ops_version(struct request *req)
{
    const char *body = app_of(req)->version;

    return reply_json_text(req, 200, body, strlen(body));
}

/* None where no token is signed by them. */
enum err ops_keys(struct request *req)
{
    const struct settings *settings = req->task.settings;
    size_t count = settings->jwt_algorithm == JWT_EDDSA ? settings->signing_key_count : 0;
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_list(&w, "keys");
    for (size_t i = 0; i < count; i++)
        put_json(&w, NULL, signing_public_jwk(req->task.mem, settings->signing_keys[i]));
    put_end(&w);
    req->reply.cacheable = true;
    reply_header(req, "Cache-Control", "public, max-age=300");
    return reply_end(req, 200, &w);
}

enum err ops_metrics(struct request *req)
{
    struct text body = text_open(req->task.mem, 4096);

    metrics_print(&body);
    reply_json_text(req, 200, body.s, body.len);
    req->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return OK;
}

/* Who asks is known already: with the store's lane full or the store ill the figures are there. */
bool ops_metrics_fast(struct request *req)
{
    return (req->claims == NULL || req->user != NULL) && ops_metrics(req) == OK;
}

enum err ops_limits_top(struct request *req)
{
    return reply_ok(req, limits_top(app_of(req), (unsigned)request_query_number(req, "limit", 20)));
}

static void put_check(struct json_writer *w, const struct check *check)
{
    put_object(w, check->name);
    put_string(w, "status", check_status_name(check->status));
    put_string(w, "message", check->message);
    put_number(w, "latency_ms", check->latency_ms);
    put_end(w);
}

static enum err reply_report(struct request *req, struct ready_report *report)
{
    static const char *const names[] = {
        [READY] = "ready", [READY_DEGRADED] = "degraded", [READY_NOT] = "not_ready"};
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    assert((size_t)report->readiness < count_of(names));
    if (server_is_stopping(app_of(req)->server))
        report->readiness = READY_NOT;
    put_string(&w, "status", names[report->readiness]);
    put_timestamp(&w);
    put_object(&w, "checks");
    for (size_t i = 0; i < report->count; i++)
        put_check(&w, &report->checks[i]);
    put_end(&w);
    return reply_end(req, report->readiness == READY_NOT ? 503 : 200, &w);
}

enum err ops_ready(struct request *req)
{
    struct ready_report report;

    ready_check(app_of(req)->ready, &report);
    return reply_report(req, &report);
}

bool ops_ready_fast(struct request *req)
{
    struct ready_report report;

    return ready_look(app_of(req)->ready, &report) && reply_report(req, &report) == OK;
}
