/* Hands messages to the configured mail server, on libcurl: TLS from the first byte on port 465,
 * else STARTTLS, its certificate checked. Without TLS only to this machine, or where EMAIL_PLAIN
 * allows it. Blocks for 20 s at most: a lane's work. */
#pragma once

#include "core/settings.h"

#include <curl/curl.h>

/* Cleanup attribute of the handle that smtp_send() makes. */
void smtp_close(CURL **curl);
#define auto_smtp __attribute__((cleanup(smtp_close)))

/* Where the mail server is, as a URL. */
const char *smtp_shown(void *mem, const struct settings *settings);

/* Greets, logs in where a user is set, and names the sender of a mail that does not follow. NULL if
 * the server would take mails from us, else what is wrong, in `mem`, with what the server said. */
const char *smtp_probe(void *mem, const struct settings *settings, const char *from,
                       int64_t timeout_ms);

/* NULL if the server has taken it; else what is wrong, in `mem`: with what the server said of the
 * mail, without the recipient's name. *ret_for_good: it can never be delivered, since the mailbox
 * does not exist (RFC 3463, 5.1.x) or this server cannot write to such an address (RFC 6531). All
 * else an operator may mend. *curl is NULL at the first call, and then keeps the connection for the
 * next message; one thread at a time uses it. */
const char *smtp_send(void *mem, CURL **curl, const struct settings *settings, const char *from,
                      const char *to, const char *content, bool *ret_for_good);
