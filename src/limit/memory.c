#include "limit/memory.h"

#include "core/crypto.h"
#include "limit/memory_parts.h"

#include <assert.h>

static uint64_t hash_of(const struct memory_limiter *limiter, const struct limit_key *key)
{
    uint64_t hash;

    crypto_shorthash((uint8_t *)&hash, (const uint8_t *)key, sizeof *key, limiter->hash_key);
    return hash;
}

static int64_t time_of(const void *log, uint32_t n)
{
    return entry_nth_us(log, n);
}

static inline struct verdict judge(const struct limit_key *key, const struct entry *entry,
                                   const struct rule *rule, int64_t now_us)
{
    struct rule wide;

    return verdict_of(entry, entry == NULL ? 0 : entry->count, time_of,
                      memory_rule_of(key, rule, &wide), now_us);
}

/* Shards are locked in the order of their addresses, each once. */
static void add_shard(struct held *held, struct shard *shard)
{
    unsigned at = held->shard_count;

    while (at > 0 && held->shards[at - 1] > shard)
        at--;
    if (at > 0 && held->shards[at - 1] == shard)
        return;
    for (unsigned i = held->shard_count++; i > at; i--)
        held->shards[i] = held->shards[i - 1];
    held->shards[at] = shard;
}

void memory_hold(struct memory_limiter *limiter, const struct limit_key *keys, unsigned count,
                 struct held *held)
{
    assert(count > 0 && count <= LIMIT_KEYS);
    *held = (struct held){.keys = keys, .count = count};
    for (unsigned i = 0; i < count; i++) {
        held->hashes[i] = hash_of(limiter, &keys[i]);
        held->of[i] = &limiter->shards[held->hashes[i] % SHARDS];
        add_shard(held, held->of[i]);
    }
    for (unsigned i = 0; i < held->shard_count; i++)
        pthread_mutex_lock(&held->shards[i]->lock);
    for (unsigned i = 0; i < count; i++)
        held->entries[i] = *shard_find(held->of[i], held->hashes[i], &keys[i]);
}

static struct verdict judge_all(const struct held *held, const struct rule *rule, int64_t now_us)
{
    struct verdict verdict = judge(&held->keys[0], held->entries[0], rule, now_us);

    for (unsigned i = 1; i < held->count; i++) {
        struct verdict other = judge(&held->keys[i], held->entries[i], rule, now_us);

        verdict_join(&verdict, &other, rule);
    }
    return verdict;
}

void memory_count_refusal(struct held *held, const struct rule *rule, int64_t now_us)
{
    for (unsigned i = 0; i < held->count; i++) {
        struct entry *entry = held->entries[i];

        if (entry == NULL)
            continue;
        entry->refused += entry->refused < UINT32_MAX;
        shard_touch(held->of[i], entry, rule, now_us);
    }
}

/* The n-th key's entry. Making room for another may have forgotten or moved it since. */
struct entry *memory_entry_of(struct held *held, unsigned n, const struct rule *rule,
                              int64_t now_us)
{
    const struct limit_key *key = &held->keys[n];
    struct entry *entry = *shard_find(held->of[n], held->hashes[n], key);

    return entry != NULL ? entry : shard_add(held->of[n], held->hashes[n], key, rule, now_us);
}

struct verdict memory_ask(struct memory_limiter *limiter, const struct limit_key *keys,
                          unsigned count, const struct rule *rule, int64_t now_us, bool apart)
{
    struct verdict verdict;
    struct held held;

    memory_hold(limiter, keys, count, &held);
    verdict = judge_all(&held, rule, now_us);
    if (verdict.admitted && rule->count > 0) {
        for (unsigned i = 0; i < count; i++)
            verdict.at_us = shard_append(held.of[i], memory_entry_of(&held, i, rule, now_us), rule,
                                         now_us, apart);
        verdict_spend(&verdict, rule);
    } else if (!verdict.admitted) {
        memory_count_refusal(&held, rule, now_us);
    }
    memory_let_go(&held);
    return verdict;
}

struct verdict memory_limiter_ask(struct memory_limiter *limiter, const struct limit_key *keys,
                                  unsigned count, const struct rule *rule, int64_t now_us)
{
    return memory_ask(limiter, keys, count, rule, now_us, false);
}

