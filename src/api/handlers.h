/* The handlers that the routes table names. */
#pragma once

#include "http/route.h"

/* Tells the client, and the log, of a password that is taken although everybody knows it. */
void warn_if_common(struct request *req, bool is_common);

handler auth_login, auth_register, auth_refresh, auth_logout, auth_me, auth_status;
handler auth_send_code, auth_reset_password;
fast_handler auth_me_fast;

handler manage_own_password, manage_own_fullname, manage_own_end, manage_own_export;
handler manage_own_sessions, manage_own_session_end, manage_own_sessions_end;
handler manage_user, manage_users, manage_activate, manage_deactivate, manage_role;
handler manage_sessions_end, manage_audit;

handler ops_health, ops_live, ops_ready, ops_version;
fast_handler ops_ready_fast;

handler pages_home, pages_docs, pages_asset;
