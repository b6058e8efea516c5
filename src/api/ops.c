#include "api/app.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "core/clock.h"
#include "core/metrics.h"
#include "core/text.h"
#include "http/reply.h"

#include <string.h>

static void put_timestamp(struct text *out)
{
    char now[TEXT_TIME_SIZE];

    text_time(now, clock_wall_ms());
    text_add(out, ",\"timestamp\":\"");
    text_add(out, now);
    text_char(out, '"');
}

enum err ops_health(struct request *req)
{
    const char *service = req->settings->service_name;
    struct text body = text_open(req->task.mem, 160);

    text_add(&body, "{\"status\":\"healthy\"");
    put_timestamp(&body);
    text_add(&body, ",\"service\":");
    text_json(&body, service, strlen(service));
    text_char(&body, '}');
    return reply_json_text(req, 200, body.s, body.len);
}

enum err ops_live(struct request *req)
{
    int64_t up_ms = clock_mono_ms() - app_of(req)->started_ms;
    struct text body = text_open(req->task.mem, 160);

    text_add(&body, "{\"status\":\"alive\"");
    put_timestamp(&body);
    text_printf(&body, ",\"uptime\":%lld.%03d}", (long long)(up_ms / 1000), (int)(up_ms % 1000));
    return reply_json_text(req, 200, body.s, body.len);
}

enum err ops_version(struct request *req)
{
    const char *body = app_of(req)->version;

    return reply_json_text(req, 200, body, strlen(body));
}

/* None where no token is signed by them. */
enum err ops_keys(struct request *req)
{
    const struct settings *settings = req->settings;
    size_t count = settings->jwt_algorithm == JWT_EDDSA ? settings->signing_key_count : 0;
    struct text body = text_open(req->task.mem, 512);

    text_add(&body, "{\"keys\":[");
    for (size_t i = 0; i < count; i++)
        text_printf(&body, "%s%s", i == 0 ? "" : ",",
                    signing_public_jwk(req->task.mem, settings->signing_keys[i]));
    text_add(&body, "]}");
    req->reply.cacheable = true;
    reply_header(req, "Cache-Control", "public, max-age=300");
    return reply_json_text(req, 200, body.s, body.len);
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

static void put_check(struct text *out, enum check_name name, const struct check *check)
{
    text_printf(out, "\"%s\":{\"status\":\"%s\",\"message\":", check_name(name),
                check_status_name(check->status));
    text_json(out, check->message, strlen(check->message));
    text_printf(out, ",\"latency_ms\":%lld}", (long long)check->latency_ms);
}

static enum err reply_report(struct request *req, struct ready_report *report)
{
    static const char *const names[] = {
        [READY] = "ready", [READY_DEGRADED] = "degraded", [READY_NOT] = "not_ready"};
    struct text body = text_open(req->task.mem, 640);

    if (server_is_stopping(app_of(req)->server))
        report->readiness = READY_NOT;
    text_printf(&body, "{\"status\":\"%s\"", names[report->readiness]);
    put_timestamp(&body);
    text_add(&body, ",\"checks\":{");
    for (int name = 0; name < CHECKS; name++) {
        if (name > 0)
            text_char(&body, ',');
        put_check(&body, (enum check_name)name, &report->checks[name]);
    }
    text_add(&body, "}}");
    return reply_json_text(req, report->readiness == READY_NOT ? 503 : 200, body.s, body.len);
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
