#include "limit/memory.h"

#include "core/crypto.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SHARDS = 64,
    TOLD_LATER_US = 100000, /* a time here is older than the same time in Redis by its way there */
    FIRST_SLOTS = 16,
    LISTS = 8, /* of keys by the length of their longest window */
    SLAB_BYTES = 64 << 10,
    CLASSES = 20, /* of sizes of logs: 1, 2, 3, 4, 6, 8, 12, 16, 24, … times */
    APART = 1,    /* marks of a time: Redis does not know it, and it was not sent there */
    SENT = 2,     /* it is in the piece that was sent, and may not have arrived */
    MARKS = 4,
};

/* One key: its times are a ring of `room`, the newest at `last`; each is us * MARKS and its mark.
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
    } lists[LISTS];
    struct free_entry {
        struct free_entry *next;
    } *free[CLASSES];
    struct slab *slabs;
    char *slab_at;
    size_t slab_left;
};

struct memory_limiter {
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    _Atomic(uint64_t) pieces;
    struct shard shards[SHARDS];
};

/* Room: slabs for the logs of few times, malloc for the others */

static uint32_t class_room(unsigned class)
{
    static const uint8_t small[] = {1, 2, 3, 4};

    if (class < count_of(small))
        return small[class];
    return (class % 2 == 0 ? 6u : 8u) << (class - 4) / 2;
}

static unsigned class_of(uint32_t room)
{
    unsigned class = 0;

    while (class < CLASSES && class_room(class) < room)
        class ++;
    return class;
}

static size_t entry_bytes(uint32_t room)
{
    return sizeof(struct entry) + room * sizeof(int64_t);
}

static void *carve(struct shard *shard, size_t bytes)
{
    void *carved;

    if (shard->slab_left < bytes) {
        struct slab *slab = mem_malloc(SLAB_BYTES);

        slab->next = shard->slabs;
        shard->slabs = slab;
        shard->slab_at = (char *)(slab + 1);
        shard->slab_left = SLAB_BYTES - sizeof *slab;
    }
    carved = shard->slab_at;
    shard->slab_at += bytes;
    shard->slab_left -= bytes;
    return carved;
}

static struct entry *new_entry(struct shard *shard, uint32_t room)
{
    unsigned class = class_of(room);
    struct entry *entry;

    if (class < CLASSES)
        room = class_room(class);
    if (class == CLASSES) {
        entry = mem_malloc(entry_bytes(room));
    } else if (shard->free[class] != NULL) {
        entry = (struct entry *)(void *)shard->free[class];
        shard->free[class] = shard->free[class]->next;
    } else {
        entry = carve(shard, entry_bytes(room));
    }
    memset(entry, 0, sizeof *entry);
    entry->room = room;
    entry->class = (uint8_t) class;
    return entry;
}

static void free_entry(struct shard *shard, struct entry *entry)
{
    struct free_entry *freed = (struct free_entry *)(void *)entry;
    unsigned class = entry->class;

    if (class == CLASSES) {
        free(entry);
        return;
    }
    freed->next = shard->free[class];
    shard->free[class] = freed;
}

/* The table of a shard */

static uint64_t hash_of(const struct memory_limiter *limiter, const struct limit_key *key)
{
    uint64_t hash;

    crypto_shorthash((uint8_t *)&hash, (const uint8_t *)key, sizeof *key, limiter->hash_key);
    return hash;
}

static size_t slot_of(const struct shard *shard, uint64_t hash)
{
    return (size_t)(hash / SHARDS) & (shard->slot_count - 1);
}

/* Where the key is, or would be. */
static struct entry **find_slot(struct shard *shard, uint64_t hash, const struct limit_key *key)
{
    size_t at = slot_of(shard, hash);

    while (shard->slots[at] != NULL && (shard->slots[at]->hash != hash ||
                                        memcmp(&shard->slots[at]->key, key, sizeof *key) != 0))
        at = (at + 1) & (shard->slot_count - 1);
    return &shard->slots[at];
}

static struct entry **slot_with(struct shard *shard, const struct entry *entry)
{
    return find_slot(shard, entry->hash, &entry->key);
}

static void grow_slots(struct shard *shard)
{
    struct entry **old = shard->slots;
    size_t old_count = shard->slot_count;

    shard->slot_count = old_count * 2;
    shard->slots = mem_malloc(shard->slot_count * sizeof *shard->slots);
    memset(shard->slots, 0, shard->slot_count * sizeof *shard->slots);
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] != NULL)
            *slot_with(shard, old[i]) = old[i];
    }
    free(old);
}

