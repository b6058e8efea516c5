/* Who the client is: the peer of the socket, or whom trusted proxies name. */
#pragma once

#include "http/request.h"

/* Is it one of TRUSTED_PROXIES? */
bool client_is_trusted(const struct settings *settings, const struct address *peer);

/* X-Forwarded-For is read from the right: trusted hops are skipped, the first other one is the
 * client. Something there that is no address names nobody, who is `::`: the proxy that wrote it is
 * not its own client. Of a longer list the right-most 4 KiB and 32 hops are looked at. An untrusted
 * peer is the client itself. */
struct address client_address(const struct networks *trusted, const struct address *peer,
                              const char *forwarded_for);

/* The same by the elements of Forwarded (RFC 7239). */
struct address client_address_forwarded(const struct networks *trusted, const struct address *peer,
                                        const char *forwarded);
