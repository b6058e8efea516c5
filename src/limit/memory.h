/* The limiter in this process's memory: exact sliding windows, bounded.
 *
 * For each key a log of the times at which it was admitted, as long as the largest limit at most: a
 * request passes a window of limit L when the L-th newest time is at least as old as the window. So
 * no span of the window's length holds more than L, and nothing is refused that such a log admits.
 * A refused request charges nothing.
 *
 * Beside Redis (limiter.h) the same log is this process's shadow of what Redis keeps for all of
 * them: times that Redis may not know are marked apart until they were handed over, and what Redis
 * refused is remembered, so that who hammers costs Redis nothing.
 *
 * Kept in shards by a keyed hash, each under its own lock that is held for the time of one
 * decision. When full, a shard forgets the key whose last window ends first among those that were
 * quiet for longest, so never one that is hammered. Costs about 120 bytes a key and 8 for each
 * time. Any thread; times are monotonic us. */
#pragma once

#include "limit/key.h"
#include "limit/verdict.h"

struct memory_limiter;

enum { LIMIT_KEYS = 4 /* that one request is counted by at most: three networks and an address */ };

/* `max_keys` of all shards together. */
struct memory_limiter *memory_limiter_open(void *mem, size_t max_keys);
void memory_limiter_close(struct memory_limiter *limiter);

/* Checks every window of the rule for every key, as often as limit_times() says, and charges all of
 * them, or none. What is left is the least that any of the keys has. */
struct verdict memory_limiter_ask(struct memory_limiter *limiter, const struct limit_key *keys,
                                  unsigned count, const struct rule *rule, int64_t now_us);

/* The same without charging. */
struct verdict memory_limiter_look(struct memory_limiter *limiter, const struct limit_key *keys,
                                   unsigned count, const struct rule *rule, int64_t now_us);

/* Takes back what was noted under that time, if it is still there. */
void memory_limiter_forgive(struct memory_limiter *limiter, const struct limit_key *key,
                            int64_t at_us);

/* Forgets the key. False if it was not there. */
bool memory_limiter_reset(struct memory_limiter *limiter, const struct limit_key *key);

size_t memory_limiter_keys(struct memory_limiter *limiter);

/* Who asks most: keys by what they were refused and admitted within their longest window. */
struct limit_talker {
    struct limit_key key;
    uint32_t admitted;
    uint32_t refused; /* since the key is known */
};

/* Fills `talkers` with at most `most`, those who ask most first, and returns how many. */
size_t memory_limiter_top(struct memory_limiter *limiter, struct limit_talker *talkers, size_t most,
                          int64_t now_us);

/* Beside Redis */

/* As memory_limiter_ask(), and the time is marked apart. */
struct verdict memory_limiter_ask_apart(struct memory_limiter *limiter,
                                        const struct limit_key *keys, unsigned count,
                                        const struct rule *rule, int64_t now_us);

/* True if it is sure without asking Redis that the request is refused: it said so, or what was
 * admitted here alone fills a window. Never true where Redis would admit: its word, and a time here
 * is a little older than the same time there. *ret_apart: some times are marked apart, and not
 * under way. */
bool memory_limiter_refuses(struct memory_limiter *limiter, const struct limit_key *keys,
                            unsigned count, const struct rule *rule, int64_t now_us,
                            struct verdict *ret, bool *ret_apart);

enum limit_start {
    LIMIT_REFUSED, /* surely */
    LIMIT_BUSY,    /* it depends on what is under way: ask again when some of it is answered. The
                    * verdict is the refusal that it is if all of that is admitted. */
    LIMIT_HERE, /* what was admitted here is on its way to Redis, in pieces: until that is over, it
                 * is to be decided as if Redis were away */
    LIMIT_ASK   /* Redis is to be asked; counted as under way until one of the next three */
};

/* The same before Redis is asked. What was admitted here and what is under way never exceed a limit
 * together, whatever Redis may have forgotten. *ret_apart: as above, whatever is returned. */
enum limit_start memory_limiter_start(struct memory_limiter *limiter, const struct limit_key *keys,
                                      unsigned count, const struct rule *rule, int64_t now_us,
                                      struct verdict *ret, bool *ret_apart);

/* Redis did not answer. */
void memory_limiter_answered(struct memory_limiter *limiter, const struct limit_key *keys,
                             unsigned count);

/* Those of the keys that Redis `refused` are so for the time of their verdict from `asked_us` on.
 */
void memory_limiter_refused(struct memory_limiter *limiter, const struct limit_key *keys,
                            unsigned count, const struct rule *rule, int64_t asked_us,
                            const bool *refused, const struct verdict *each);

/* Redis admitted what was asked at `asked_us`, and held so many times of each key before. Returns
 * a bit for each key of which times are missing there that it must have known before `settled_us`:
 * it has lost them, or the key was reset. */
unsigned memory_limiter_admitted(struct memory_limiter *limiter, const struct limit_key *keys,
                                 unsigned count, const struct rule *rule, int64_t asked_us,
                                 const uint32_t *held, int64_t settled_us);

/* They are lost: of ours before `asked_us` all but the newest, which are those that Redis holds,
 * are marked apart. */
void memory_limiter_lost(struct memory_limiter *limiter, const struct limit_key *key,
                         int64_t asked_us, uint32_t held);

/* Handing over what is marked apart: in pieces, the oldest times first, so that no answer takes
 * long. One piece of a key is under way at a time. */

enum { LIMIT_PIECE = 1024 /* times */ };

struct limit_piece {
    uint64_t id; /* the same when it is sent again, since it may have arrived */
    bool more;   /* there are others after it */
};

/* The ages of the times of the next piece, as 8 bytes each (big-endian, us), oldest first, added to
 * `out`. Returns how many; 0: nothing is to be sent, or a piece is under way. */
uint32_t memory_limiter_take_apart(struct memory_limiter *limiter, const struct limit_key *key,
                                   const struct rule *rule, int64_t now_us, struct text *out,
                                   struct limit_piece *ret);

/* The piece has arrived; or may not have, and is the next again. True if there is a next. */
bool memory_limiter_handed_over(struct memory_limiter *limiter, const struct limit_key *key,
                                uint64_t piece, bool arrived, int64_t now_us);

/* Forgets what Redis refused: it may have been reset since. */
void memory_limiter_forget_refusals(struct memory_limiter *limiter);

/* And the times that Redis knows too: only those that are marked apart are known still. */
void memory_limiter_forget_told(struct memory_limiter *limiter);
