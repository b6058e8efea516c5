#include "api/gate.h"

#include "account/identity.h"
#include "account/provider.h"
#include "api/app.h"
#include "api/limits.h"
#include "api/origin.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/metrics.h"
#include "http/reply.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

const char *gate_bearer_token(const struct request *req)
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
    const struct route *route = req->match.route;

    assert(req->user == NULL);
    if (answer != IDENTITY_VALID || !provider_admits(req->task.settings, user))
        return route->access == ACCESS_OPTIONAL ? OK : refuse_token(req);
    req->user = user;
    req->session = session;
    req->task.user_id = user->id;
    if (route->access >= ACCESS_ADMIN && !user->is_admin)
        return fail(&req->task, ERR_FORBIDDEN, "Admin access required");
    if (user->verified_ms == 0 && req->task.settings->unverified_may > (int)route->unverified)
        return fail(&req->task, ERR_FORBIDDEN, "Email is not verified");
    return OK;
}

/* With AUTH_PROVIDER=none everybody is one user, whatever they send. */
static struct token_claims *anonymous(struct request *req)
{
    struct token_claims *claims = mem_new(req->task.mem, struct token_claims);

    claims->type = TOKEN_ACCESS;
    claims->user_id = PROVIDER_NONE_ID;
    claims->issued_s = clock_turn_wall_ms() / 1000 + 1;
    return claims;
}

/* NULL: no valid access token was sent. */
static enum err read_claims(struct request *req, struct token_claims **ret)
{
    struct app *app = app_of(req);
    const char *token = gate_bearer_token(req);

    if (req->task.settings->auth_provider == PROVIDER_NONE) {
        *ret = anonymous(req);
        return OK;
    }
    if (token == NULL)
        return fail(&req->task, ERR_UNAUTHENTICATED, "Authentication required");
    *ret = identity_claims(app->accounts.sessions.identity, req->task.mem, req->task.settings,
                           token, clock_turn_wall_ms() / 1000);
    if (*ret != NULL && (*ret)->type == TOKEN_ACCESS)
        return OK;
    *ret = NULL;
    return refuse_token(req);
}

/* Whom an optional token names; one that is not valid is none. After the limits, which count by the
 * client there. */
static void read_optional(struct request *req)
{
    size_t len = req->reply.head.len;

    if (read_claims(req, &req->claims) == OK)
        return;
    req->claims = NULL;
    req->reply.head.len = len;
}

static bool has_metrics_token(const struct request *req)
{
    const struct secret *right = req->task.settings->metrics_token;
    const char *token = gate_bearer_token(req);

    return right != NULL && token != NULL && strlen(token) == right->len &&
           crypto_equal(token, right->bytes, right->len);
}

/* What its head shows to be wrong is counted, once, and refused before the body comes. */
static void refuse_by_head(struct request *req, bool counted)
{
    const struct refusal *why = req->match.route->check_head(req);

    if (why == NULL || (!counted && limits_charge_head(req) != LIMITS_ADMITTED))
        return;
    metric_add(METRIC_webhook_refused, 1);
    reply_error(req, why->status, why->msg);
}

/* What others send proves itself: proxies by their address, deliveries by their signature, scrapers
 * by their token. */
static bool needs_right_origin(const struct request *req)
{
    const struct route *route = req->match.route;

    return route->access != ACCESS_GUARD && route->check_head == NULL &&
           !(route->access == ACCESS_METRICS && has_metrics_token(req));
}

enum err gate(struct request *req)
{
    struct app *app = app_of(req);
    enum identity_answer answer;
    struct user *user;
    struct session_record *session;
    bool counted = req->asked != NULL;
    bool is_open = req->match.route->access <= ACCESS_OPTIONAL ||
                   (req->match.route->access == ACCESS_METRICS && has_metrics_token(req));

    if (needs_right_origin(req) && origin_check(req) != OK)
        return req->task.err;
    if (!is_open && !req->credentials_read)
        req->gate_error = read_claims(req, &req->claims);
    req->credentials_read = true;
    if (req->match.route->access == ACCESS_GUARD) {
        req->reply.head.len = 0;
        (void)limits_admit(req);
        return OK;
    }
    if (limits_admit(req) != LIMITS_ADMITTED)
        return OK;
    if (req->match.route->check_head != NULL)
        refuse_by_head(req, counted);
    if (req->match.route->access == ACCESS_OPTIONAL)
        read_optional(req);
    if (req->gate_error != OK || req->claims == NULL)
        return req->gate_error;
    answer = identity_peek(app->accounts.sessions.identity, req->task.mem, req->claims, &user,
                           &session);
    return answer == IDENTITY_UNKNOWN ? OK : admit(req, answer, user, session);
}

enum err gate_body(struct request *req)
{
    (void)limits_admit_body(req);
    return OK;
}

enum err gate_load(struct request *req)
{
    struct app *app = app_of(req);
    enum identity_answer answer;
    struct user *user;
    struct session_record *session;
    enum err e;

    if (req->claims == NULL || req->user != NULL || req->match.route->access == ACCESS_GUARD)
        return OK;
    e = identity_load(&req->task, app->accounts.sessions.identity, req->claims, &answer, &user,
                      &session);
    return e == OK ? admit(req, answer, user, session) : e;
}
