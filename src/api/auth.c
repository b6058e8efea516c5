#include "account/code.h"
#include "account/verify.h"
#include "api/app.h"
#include "api/handlers.h"
#include "api/language.h"
#include "api/login_guard.h"
#include "api/shapes.h"
#include "core/email.h"
#include "core/log.h"
#include "http/reply.h"

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

void warn_if_common(struct request *req, bool is_common)
{
    if (!is_common)
        return;
    reply_header(req, "X-Password-Warning", "common");
    log_warning(&req->task, "a password was chosen that is one of the most common");
}

static struct device device_of(const struct request *req)
{
    return (struct device){req->client_text, req->headers[HEADER_USER_AGENT].value,
                           language_of(req)};
}

enum err auth_register(struct request *req)
{
    struct device device = device_of(req);
    struct tokens tokens;
    struct user user;
    bool common;
    enum err e = account_register(&req->task, &app_of(req)->accounts, req->settings,
                                  request_str(req, "fullname"), request_str(req, "email"),
                                  request_str(req, "password"), &device, &user, &tokens, &common);

    if (e != OK)
        return e;
    warn_if_common(req, common);
    return reply_login(req, &user, &tokens);
}

enum err auth_login(struct request *req)
{
    struct device device = device_of(req);
    const char *email = request_str(req, "email"), *key = email_key(req->task.mem, email);
    struct login_guard guard;
    struct tokens tokens;
    struct user user;
    enum err e;

    if (!login_guard_enter(req, key, session_device_id(&req->task, &device), &guard))
        return OK;
    e = account_login(&req->task, &app_of(req)->accounts, req->settings, email,
                      request_str(req, "password"), &device, &user, &tokens);
    if (e != ERR_UNAUTHENTICATED)
        login_guard_forgive(req, &guard);
    if (e != OK)
        return e;
    login_guard_remember(req, key);
    return reply_login(req, &user, &tokens);
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
    enum err e;

    if (req->settings->auth_provider == PROVIDER_NONE) {
        if (request_header(req, HEADER_AUTHORIZATION) == NULL)
            return fail(&req->task, ERR_UNAUTHENTICATED, "Not authenticated");
        return fail(&req->task, ERR_BAD_REQUEST, "Logout is not allowed");
    }
    e = session_end(&req->task, &app_of(req)->accounts.sessions, req->user, req->session);

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
    static const char *const names[] = {
        [PROVIDER_PASSWORD] = "password", [PROVIDER_NONE] = "none", [PROVIDER_LOCAL] = "local"};

    return reply_ok(req, json_pack("{s:s}", "auth_provider", names[req->settings->auth_provider]));
}

enum err auth_send_code(struct request *req)
{
    enum err e = code_send(&req->task, &app_of(req)->accounts, req->settings,
                           request_str(req, "email"), language_of(req));

    return e == OK ? reply_ok(req, json_object()) : e;
}

enum err auth_reset_password(struct request *req)
{
    bool common;
    enum err e = code_reset_password(
        &req->task, &app_of(req)->accounts, req->settings, request_str(req, "email"),
        request_str(req, "verification_code"), request_str(req, "new_password"), req->client_text,
        language_of(req), &common);

    if (e != OK)
        return e;
    warn_if_common(req, common);
    return reply_ok(req, json_object());
}

enum err auth_send_verification(struct request *req)
{
    enum err e = verify_send(&req->task, &app_of(req)->accounts, req->settings, req->user,
                             language_of(req));

    return e == OK ? reply_ok(req, json_object()) : e;
}

enum err auth_verify_email(struct request *req)
{
    const struct accounts *accounts = &app_of(req)->accounts;
    const char *token = request_str(req, "token"), *email = request_str(req, "email");
    const char *code = request_str(req, "verification_code");
    enum err e;

    if (token != NULL)
        e = verify_by_token(&req->task, accounts, req->settings, token, req->client_text);
    else
        e = verify_by_code(&req->task, accounts, req->settings, email, code, req->client_text);
    return e == OK ? reply_ok(req, json_object()) : e;
}
