/* The limiter: what Redis says for all instances, and this process's memory when there is no Redis
 * or it does not answer.
 *
 * Without Redis: exact sliding windows in memory (memory.h), answered at once.
 * With Redis: one script call for a request, pipelined on the loop's own link, on Redis's clock.
 * What was admitted is noted in memory too, so that the limits hold on when Redis goes: from then
 * on this process admits its share, the limit divided by the instances that were alive, counting
 * what it has admitted before. What it admitted alone is handed over to Redis with the key's next
 * request. A request waits for Redis no longer than the link's deadline.
 *
 * Threads: limiter_ask() on loops; the others on any thread, as they say. Times: us, monotonic. */
#pragma once

#include "core/lane.h"
#include "core/settings.h"
#include "limit/bans.h"
#include "limit/memory.h"

struct limiter;
struct redis_target;

struct limiter_ask {
    struct limit_key keys[LIMIT_KEYS]; /* all must admit */
    unsigned count;
    const struct rule *rule;
    void (*done)(struct limiter_ask *ask);

    struct verdict verdict; /* the answer */

    int64_t asked_us; /* from here on: the limiter's own */
    bool asking, answered;
    bool repeated;
    bool whole;    /* with the script's text */
    bool alone;    /* in a call of its own */
    uint16_t slot; /* of a cluster; 0 if it is none */
    struct limiter_ask *next;
    struct limiter_link *link;
};

struct limiter_settings {
    size_t max_keys;
    const char *bans_file;
    const char *instances_file; /* how many there were at last */
    /* Of the routes, by their number, as Redis's keys have them; those that count by an e-mail
     * address as well stand in braces, so that a cluster keeps them together. */
    const char *const *names;
    size_t name_count;
    const struct redis_target *target; /* NULL: no Redis */
    int64_t deadline_ms;               /* of each call there */
};

struct limiter *limiter_open(void *mem, const struct limiter_settings *settings);

/* From the main thread, before the server starts. `lane` looks for Redis. */
void limiter_start(struct limiter *limiter, struct loop **loops, unsigned count, struct lane *lane);

/* Until each loop is greeted by Redis, or knows that it is away, at most for a few seconds: until
 * then nobody knows what the others have admitted, so nobody is to be let in. */
void limiter_wait_for_redis(struct limiter *limiter);

/* What happens while Redis is away, where the rule itself does not say. With new rules: what was
 * refused by others is forgotten. */
void limiter_set_fallback(struct limiter *limiter, enum fallback fallback);

/* Ends what it has on the loops, while they still run. */
void limiter_stop(struct limiter *limiter);
void limiter_close(struct limiter *limiter);

/* On a loop. True: the verdict is there. False: done() is called on this loop with it. */
bool limiter_ask(struct limiter *limiter, struct limiter_ask *ask);

/* True if it is sure at once, and for nothing, that one of the keys is refused. On a loop. */
bool limiter_refuses(struct limiter *limiter, const struct limit_key *keys, unsigned count,
                     const struct rule *rule, struct verdict *ret);

/* The same as limiter_ask() from a lane; waits. */
void limiter_ask_waiting(struct limiter *limiter, struct limiter_ask *ask);

/* Takes back what the verdict has charged. Any thread. */
void limiter_forgive(struct limiter *limiter, const struct limit_key *key,
                     const struct verdict *verdict);

/* For how many ms the client is refused altogether; 0: it is not. On a loop. */
int64_t limiter_banned_ms(const struct limiter *limiter, const struct address *client);

/* For operators. Any thread but the loops; they may wait for Redis for a second or two. ERR_REMOTE,
 * with its text, if it cannot be asked or told. */
must_check enum err limiter_look(struct task *task, struct limiter *limiter,
                                 const struct limit_key *key, const struct rule *rule,
                                 struct verdict *ret);
must_check enum err limiter_reset(struct task *task, struct limiter *limiter,
                                  const struct limit_key *key, bool *ret_found);

/* Until then, in ms since the epoch; a time that is past lifts the ban. *ret_was: just that network
 * was banned before. ERR_INVALID: too many. While Redis is away a ban holds here, and the others
 * hear of it later; lifting one is ERR_REMOTE. */
must_check enum err limiter_ban(struct task *task, struct limiter *limiter,
                                const struct network *network, int64_t until_ms, bool *ret_was);

/* Every decision, also of bans that are over. */
struct bans *limiter_list_bans(struct limiter *limiter, void *mem);

/* Who asks most of this process: at most `most`, first who asks most. */
size_t limiter_top(struct limiter *limiter, struct limit_talker *talkers, size_t most);

/* Lets /metrics read its gauges, for as long as the program runs. */
void limiter_show_metrics(const struct limiter *limiter);

/* The number of the route that a text begins with, up to the colon; false if there is none. Braces
 * may be left out. */
bool limiter_route(const struct limiter *limiter, const char *text, uint16_t *ret);
const char *limiter_name(const struct limiter *limiter, uint16_t route);
