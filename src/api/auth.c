#include "api/app.h"
#include "api/handlers.h"
#include "core/text.h"
#include "http/reply.h"

#include <string.h>

static void put_string(struct text *out, const char *name, const char *value)
{
    text_char(out, '"');
    text_add(out, name);
    text_add(out, "\":");
    text_json(out, value, strlen(value));
    text_char(out, ',');
}

static void put_time(struct text *out, const char *name, int64_t ms)
{
    char text[TEXT_TIME_SIZE];

    if (ms != 0) {
        text_time(text, ms);
        put_string(out, name, text);
    } else {
        text_printf(out, "\"%s\":null,", name);
    }
}

static void put_user(struct text *out, const struct user *user)
{
    text_char(out, '{');
    put_string(out, "id", user->id);
    put_string(out, "fullname", user->fullname);
    put_string(out, "email", user->email);
    put_string(out, "role", user->is_admin ? "admin" : "user");
    text_add(out, user->is_active ? "\"is_active\":true," : "\"is_active\":false,");
    put_time(out, "created_at", user->created_ms);
    put_time(out, "updated_at", user->updated_ms);
    put_time(out, "last_login_at", user->last_login_ms);
    out->s[out->len - 1] = '}';
}

static enum err reply_login(struct request *req, const struct user *user,
                            const struct tokens *tokens)
{
    struct text body = reply_begin_ok(req);

    text_add(&body, "{\"user\":");
    put_user(&body, user);
    text_char(&body, ',');
    put_string(&body, "access_token", tokens->access);
    put_string(&body, "refresh_token", tokens->refresh);
    text_add(&body, "\"token_type\":\"bearer\"}");
    return reply_end_ok(req, &body);
}

static struct device device_of(const struct request *req)
{
    return (struct device){req->client_text, req->headers[HEADER_USER_AGENT].value};
}

enum err auth_register(struct request *req)
{
    struct device device = device_of(req);
    struct tokens tokens;
    struct user user;
    enum err e = account_register(&req->task, &app_of(req)->accounts, req->settings,
                                  request_str(req, "fullname"), request_str(req, "email"),
                                  request_str(req, "password"), &device, &user, &tokens);

    return e == OK ? reply_login(req, &user, &tokens) : e;
}

enum err auth_login(struct request *req)
{
    struct device device = device_of(req);
    struct tokens tokens;
    struct user user;
    enum err e = account_login(&req->task, &app_of(req)->accounts, req->settings,
                               request_str(req, "email"), request_str(req, "password"), &device,
                               &user, &tokens);

    return e == OK ? reply_login(req, &user, &tokens) : e;
}

enum err auth_refresh(struct request *req)
{
    struct tokens tokens;
    enum err e = session_refresh(&req->task, &app_of(req)->accounts.sessions, req->settings,
                                 request_str(req, "refresh_token"), &tokens);

    if (e != OK)
        return e;
    return reply_ok(req, json_pack("{s:s,s:s,s:s}", "access_token", tokens.access, "token_type",
                                   "bearer", "refresh_token", tokens.refresh));
}

enum err auth_logout(struct request *req)
{
    enum err e = session_end(&req->task, &app_of(req)->accounts.sessions, req->user, req->session);

    return e == OK ? reply_ok(req, json_object()) : e;
}

enum err auth_me(struct request *req)
{
    struct text body = reply_begin_ok(req);

    put_user(&body, req->user);
    return reply_end_ok(req, &body);
}

bool auth_me_fast(struct request *req)
{
    return req->user != NULL && auth_me(req) == OK;
}

enum err auth_status(struct request *req)
{
    return reply_ok(req, json_pack("{s:s}", "auth_provider", "password"));
}
