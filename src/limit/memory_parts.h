/* What the parts of the limiter in memory share: memory.c decides, memory_redis.c is the shadow of
 * what Redis keeps, memory_shard.c keeps the keys. */
#pragma once

#include "limit/memory_shard.h"

#include <sodium.h>
#include <stdatomic.h>

struct memory_limiter {
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    _Atomic(uint64_t) pieces;
    struct shard shards[SHARDS];
};

/* The entries of one request's keys, with their shards locked. */
struct held {
    const struct limit_key *keys;
    unsigned count, shard_count;
    struct shard *shards[LIMIT_KEYS], *of[LIMIT_KEYS];
    uint64_t hashes[LIMIT_KEYS];
    struct entry *entries[LIMIT_KEYS]; /* NULL: not there */
};

/* Finds the keys, LIMIT_KEYS at most, and locks their shards until memory_let_go(). */
void memory_hold(struct memory_limiter *limiter, const struct limit_key *keys, unsigned count,
                 struct held *held);

static inline void memory_let_go(struct held *held)
{
    for (unsigned i = held->shard_count; i-- > 0;)
        pthread_mutex_unlock(&held->shards[i]->lock);
}

/* The n-th key's entry, added if it is not there. Adding another or a time to another may have
 * freed it or moved it since memory_hold(): held->entries[n] is not to be used after that. */
struct entry *memory_entry_of(struct held *held, unsigned n, const struct rule *rule,
                              int64_t now_us);

/* Notes with every key that is there that it was refused. */
void memory_count_refusal(struct held *held, const struct rule *rule, int64_t now_us);

/* memory_limiter_ask(); `apart`: the time is marked so. */
struct verdict memory_ask(struct memory_limiter *limiter, const struct limit_key *keys,
                          unsigned count, const struct rule *rule, int64_t now_us, bool apart);

/* The rule as it holds for that key; `wide` is room for it. */
static inline const struct rule *memory_rule_of(const struct limit_key *key,
                                                const struct rule *rule, struct rule *wide)
{
    uint32_t times = limit_times(key);

    if (times == 1)
        return rule;
    *wide = rule_times(rule, times);
    return wide;
}
