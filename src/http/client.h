/* Who the client is: the peer of the socket, or whom trusted proxies name. */
#pragma once

#include "http/request.h"

/* X-Forwarded-For is read from the right: trusted hops are skipped, the first other one is the
 * client; something that is no address ends the walk at the last good hop. At most 4 KiB and 32
 * hops are looked at. An untrusted peer is the client itself. */
struct address client_address(const struct networks *trusted, const struct address *peer,
                              const char *forwarded_for);
