/* The handlers that the routes table names. */
#pragma once

#include "http/route.h"

handler auth_login, auth_register, auth_refresh, auth_logout, auth_me, auth_status;
fast_handler auth_me_fast;

handler ops_health, ops_live, ops_ready, ops_version;
fast_handler ops_ready_fast;

handler pages_home, pages_docs, pages_asset;
