#include "api/routes.h"

#include "api/handlers.h"
#include "api/limits.h"
#include "core/text.h"
#include "mail/letter.h"
#include "store/store.h"

#define API "/api/v1"

#define EMAIL(kind_)                                                                               \
    {                                                                                              \
        .name = "email", .kind = (kind_), .rule = "Valid email is required",                       \
        .rule_max = "Valid email is required"                                                      \
    }

#define PASSWORD(chosen_)                                                                          \
    {                                                                                              \
        .name = "password", .kind = FIELD_TEXT, .secret = true, .chosen = (chosen_), .min = 6,     \
        .max_bytes = 1024, .rule = "Password must be at least 6 characters long",                  \
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
        .name = "new_password", .kind = FIELD_TEXT, .secret = true, .chosen = true, .min = 6,      \
        .max_bytes = 1024, .rule = "New password must be at least 6 characters long",              \
        .rule_max = "New password must be at most 1024 bytes long"                                 \
    }

static const struct field login_body[] = {EMAIL(FIELD_LOGIN_EMAIL), PASSWORD(false), {0}};

static const struct field register_body[] = {FULLNAME, EMAIL(FIELD_EMAIL), PASSWORD(true), {0}};

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

static const struct field verify_body[] = {{.name = "token",
                                            .kind = FIELD_TEXT,
                                            .alternative = 1,
                                            .secret = true,
                                            .optional = true,
                                            .min = 1,
                                            .max_bytes = 256,
                                            .rule = "Token must not be empty",
                                            .rule_max = "Token must be at most 256 bytes long"},
                                           {.name = "email",
                                            .kind = FIELD_KNOWN_EMAIL,
                                            .alternative = 2,
                                            .optional = true,
                                            .rule = "Valid email is required",
                                            .rule_max = "Valid email is required"},
                                           {.name = "verification_code",
                                            .kind = FIELD_CODE,
                                            .alternative = 2,
                                            .secret = true,
                                            .optional = true,
                                            .min = 1,
                                            .rule = "Verification code is required",
                                            .rule_text = "Verification code must be 6 digits"},
                                           {.name = "password",
                                            .kind = FIELD_TEXT,
                                            .secret = true,
                                            .optional = true,
                                            .min = 1,
                                            .max_bytes = 1024,
                                            .rule = "Password is required",
                                            .rule_max = "Password must be at most 1024 bytes long"},
                                           {0}};

static const struct field language_body[] = {
    {.name = "language", .kind = FIELD_CHOICE, .nullable = true, .choices = language_names}, {0}};

static const struct field fullname_body[] = {FULLNAME, {0}};

static const struct field end_body[] = {{.name = "password",
                                         .kind = FIELD_TEXT,
                                         .secret = true,
                                         .min = 1,
                                         .max_bytes = 1024,
                                         .rule = "Password is required",
                                         .rule_max = "Password must be at most 1024 bytes long"},
                                        {0}};

#define PAGE_QUERY                                                                                 \
    {"limit", "Maximum number of entries. Default: 50.", 1, STORE_PAGE},                           \
    {                                                                                              \
        "cursor", "The value of next from the previous page.", 1, INT64_C(999999999999999999)      \
    }

static const struct query_row users_query[] = {
    {"search",
     "Find users by the beginning of words in their name or address. A page may hold fewer users "
     "than the limit, or none, although next names another page.",
     0, 0},
    PAGE_QUERY,
    {0}};
static const struct query_row top_query[] = {
    {"limit", "Maximum number of entries. Default: 20.", 1, 100}, {0}};
static const struct query_row audit_query[] = {
    {"user_id", "Only lines about this user.", 0, 0}, PAGE_QUERY, {0}};

#define WAIT_TEXT "Please wait N seconds before requesting a new verification code"
#define NO_MAIL "Email configuration is incomplete"
#define NO_RESET "Password reset is not available"
#define NO_VERIFICATION "Email verification is not available"
#define BAD_CODE "Invalid or expired verification code"
#define LAST_ADMIN "The last active administrator cannot be removed"

static const struct refusal not_ready[] = {
    {503, "A critical dependency is down, or the server is stopping", "Ready"}, {0}};
