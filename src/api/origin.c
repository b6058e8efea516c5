#include "api/origin.h"

#include "account/identity.h"
#include "api/app.h"
#include "api/gate.h"
#include "core/clock.h"

#include <string.h>
#include <strings.h>

enum { HOST_BYTES = 256 };

static bool is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0;
}

/* Of HOST, HOST:PORT or [ADDRESS]:PORT. */
static void cut_host(const char *authority, char ret[HOST_BYTES])
{
    bool in_brackets = *authority == '[';
    size_t len;

    authority += in_brackets;
    len = strcspn(authority, in_brackets ? "]" : ":/");
    if (len >= HOST_BYTES)
        len = 0;
    memcpy(ret, authority, len);
    ret[len] = '\0';
}

static const char *behind_scheme(const char *origin)
{
    const char *at = strstr(origin, "://");

    return at == NULL ? "" : at + 3;
}

/* HTTP/1.0 may have none; no browser speaks that. */
static bool host_fits(const struct request *req)
{
    const char *sent = req->headers[HEADER_HOST].value, *url = req->task.settings->public_url;
    char host[HOST_BYTES], own[HOST_BYTES];
    struct address address;

    if (sent == NULL)
        return true;
    cut_host(sent, host);
    if (strcasecmp(host, "localhost") == 0 || address_parse(host, strlen(host), &address))
        return true;
    if (url == NULL)
        return false;
    cut_host(behind_scheme(url), own);
    return *host != '\0' && strcasecmp(host, own) == 0;
}

static bool is_own(const struct request *req, const char *origin)
{
    const char *host = req->headers[HEADER_HOST].value, *url = req->task.settings->public_url;

    return (url != NULL && strcasecmp(origin, url) == 0) ||
           (host != NULL && strcasecmp(behind_scheme(origin), host) == 0);
}

/* Whether no page sent it, or one that may; `trusts_site`: what the browser says of the site is
 * enough, since our own name is not known. */
static bool page_fits(const struct request *req, bool trusts_site)
{
    const char *origin = request_header(req, HEADER_ORIGIN);
    const char *site = request_header(req, HEADER_FETCH_SITE);
    bool same = site != NULL && strcmp(site, "same-origin") == 0;

    if (req->headers[HEADER_ORIGIN].count > 1 || req->headers[HEADER_FETCH_SITE].count > 1)
        return false;
    if (request_listed_origin(req) != NULL)
        return true;
    if (site != NULL && !same && strcmp(site, "none") != 0)
        return false;
    return origin == NULL || is_own(req, origin) || (same && trusts_site);
}

static bool has_own_token(struct request *req)
{
    const char *token = gate_bearer_token(req);
    const struct token_claims *claims;

    if (token == NULL)
        return false;
    claims = identity_claims(app_of(req)->accounts.sessions.identity, req->task.mem,
                             req->task.settings, token, clock_wall_ms() / 1000);
    return claims != NULL && claims->type == TOKEN_ACCESS;
}

enum err origin_check(struct request *req)
{
    bool host_is_right;

    if (req->task.settings->auth_provider != PROVIDER_NONE)
        return OK;
    host_is_right = host_fits(req);
    if (host_is_right && (is_safe(req->method) || page_fits(req, false)))
        return OK;
    if (has_own_token(req))
        return OK;
    return fail(&req->task, ERR_FORBIDDEN,
                host_is_right ? "Pages of this origin may not change anything here: see "
                                "CORS_ORIGINS and PUBLIC_URL"
                              : "This server is not known by this name: use its address, "
                                "localhost, or PUBLIC_URL");
}

bool origin_may_ask(struct request *req, const char *method)
{
    return req->task.settings->auth_provider != PROVIDER_NONE || is_safe(method) ||
           page_fits(req, true) || has_own_token(req);
}
