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

/* What somebody of that subscription has instead of a row's limits. */
const struct route_limits *limits_of_plan(const struct limits *limits,
                                          const struct settings *settings,
                                          const struct subscription *subscription,
                                          const struct route_limits *row);

static inline int64_t limits_seconds_up(int64_t us)
{
    return us <= 0 ? 0 : (us + 999999) / 1000000;
}

/* Addresses of people stand in no key: only who has the signing key can tell whose it is. */
const char *limits_hashed(void *mem, const struct settings *settings, const char *text);

/* Of the mailbox that an address belongs to (email_mailbox()): whoever asks for codes under all of
 * its spellings asks one person. */
const char *limits_mailbox(void *mem, const struct settings *settings, const char *email);

/* By what a client is counted: its IPv4 address, or the IPv6 networks around it. A customer has one
 * of at least 64 bits, some have one of 56 or 48. Returns how many keys that is. */
enum { LIMITS_CLIENT_KEYS = ADDRESS_NETWORKS };
unsigned limits_address_keys(uint16_t number, const struct address *address,
                             struct limit_key ret[LIMITS_CLIENT_KEYS]);
