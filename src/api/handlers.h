/* The handlers that the routes table names. */
#pragma once

#include "account/session.h"
#include "http/route.h"

/* Where a request comes from, as a login would note it. */
struct device device_of(const struct request *req);

/* Tells the client, and the log, of a password that is taken although everybody knows it. */
void warn_if_common(struct request *req, bool is_common);

handler auth_login, auth_register, auth_refresh, auth_logout, auth_me, auth_status;
handler auth_send_code, auth_reset_password, auth_send_verification, auth_verify_email;
fast_handler auth_me_fast;

handler manage_own_password, manage_own_fullname, manage_own_language, manage_own_preferences;
handler manage_own_end, manage_own_export;
handler manage_own_sessions, manage_own_session_end, manage_own_sessions_end;
handler manage_user, manage_users, manage_activate, manage_deactivate, manage_role;
handler manage_sessions_end, manage_audit;

handler billing_own_subscription, billing_activate_trial, billing_plans;
handler billing_create_checkout, billing_fulfil, billing_create_portal, billing_invoices;
handler billing_preview, billing_change_plan, billing_cancel, billing_resume;
head_check billing_webhook_head;
handler billing_webhook, billing_events, billing_replay_event;
fast_handler billing_webhook_fast;
handler billing_subscriptions, billing_set_plan;

/* Of all routes that api/operations.def has. */
handler operate;

handler guard;
fast_handler guard_fast;

handler ops_health, ops_keys, ops_live, ops_ready, ops_version, ops_metrics, ops_limits_top;
fast_handler ops_ready_fast, ops_metrics_fast;

handler pages_home, pages_verify, pages_docs, pages_openapi, pages_asset;
fast_handler pages_asset_fast;
