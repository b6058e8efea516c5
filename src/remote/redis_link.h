/* A loop's own connection to Redis: commands are pipelined, and every one is answered, by Redis or
 * with NULL, within the deadline.
 *
 * A circuit breaker: when an answer is late or makes no sense, or the connection breaks, the link
 * is down at once, everything under way is answered NULL, and nobody waits for it until it has
 * found Redis again in the background: 100 ms later at first, then after pauses that double up to
 * 5 s. It is up again once it is connected, logged in and greeted.
 *
 * On its loop's thread only, but for what says otherwise. Times: ms, monotonic. */
#pragma once

#include "core/lane.h"
#include "remote/redis.h"

struct redis_link;

/* NULL: no answer came; whether the command was carried out is not known. The reply is freed when
 * this returns. */
typedef void redis_answer(void *arg, const redisReply *reply);

struct redis_link_hooks {
    /* The calls of this turn of the loop are about to be written: the last chance to make some. */
    void (*flush)(void *arg, struct redis_link *link);
    /* Connected and logged in: sends what must be answered first, then calls redis_link_up(). */
    void (*greet)(void *arg, struct redis_link *link);
    /* The link is up; or down, for this reason (static). */
    void (*changed)(void *arg, struct redis_link *link, const char *why);
    void *arg;
};

/* Any thread; it does nothing yet. `lane` will look for Redis. */
struct redis_link *redis_link_open(void *mem, struct loop *loop, struct lane *lane,
                                   const struct redis_target *target, int64_t deadline_ms,
                                   const struct redis_link_hooks *hooks);

/* Begins to connect. */
void redis_link_start(struct redis_link *link);

/* Any thread. */
bool redis_link_is_up(const struct redis_link *link);

/* A whole command (RESP); copied. Only while the link is up, or greets. */
void redis_link_call(struct redis_link *link, const char *command, size_t len, redis_answer *answer,
                     void *arg);

/* The greeting went well. */
void redis_link_greeted(struct redis_link *link);

/* What Redis answers is no good: the link goes down. `why` is static. */
void redis_link_fail(struct redis_link *link, const char *why);

/* Ends it for good; whatever is under way is answered NULL. Before its loop is stopped. */
void redis_link_close(struct redis_link *link);
