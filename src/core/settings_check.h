/* Rules of single settings, as the check column of settings.def names them. Each says what is wrong
 * and how to mend it, or NULL; never repeats the value. */
#pragma once

const char *check_host(const char *value);
const char *check_host_port(const char *value);
const char *check_redis_url(const char *value);
const char *check_url(const char *value);

/* scheme://host[:port] in lower case, as browsers send it. */
const char *check_origin(const char *value);
const char *check_signing_key(const char *value);
const char *check_mongodb_uri(const char *value);
const char *check_sender(const char *value);
const char *check_token(const char *value);
const char *check_email(const char *value);

/* An identifier as Stripe makes them. */
const char *check_price(const char *value);
