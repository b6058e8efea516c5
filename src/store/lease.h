/* Leases: what may run in one process at a time over all that share a store, and when it ran. A
 * lease is taken for a time and renewed; who does not renew it loses it. Each taking has a number
 * (fence) that is higher than all before, so that whoever was stopped meanwhile is known by its old
 * one. */
#pragma once

#include <stdint.h>

struct lease {
    const char *name;
    const char *holder; /* of the process that has it, or had it when it died; empty: it was given
                           back */
    int64_t fence;
    int64_t until_ms; /* by the store's clock */
    int64_t taken_ms;
    int64_t succeeded_ms; /* when what it was taken for was last done; 0: never */
};

enum lease_taken {
    LEASE_TAKEN,
    LEASE_HELD,  /* somebody has it */
    LEASE_NEWER, /* it was taken and given back since `known_ms`: what was to be done is done */
};

/* Known when it was last taken: whenever that was. */
#define LEASE_ANYHOW INT64_MAX

/* The rule of store_lease_take(). */
enum lease_taken lease_judge(const struct lease *stored, int64_t now_ms, int64_t lease_ms,
                             int64_t known_ms);
