#include "api/gate.h"

#include "account/identity.h"
#include "api/app.h"
#include "core/clock.h"
#include "http/reply.h"

#include <strings.h>

/* RFC 6750 section 2.1; NULL if there is no such credential. */
static const char *bearer_token(const struct request *req)
{
    const char *value = request_header(req, HEADER_AUTHORIZATION);

    if (value == NULL || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    value += 7;
    while (*value == ' ')
        value++;
    return *value == '\0' ? NULL : value;
}

static enum err refuse_token(struct request *req)
{
    reply_header(req, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
    return fail(&req->task, ERR_UNAUTHENTICATED, "Authentication failed");
}

/* Somebody is known: may they? */
static enum err admit(struct request *req, enum identity_answer answer, struct user *user,
                      struct session_record *session)
{
    if (answer != IDENTITY_VALID)
        return refuse_token(req);
    req->user = user;
    req->session = session;
    req->task.user_id = user->id;
    if (req->match.route->access == ACCESS_ADMIN && !user->is_admin)
        return fail(&req->task, ERR_FORBIDDEN, "Admin access required");
    return OK;
}

enum err gate(struct request *req)
{
    struct app *app = app_of(req);
    const char *token;
    enum identity_answer answer;
    struct user *user;
    struct session_record *session;

    if (req->match.route->access == ACCESS_PUBLIC)
        return OK;
    token = bearer_token(req);
    if (token == NULL)
        return fail(&req->task, ERR_UNAUTHENTICATED, "Authentication required");
    req->claims = identity_claims(app->accounts.sessions.identity, req->task.mem, req->settings,
                                  token, clock_wall_ms() / 1000);
    if (req->claims == NULL || req->claims->type != TOKEN_ACCESS)
        return refuse_token(req);
    answer = identity_peek(app->accounts.sessions.identity, req->task.mem, req->claims, &user,
                           &session);
    return answer == IDENTITY_UNKNOWN ? OK : admit(req, answer, user, session);
}

enum err gate_load(struct request *req)
{
    struct app *app = app_of(req);
    enum identity_answer answer;
    struct user *user;
    struct session_record *session;
    enum err e;

    if (req->claims == NULL || req->user != NULL)
        return OK;
    e = identity_load(&req->task, app->accounts.sessions.identity, req->claims, &answer, &user,
                      &session);
    return e == OK ? admit(req, answer, user, session) : e;
}