struct verdict memory_limiter_look(struct memory_limiter *limiter, const struct limit_key *keys,
                                   unsigned count, const struct rule *rule, int64_t now_us)
{
    struct verdict verdict;
    struct held held;

    memory_hold(limiter, keys, count, &held);
    verdict = judge_all(&held, rule, now_us);
    memory_let_go(&held);
    return verdict;
}

void memory_limiter_forgive(struct memory_limiter *limiter, const struct limit_key *key,
                            int64_t at_us)
{
    struct held held;
    struct entry *entry;
    uint32_t n = 1, count;

    memory_hold(limiter, key, 1, &held);
    entry = held.entries[0];
    count = entry == NULL ? 0 : entry->count;
    while (n <= count && entry_nth_us(entry, n) != at_us)
        n++;
    if (entry != NULL)
        entry->refused_until_us = entry->refused_early_us = 0;
    if (n <= count && count == 1 && entry->flying == 0) {
        shard_forget(held.of[0], entry);
    } else if (n <= count) {
        for (; n > 1; n--)
            *entry_nth(entry, n) = *entry_nth(entry, n - 1);
        entry->last = entry->last == 0 ? entry->room - 1 : entry->last - 1;
        entry->count--;
    }
    memory_let_go(&held);
}

bool memory_limiter_reset(struct memory_limiter *limiter, const struct limit_key *key)
{
    struct held held;

    memory_hold(limiter, key, 1, &held);
    if (held.entries[0] != NULL && held.entries[0]->flying > 0) {
        held.entries[0]->count = 0;
        held.entries[0]->piece = 0;
        held.entries[0]->has_apart = held.entries[0]->is_handing = false;
        held.entries[0]->refused_until_us = held.entries[0]->refused_early_us = 0;
    } else if (held.entries[0] != NULL) {
        shard_forget(held.of[0], held.entries[0]);
    }
    memory_let_go(&held);
    return held.entries[0] != NULL;
}

size_t memory_limiter_keys(struct memory_limiter *limiter)
{
    size_t count = 0;

    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&limiter->shards[i].lock);
        count += limiter->shards[i].count;
        pthread_mutex_unlock(&limiter->shards[i].lock);
    }
    return count;
}

static uint64_t talk_of(const struct limit_talker *talker)
{
    return (uint64_t)talker->admitted + talker->refused;
}

/* Kept in order, and short. */
static size_t rank(struct limit_talker *talkers, size_t count, size_t most,
                   const struct limit_talker *one)
{
    size_t at = count;

    assert(count <= most);
    if (count == most && (most == 0 || talk_of(&talkers[most - 1]) >= talk_of(one)))
        return count;
    if (count == most)
        at--;
    else
        count++;
    for (; at > 0 && talk_of(&talkers[at - 1]) < talk_of(one); at--)
        talkers[at] = talkers[at - 1];
    talkers[at] = *one;
    return count;
}

size_t memory_limiter_top(struct memory_limiter *limiter, struct limit_talker *talkers, size_t most,
                          int64_t now_us)
{
    size_t found = 0;

    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        pthread_mutex_lock(&shard->lock);
        for (size_t slot = 0; slot < shard->slot_count; slot++) {
            const struct entry *entry = shard->slots[slot];
            struct limit_talker one;

            if (entry == NULL || shard_end_of(shard, entry) <= now_us)
                continue;
            one = (struct limit_talker){entry->key, entry->count, entry->refused};
            found = rank(talkers, found, most, &one);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return found;
}

/* Opening and closing */

struct memory_limiter *memory_limiter_open(void *mem, size_t max_keys)
{
    struct memory_limiter *limiter = mem_new(mem, struct memory_limiter);

    crypto_random(limiter->hash_key, sizeof limiter->hash_key);
    for (int i = 0; i < SHARDS; i++)
        shard_open(&limiter->shards[i], max_keys / SHARDS + 1);
    return limiter;
}

void memory_limiter_close(struct memory_limiter *limiter)
{
    for (int i = 0; i < SHARDS; i++)
        shard_close(&limiter->shards[i]);
}