/* Closes the gap, so that no search ends at it. */
static void empty_slot(struct shard *shard, struct entry **slot)
{
    size_t mask = shard->slot_count - 1, gap = (size_t)(slot - shard->slots), at = gap;

    shard->slots[gap] = NULL;
    for (;;) {
        size_t home;

        at = (at + 1) & mask;
        if (shard->slots[at] == NULL)
            return;
        home = slot_of(shard, shard->slots[at]->hash);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            shard->slots[gap] = shard->slots[at];
            shard->slots[at] = NULL;
            gap = at;
        }
    }
}

/* The lists of a shard: who was quiet for longest stands first */

static uint8_t list_of(struct shard *shard, uint32_t seconds)
{
    uint8_t list = 0;

    while (list < LISTS - 1 && shard->lists[list].seconds != 0 &&
           shard->lists[list].seconds != seconds)
        list++;
    if (shard->lists[list].seconds < seconds)
        shard->lists[list].seconds = seconds;
    return list;
}

static void unlist(struct shard *shard, struct entry *entry)
{
    if (entry->older == NULL)
        shard->lists[entry->list].oldest = entry->newer;
    else
        entry->older->newer = entry->newer;
    if (entry->newer == NULL)
        shard->lists[entry->list].newest = entry->older;
    else
        entry->newer->older = entry->older;
}

static void enlist(struct shard *shard, struct entry *entry)
{
    struct entry *newest = shard->lists[entry->list].newest;

    entry->older = newest;
    entry->newer = NULL;
    if (newest == NULL)
        shard->lists[entry->list].oldest = entry;
    else
        newest->newer = entry;
    shard->lists[entry->list].newest = entry;
}

static int64_t newest_us(const struct entry *entry)
{
    return entry->times[entry->last] / MARKS;
}

static int64_t end_of(const struct shard *shard, const struct entry *entry)
{
    int64_t window_us = (int64_t)shard->lists[entry->list].seconds * 1000000;
    int64_t end_us = entry->count == 0 ? 0 : newest_us(entry) + window_us;

    if (entry->flying > 0)
        return INT64_MAX;
    return end_us > entry->refused_until_us ? end_us : entry->refused_until_us;
}

/* Whose windows are over first, or, if `any`, who was quiet for longest. NULL: the shard is empty.
 */
static struct entry *first_to_go(const struct shard *shard, bool any)
{
    struct entry *first = NULL;

    for (int i = 0; i < LISTS; i++) {
        struct entry *entry = shard->lists[i].oldest;

        if (entry != NULL && (first == NULL || (any ? entry->touched_us < first->touched_us
                                                    : end_of(shard, entry) < end_of(shard, first))))
            first = entry;
    }
    return first;
}

static void forget(struct shard *shard, struct entry *entry)
{
    empty_slot(shard, slot_with(shard, entry));
    unlist(shard, entry);
    free_entry(shard, entry);
    shard->count--;
}

/* Room for one more key: those that are over go first, two at a time, so that the work is spread.
 */
static void make_room(struct shard *shard, int64_t now_us)
{
    for (int i = 0; i < 2; i++) {
        struct entry *first = first_to_go(shard, false);

        if (first == NULL || end_of(shard, first) > now_us)
            break;
        forget(shard, first);
    }
    while (shard->count > 0 && shard->count >= shard->most)
        forget(shard, first_to_go(shard, true));
    if (shard->count + shard->count / 4 >= shard->slot_count)
        grow_slots(shard);
}

/* The log of a key */

/* Where the n-th newest time is; n from 1 to count. */
static int64_t *nth(struct entry *entry, uint32_t n)
{
    uint32_t at = entry->last + 1 >= n ? entry->last + 1 - n : entry->last + 1 + entry->room - n;

    return &entry->times[at];
}

static int64_t nth_newest(const struct entry *entry, uint32_t n)
{
    return *nth((struct entry *)entry, n) / MARKS;
}

static int64_t time_of(const void *log, uint32_t n)
{
    return nth_newest(log, n);
}

/* The rule as it holds for that key; `wide` is room for it. */
static const struct rule *rule_of(const struct limit_key *key, const struct rule *rule,
                                  struct rule *wide)
{
    uint32_t times = limit_times(key);

