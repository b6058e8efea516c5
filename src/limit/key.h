/* Who is counted: a route, and a client or user of it. Fixed in size, so that the limiter in memory
 * keeps it whole and compares it whole: no two keys ever share a count.
 *
 * As text ROUTE:KIND:ID, such as auth_login:ip:203.0.113.9; that is how `manus limits` and Redis
 * name it. Pure; any thread. */
#pragma once

#include "core/text.h"

enum limit_kind {
    LIMIT_IP,    /* an IPv4 address */
    LIMIT_NET,   /* an IPv6 network of 64 bits */
    LIMIT_NET56, /* and the wider ones around it: whoever is given one has all of its networks */
    LIMIT_NET48,
    LIMIT_USER,    /* a user's id */
    LIMIT_SESSION, /* a session's id */
    LIMIT_EMAIL,   /* a keyed hash of the address that is asked for */
    LIMIT_LOGIN,   /* a keyed hash of an account and the kind of device that tries it */
    LIMIT_KINDS
};

enum { LIMIT_ID_BYTES = 28 };

struct limit_key {
    uint16_t route; /* the number of its limits */
    uint8_t kind;
    uint8_t len;
    char id[LIMIT_ID_BYTES]; /* the rest is zero */
};

/* An id that is longer is replaced by a hash of it. */
struct limit_key limit_key(uint16_t route, enum limit_kind kind, const char *id);

/* The kind and id behind the first colon of a text; false if there is no such kind, or no id. */
bool limit_key_parse(const char *text, enum limit_kind *ret_kind, const char **ret_id);

/* How often the limits of its rule hold for this key: 4 times for an IPv6 network of 56 bits, 16
 * times for one of 48, once for all others. */
uint32_t limit_times(const struct limit_key *key);

/* KIND:ID. */
void limit_key_add(struct text *out, const struct limit_key *key);
