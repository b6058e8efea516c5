#include "api/routes.h"

#include "api/handlers.h"
#include "core/text.h"

#define API "/api/v1"

#define EMAIL(kind_)                                                                               \
    {                                                                                              \
        .name = "email", .kind = (kind_), .rule = "Valid email is required",                       \
        .rule_max = "Valid email is required"                                                      \
    }

#define PASSWORD                                                                                   \
    {                                                                                              \
        .name = "password", .kind = FIELD_TEXT, .secret = true, .min = 6, .max_bytes = 1024,       \
        .rule = "Password must be at least 6 characters long",                                     \
        .rule_max = "Password must be at most 1024 bytes long"                                     \
    }

#define FULLNAME                                                                                   \
    {                                                                                              \
        .name = "fullname", .kind = FIELD_NAME, .min = 2, .max = 100,                              \
        .rule = "Full name must be at least 2 characters long",                                    \
        .rule_max = "Full name must be at most 100 characters long",                               \
        .rule_text = "Full name must not contain control characters"                               \
    }

#define NEW_PASSWORD                                                                               \
    {                                                                                              \
        .name = "new_password", .kind = FIELD_TEXT, .secret = true, .min = 6, .max_bytes = 1024,   \
        .rule = "New password must be at least 6 characters long",                                 \
        .rule_max = "New password must be at most 1024 bytes long"                                 \
    }

static const struct field login_body[] = {EMAIL(FIELD_KNOWN_EMAIL), PASSWORD, {0}};

static const struct field register_body[] = {FULLNAME, EMAIL(FIELD_EMAIL), PASSWORD, {0}};

static const struct field refresh_body[] = {{.name = "refresh_token",
                                             .kind = FIELD_TEXT,
                                             .secret = true,
                                             .min = 1,
                                             .rule = "Refresh token is required"},
                                            {0}};

static const struct field password_body[] = {
    {.name = "old_password",
     .kind = FIELD_TEXT,
     .secret = true,
     .min = 1,
     .max_bytes = 1024,
     .rule = "Old password is required",
     .rule_max = "Old password must be at most 1024 bytes long"},
    NEW_PASSWORD,
    {0}};

static const struct field code_body[] = {EMAIL(FIELD_KNOWN_EMAIL), {0}};

static const struct field reset_body[] = {EMAIL(FIELD_KNOWN_EMAIL),
                                          {.name = "verification_code",
                                           .kind = FIELD_CODE,
                                           .secret = true,
                                           .min = 1,
                                           .rule = "Verification code is required",
                                           .rule_text = "Verification code must be 6 digits"},
                                          NEW_PASSWORD,
                                          {0}};

static const struct field fullname_body[] = {FULLNAME, {0}};

static const struct field end_body[] = {{.name = "password",
                                         .kind = FIELD_TEXT,
                                         .secret = true,
                                         .min = 1,
                                         .max_bytes = 1024,
                                         .rule = "Password is required",
                                         .rule_max = "Password must be at most 1024 bytes long"},
                                        {0}};

static const char *const roles[] = {"user", "admin", NULL};
static const struct field role_body[] = {{.name = "role", .kind = FIELD_CHOICE, .choices = roles},
                                         {0}};

