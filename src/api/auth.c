#include "account/code.h"
#include "account/manage.h"
#include "account/verify.h"
#include "api/app.h"
#include "api/handlers.h"
#include "api/language.h"
#include "api/login_guard.h"
#include "api/shapes.h"
#include "core/log.h"
#include "http/reply.h"

#include <assert.h>
#include <string.h>

static enum err reply_login(struct request *req, const struct user *user,
                            const struct tokens *tokens)
{
    struct text body;
    struct json_writer w = reply_begin_ok(req, &body);

    put_object(&w, "data");
    put_user(&w, "user", user);
    put_string(&w, "access_token", tokens->access);
    put_string(&w, "refresh_token", tokens->refresh);
    put_string(&w, "token_type", "bearer");
    put_end(&w);
    return reply_end_ok(req, &w);
}

void warn_if_common(struct request *req, bool is_common)
{
    if (!is_common)
        return;
    reply_header(req, "X-Password-Warning", "common");
    log_warning(&req->task, "a user chose one of the most common passwords");
}

struct device device_of(const struct request *req)
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
    enum err e = account_register(&req->task, &app_of(req)->accounts, request_str(req, "fullname"),
                                  request_str(req, "email"), request_str(req, "password"), &device,
                                  &user, &tokens, &common);

    if (e != OK)
        return e;
    warn_if_common(req, common);
    return reply_login(req, &user, &tokens);
}

enum err auth_login(struct request *req)
{
    struct device device = device_of(req);
    const char *email = request_str(req, "email");
    struct login_guard guard;
    struct tokens tokens;
    struct user user;
    enum err e;

    if (!login_guard_enter(req, email, &guard))
        return OK;
    e = login_guard_leave(req, &guard,
                          account_login(&req->task, &app_of(req)->accounts, email,
                                        request_str(req, "password"), &device, &user, &tokens));
    if (e != OK)
        return e;
    login_guard_remember(req, email);
    return reply_login(req, &user, &tokens);
}

enum err auth_refresh(struct request *req)
{
    struct tokens tokens;
    enum err e = session_refresh(&req->task, &app_of(req)->accounts.sessions,
                                 request_str(req, "refresh_token"), &tokens);

    if (e != OK)
        return e;
    return reply_ok(req, json_pack("{s:s,s:s,s:s}", "access_token", tokens.access, "token_type",
                                   "bearer", "refresh_token", tokens.refresh));
}

enum err auth_logout(struct request *req)
{
    enum err e;

    if (req->task.settings->auth_provider == PROVIDER_NONE) {
        if (request_header(req, HEADER_AUTHORIZATION) == NULL)
            return fail(&req->task, ERR_UNAUTHENTICATED, "Not authenticated");
        return fail(&req->task, ERR_BAD_REQUEST, "Logout is not allowed");
    }
    e = session_end(&req->task, &app_of(req)->accounts.sessions, req->user, req->session);

    return e == OK ? reply_ok(req, json_object()) : e;
}

enum err auth_me(struct request *req)
{
    struct text body;
    struct json_writer w = reply_begin_ok(req, &body);

    put_user(&w, "data", req->user);
    return reply_end_ok(req, &w);
}

bool auth_me_fast(struct request *req)
{
    return req->user != NULL && auth_me(req) == OK;
}

enum err auth_status(struct request *req)
{
    static const char *const names[] = {
        [PROVIDER_PASSWORD] = "password", [PROVIDER_NONE] = "none", [PROVIDER_LOCAL] = "local"};

    assert((size_t)req->task.settings->auth_provider < count_of(names));
    return reply_ok(req,
                    json_pack("{s:s}", "auth_provider", names[req->task.settings->auth_provider]));
}

enum err auth_send_code(struct request *req)
{
    enum err e = code_send(&req->task, &app_of(req)->accounts, request_str(req, "email"),
                           language_of(req));

    return e == OK ? reply_ok(req, json_object()) : e;
}

enum err auth_reset_password(struct request *req)
{
    bool common;
    enum err e = code_reset_password(&req->task, &app_of(req)->accounts, request_str(req, "email"),
                                     request_str(req, "verification_code"),
                                     request_str(req, "new_password"), req->client_text,
                                     language_of(req), &common);

    if (e != OK)
        return e;
    warn_if_common(req, common);
    return reply_ok(req, json_object());
}

enum err auth_send_verification(struct request *req)
{
    enum err e = verify_send(&req->task, &app_of(req)->accounts, req->user, language_of(req));

    return e == OK ? reply_ok(req, json_object()) : e;
}

/* Who asks without saying whose account it is. A token that has expired can be renewed: 401. */
static enum err ask_for_proof(struct request *req)
{
    if (req->user == NULL && request_header(req, HEADER_AUTHORIZATION) != NULL)
        return fail(&req->task, ERR_UNAUTHENTICATED, "Authentication failed");
    return fail(&req->task, ERR_FORBIDDEN,
                "Log in to confirm, or give the account's password; if you do not know it, choose "
                "a new one with a mailed code");
}

/* Who has the mailbox need not be who has registered with its address: that is shown by a session
 * of the account, or by its password. */
enum err auth_verify_email(struct request *req)
{
    const struct accounts *accounts = &app_of(req)->accounts;
    const struct verification verification = {.token = request_str(req, "token"),
                                              .email = request_str(req, "email"),
                                              .code = request_str(req, "verification_code"),
                                              .client = req->client_text};
    const char *password = request_str(req, "password");
    struct login_guard guard = {0};
    struct user user;
    enum err e = verify_look(&req->task, accounts, &verification, &user);

    if (e != OK)
        return e;
    if (req->user == NULL || strcmp(req->user->id, user.id) != 0) {
        if (password == NULL)
            return ask_for_proof(req);
        if (!login_guard_enter(req, user.email, &guard))
            return OK;
        e = login_guard_leave(req, &guard,
                              manage_confirm(&req->task, &user, password, "Invalid password"));
    }
    if (e == OK)
        e = verify_do(&req->task, accounts, &verification, &user);
    return e == OK ? reply_ok(req, json_object()) : e;
}
