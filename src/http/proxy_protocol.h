/* The header by which a TCP proxy names the client before the first byte of HTTP (HAProxy's PROXY
 * protocol, versions 1 and 2). Pure; any thread. */
#pragma once

#include "core/address.h"

enum { PROXY_HEADER_BYTES = 1024 }; /* at most; version 1 ends within 107 */

enum proxy_read {
    PROXY_READ_MORE, /* it is not whole yet */
    PROXY_READ_DONE,
    PROXY_READ_NOBODY, /* whole, but it names no client */
    PROXY_READ_WRONG,  /* it is something else: close */
};

/* *ret_used: bytes of the header. *client is set to the source that it names; UNKNOWN, LOCAL (the
 * proxy's own check) and families other than IP name nobody, and leave it alone. */
enum proxy_read proxy_read(const char *bytes, size_t len, size_t *ret_used, struct address *client);
