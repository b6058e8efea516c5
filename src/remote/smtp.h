/* Hands a message to the configured mail server, on libcurl: TLS from the first byte on port 465,
 * else STARTTLS, its certificate checked. Without TLS only to this machine, or where EMAIL_PLAIN
 * allows it. Blocks for 30 s at most: a lane's work. */
#pragma once

#include "core/settings.h"

/* NULL if the server has taken it; else what is wrong, static. *ret_for_good: the server will never
 * take it. */
const char *smtp_send(const struct settings *settings, const char *from, const char *to,
                      const char *content, bool *ret_for_good);
