/* What was read lately, so that busy readers cost the store nothing: a memory of fixed size for
 * records that begin with their id.
 *
 * Whoever changes a record forgets it after the store has the change. A reader that was overtaken
 * by that puts nothing back: it takes the generation before it reads. Any thread; never waits. */
#pragma once

#include "core/mem.h"

#include <stdint.h>

struct cache;

/* A deep copy of a record in `mem`, whose first member is its id. */
typedef void *cache_copy(void *mem, const void *record);

struct cache *cache_open(void *mem, cache_copy *copy);

/* To be taken before the store is read for what will be put. */
uint64_t cache_generation(struct cache *cache, const char *id);
void cache_put(struct cache *cache, const void *record, uint64_t generation);

/* A copy of what was put within the last `within_ms`; NULL if there is none. */
void *cache_peek(struct cache *cache, void *mem, const char *id, int64_t within_ms);

void cache_forget(struct cache *cache, const char *id);

/* Every one that `is_one` is true of. */
void cache_forget_those(struct cache *cache,
                        bool (*is_one)(const void *record, const void *argument),
                        const void *argument);
