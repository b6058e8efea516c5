/* What `manus check` examines of the parts (parts.h). On the main thread. */
#pragma once

#include "cli/parts.h"

part_examine check_listening, check_store, check_limits, check_hash, check_stripe, check_mail,
    check_admin_socket, check_outbox;
