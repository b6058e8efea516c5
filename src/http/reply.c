#include "http/reply.h"

#include <assert.h>
#include <string.h>

static const char json_content_type[] = "application/json";

enum err reply_json_text(struct request *req, int status, const char *body, size_t len)
{
    assert(status >= 200 && status < 600);
    req->reply.status = status;
    req->reply.content_type = json_content_type;
    req->reply.body = body;
    req->reply.body_len = len;
    return OK;
}

enum err reply_json(struct request *req, int status, json_t *json)
{
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT);
    char *body = mem_zero(req->task.mem, size + 1);

    json_dumpb(json, body, size, JSON_COMPACT);
    json_decref(json);
    return reply_json_text(req, status, body, size);
}

enum err reply_ok(struct request *req, json_t *data)
{
    return reply_json(req, 200,
                      json_pack("{s:i,s:s,s:o}", "code", 0, "msg", "success", "data", data));
}

struct json_writer reply_begin_ok(struct request *req, struct text *body)
{
    struct json_writer w;

    *body = text_open(req->task.mem, 480);
    w = json_write(body);
    put_object(&w, NULL);
    put_number(&w, "code", 0);
    put_string(&w, "msg", "success");
    return w;
}

enum err reply_end_ok(struct request *req, struct json_writer *w)
{
    return reply_end(req, 200, w);
}

struct json_writer reply_begin(struct request *req, struct text *body)
{
    struct json_writer w;

    *body = text_open(req->task.mem, 480);
    w = json_write(body);
    put_object(&w, NULL);
    return w;
}

enum err reply_end(struct request *req, int status, struct json_writer *w)
{
    put_end(w);
    assert(w->depth == 0);
    return reply_json_text(req, status, w->out->s, w->out->len);
}

enum err reply_end_spool(struct request *req, struct spool *body, struct json_writer *w)
{
    const char *bytes;
    size_t len;
    enum err e;

    put_end(w);
    e = spool_end(&req->task, body, &bytes, &len);
    return e == OK ? reply_json_text(req, 200, bytes, len) : e;
}

static enum err reply_error_with(struct request *req, int status, const char *msg, const char *data)
{
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_number(&w, "code", status);
    put_string(&w, "msg", msg);
    put_json(&w, "data", data);
    return reply_end(req, status, &w);
}

enum err reply_error(struct request *req, int status, const char *msg)
{
    return reply_error_with(req, status, msg, "null");
}

static bool says_www_authenticate(const struct request *req)
{
    return strstr(req->reply.head.s == NULL ? "" : req->reply.head.s, "WWW-Authenticate") != NULL;
}

enum err reply_failure(struct request *req, enum err e)
{
    const struct err_info *info = err_info(e);
    bool callers = info->blame == BLAME_CALLER && req->task.err == e && req->task.text != NULL;
    bool told = e != OK && req->failure.of == e;
    const char *msg = callers ? req->task.text : info->text;

    if (info->status == 503)
        reply_header(req, "Retry-After", "1");
    if (info->status == 401 && !says_www_authenticate(req))
        reply_header(req, "WWW-Authenticate", "Bearer");
    if (info->status == 405)
        reply_header(req, "Allow", req->match.allow);
    if (told && req->failure.msg != NULL)
        msg = req->failure.msg;
    return reply_error_with(req, info->status, msg,
                            told && req->failure.data != NULL ? req->failure.data : "null");
}

enum err reply_empty(struct request *req, int status)
{
    assert(status >= 200 && status < 600);
    req->reply.status = status;
    req->reply.content_type = NULL;
    req->reply.body = "";
    req->reply.body_len = 0;
    return OK;
}

void reply_header(struct request *req, const char *name, const char *value)
{
    req->reply.head.mem = req->task.mem;
    text_add(&req->reply.head, name);
    text_put(&req->reply.head, ": ", 2);
    text_add(&req->reply.head, value);
    text_put(&req->reply.head, "\r\n", 2);
}

const char *reply_reason(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < count_of(phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    assert(false && "a status without a phrase");
    return "Unknown";
}
