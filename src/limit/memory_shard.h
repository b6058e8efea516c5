/* One shard of the limiter in memory (memory.h): the logs of some of its keys, in a table by their
 * hash and in lists by who was quiet for longest, and the room for them.
 *
 * Bounded: a new key takes the place of one whose windows are over, or else of who was quiet for
 * longest. Small logs come from slabs that are freed with the shard; large ones from malloc. Every
 * function is called under the shard's lock; times are monotonic us. */
#pragma once

#include "limit/memory.h"

#include <pthread.h>
#include <string.h>

enum {
    SHARDS = 64,        /* of one limiter */
    SHARD_LISTS = 8,    /* of keys by the length of their longest window */
    SHARD_CLASSES = 20, /* of sizes of logs: 1, 2, 3, 4, 6, 8, 12, 16, 24, … times */
    TIME_APART = 1,     /* marks of a time: Redis does not know it, and it was not sent there */
    TIME_SENT = 2,      /* it is in the piece that was sent, and may not have arrived */
    TIME_MARKS = 4,
};

/* One key: its times are a ring of `room`, the newest at `last`; each is us * TIME_MARKS and its
 * mark.
 */
struct entry {
    uint64_t hash;
    struct limit_key key;
    struct entry *older, *newer; /* in the list of its window, by when it last asked */
    int64_t touched_us;          /* when it last asked */
    int64_t refused_until_us;    /* as Redis said; 0: it did not */
    int64_t refused_early_us;    /* until then nobody asks again */
    int64_t handed_us;           /* when the last times that were handed over arrived */
    uint32_t count, last;
    uint32_t room;
    uint32_t refused;
    uint8_t list, class;
    uint8_t refused_window;
    bool has_apart;   /* or what was sent may not have arrived */
    bool is_handing;  /* a piece is under way */
    bool more_pieces; /* and is not the last */
    uint16_t flying;  /* Redis is asked about so many */
    uint64_t piece;   /* that has not arrived for sure; 0: none */
    int64_t times[];
};

struct slab {
    struct slab *next;
};

struct shard {
    pthread_mutex_t lock;
    struct entry **slots; /* open addressing, linear; NULL: free */
    size_t slot_count, count, most;
    struct {
        uint32_t seconds; /* the longest window of the keys in it; 0: unused */
        struct entry *oldest, *newest;
    } lists[SHARD_LISTS];
    struct free_entry {
        struct free_entry *next;
    } *free[SHARD_CLASSES];
    struct slab *slabs;
    char *slab_at;
    size_t slab_left;
};

void shard_open(struct shard *shard, size_t most_keys);

/* Frees all keys. Nobody may hold the lock. */
void shard_close(struct shard *shard);

/* The key's log, empty as yet. The key must not be there. May forget others, and move none. */
struct entry *shard_add(struct shard *shard, uint64_t hash, const struct limit_key *key,
                        const struct rule *rule, int64_t now_us);

/* The entry is freed. */
void shard_forget(struct shard *shard, struct entry *entry);

/* The key has asked: those that were quiet for longer are forgotten before it. */
void shard_touch(struct shard *shard, struct entry *entry, const struct rule *rule, int64_t now_us);

/* Notes a time, marked TIME_APART if `apart`, and touches the key. Returns the time under which it
 * was noted: no log goes back. May move the entry, and no other. */
int64_t shard_append(struct shard *shard, struct entry *entry, const struct rule *rule,
                     int64_t now_us, bool apart);

/* When the key's last window is over; INT64_MAX while Redis is asked about it. */
int64_t shard_end_of(const struct shard *shard, const struct entry *entry);

static inline size_t shard_slot_of(const struct shard *shard, uint64_t hash)
{
    return (size_t)(hash / SHARDS) & (shard->slot_count - 1);
}

/* Where the key is, or would be: then NULL is there. */
static inline struct entry **shard_find(struct shard *shard, uint64_t hash,
                                        const struct limit_key *key)
{
    size_t at = shard_slot_of(shard, hash);

    while (shard->slots[at] != NULL && (shard->slots[at]->hash != hash ||
                                        memcmp(&shard->slots[at]->key, key, sizeof *key) != 0))
        at = (at + 1) & (shard->slot_count - 1);
    return &shard->slots[at];
}

/* Where the n-th newest time is; n from 1 to count. */
static inline int64_t *entry_nth(struct entry *entry, uint32_t n)
{
    uint32_t at = entry->last + 1 >= n ? entry->last + 1 - n : entry->last + 1 + entry->room - n;

    return &entry->times[at];
}

static inline int64_t entry_nth_us(const struct entry *entry, uint32_t n)
{
    return *entry_nth((struct entry *)entry, n) / TIME_MARKS;
}