    if (times == 1)
        return rule;
    *wide = rule_times(rule, times);
    return wide;
}

static struct verdict judge(const struct limit_key *key, const struct entry *entry,
                            const struct rule *rule, int64_t now_us)
{
    struct rule wide;

    return verdict_of(entry, entry == NULL ? 0 : entry->count, time_of, rule_of(key, rule, &wide),
                      now_us);
}

/* The same log with more room. */
static struct entry *widen(struct shard *shard, struct entry *entry, uint32_t most)
{
    uint32_t room = entry->room + entry->room / 2 + 1;
    struct entry *wide = new_entry(shard, room < most ? room : most), *old = entry;
    uint32_t wide_room = wide->room;
    uint8_t class = wide->class;

    *wide = *old;
    wide->room = wide_room;
    wide->class = class;
    wide->last = old->count == 0 ? wide_room - 1 : old->count - 1;
    for (uint32_t n = 1; n <= old->count; n++)
        wide->times[old->count - n] = *nth(old, n);
    unlist(shard, old);
    enlist(shard, wide);
    *slot_with(shard, old) = wide;
    free_entry(shard, old);
    return wide;
}

static struct entry *add_key(struct shard *shard, uint64_t hash, const struct limit_key *key,
                             const struct rule *rule, int64_t now_us)
{
    struct entry *entry;

    make_room(shard, now_us);
    entry = new_entry(shard, 1);
    entry->hash = hash;
    entry->key = *key;
    entry->touched_us = now_us;
    entry->list = list_of(shard, rule->longest);
    entry->last = entry->room - 1;
    *slot_with(shard, entry) = entry;
    enlist(shard, entry);
    shard->count++;
    return entry;
}

/* It asked: who was quiet for longer is forgotten first. */
static void touch(struct shard *shard, struct entry *entry, const struct rule *rule, int64_t now_us)
{
    entry->touched_us = now_us;
    unlist(shard, entry);
    entry->list = list_of(shard, rule->longest);
    enlist(shard, entry);
}

static int64_t append(struct shard *shard, struct entry *entry, const struct rule *rule,
                      int64_t now_us, bool apart)
{
    uint32_t most = rule->most * limit_times(&entry->key);

    if (entry->count == entry->room && entry->room < most)
        entry = widen(shard, entry, most);
    /* A clock that stands still or steps back shortens no window. */
    if (entry->count > 0 && newest_us(entry) > now_us)
        now_us = newest_us(entry);
    entry->last = entry->last + 1 == entry->room ? 0 : entry->last + 1;
    entry->times[entry->last] = now_us * MARKS + (apart ? APART : 0);
    entry->has_apart = entry->has_apart || apart;
    if (entry->count < entry->room)
        entry->count++;
    touch(shard, entry, rule, now_us);
    return now_us;
}

/* Decisions */

/* The entries of one request's keys, with their shards locked. */
struct held {
    const struct limit_key *keys;
    unsigned count, shard_count;
    struct shard *shards[LIMIT_KEYS], *of[LIMIT_KEYS];
    uint64_t hashes[LIMIT_KEYS];
    struct entry *entries[LIMIT_KEYS]; /* NULL: not there */
};

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

static void hold(struct memory_limiter *limiter, const struct limit_key *keys, unsigned count,
                 struct held *held)
{
    *held = (struct held){.keys = keys, .count = count};
    for (unsigned i = 0; i < count; i++) {
        held->hashes[i] = hash_of(limiter, &keys[i]);
        held->of[i] = &limiter->shards[held->hashes[i] % SHARDS];
        add_shard(held, held->of[i]);
    }
    for (unsigned i = 0; i < held->shard_count; i++)
        pthread_mutex_lock(&held->shards[i]->lock);
    for (unsigned i = 0; i < count; i++)
        held->entries[i] = *find_slot(held->of[i], held->hashes[i], &keys[i]);
}