static const struct refusal register_refusals[] = {
    {400, "Registration is not allowed"}, {422, "Email already exists"}, {0}};
static const struct refusal login_refusals[] = {{401, "Invalid email or password"}, {0}};
static const struct refusal refresh_refusals[] = {{401, "Invalid refresh token"},
                                                  {401, "Invalid token type"},
                                                  {401, "User not found or inactive"},
                                                  {0}};
static const struct refusal logout_refusals[] = {
    {400, "Logout is not allowed"}, {401, "Not authenticated"}, {0}};
static const struct refusal code_refusals[] = {
    {400, NO_RESET}, {400, NO_MAIL}, {400, WAIT_TEXT}, {0}};
static const struct refusal reset_refusals[] = {{400, NO_RESET}, {401, BAD_CODE}, {0}};
static const struct refusal verification_refusals[] = {{400, NO_VERIFICATION},
                                                       {400, "Email is already verified"},
                                                       {400, NO_MAIL},
                                                       {400, WAIT_TEXT},
                                                       {0}};
static const struct refusal verify_refusals[] = {
    {400, "Invalid password"},
    {401, BAD_CODE},
    {401, "Invalid or expired verification link"},
    {401, "Authentication failed"},
    {403,
     "Log in to confirm, or give the account's password; if you know none, choose a new one by "
     "a mailed code"},
    {0}};
static const struct refusal password_refusals[] = {
    {400, "Invalid old password"}, {400, "Password change is not available"}, {0}};
static const struct refusal end_refusals[] = {{400, "Invalid password"}, {400, LAST_ADMIN}, {0}};
static const struct refusal session_refusals[] = {{404, "Session not found"}, {0}};
static const struct refusal user_refusals[] = {{404, "User not found"}, {0}};
static const struct refusal deactivate_refusals[] = {
    {400, "Cannot deactivate your own account"}, {400, LAST_ADMIN}, {404, "User not found"}, {0}};
static const struct refusal role_refusals[] = {{400, LAST_ADMIN}, {404, "User not found"}, {0}};

static const struct refusal trial_refusals[] = {
    {400, "Trial already activated"},
    {400, "Cannot activate trial for paid subscription"},
    {400, "Trial is not available"},
    {0}};
#define STRIPE_OFF "Billing is not configured"
#define STRIPE_REFUSES "The payment provider refused the request"
#define STRIPE_DOWN "The payment provider does not answer, please try again"
#define PAYMENT_FAILS "What to do about the payment, in the reader's language"
#define STRIPE_REFUSALS                                                                            \
    {409, "Other requests of yours are under way: try again when they are done"},                  \
        {502, STRIPE_REFUSES ", or what to do about it", "Advice"}, {503, STRIPE_OFF},             \
        {503, STRIPE_DOWN},                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

#define PAID_BY_OTHERS                                                                             \
    "Your plan was paid with an e-mail address that is not the confirmed one of your account: "    \
    "the person who paid can manage it with Stripe's mails, or ask for help"

static const struct refusal checkout_refusals[] = {
    {400, "Invalid plan: NAME"},
    {400, "Redirect URL is not allowed"},
    {409, "You have a subscription already: change its plan, or manage it in the portal"},
    {409, "A checkout is being opened: try again"},
    {409, "A payment is under way: wait until it has come"},
    STRIPE_REFUSALS};
static const struct refusal fulfil_refusals[] = {{404, "Checkout session not found"},
                                                 STRIPE_REFUSALS};
static const struct refusal portal_refusals[] = {{400, "No Stripe customer found for user: ID"},
                                                 {400, "Redirect URL is not allowed"},
                                                 {409, PAID_BY_OTHERS},
                                                 STRIPE_REFUSALS};
static const struct refusal invoices_refusals[] = {STRIPE_REFUSALS};
static const struct refusal change_refusals[] = {
    {400, "Invalid plan: NAME"},
    {400, "This is your plan already"},
    {400, "There is no subscription to change"},
    {402, PAYMENT_FAILS, "Advice"},
    {409, PAID_BY_OTHERS},
    {409, "Your subscription ends on 2030-01-31: take that "
          "back first (resume), then change the plan"},
    {409, "Your trial is over, and your subscription "
          "paused: resume it first, then change the plan, "
          "or cancel it and buy another one"},
    STRIPE_REFUSALS};
