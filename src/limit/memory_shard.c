#include "limit/memory_shard.h"

#include <assert.h>

enum { FIRST_SLOTS = 16, SLAB_BYTES = 64 << 10 };

/* Room: slabs for the logs of few times, malloc for the others */

static uint32_t class_room(unsigned class)
{
    static const uint8_t small[] = {1, 2, 3, 4};

    assert(class < SHARD_CLASSES);
    if (class < count_of(small))
        return small[class];
    return (class % 2 == 0 ? 6u : 8u) << (class - 4) / 2;
}

static unsigned class_of(uint32_t room)
{
    unsigned class = 0;

    while (class < SHARD_CLASSES && class_room(class) < room)
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

    assert(bytes <= SLAB_BYTES - sizeof(struct slab));
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

    assert(room > 0);
    if (class < SHARD_CLASSES)
        room = class_room(class);
    if (class == SHARD_CLASSES) {
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

    assert(class <= SHARD_CLASSES);
    if (class == SHARD_CLASSES) {
        free(entry);
        return;
    }
    freed->next = shard->free[class];
    shard->free[class] = freed;
}

/* The table of a shard */

static struct entry **slot_with(struct shard *shard, const struct entry *entry)
{
    return shard_find(shard, entry->hash, &entry->key);
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

    assert(*slot != NULL);
    shard->slots[gap] = NULL;
    for (;;) {
        size_t home;

        at = (at + 1) & mask;
        if (shard->slots[at] == NULL)
            return;
        home = shard_slot_of(shard, shard->slots[at]->hash);
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

    while (list < SHARD_LISTS - 1 && shard->lists[list].seconds != 0 &&
           shard->lists[list].seconds != seconds)
        list++;
    if (shard->lists[list].seconds < seconds)
        shard->lists[list].seconds = seconds;
    return list;
}

static inline void unlist(struct shard *shard, struct entry *entry)
{
    struct entry **before = entry->older == NULL ? &shard->lists[entry->list].oldest
                                                 : &entry->older->newer;
    struct entry **behind = entry->newer == NULL ? &shard->lists[entry->list].newest
                                                 : &entry->newer->older;

    assert(*before == entry && *behind == entry);
    *before = entry->newer;
    *behind = entry->older;
}

static inline void enlist(struct shard *shard, struct entry *entry)
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
    return entry->times[entry->last] / TIME_MARKS;
}

int64_t shard_end_of(const struct shard *shard, const struct entry *entry)
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

    for (int i = 0; i < SHARD_LISTS; i++) {
        struct entry *entry = shard->lists[i].oldest;

        if (entry != NULL &&
            (first == NULL || (any ? entry->touched_us < first->touched_us
                                   : shard_end_of(shard, entry) < shard_end_of(shard, first))))
            first = entry;
    }
    return first;
}

void shard_forget(struct shard *shard, struct entry *entry)
{
    assert(shard->count > 0);
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

        if (first == NULL || shard_end_of(shard, first) > now_us)
            break;
        shard_forget(shard, first);
    }
    while (shard->count > 0 && shard->count >= shard->most)
        shard_forget(shard, first_to_go(shard, true));
    if (shard->count + shard->count / 4 >= shard->slot_count)
        grow_slots(shard);
}

/* The log of a key */

/* The same log with more room. */
static struct entry *widen(struct shard *shard, struct entry *entry, uint32_t most)
{
    uint32_t room = entry->room + entry->room / 2 + 1;
    struct entry *wide = new_entry(shard, room < most ? room : most), *old = entry;
    uint32_t wide_room = wide->room;
    uint8_t class = wide->class;

    assert(wide_room > old->count);
    *wide = *old;
    wide->room = wide_room;
    wide->class = class;
    wide->last = old->count == 0 ? wide_room - 1 : old->count - 1;
    for (uint32_t n = 1; n <= old->count; n++)
        wide->times[old->count - n] = *entry_nth(old, n);
    unlist(shard, old);
    enlist(shard, wide);
    *slot_with(shard, old) = wide;
    free_entry(shard, old);
    return wide;
}

struct entry *shard_add(struct shard *shard, uint64_t hash, const struct limit_key *key,
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
    assert(shard->count < shard->slot_count);
    return entry;
}

/* It asked: who was quiet for longer is forgotten first. */
void shard_touch(struct shard *shard, struct entry *entry, const struct rule *rule, int64_t now_us)
{
    entry->touched_us = now_us;
    unlist(shard, entry);
    entry->list = list_of(shard, rule->longest);
    enlist(shard, entry);
}

int64_t shard_append(struct shard *shard, struct entry *entry, const struct rule *rule,
                     int64_t now_us, bool apart)
{
    uint32_t most = rule->most * limit_times(&entry->key);

    assert(entry->count <= entry->room && entry->last < entry->room);
    if (entry->count == entry->room && entry->room < most)
        entry = widen(shard, entry, most);
    /* A clock that stands still or steps back shortens no window. */
    if (entry->count > 0 && newest_us(entry) > now_us)
        now_us = newest_us(entry);
    entry->last = entry->last + 1 == entry->room ? 0 : entry->last + 1;
    entry->times[entry->last] = now_us * TIME_MARKS + (apart ? TIME_APART : 0);
    entry->has_apart = entry->has_apart || apart;
    if (entry->count < entry->room)
        entry->count++;
    shard_touch(shard, entry, rule, now_us);
    return now_us;
}

/* Opening and closing */

void shard_open(struct shard *shard, size_t most_keys)
{
    pthread_mutex_init(&shard->lock, NULL);
    shard->most = most_keys;
    shard->slot_count = FIRST_SLOTS;
    shard->slots = mem_malloc(FIRST_SLOTS * sizeof *shard->slots);
    memset(shard->slots, 0, FIRST_SLOTS * sizeof *shard->slots);
}

void shard_close(struct shard *shard)
{
    while (shard->count > 0)
        shard_forget(shard, first_to_go(shard, true));
    assert(first_to_go(shard, true) == NULL);
    for (struct slab *next, *slab = shard->slabs; slab != NULL; slab = next) {
        next = slab->next;
        free(slab);
    }
    free(shard->slots);
    pthread_mutex_destroy(&shard->lock);
}
