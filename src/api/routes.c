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
    {"limit", "How many at most; 50 if absent.", 1, STORE_PAGE},                                   \
    {                                                                                              \
        "cursor", "The next of the page before.", 1, INT64_C(999999999999999999)                   \
    }

static const struct query_row users_query[] = {
    {"search",
     "Words that begin a word of the address or the name. A page may hold fewer than the limit, "
     "or nobody, and have a next one.",
     0, 0},
    PAGE_QUERY,
    {0}};
static const struct query_row top_query[] = {{"limit", "How many at most; 20 if absent.", 1, 100},
                                             {0}};
static const struct query_row audit_query[] = {
    {"user_id", "Whom it concerns.", 0, 0}, PAGE_QUERY, {0}};

#define WAIT_TEXT "Please wait N seconds before requesting a new verification code"
#define NO_MAIL "Email configuration is incomplete"
#define NO_RESET "Password reset is not available"
#define NO_VERIFICATION "Email verification is not available"
#define BAD_CODE "Invalid or expired verification code"
#define LAST_ADMIN "The last active administrator cannot be removed"

static const struct refusal not_ready[] = {
    {503, "A dependency that is critical fails, or the server stops", "Ready"}, {0}};
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
    "whoever paid manages it by Stripe's mails, or ask for help"

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
static const struct refusal change_refusals[] = {{400, "Invalid plan: NAME"},
                                                 {400, "This is your plan already"},
                                                 {400, "There is no subscription to change"},
                                                 {402, PAYMENT_FAILS, "Advice"},
                                                 {409, PAID_BY_OTHERS},
                                                 {409,
                                                  "Your subscription ends on 2030-01-31: take that "
                                                  "back first (resume), then change the plan"},
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
    {"return_url", "Where to come back to, if no body says it.", 0, 0}, {0}};
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
    {"status", "Of this status only, as Stripe says it.", 0, 0}, PAGE_QUERY, {0}};