static const struct refusal webhook_refusals[] = {
    {400, "Missing Stripe-Signature header"},
    {400, "Webhook processing failed: this is no event"},
    {401, "Invalid webhook signature"},
    {503, STRIPE_OFF},
    {0}};
static const struct refusal end_plan_refusals[] = {
    {400, "There is no subscription to change"},
    {402, PAYMENT_FAILS, "Advice"},
    {409, PAID_BY_OTHERS},
    {409, "Your subscription ends on 2030-01-31 as agreed: ask for help to change that"},
    STRIPE_REFUSALS};

#define PLAN_FIELD                                                                                 \
    {                                                                                              \
        .name = "plan", .kind = FIELD_TEXT, .min = 1, .max_bytes = 32,                             \
        .rule = "Plan must not be empty", .rule_max = "Plan must be at most 32 bytes long"         \
    }
#define URL_FIELD(name_)                                                                           \
    {                                                                                              \
        .name = (name_), .kind = FIELD_TEXT, .optional = true, .min = 1, .max_bytes = 2000,        \
        .rule = "URL must not be empty", .rule_max = "URL must be at most 2000 bytes long"         \
    }

static const struct field checkout_body[] = {
    PLAN_FIELD, URL_FIELD("success_url"), URL_FIELD("cancel_url"), {0}};
static const struct field portal_body[] = {URL_FIELD("return_url"), {0}};
static const struct query_row portal_query[] = {
    {"return_url", "Where Stripe sends the user back, if there is no body.", 0, 0}, {0}};
static const struct field preview_body[] = {PLAN_FIELD, {0}};
static const struct field change_body[] = {PLAN_FIELD,
                                           {.name = "proration_date",
                                            .kind = FIELD_INTEGER,
                                            .optional = true,
                                            .min = 1,
                                            .max = 99999999999,
                                            .rule = "Give the preview's proration_date"},
                                           {0}};

static const struct refusal give_refusals[] = {
    {400, "Invalid plan: NAME"}, {404, "User not found"}, {0}};

static const struct query_row subscriptions_query[] = {
    {"status", "Only subscriptions with this status.", 0, 0}, PAGE_QUERY, {0}};
static const struct query_row events_query[] = {
    {"state", "Only events in this state: waiting, done, ignored or dead.", 0, 0}, PAGE_QUERY, {0}};
