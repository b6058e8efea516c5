/* What the parts of the rate limits share: limits_compile.c makes them of the tables, limits.c asks
 * and tells, limits_operator.c is for operators. */
#pragma once

#include "api/app.h"
#include "api/limits.h"

struct route_limits {
    const char *name; /* "auth_login", the beginning of its keys */
    uint16_t number;  /* of its row; the rows' count for failed logins */
    struct rule rule;
    struct text told[RULE_WINDOWS]; /* headers of a reply in which that window is the tightest, up
                                     * to what is left of it */
};

struct limits {
    const struct route *rows;
    struct route_limits failures; /* of logins, for each account */
    const struct plans *plans;
    /* For each plan, for each row: what users of that plan have instead; NULL: the row's own. The
     * whole is NULL if no plan has limits. */
    const struct route_limits **by_plan;
    struct route_limits of[];
};

/* The limits that a user with that subscription has instead of the limits of the row. */
const struct route_limits *limits_of_plan(const struct limits *limits,
                                          const struct settings *settings,
                                          const struct subscription *subscription,
                                          const struct route_limits *row);

static inline int64_t limits_seconds_up(int64_t us)
{
    return us <= 0 ? 0 : (us + 999999) / 1000000;
}

/* A keyed hash of a text such as an e-mail address, for use in keys: only the holder of the signing
 * key can tell whose it is. */
const char *limits_hashed(void *mem, const struct settings *settings, const char *text);

/* The same of the mailbox that an address belongs to (email_mailbox()): codes for all spellings of
 * an address go to one person, so they count together. */
const char *limits_mailbox(void *mem, const struct settings *settings, const char *email);

/* The keys that count a client: its IPv4 address, or the IPv6 networks around its address. A
 * provider gives each customer a network of 64 bits, or a wider one of 56 or 48. Returns how many
 * keys there are. */
enum { LIMITS_CLIENT_KEYS = ADDRESS_NETWORKS };
unsigned limits_address_keys(uint16_t number, const struct address *address,
                             struct limit_key ret[LIMITS_CLIENT_KEYS]);