const struct route routes[] = {
    {.method = "GET",
     .path = API "/health",
     .limits = "300/minute",
     .lane = LANE_LOOP,
     .handle = ops_health,
     .summary = "The process answers."},
    {.method = "GET",
     .path = API "/ready",
     .lane = LANE_JOB,
     .fast = ops_ready_fast,
     .handle = ops_ready,
     .summary = "The dependencies answer: 200 ready or degraded, 503 not_ready."},
    {.method = "GET",
     .path = API "/live",
     .lane = LANE_LOOP,
     .handle = ops_live,
     .summary = "The process is alive, and for how many seconds."},
    {.method = "GET",
     .path = API "/version",
     .limits = "100/minute",
     .lane = LANE_LOOP,
     .handle = ops_version,
     .summary = "What runs here."},

    {.method = "POST",
     .path = API "/auth/register",
     .limits = "3/minute;10/hour",
     .lane = LANE_HASH,
     .body = register_body,
     .handle = auth_register,
     .summary = "Makes an account and logs it in."},
    {.method = "POST",
     .path = API "/auth/login",
     .limits = "5/minute;20/hour",
     .lane = LANE_HASH,
     .body = login_body,
     .handle = auth_login,
     .summary = "Logs in: an access and a refresh token."},
    {.method = "POST",
     .path = API "/auth/refresh",
     .limits = "10/minute;50/hour",
     .lane = LANE_STORE,
     .body = refresh_body,
     .handle = auth_refresh,
     .summary = "Exchanges a refresh token for an access token and the next refresh token."},
    {.method = "POST",
     .path = API "/auth/logout",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = auth_logout,
     .summary = "Ends the session with all of its tokens."},
    {.method = "GET",
     .path = API "/auth/me",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .fast = auth_me_fast,
     .handle = auth_me,
     .summary = "Whose token this is."},
    {.method = "GET",
     .path = API "/auth/status",
     .lane = LANE_LOOP,
     .handle = auth_status,
     .summary = "How people log in here."},

    {.method = "POST",
     .path = API "/auth/send-verification-code",
     .limits = "3/minute;10/hour",
     .lane = LANE_STORE,
     .body = code_body,
     .handle = auth_send_code,
     .summary = "Mails a code for a new password, if the address is somebody's."},
    {.method = "POST",
     .path = API "/auth/reset-password",
     .limits = "3/minute;10/hour",
     .lane = LANE_HASH,
     .body = reset_body,
     .handle = auth_reset_password,
     .summary = "Sets a new password by that code; every session ends."},
    {.method = "POST",
     .path = API "/auth/change-password",
     .access = ACCESS_USER,
     .lane = LANE_HASH,
     .body = password_body,
     .handle = manage_own_password,
     .summary = "Changes the password; every other session ends."},
    {.method = "POST",
     .path = API "/auth/change-fullname",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .body = fullname_body,
     .handle = manage_own_fullname,
     .summary = "Changes the name."},
    {.method = "DELETE",
     .path = API "/auth/me",
     .access = ACCESS_USER,
     .lane = LANE_HASH,
     .body = end_body,
     .handle = manage_own_end,
     .summary = "Removes the account and all that belongs to it."},
    {.method = "GET",
     .path = API "/auth/me/export",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = manage_own_export,
     .summary = "All that is held about the person."},
    {.method = "GET",
     .path = API "/auth/sessions",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = manage_own_sessions,
     .summary = "Where the person is logged in."},
    {.method = "DELETE",
     .path = API "/auth/sessions/{session_id}",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = manage_own_session_end,
     .summary = "Ends one of them."},
    {.method = "POST",
     .path = API "/auth/sessions/revoke-others",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = manage_own_sessions_end,
     .summary = "Ends all but the one that asks."},

    {.method = "GET",
     .path = API "/auth/users",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_users,
     .summary = "Users, newest first: ?search=, ?limit=, ?cursor=."},
    {.method = "GET",
     .path = API "/auth/user/{user_id}",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_user,
     .summary = "One of them."},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/deactivate",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_deactivate,
     .summary = "Stops the account and ends its sessions."},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/activate",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_activate,
     .summary = "Lets the account log in again."},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/role",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .body = role_body,
     .handle = manage_role,
     .summary = "Makes somebody an administrator, or a user again; their sessions end."},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/revoke-sessions",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_sessions_end,
     .summary = "Ends all of their sessions."},
    {.method = "GET",
     .path = API "/auth/audit",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_audit,
     .summary = "Who did what, newest first: ?user_id=, ?limit=, ?cursor=."},

    {.method = "GET",
     .path = "/",
     .lane = LANE_LOOP,
     .handle = pages_home,
     .summary = "The home page, in English or Arabic."},
    {.method = "GET",
     .path = "/docs",
     .lane = LANE_LOOP,
     .handle = pages_docs,
     .summary = "This table, for people."},
    {.method = "GET",
     .path = "/assets/{name}",
     .lane = LANE_LOOP,
     .handle = pages_asset,
     .summary = "Styles and scripts of the pages."},
    {0},
};

static const char *access_name(enum access access)
{
    static const char *const names[] = {"anybody", "user", "admin"};

    return names[access];
}

char *routes_as_markdown(void *mem)
{
    struct text out = text_open(mem, 4096);

    text_add(&out, "| method | path | for | limits | what it does |\n|---|---|---|---|---|\n");
    for (const struct route *row = routes; row->method != NULL; row++)
        text_printf(&out, "| %s | `%s` | %s | %s | %s |\n", row->method, row->path,
                    access_name(row->access),
                    row->limits == NULL ? ROUTE_DEFAULT_LIMITS : row->limits, row->summary);
    return out.s;
}