static const struct refusal event_refusals[] = {{404, "Event not found"}, {0}};
static const struct field give_body[] = {{.name = "plan",
                                          .kind = FIELD_TEXT,
                                          .nullable = true,
                                          .min = 1,
                                          .max_bytes = 32,
                                          .rule = "Plan must not be empty",
                                          .rule_max = "Plan must be at most 32 bytes long"},
                                         {.name = "runs",
                                          .kind = FIELD_INTEGER,
                                          .optional = true,
                                          .min = 1,
                                          .max = 1000000000,
                                          .rule = "Runs must be from 1 to 1000000000"},
                                         {.name = "days",
                                          .kind = FIELD_INTEGER,
                                          .optional = true,
                                          .min = 1,
                                          .max = 36500,
                                          .rule = "Days must be from 1 to 36500"},
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
     .summary = "Answer as long as the process runs.",
     .tag = "Operations",
     .reply = "Health",
     .bare = true},
    {.method = "GET",
     .path = API "/ready",
     .limits = "6000/minute",
     .lane = LANE_JOB,
     .fast = ops_ready_fast,
     .handle = ops_ready,
     .summary = "Check the dependencies: 200 for ready or degraded, 503 for not_ready.",
     .tag = "Operations",
     .reply = "Ready",
     .bare = true,
     .refusals = not_ready},
    {.method = "GET",
     .path = API "/live",
     .limits = "6000/minute",
     .lane = LANE_LOOP,
     .handle = ops_live,
     .summary = "Show how many seconds the process has been up.",
     .tag = "Operations",
     .reply = "Live",
     .bare = true},
    {.method = "GET",
     .path = API "/version",
     .limits = "100/minute",
     .lane = LANE_LOOP,
     .handle = ops_version,
     .summary = "Show the version, commit and environment of the server.",
     .tag = "Operations",
     .reply = "Version",
     .bare = true},

    {.method = "GET",
     .path = "/.well-known/jwks.json",
     .limits = "600/minute",
     .lane = LANE_LOOP,
     .handle = ops_keys,
     .summary =
         "List the public keys that verify access tokens, if JWT_ALGORITHM=EdDSA (RFC 7517).",
     .tag = "Operations",
     .reply = "KeySet",
     .bare = true},

    {.method = "GET",
     .path = API "/openapi.json",
     .lane = LANE_LOOP,
     .handle = pages_openapi,
     .summary = "Get this OpenAPI document.",
     .tag = "Operations",
     .reply = "Document",
     .bare = true},
    {.method = "GET",
     .path = "/metrics",
     .limits = "600/minute",
     .access = ACCESS_METRICS,
     .lane = LANE_STORE,
     .fast = ops_metrics_fast,
     .handle = ops_metrics,
     .summary = "Get the metrics of this process in the format of Prometheus.",
     .tag = "Operations",
     .bare = true,
     .media = "text/plain; version=0.0.4; charset=utf-8"},

    {.method = "POST",
     .path = API "/auth/register",
     .offered = OFFERED_WITH_PASSWORDS,
     .limits = "3/minute;10/hour",
     .lane = LANE_HASH,
     .body = register_body,
     .handle = auth_register,
     .summary = "Create an account and log in.",
     .tag = "Account",
     .reply = "Login",
     .refusals = register_refusals},
    {.method = "POST",
     .path = API "/auth/login",
     .limits = "5/minute;20/hour",
     .lane = LANE_HASH,
     .body = login_body,
     .handle = auth_login,
     .summary = "Log in: get an access token and a refresh token.",
     .tag = "Account",
     .reply = "Login",
     .refusals = login_refusals},
    {.method = "POST",
     .path = API "/auth/refresh",
     .limits = "10/minute;50/hour",
     .limited_by = LIMITED_BY_SESSION,
     .lane = LANE_WRITE,
     .body = refresh_body,
     .handle = auth_refresh,
     .summary = "Exchange a refresh token for an access token and the next refresh token.",
     .tag = "Account",
     .reply = "Refreshed",
     .refusals = refresh_refusals},
    {.method = "POST",
     .path = API "/auth/logout",
     .offered = OFFERED_WITH_LOGIN,
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_WRITE,
     .handle = auth_logout,
     .summary = "Log out: end the session and revoke all of its tokens.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = logout_refusals},
    {.method = "GET",
     .path = API "/auth/me",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_STORE,
     .fast = auth_me_fast,
     .handle = auth_me,
     .summary = "Get the current user.",
     .tag = "Account",
     .reply = "User"},
    {.method = "GET",
     .path = API "/auth/status",
     .lane = LANE_LOOP,
     .handle = auth_status,
     .summary = "Show how people log in to this server.",
     .tag = "Account",
     .reply = "Status"},

    {.method = "POST",
     .path = API "/auth/send-verification-code",
     .offered = OFFERED_WITH_PASSWORDS,
     .limits = "3/minute;10/hour",
     .limited_by = LIMITED_BY_CLIENT_AND_EMAIL,
     .lane = LANE_WRITE,
     .body = code_body,
     .handle = auth_send_code,
     .summary = "Mail a code that resets the password, if the address has an account.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = code_refusals},
    {.method = "POST",
     .path = API "/auth/reset-password",
     .offered = OFFERED_WITH_PASSWORDS,
     .limits = "3/minute;10/hour",
     .lane = LANE_HASH,
     .body = reset_body,
     .handle = auth_reset_password,
     .summary = "Set a new password with the mailed code; all sessions end.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = reset_refusals},
    {.method = "POST",
     .path = API "/auth/send-email-verification",
     .offered = OFFERED_WITH_PASSWORDS,
     .limits = "3/minute;10/hour",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_WRITE,
     .handle = auth_send_verification,
     .summary = "Mail a code and a link that confirm the address.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = verification_refusals},
    {.method = "POST",
     .path = API "/auth/verify-email",
     .offered = OFFERED_WITH_PASSWORDS,
     .limits = "3/minute;10/hour",
     .access = ACCESS_OPTIONAL,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_HASH,
     .body = verify_body,
     .handle = auth_verify_email,
     .summary = "Confirm an address with the token of the mailed link, or with the address and the "
                "mailed code. "
                "Also send an access token or the password of the account.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = verify_refusals},
    {.method = "POST",
     .path = API "/auth/change-password",
     .offered = OFFERED_WITH_PASSWORDS,
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_HASH,
     .body = password_body,
     .handle = manage_own_password,
     .summary = "Change the password; all other sessions end.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = password_refusals},
    {.method = "POST",
     .path = API "/auth/change-fullname",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .body = fullname_body,
     .handle = manage_own_fullname,
     .summary = "Change the name.",
     .tag = "Account",
     .reply = "User"},
    {.method = "GET",
     .path = API "/auth/preferences",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_STORE,
     .handle = manage_own_preferences,
     .summary = "Show whether the address is confirmed, and the language of mails.",
     .tag = "Account",
     .reply = "Preferences"},
    {.method = "POST",
     .path = API "/auth/change-language",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .body = language_body,
     .handle = manage_own_language,
     .summary = "Set the language of mails: en, ar, or null for that of the browser.",
     .tag = "Account",
     .reply = "Preferences"},
    {.method = "DELETE",
     .path = API "/auth/me",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_HASH,
     .body = end_body,
     .handle = manage_own_end,
     .summary = "Delete the account and everything that belongs to it.",
     .tag = "Account",
     .reply = "Nothing",
     .refusals = end_refusals},
    {.method = "GET",
     .path = API "/auth/me/export",
     .limits = "3/hour",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_STORE,
     .handle = manage_own_export,
     .summary = "Export all data about the current user.",
     .tag = "Account",
     .reply = "Export"},
    {.method = "GET",
     .path = API "/auth/sessions",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_STORE,
     .handle = manage_own_sessions,
     .summary = "List the sessions of the current user.",
     .tag = "Sessions",
     .reply = "Sessions"},
    {.method = "DELETE",
     .path = API "/auth/sessions/{session_id}",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .handle = manage_own_session_end,
     .summary = "End one session of the current user.",
     .tag = "Sessions",
     .reply = "Nothing",
     .refusals = session_refusals},
    {.method = "POST",
     .path = API "/auth/sessions/revoke-others",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .handle = manage_own_sessions_end,
     .summary = "End all sessions except the current one.",
     .tag = "Sessions",
     .reply = "Revoked"},

    {.method = "GET",
     .path = API "/auth/users",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_users,
     .summary = "List the users, newest first.",
     .tag = "Administration",
     .reply = "Users",
     .query = users_query},
    {.method = "GET",
     .path = API "/auth/user/{user_id}",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_user,
     .summary = "Get one user.",
     .tag = "Administration",
     .reply = "User",
     .refusals = user_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/deactivate",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = manage_deactivate,
     .summary = "Deactivate an account and end its sessions.",
     .tag = "Administration",
     .reply = "Nothing",
     .refusals = deactivate_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/activate",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = manage_activate,
     .summary = "Reactivate an account, so that it can log in again.",
     .tag = "Administration",
     .reply = "Nothing",
     .refusals = user_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/role",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .body = role_body,
     .handle = manage_role,
     .summary = "Make a user an administrator, or an administrator a user; their sessions end.",
     .tag = "Administration",
     .reply = "User",
     .refusals = role_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/revoke-sessions",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = manage_sessions_end,
     .summary = "End all sessions of a user.",
     .tag = "Administration",
     .reply = "Revoked",
     .refusals = user_refusals},
    {.method = "GET",
     .path = API "/auth/audit",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_audit,
     .summary = "List the audit trail: who did what, newest first.",
     .tag = "Administration",
     .reply = "AuditTrail",
     .query = audit_query},
    {.method = "GET",
     .path = API "/limits/top",
     .access = ACCESS_ADMIN,
     .lane = LANE_JOB,
     .handle = ops_limits_top,
     .summary = "List the clients and users with the most requests, as the rate limits count them.",
     .tag = "Administration",
     .reply = "Talkers",
     .query = top_query},

    {.method = "GET",
     .path = API "/billing/plans",
     .lane = LANE_LOOP,
     .handle = billing_plans,
     .summary = "List the plans.",
     .tag = "Billing",
     .reply = "Plans",
     .bare = true},
    {.method = "GET",
     .path = API "/billing/subscription",
     .limits = "30/minute;300/hour",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = billing_own_subscription,
     .summary =
         "Get the subscription of the current user and its usage; new users get the free plan.",
     .tag = "Billing",
     .reply = "Subscription",
     .bare = true},
    {.method = "POST",
     .path = API "/billing/activate-trial",
     .limits = "3/hour",
     .access = ACCESS_USER,
     .lane = LANE_WRITE,
     .handle = billing_activate_trial,
     .summary = "Start the trial; each user has one.",
     .tag = "Billing",
     .reply = "Trial",
     .bare = true,
     .refusals = trial_refusals},
    {.method = "POST",
     .path = API "/billing/create-checkout-session",
     .limits = "5/minute;20/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .body = checkout_body,
     .handle = billing_create_checkout,
     .summary = "Open a checkout page at Stripe; while one is open, return the same page.",
     .tag = "Billing",
     .reply = "Checkout",
     .bare = true,
     .refusals = checkout_refusals},
    {.method = "POST",
     .path = API "/billing/checkout-sessions/{session_id}/fulfil",
     .limits = "30/minute;300/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .handle = billing_fulfil,
     .summary =
         "Apply a purchase at once; call it from the page to which Stripe sends people back.",
     .tag = "Billing",
     .reply = "Fulfilled",
     .bare = true,
     .refusals = fulfil_refusals},
    {.method = "POST",
     .path = API "/billing/create-portal-session",
     .limits = "10/minute;50/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .body = portal_body,
     .body_optional = true,
     .query = portal_query,
     .handle = billing_create_portal,
     .summary = "Open Stripe's page for payment methods, invoices and cancellation.",
     .tag = "Billing",
     .reply = "Portal",
     .bare = true,
     .refusals = portal_refusals},
    {.method = "GET",
     .path = API "/billing/invoices",
     .limits = "30/minute;300/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .handle = billing_invoices,
     .summary = "List the latest invoices, newest first.",
     .tag = "Billing",
     .reply = "Invoices",
     .bare = true,
     .refusals = invoices_refusals},
    {.method = "POST",
     .path = API "/billing/change-plan/preview",
     .limits = "10/minute;50/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .body = preview_body,
     .handle = billing_preview,
     .summary = "Show what a change of plan would cost now.",
     .tag = "Billing",
     .reply = "Preview",
     .bare = true,
     .refusals = change_refusals},
    {.method = "POST",
     .path = API "/billing/change-plan",
     .limits = "5/minute;20/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .body = change_body,
     .handle = billing_change_plan,
     .summary = "Change the plan now; Stripe charges or credits the difference.",
     .tag = "Billing",
     .reply = "Subscription",
     .bare = true,
     .refusals = change_refusals},
    {.method = "POST",
     .path = API "/billing/cancel",
     .limits = "5/minute;20/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .handle = billing_cancel,
     .summary = "Cancel the plan at the end of the current period.",
     .tag = "Billing",
     .reply = "Subscription",
     .bare = true,
     .refusals = end_plan_refusals},
    {.method = "POST",
     .path = API "/billing/resume",
     .limits = "5/minute;20/hour",
     .access = ACCESS_USER,
     .lane = LANE_REMOTE,
     .handle = billing_resume,
     .summary = "Undo a cancellation before it takes effect.",
     .tag = "Billing",
     .reply = "Subscription",
     .bare = true,
     .refusals = end_plan_refusals},
    {.method = "POST",
     .path = API "/billing/webhook",
     .limits = "100/minute",
     .limited_by = LIMITED_BY_REFUSALS,
     .lane = LANE_EVENT,
     .max_body = 1 << 20,
     .check_head = billing_webhook_head,
     .fast = billing_webhook_fast,
     .handle = billing_webhook,
     .summary = "For Stripe: receive an event, which Stripe-Signature signs.",
     .tag = "Billing",
     .reply = "Webhook",
     .bare = true,
     .refusals = webhook_refusals},
    {.method = "GET",
     .path = API "/billing/admin/subscriptions",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = billing_subscriptions,
     .summary = "List all subscriptions, newest first.",
     .tag = "Administration",
     .reply = "Subscriptions",
     .query = subscriptions_query},
    {.method = "POST",
     .path = API "/billing/admin/subscriptions/{user_id}/plan",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .body = give_body,
     .handle = billing_set_plan,
     .summary = "Grant a plan by hand, for some days or without end; null revokes it.",
     .tag = "Administration",
     .reply = "ManagedSubscription",
     .refusals = give_refusals},

    {.method = "GET",
     .path = API "/billing/admin/events",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = billing_events,
     .summary = "List the events from Stripe, newest first.",
     .tag = "Administration",
     .reply = "Events",
     .query = events_query},
    {.method = "POST",
     .path = API "/billing/admin/events/{event_id}/replay",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = billing_replay_event,
     .summary = "Apply one event again.",
     .tag = "Administration",
     .reply = "Nothing",
     .refusals = event_refusals},

    {.method = "*",
     .path = API "/gate",
     .limits = "unlimited",
     .access = ACCESS_GUARD,
     .lane = LANE_STORE,
     .fast = guard_fast,
     .handle = guard,
     .summary = "For proxies: may a request pass? See docs/billing.md."},
    {.method = "*",
     .path = API "/gate/{path*}",
     .limits = "unlimited",
     .access = ACCESS_GUARD,
     .lane = LANE_STORE,
     .fast = guard_fast,
     .handle = guard,
     .summary = "The same for a proxy that sends the request's own method and path."},

    {.method = "GET",
     .path = "/",
     .limits = "600/minute",
     .lane = LANE_LOOP,
     .handle = pages_home,
     .summary = "The home page, in English or Arabic."},
    {.method = "GET",
     .path = "/verify-email",
     .limits = "600/minute",
     .lane = LANE_LOOP,
     .handle = pages_verify,
     .summary = "The page that confirms an address; mailed links lead to it."},
    {.method = "GET",
     .path = "/docs",
     .limits = "600/minute",
     .lane = LANE_LOOP,
     .handle = pages_docs,
     .summary = "The API documentation, for people."},
    {.method = "GET",
     .path = "/manus/assets/{name}",
     .limits = "3000/minute",
     .lane = LANE_JOB,
     .fast = pages_asset_fast,
     .handle = pages_asset,
     .summary = "Styles and scripts of the pages."},
    {0},
};

static const char *access_name(enum access access)
{
    static const char *const names[] = {"anybody", "anybody",      "user",
                                        "admin",   "GATE_PROXIES", "admin, METRICS_TOKEN"};

    return names[access];
}

/* "`{plan, return_url?}`": what may be left out has a question mark. */
static void put_body(struct text *out, const struct route *row)
{
    if (row->body == NULL)
        return;
    text_add(out, "`{");
    for (const struct field *f = row->body; f->name != NULL; f++)
        text_printf(out, "%s%s%s", f == row->body ? "" : ", ", f->name,
                    f->optional || row->body_optional ? "?" : "");
    text_add(out, "}`");
}

static void put_query(struct text *out, const struct route *row)
{
    for (const struct query_row *q = row->query; q != NULL && q->name != NULL; q++)
        text_printf(out, "%s%s=", q == row->query ? row->body == NULL ? "`?" : " `?" : "&",
                    q->name);
    if (row->query != NULL)
        text_char(out, '`');
}

char *routes_as_markdown(void *mem)
{
    struct text out = text_open(mem, 4096);

    text_add(&out, "| method | path | for | limits | setting of the limits | what it does | body "
                   "and query |\n|---|---|---|---|---|---|---|\n");
    for (const struct route *row = routes; row->method != NULL; row++) {
        text_printf(&out, "| %s | `%s` | %s | %s | `%s` | %s | ", row->method, row->path,
                    access_name(row->access), row->limits == NULL ? "the default" : row->limits,
                    limits_setting_name(mem, routes, row), row->summary);
        put_body(&out, row);
        put_query(&out, row);
        text_add(&out, " |\n");
    }
    return out.s;
}