static void let_go(struct held *held)
{
    for (unsigned i = held->shard_count; i-- > 0;)
        pthread_mutex_unlock(&held->shards[i]->lock);
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

static void count_refusal(struct held *held, const struct rule *rule, int64_t now_us)
{
    for (unsigned i = 0; i < held->count; i++) {
        struct entry *entry = held->entries[i];

        if (entry == NULL)
            continue;
        entry->refused += entry->refused < UINT32_MAX;
        touch(held->of[i], entry, rule, now_us);
    }
}

/* The n-th key's entry. Making room for another may have forgotten or moved it since. */
static struct entry *entry_of(struct held *held, unsigned n, const struct rule *rule,
                              int64_t now_us)
{
    const struct limit_key *key = &held->keys[n];
    struct entry *entry = *find_slot(held->of[n], held->hashes[n], key);

    return entry != NULL ? entry : add_key(held->of[n], held->hashes[n], key, rule, now_us);
}

static struct verdict ask(struct memory_limiter *limiter, const struct limit_key *keys,
                          unsigned count, const struct rule *rule, int64_t now_us, bool apart)
{
    struct verdict verdict;
    struct held held;

    hold(limiter, keys, count, &held);
    verdict = judge_all(&held, rule, now_us);
    if (verdict.admitted && rule->count > 0) {
        for (unsigned i = 0; i < count; i++)
            verdict.at_us = append(held.of[i], entry_of(&held, i, rule, now_us), rule, now_us,
                                   apart);
        verdict_spend(&verdict, rule);
    } else if (!verdict.admitted) {
        count_refusal(&held, rule, now_us);
    }
    let_go(&held);
    return verdict;
}

struct verdict memory_limiter_ask(struct memory_limiter *limiter, const struct limit_key *keys,
                                  unsigned count, const struct rule *rule, int64_t now_us)
{
    return ask(limiter, keys, count, rule, now_us, false);
}

struct verdict memory_limiter_look(struct memory_limiter *limiter, const struct limit_key *keys,
                                   unsigned count, const struct rule *rule, int64_t now_us)
{
    struct verdict verdict;
    struct held held;

    hold(limiter, keys, count, &held);
    verdict = judge_all(&held, rule, now_us);
    let_go(&held);
    return verdict;
}

void memory_limiter_forgive(struct memory_limiter *limiter, const struct limit_key *key,
                            int64_t at_us)
{
    struct held held;
    struct entry *entry;
    uint32_t n = 1, count;

    hold(limiter, key, 1, &held);
    entry = held.entries[0];
    count = entry == NULL ? 0 : entry->count;
    while (n <= count && nth_newest(entry, n) != at_us)
        n++;
    if (entry != NULL)
        entry->refused_until_us = entry->refused_early_us = 0;
    if (n <= count && count == 1 && entry->flying == 0) {
        forget(held.of[0], entry);
    } else if (n <= count) {
        for (; n > 1; n--)
            *nth(entry, n) = *nth(entry, n - 1);
        entry->last = entry->last == 0 ? entry->room - 1 : entry->last - 1;
        entry->count--;
    }
    let_go(&held);
}

bool memory_limiter_reset(struct memory_limiter *limiter, const struct limit_key *key)
{
    struct held held;

    hold(limiter, key, 1, &held);
    if (held.entries[0] != NULL && held.entries[0]->flying > 0) {
        held.entries[0]->count = 0;
        held.entries[0]->piece = 0;
        held.entries[0]->has_apart = held.entries[0]->is_handing = false;
        held.entries[0]->refused_until_us = held.entries[0]->refused_early_us = 0;
    } else if (held.entries[0] != NULL) {
        forget(held.of[0], held.entries[0]);
    }
    let_go(&held);
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

            if (entry == NULL || end_of(shard, entry) <= now_us)
                continue;
            one = (struct limit_talker){entry->key, entry->count, entry->refused};
            found = rank(talkers, found, most, &one);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return found;
}

/* Beside Redis */

struct verdict memory_limiter_ask_apart(struct memory_limiter *limiter,
                                        const struct limit_key *keys, unsigned count,
                                        const struct rule *rule, int64_t now_us)
{
    return ask(limiter, keys, count, rule, now_us, true);
}

/* Clocks of two machines do not run alike: what is remembered ends a little before its time. */
static int64_t early(int64_t us)
{
    return us - us / 1024;
}

/* The window that surely refuses, and until when; false if none does. */
static bool surely_full(const struct entry *entry, const struct rule *rule, int64_t now_us,
                        unsigned *ret_window, int64_t *ret_until_us)
{
    if (entry == NULL)
        return false;
    if (entry->refused_early_us > now_us) {
        *ret_window = entry->refused_window < rule->count ? entry->refused_window : 0;
        *ret_until_us = entry->refused_until_us;
        return true;
    }
    for (unsigned i = 0; i < rule->count; i++) {
        const struct rule_window *window = &rule->windows[i];
        int64_t window_us = (int64_t)window->seconds * 1000000;

        if (entry->count < window->limit)
            continue;
        *ret_until_us = nth_newest(entry, window->limit) + window_us;
        *ret_window = i;
        if (*ret_until_us - window_us + early(window_us) > now_us)
            return true;
    }
    return false;
}

static struct verdict refused_until(const struct rule *rule, unsigned window, int64_t wait_us)
{
    struct verdict verdict = {.wait_us = wait_us};

    for (unsigned i = 0; i < rule->count; i++)
        verdict.remaining[i] = i == window ? 0 : rule->windows[i].limit;
    verdict.reset_us[window] = wait_us;
    return verdict;
}

/* Under the locks. */
static bool any_full(struct held *held, const struct rule *rule, int64_t now_us,
                     struct verdict *ret)
{
    unsigned window = 0;
    int64_t until_us = 0;
    struct rule wide;

    for (unsigned i = 0; i < held->count; i++) {
        if (!surely_full(held->entries[i], rule_of(&held->keys[i], rule, &wide), now_us, &window,
                         &until_us))
            continue;
        count_refusal(held, rule, now_us);
        *ret = refused_until(rule, window, until_us + TOLD_LATER_US - now_us);
        return true;
    }
    return false;
}

static bool waits_apart(const struct held *held)
{
    for (unsigned i = 0; i < held->count; i++) {
        const struct entry *entry = held->entries[i];

        if (entry != NULL && entry->has_apart && !entry->is_handing)
            return true;
    }
    return false;
}

bool memory_limiter_refuses(struct memory_limiter *limiter, const struct limit_key *keys,
                            unsigned count, const struct rule *rule, int64_t now_us,
                            struct verdict *ret, bool *ret_apart)
{
    struct held held;
    bool refused;

    hold(limiter, keys, count, &held);
    refused = any_full(&held, rule, now_us, ret);
    *ret_apart = waits_apart(&held);
    let_go(&held);
    return refused;
}

/* Whether one more might be too many if all that is under way is admitted; then *ret says so. */
static bool depends(const struct entry *entry, const struct rule *rule, int64_t now_us,
                    struct verdict *ret)
{
    if (entry == NULL || entry->flying == 0)
        return false;
    for (unsigned i = 0; i < rule->count; i++) {
        const struct rule_window *window = &rule->windows[i];
        int64_t window_us = (int64_t)window->seconds * 1000000;
        uint32_t limit = window->limit * limit_times(&entry->key);
        uint32_t room = limit > entry->flying ? limit - entry->flying : 0;
        int64_t from_us = now_us;

        if (entry->count < room)
            continue;
        if (room > 0)
            from_us = nth_newest(entry, room);
        if (now_us - from_us >= early(window_us))
            continue;
        *ret = refused_until(rule, i, from_us + window_us + TOLD_LATER_US - now_us);
        return true;
    }
    return false;
}

static void take_off(struct held *held, const struct rule *rule, int64_t now_us)
{
    for (unsigned i = 0; i < held->count; i++) {
        struct entry *entry = entry_of(held, i, rule, now_us);

        if (entry->flying < UINT16_MAX)
            entry->flying++;
    }
}

enum limit_start memory_limiter_start(struct memory_limiter *limiter, const struct limit_key *keys,
                                      unsigned count, const struct rule *rule, int64_t now_us,
                                      struct verdict *ret, bool *ret_apart)
{
    enum limit_start start = LIMIT_ASK;
    struct held held;

    hold(limiter, keys, count, &held);
    *ret_apart = waits_apart(&held);
    if (any_full(&held, rule, now_us, ret))
        start = LIMIT_REFUSED;
    for (unsigned i = 0; start == LIMIT_ASK && i < count; i++) {
        const struct entry *entry = held.entries[i];

        if (entry != NULL && entry->is_handing && entry->more_pieces)
            start = LIMIT_HERE;
        else if (depends(entry, rule, now_us, ret))
            start = LIMIT_BUSY;
    }
    if (start == LIMIT_ASK)
        take_off(&held, rule, now_us);
    let_go(&held);
    return start;
}

static void land(struct entry *entry)
{
    if (entry != NULL && entry->flying > 0)
        entry->flying--;
}

void memory_limiter_landed(struct memory_limiter *limiter, const struct limit_key *keys,
                           unsigned count)
{
    struct held held;

    hold(limiter, keys, count, &held);
    for (unsigned i = 0; i < count; i++)
        land(held.entries[i]);
    let_go(&held);
}

static void remember(struct entry *entry, const struct rule *rule, int64_t asked_us,
                     const struct verdict *verdict)
{
    entry->refused_until_us = asked_us + verdict->wait_us;
    entry->refused_early_us = asked_us + early(verdict->wait_us);
    for (unsigned i = 0; i < rule->count; i++) {
        if (verdict->remaining[i] == 0 && verdict->reset_us[i] >= verdict->wait_us)
            entry->refused_window = (uint8_t)i;
    }
    entry->refused += entry->refused < UINT32_MAX;
}

void memory_limiter_refused(struct memory_limiter *limiter, const struct limit_key *keys,
                            unsigned count, const struct rule *rule, int64_t asked_us,
                            const bool *refused, const struct verdict *each)
{
    struct held held;

    hold(limiter, keys, count, &held);
    for (unsigned i = 0; i < count; i++) {
        struct entry *entry = entry_of(&held, i, rule, asked_us);

        land(entry);
        if (!refused[i])
            continue;
        remember(entry, rule, asked_us, &each[i]);
        touch(held.of[i], entry, rule, asked_us);
    }
    let_go(&held);
}

static bool is_apart(const struct entry *entry, uint32_t n)
{
    return *nth((struct entry *)entry, n) % MARKS != 0;
}

static void mark(struct entry *entry, uint32_t n)
{
    *nth(entry, n) |= APART;
    entry->has_apart = true;
}

/* What was asked then says nothing of times that were on their way. */
static bool is_handed_over(const struct entry *entry, int64_t asked_us)
{
    return entry->is_handing || asked_us <= entry->handed_us;
}

/* How many times Redis must hold, if it has lost nothing. */
static uint32_t count_due(const struct entry *entry, const struct rule *rule, int64_t now_us,
                          int64_t settled_us)
{
    int64_t window_us = early((int64_t)rule->longest * 1000000);
    uint32_t due = 0, most = rule->most * limit_times(&entry->key);

    for (uint32_t n = 1; n <= entry->count && now_us - nth_newest(entry, n) < window_us; n++)
        due += nth_newest(entry, n) < settled_us && !is_apart(entry, n);
    return due < most ? due : most;
}

unsigned memory_limiter_admitted(struct memory_limiter *limiter, const struct limit_key *keys,
                                 unsigned count, const struct rule *rule, int64_t asked_us,
                                 const uint32_t *held_there, int64_t settled_us)
{
    unsigned missing = 0;
    struct held held;

    hold(limiter, keys, count, &held);
    for (unsigned i = 0; i < count; i++) {
        struct entry *entry = entry_of(&held, i, rule, asked_us);

        land(entry);
        if (held_there[i] < entry->count && !is_handed_over(entry, asked_us) &&
            held_there[i] < count_due(entry, rule, asked_us, settled_us))
            missing |= 1u << i;
        entry->refused_until_us = entry->refused_early_us = 0;
        append(held.of[i], entry, rule, asked_us, false);
    }
    let_go(&held);
    return missing;
}

void memory_limiter_lost(struct memory_limiter *limiter, const struct limit_key *key,
                         int64_t asked_us, uint32_t held_there)
{
    struct entry *entry;
    struct held held;
    uint32_t known = 0;

    hold(limiter, key, 1, &held);
    entry = held.entries[0];
    if (entry != NULL && !is_handed_over(entry, asked_us)) {
        for (uint32_t n = 1; n <= entry->count; n++) {
            if (!is_apart(entry, n) && nth_newest(entry, n) < asked_us && ++known > held_there)
                mark(entry, n);
        }
    }
    let_go(&held);
}

static void put_be64(struct text *out, int64_t number)
{
    char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(uint64_t)(number >> (56 - 8 * i));
    text_put(out, bytes, sizeof bytes);
}

static bool has_mark(const struct entry *entry, int64_t mark)
{
    for (uint32_t n = 1; n <= entry->count; n++) {
        if ((*nth((struct entry *)entry, n) & mark) != 0)
            return true;
    }
    return false;
}

/* The ages of the oldest times with the mark, as one piece that is sent; how many they are. What is
 * over is forgotten by Redis anyway. */
static uint32_t take_piece(struct entry *entry, int64_t mark, const struct rule *rule,
                           int64_t now_us, struct text *out)
{
    uint32_t taken = 0;

    for (uint32_t n = entry->count; n >= 1 && taken < LIMIT_PIECE; n--) {
        int64_t *time = nth(entry, n), time_us = *time / MARKS;

        if ((*time & mark) == 0)
            continue;
        *time = time_us * MARKS;
        if (now_us - time_us >= (int64_t)rule->longest * 1000000)
            continue;
        *time |= SENT;
        put_be64(out, now_us < time_us ? 0 : now_us - time_us);
        taken++;
    }
    return taken;
}

uint32_t memory_limiter_take_apart(struct memory_limiter *limiter, const struct limit_key *key,
                                   const struct rule *rule, int64_t now_us, struct text *out,
                                   struct limit_piece *ret)
{
    struct entry *entry;
    struct held held;
    uint32_t taken = 0;

    *ret = (struct limit_piece){0, false};
    hold(limiter, key, 1, &held);
    entry = held.entries[0];
    if (entry != NULL && !entry->is_handing && entry->has_apart) {
        if (entry->piece != 0)
            taken = take_piece(entry, SENT, rule, now_us, out);
        if (taken == 0) {
            entry->piece = atomic_fetch_add(&limiter->pieces, 1) + 1;
            taken = take_piece(entry, APART, rule, now_us, out);
        }
        entry->has_apart = has_mark(entry, APART);
        if (taken == 0)
            entry->piece = 0;
        entry->is_handing = taken > 0;
        entry->more_pieces = entry->has_apart;
        *ret = (struct limit_piece){entry->piece, entry->more_pieces};
    }
    let_go(&held);
    return taken;
}

bool memory_limiter_handed_over(struct memory_limiter *limiter, const struct limit_key *key,
                                uint64_t piece, bool arrived, int64_t now_us)
{
    bool more = false;
    struct entry *entry;
    struct held held;

    hold(limiter, key, 1, &held);
    entry = held.entries[0];
    if (entry != NULL && entry->piece == piece) {
        for (uint32_t n = 1; arrived && n <= entry->count; n++)
            *nth(entry, n) &= ~(int64_t)SENT;
        entry->is_handing = false;
        entry->handed_us = now_us;
        entry->piece = arrived ? 0 : piece;
        entry->has_apart = entry->has_apart || !arrived;
        more = entry->has_apart;
    }
    let_go(&held);
    return more;
}

void memory_limiter_forget_refusals(struct memory_limiter *limiter)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        pthread_mutex_lock(&shard->lock);
        for (size_t slot = 0; slot < shard->slot_count; slot++) {
            if (shard->slots[slot] != NULL)
                shard->slots[slot]->refused_until_us = shard->slots[slot]->refused_early_us = 0;
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

/* Only the times that Redis may not know stay, in their order. */
static void keep_apart(struct entry *entry)
{
    uint32_t kept = 0;

    for (uint32_t n = 1; n <= entry->count; n++) {
        if (is_apart(entry, n))
            *nth(entry, ++kept) = *nth(entry, n);
    }
    entry->count = kept;
}

void memory_limiter_forget_told(struct memory_limiter *limiter)
{
    memory_limiter_forget_refusals(limiter);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        pthread_mutex_lock(&shard->lock);
        for (size_t slot = 0; slot < shard->slot_count; slot++) {
            if (shard->slots[slot] != NULL)
                keep_apart(shard->slots[slot]);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

/* Opening and closing */

struct memory_limiter *memory_limiter_open(void *mem, size_t max_keys)
{
    struct memory_limiter *limiter = mem_new(mem, struct memory_limiter);

    crypto_random(limiter->hash_key, sizeof limiter->hash_key);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        pthread_mutex_init(&shard->lock, NULL);
        shard->most = max_keys / SHARDS + 1;
        shard->slot_count = FIRST_SLOTS;
        shard->slots = mem_malloc(FIRST_SLOTS * sizeof *shard->slots);
        memset(shard->slots, 0, FIRST_SLOTS * sizeof *shard->slots);
    }
    return limiter;
}

void memory_limiter_close(struct memory_limiter *limiter)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &limiter->shards[i];

        while (shard->count > 0)
            forget(shard, first_to_go(shard, true));
        for (struct slab *next, *slab = shard->slabs; slab != NULL; slab = next) {
            next = slab->next;
            free(slab);
        }
        free(shard->slots);
        pthread_mutex_destroy(&shard->lock);
    }
}
