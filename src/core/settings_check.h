/* Rules of single settings, as the check column of settings.def names them. Each says what is wrong
 * and how to mend it, or NULL; never repeats the value. */
#pragma once

#include <stddef.h>

const char *check_host(const char *value);
const char *check_host_port(const char *value);
const char *check_redis_url(const char *value);
const char *check_url(const char *value);

/* Bytes of scheme, host and port of a web address, without the port that its scheme has anyway. */
size_t origin_length(const char *url);

/* scheme://host[:port] in lower case; origin_length() of it is what browsers send. */
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
