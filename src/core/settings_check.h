/* Checks of single settings, as the check column of settings.def names them. Each returns NULL, or
 * what is wrong and how to mend it, without the value, which may be secret. */
#pragma once

#include <stddef.h>

const char *check_host(const char *value);
const char *check_host_port(const char *value);
const char *check_redis_url(const char *value);
const char *check_url(const char *value);

/* The length of scheme, host and port of a URL, without a port that is the default of the
 * scheme. */
size_t origin_length(const char *url);

/* scheme://host[:port] in lower case. Its first origin_length() bytes are what browsers send. */
const char *check_origin(const char *value);
const char *check_signing_key(const char *value);
const char *check_mongodb_uri(const char *value);
const char *check_sender(const char *value);
const char *check_token(const char *value);
const char *check_email(const char *value);
const char *check_path(const char *value);

/* Of any value: what nobody sees, such as the no-break space that comes along from a web page.
 * `value` is valid UTF-8. */
const char *check_visible(const char *value);

/* An identifier as Stripe makes them. */
const char *check_price(const char *value);
