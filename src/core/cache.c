#include "core/cache.h"

#include "core/clock.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

enum { SHARDS = 64, SETS = 32, WAYS = 4 };

struct record {
    const char *id;
};

struct entry {
    uint64_t hash;
    int64_t loaded_ms;     /* monotonic */
    struct record *record; /* with its texts; NULL: free */
};

/* Set-associative, so that its size is fixed and a lookup touches four entries at most. */
struct shard {
    pthread_mutex_t lock;
    uint64_t generation; /* counts what was forgotten */
    struct entry entries[SETS][WAYS];
};

struct cache {
    cache_copy *copy;
    struct shard shards[SHARDS];
};

/* FNV-1a. Only ids that we have made or signed get in, so nobody chooses what collides. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = 14695981039346656037u;

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 1099511628211u;
    return hash ^ hash >> 32;
}

static struct shard *shard_of(struct cache *cache, uint64_t hash)
{
    return &cache->shards[hash % SHARDS];
}

static struct entry *set_of(struct shard *shard, uint64_t hash)
{
    return shard->entries[hash / SHARDS % SETS];
}

static bool is_of(const struct entry *entry, uint64_t hash, const char *id)
{
    return entry->record != NULL && entry->hash == hash && strcmp(entry->record->id, id) == 0;
}

static int close_recall(struct cache *cache)
{
    for (size_t i = 0; i < SHARDS; i++) {
        for (size_t j = 0; j < SETS * WAYS; j++)
            talloc_free(cache->shards[i].entries[j / WAYS][j % WAYS].record);
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    return 0;
}

struct cache *cache_open(void *mem, cache_copy *copy)
{
    struct cache *cache = mem_new(mem, struct cache);

    assert(copy != NULL);
    cache->copy = copy;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&cache->shards[i].lock, NULL);
    talloc_set_destructor(cache, close_recall);
    return cache;
}

uint64_t cache_generation(struct cache *cache, const char *id)
{
    struct shard *shard = shard_of(cache, hash_of(id));
    uint64_t generation;

    pthread_mutex_lock(&shard->lock);
    generation = shard->generation;
    pthread_mutex_unlock(&shard->lock);
    return generation;
}

/* The entry of this id, else the one that was loaded longest ago. */
static struct entry *choose(struct entry *set, uint64_t hash, const char *id)
{
    struct entry *oldest = set;

    for (size_t i = 0; i < WAYS; i++) {
        if (is_of(&set[i], hash, id))
            return &set[i];
        if (set[i].loaded_ms < oldest->loaded_ms)
            oldest = &set[i];
    }
    return oldest;
}

/* What was read before something of its shard was forgotten may be out of date: it is not kept. */
void cache_put(struct cache *cache, const void *record, uint64_t generation)
{
    struct record *copy = cache->copy(NULL, record), *unused = copy;
    uint64_t hash = hash_of(copy->id);
    struct shard *shard = shard_of(cache, hash);

    assert(copy->id != NULL);
    pthread_mutex_lock(&shard->lock);
    assert(generation <= shard->generation);
    if (generation == shard->generation) {
        struct entry *entry = choose(set_of(shard, hash), hash, copy->id);

        unused = entry->record;
        *entry = (struct entry){hash, clock_mono_ms(), copy};
    }
    pthread_mutex_unlock(&shard->lock);
    talloc_free(unused);
}

void *cache_peek(struct cache *cache, void *mem, const char *id, int64_t within_ms)
{
    uint64_t hash = hash_of(id);
    struct shard *shard = shard_of(cache, hash);
    struct entry *set = set_of(shard, hash);
    int64_t now_ms = clock_mono_ms();
    void *found = NULL;

    pthread_mutex_lock(&shard->lock);
    for (size_t i = 0; i < WAYS && found == NULL; i++) {
        if (is_of(&set[i], hash, id) && now_ms - set[i].loaded_ms < within_ms)
            found = cache->copy(mem, set[i].record);
    }
    pthread_mutex_unlock(&shard->lock);
    return found;
}

static void drop(struct entry *entry)
{
    assert(entry->record != NULL);
    talloc_free(entry->record);
    *entry = (struct entry){0};
}

void cache_forget(struct cache *cache, const char *id)
{
    uint64_t hash = hash_of(id);
    struct shard *shard = shard_of(cache, hash);
    struct entry *set = set_of(shard, hash);

    pthread_mutex_lock(&shard->lock);
    shard->generation++;
    for (size_t i = 0; i < WAYS; i++) {
        if (is_of(&set[i], hash, id))
            drop(&set[i]);
    }
    pthread_mutex_unlock(&shard->lock);
}

void cache_forget_those(struct cache *cache,
                        bool (*is_one)(const void *record, const void *argument),
                        const void *argument)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];

        pthread_mutex_lock(&shard->lock);
        shard->generation++;
        for (size_t j = 0; j < SETS * WAYS; j++) {
            struct entry *entry = &shard->entries[j / WAYS][j % WAYS];

            if (entry->record != NULL && is_one(entry->record, argument))
                drop(entry);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}
