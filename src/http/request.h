/* One request and its reply: what the parser fills, the gate and the handler read, and the
 * connection writes out.
 *
 * A request is a talloc tree of its own, capped (core/mem.h): one that needs more ends with 500.
 * One thread at a time owns it: its loop, then the lane that runs its handler, then the loop again;
 * `gone` is the one member that both may touch. */
#pragma once

#include "core/address.h"
#include "core/lane.h"
#include "core/settings.h"
#include "core/task.h"
#include "core/text.h"
#include "http/router.h"

#include <stdint.h>

enum {
    HTTP_REQUEST_LINE_BYTES = 8 << 10,
    HTTP_HEADERS_BYTES = 32 << 10,
    HTTP_HEADERS = 100,
    HTTP_BODY_BYTES = 64 << 10,
    HTTP_FIELDS = 16, /* of a body */
    REQUEST_ID_SIZE = 27
};

/* Headers that manus reads. The parser sorts each field that has one of these names. */
#define HTTP_KNOWN_HEADERS(X)                                                                      \
    X(HOST, "Host")                                                                                \
    X(AUTHORIZATION, "Authorization")                                                              \
    X(CONTENT_TYPE, "Content-Type")                                                                \
    X(CONTENT_ENCODING, "Content-Encoding")                                                        \
    X(TRANSFER_ENCODING, "Transfer-Encoding")                                                      \
    X(EXPECT, "Expect")                                                                            \
    X(ORIGIN, "Origin")                                                                            \
    X(FETCH_SITE, "Sec-Fetch-Site")                                                                \
    X(PREFLIGHT_METHOD, "Access-Control-Request-Method")                                           \
    X(REQUEST_ID, "X-Request-Id")                                                                  \
    X(FORWARDED, "Forwarded")                                                                      \
    X(FORWARDED_FOR, "X-Forwarded-For")                                                            \
    X(USER_AGENT, "User-Agent")                                                                    \
    X(ACCEPT, "Accept")                                                                            \
    X(ACCEPT_ENCODING, "Accept-Encoding")                                                          \
    X(ACCEPT_LANGUAGE, "Accept-Language")                                                          \
    X(ORIGINAL_METHOD, "X-Original-Method")                                                        \
    X(ORIGINAL_URI, "X-Original-URI")                                                              \
    X(FORWARDED_METHOD, "X-Forwarded-Method")                                                      \
    X(FORWARDED_URI, "X-Forwarded-Uri")                                                            \
    X(STRIPE_SIGNATURE, "Stripe-Signature")                                                        \
    X(COOKIE, "Cookie")                                                                            \
    X(IF_NONE_MATCH, "If-None-Match")

enum known_header {
#define ENUMERATOR(name, text) HEADER_##name,
    HTTP_KNOWN_HEADERS(ENUMERATOR)
#undef ENUMERATOR
        KNOWN_HEADERS
};

struct reply {
    int status; /* 0: none yet */
    const char *content_type;
    struct text head; /* further header lines, each with its CRLF */
    const char *body; /* in the request's memory, or static */
    size_t body_len;
    bool cacheable; /* brings its own Cache-Control */
    bool is_page;   /* brings its own Content-Security-Policy */
};

struct connection;
struct server_app;
struct user;
struct session_record;

struct request {
    struct task task;
    const struct server_app *server; /* whose hooks serve this request */
    void *app;                       /* the application's, as given to the server */

    /* From the head. Texts are NUL-terminated and in the task's memory. */
    const char *method;
    const char *target; /* as sent */
    const char *path;   /* of it, without the query */
    const char *query;  /* behind the ?, NULL if there is none */
    struct {
        const char *value; /* of the first such field; NULL: absent */
        unsigned count;
    } headers[KNOWN_HEADERS];
    struct text forwarded_for; /* all X-Forwarded-For fields, joined by commas */
    struct text forwarded;     /* all Forwarded fields likewise */
    int64_t content_length;    /* -1: chunked; 0: no body */
    bool keep_alive;
    bool expects_continue;

    char *body; /* NUL-terminated */
    size_t body_len;

    /* Found on the way. */
    struct route_match match;
    struct address peer;   /* of the connection */
    bool unnamed;          /* its proxy named nobody: no header is believed to name the client */
    struct address client; /* that, or whom a proxy names */
    char client_text[ADDRESS_TEXT_SIZE];
    char own_id[REQUEST_ID_SIZE];    /* unless it brought one */
    const char *values[HTTP_FIELDS]; /* of the row's body fields, in their order */
    struct user *user;               /* whoever passed the gate; NULL on public routes */
    const struct session_record *session;
    struct token_claims *claims;
    enum err gate_error; /* of the credentials, while the limits are asked */
    bool credentials_read;
    bool plan_sought; /* that of the caller, for the limits */
    void *asked;      /* the application's, while it waits for an answer */
    bool waits;  /* set by a hook or a fast handler, which is called again after request_go_on() */
    bool writes; /* set by a fast handler: what is left to the lane is a write */
    void *writing; /* a fast handler's own, while its write is under way; what it leaves is for the
                      handler on the lane */

    /* What a handler adds to the failure that it returns. */
    struct {
        enum err of;      /* that one; OK: nothing is added */
        const char *msg;  /* in place of the failure's text; NULL: that */
        const char *data; /* JSON; NULL: null */
    } failure;

    struct reply reply;
    struct job job;
    struct connection *connection;
    int64_t started_us; /* monotonic */
};

/* What a hook has waited for has come. On the request's loop; the request may be gone after it. */
void request_go_on(struct request *req);

/* The one value of a header; NULL if it is absent or stands twice. */
const char *request_header(const struct request *req, enum known_header name);

/* Its Origin if CORS_ORIGINS has it, else NULL. */
const char *request_listed_origin(const struct request *req);

/* The value of a body field, or of a path parameter. The name must be one of the row's. */
const char *request_str(const struct request *req, const char *name);
const char *request_param(const struct request *req, const char *name);

/* The value of the first such member of the query, decoded, in the request's memory; NULL if there
 * is none, or none that is text: broken encoding, control characters, no UTF-8. */
const char *request_query(struct request *req, const char *name);

/* A number of the query that the row's check has passed; `otherwise` if it is absent. */
int64_t request_query_number(struct request *req, const char *name, int64_t otherwise);

/* The query against the rows of the route: ERR_BAD_REQUEST with its text. */
must_check enum err request_check_query(struct request *req);
