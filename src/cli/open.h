/* How the parts of the server (parts.h) are opened, started and stopped. On the main thread; what
 * waits, on another while the main one does nothing else. */
#pragma once

#include "cli/parts.h"

part_open open_listeners, open_store, open_log, open_accounts, open_billing, open_limiter,
    open_lanes, open_peer_lanes, open_ready, open_pages, open_jobs, open_loops;
part_step start_limiter, start_jobs, start_admin_socket;
part_step stop_limiter, stop_jobs, stop_loops, stop_admin_socket;
part_wait wait_for_jobs, close_store, close_limiter, close_lanes, close_peer_lanes, close_loops,
    close_admin_socket;