static const struct query_row events_query[] = {
    {"state", "waiting, done, ignored or dead only.", 0, 0}, PAGE_QUERY, {0}};
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
     .summary = "The process answers.",
     .tag = "Operations",
     .reply = "Health",
     .bare = true},
    {.method = "GET",
     .path = API "/ready",
     .limits = "6000/minute",
     .lane = LANE_JOB,
     .fast = ops_ready_fast,
     .handle = ops_ready,
     .summary = "The dependencies answer: 200 ready or degraded, 503 not_ready.",
     .tag = "Operations",
     .reply = "Ready",
     .bare = true,
     .refusals = not_ready},
    {.method = "GET",
     .path = API "/live",
     .limits = "6000/minute",
     .lane = LANE_LOOP,
     .handle = ops_live,
     .summary = "The process is alive, and for how many seconds.",
     .tag = "Operations",
     .reply = "Live",
     .bare = true},
    {.method = "GET",
     .path = API "/version",
     .limits = "100/minute",
     .lane = LANE_LOOP,
     .handle = ops_version,
     .summary = "What runs here.",
     .tag = "Operations",
     .reply = "Version",
     .bare = true},

    {.method = "GET",
     .path = "/.well-known/jwks.json",
     .limits = "600/minute",
     .lane = LANE_LOOP,
     .handle = ops_keys,
     .summary = "The public keys that verify access tokens, with JWT_ALGORITHM=EdDSA (RFC 7517).",
     .tag = "Operations",
     .reply = "KeySet",
     .bare = true},

    {.method = "GET",
     .path = API "/openapi.json",
     .lane = LANE_LOOP,
     .handle = pages_openapi,
     .summary = "This document.",
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
     .summary = "Figures of this process, for Prometheus.",
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
     .summary = "Makes an account and logs it in.",
     .tag = "Account",
     .reply = "Login",
     .refusals = register_refusals},
    {.method = "POST",
     .path = API "/auth/login",
     .limits = "5/minute;20/hour",
     .lane = LANE_HASH,
     .body = login_body,
     .handle = auth_login,
     .summary = "Logs in: an access and a refresh token.",
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
     .summary = "Exchanges a refresh token for an access token and the next refresh token.",
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
     .summary = "Ends the session with all of its tokens.",
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
     .summary = "Whose token this is.",
     .tag = "Account",
     .reply = "User"},
    {.method = "GET",
     .path = API "/auth/status",
     .lane = LANE_LOOP,
     .handle = auth_status,
     .summary = "How people log in here.",
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
     .summary = "Mails a code for a new password, if the address is somebody's.",
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
     .summary = "Sets a new password by that code; every session ends.",
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
     .summary = "Mails a code, and a link, that confirm the address.",
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
     .summary =
         "Confirms an address by the token of the link, or by address and code, for who shows "
         "an access token of the account or its password.",
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
     .summary = "Changes the password; every other session ends.",
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
     .summary = "Changes the name.",
     .tag = "Account",
     .reply = "User"},
    {.method = "GET",
     .path = API "/auth/preferences",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_STORE,
     .handle = manage_own_preferences,
     .summary = "Whether the address is confirmed, and the language of mails.",
     .tag = "Account",
     .reply = "Preferences"},
    {.method = "POST",
     .path = API "/auth/change-language",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .body = language_body,
     .handle = manage_own_language,
     .summary = "Chooses the language of mails: en, ar, or null for the browser's.",
     .tag = "Account",
     .reply = "Preferences"},
    {.method = "DELETE",
     .path = API "/auth/me",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_ALWAYS,
     .lane = LANE_HASH,
     .body = end_body,
     .handle = manage_own_end,
     .summary = "Removes the account and all that belongs to it.",
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
     .summary = "All that is held about the person.",
     .tag = "Account",
     .reply = "Export"},
    {.method = "GET",
     .path = API "/auth/sessions",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_STORE,
     .handle = manage_own_sessions,
     .summary = "Where the person is logged in.",
     .tag = "Sessions",
     .reply = "Sessions"},
    {.method = "DELETE",
     .path = API "/auth/sessions/{session_id}",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .handle = manage_own_session_end,
     .summary = "Ends one of them.",
     .tag = "Sessions",
     .reply = "Nothing",
     .refusals = session_refusals},
    {.method = "POST",
     .path = API "/auth/sessions/revoke-others",
     .access = ACCESS_USER,
     .unverified = UNVERIFIED_NEEDS_ACCOUNT,
     .lane = LANE_WRITE,
     .handle = manage_own_sessions_end,
     .summary = "Ends all but the one that asks.",
     .tag = "Sessions",
     .reply = "Revoked"},

    {.method = "GET",
     .path = API "/auth/users",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_users,
     .summary = "Users, newest first.",
     .tag = "Administration",
     .reply = "Users",
     .query = users_query},
    {.method = "GET",
     .path = API "/auth/user/{user_id}",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_user,
     .summary = "One of them.",
     .tag = "Administration",
     .reply = "User",
     .refusals = user_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/deactivate",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = manage_deactivate,
     .summary = "Stops the account and ends its sessions.",
     .tag = "Administration",
     .reply = "Nothing",
     .refusals = deactivate_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/activate",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = manage_activate,
     .summary = "Lets the account log in again.",
     .tag = "Administration",
     .reply = "Nothing",
     .refusals = user_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/role",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .body = role_body,
     .handle = manage_role,
     .summary = "Makes somebody an administrator, or a user again; their sessions end.",
     .tag = "Administration",
     .reply = "User",
     .refusals = role_refusals},
    {.method = "POST",
     .path = API "/auth/user/{user_id}/revoke-sessions",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = manage_sessions_end,
     .summary = "Ends all of their sessions.",
     .tag = "Administration",
     .reply = "Revoked",
     .refusals = user_refusals},
    {.method = "GET",
     .path = API "/auth/audit",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = manage_audit,
     .summary = "Who did what, newest first.",
     .tag = "Administration",
     .reply = "AuditTrail",
     .query = audit_query},
    {.method = "GET",
     .path = API "/limits/top",
     .access = ACCESS_ADMIN,
     .lane = LANE_JOB,
     .handle = ops_limits_top,
     .summary = "Who asks most of this server, by what the rate limits count.",
     .tag = "Administration",
     .reply = "Talkers",
     .query = top_query},

    {.method = "GET",
     .path = API "/billing/plans",
     .lane = LANE_LOOP,
     .handle = billing_plans,
     .summary = "What there is to buy.",
     .tag = "Billing",
     .reply = "Plans",
     .bare = true},
    {.method = "GET",
     .path = API "/billing/subscription",
     .limits = "30/minute;300/hour",
     .access = ACCESS_USER,
     .lane = LANE_STORE,
     .handle = billing_own_subscription,
     .summary = "What one has, and what is used of it; made free at the first question.",
     .tag = "Billing",
     .reply = "Subscription",
     .bare = true},
    {.method = "POST",
     .path = API "/billing/activate-trial",
     .limits = "3/hour",
     .access = ACCESS_USER,
     .lane = LANE_WRITE,
     .handle = billing_activate_trial,
     .summary = "Begins the trial, which everybody has once.",
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
     .summary = "Opens Stripe's page on which a plan is bought; the same one while it is open.",
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
     .summary = "For the page where people come back: takes over what was bought.",
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
     .summary = "Opens Stripe's page for cards, invoices and cancelling.",
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
     .summary = "The last invoices, newest first.",
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
     .summary = "What another plan would cost now.",
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
     .summary = "Switches the plan now; the difference is paid, or credited.",
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
     .summary = "Ends the plan with its period.",
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
     .summary = "Takes that back.",
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
     .handle = billing_webhook,
     .summary = "For Stripe: takes an event, signed by Stripe-Signature.",
     .tag = "Billing",
     .reply = "Webhook",
     .bare = true,
     .refusals = webhook_refusals},
    {.method = "GET",
     .path = API "/billing/admin/subscriptions",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = billing_subscriptions,
     .summary = "Everybody's, newest first.",
     .tag = "Administration",
     .reply = "Subscriptions",
     .query = subscriptions_query},
    {.method = "POST",
     .path = API "/billing/admin/subscriptions/{user_id}/plan",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .body = give_body,
     .handle = billing_set_plan,
     .summary = "Gives somebody a plan by hand, for some days or for good; null takes it away.",
     .tag = "Administration",
     .reply = "ManagedSubscription",
     .refusals = give_refusals},

    {.method = "GET",
     .path = API "/billing/admin/events",
     .access = ACCESS_ADMIN,
     .lane = LANE_STORE,
     .handle = billing_events,
     .summary = "The inbox of Stripe's events, newest first.",
     .tag = "Administration",
     .reply = "Events",
     .query = events_query},
    {.method = "POST",
     .path = API "/billing/admin/events/{event_id}/replay",
     .access = ACCESS_ADMIN,
     .lane = LANE_WRITE,
     .handle = billing_replay_event,
     .summary = "Applies one of them anew.",
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
     .summary = "Whether a proxy may let a request through: docs/billing.md."},
    {.method = "*",
     .path = API "/gate/{path*}",
     .limits = "unlimited",
     .access = ACCESS_GUARD,
     .lane = LANE_STORE,
     .fast = guard_fast,
     .handle = guard,
     .summary = "The same, with the request's own method and path."},

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
     .summary = "Where the link that confirms an address leads."},
    {.method = "GET",
     .path = "/docs",
     .limits = "600/minute",
     .lane = LANE_LOOP,
     .handle = pages_docs,
     .summary = "The API, for people."},
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
