#include "api/app.h"
#include "api/handlers.h"
#include "core/text.h"
#include "http/reply.h"

static json_t *time_json(int64_t ms)
{
    char text[TEXT_TIME_SIZE];

    if (ms == 0)
        return json_null();
    text_time(text, ms);
    return json_string(text);
}

static json_t *user_json(const struct user *user)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:b,s:o,s:o,s:o}", "id", user->id, "fullname",
                     user->fullname, "email", user->email, "role",
                     user->is_admin ? "admin" : "user", "is_active", user->is_active, "created_at",
                     time_json(user->created_ms), "updated_at", time_json(user->updated_ms),
                     "last_login_at", time_json(user->last_login_ms));
}

static enum err reply_login(struct request *req, const struct user *user,
                            const struct tokens *tokens)
{
    return reply_ok(req, json_pack("{s:o,s:s,s:s,s:s}", "user", user_json(user), "access_token",
                                   tokens->access, "refresh_token", tokens->refresh, "token_type",
                                   "bearer"));
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
    return reply_ok(req, user_json(req->user));
}

bool auth_me_fast(struct request *req)
{
    return req->user != NULL && auth_me(req) == OK;
}

enum err auth_status(struct request *req)
{
    return reply_ok(req, json_pack("{s:s}", "auth_provider", "password"));
}
