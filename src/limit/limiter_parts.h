/* What the parts of the limiter share: limiter.c decides and asks, limiter_wait.c does so for
 * lanes, limiter_redis.c asks Redis, limiter_beat.c keeps the instances in touch, limiter_start.c
 * knows what holds before Redis was heard of, limiter_operator.c is for operators. */
#pragma once

#include "limit/limiter.h"
#include "limit/script.h"
#include "remote/redis_link.h"

#include <pthread.h>

enum {
    LIMITER_SETTLED_MS = 50, /* beyond the deadline: what was asked before was done, or was not */
    LIMITER_STILL_MS = 10, /* a wait that ends so late: this process stood still, and waits anew */
    LIMITER_STOOD_STILL_MOST = 5, /* times in a row */
    LIMITER_COMMAND_BYTES = 800,
    LIMITER_KEY_BYTES = 160,
    LIMITER_BATCH = 32,          /* requests that one call decides */
    LIMITER_HANDING_MOST = 4096, /* times on their way to Redis, for all keys */
    LIMITER_MOVED_FREE = 32, /* times of a log in Redis that are moved as quickly as one is read */
};

#define LIMITER_PREFIX "manus:limit:"
#define LIMITER_LIVE_KEY "manus:{limits}:live"
#define LIMITER_RESETS_KEY "manus:{limits}:resets"
#define LIMITER_BANS_KEY "manus:{limits}:decisions"
#define LIMITER_CLOCK_KEY "manus:{limits}:clock"

/* A loop's part. Its own, but for the counters, which others read. */
struct limiter_link {
    struct limiter *limiter;
    unsigned index;
    struct loop *loop;
    struct redis_link *redis; /* NULL: no Redis */
    uv_timer_t beat;
    bool was_up;
    bool by_slot; /* it is a cluster: the keys of one call are of one slot */

    int64_t shift_us;            /* of Redis's clock */
    int64_t offset_us;           /* Redis's clock and the shift, less our own; 0: not known */
    bool sets_clock;             /* it is being found out */
    struct limiter_ask *waiting; /* for that */
    struct limiter_ask *unsent, **last_unsent; /* asked in this turn of the loop */
    struct limiter_ask *parked;                /* until others of their key are answered */
    uv_timer_t retry;
    int64_t cursor_us; /* the last beat, by Redis's clock */
    int64_t beat_us,
        clock_us; /* when the beat that is under way was sent, else 0; the clock asked */

    bool has_looked; /* Redis has greeted it, or is away */
    struct post start, stop, banned;
    struct bans *bans;                 /* in force on this loop; malloc */
    _Atomic(struct bans *) fresh_bans; /* on their way here */
};

struct limiter {
    struct memory_limiter *memory;
    struct limiter_settings settings;
    atomic_int fallback;
    char *instance;
    struct limiter_link *links;
    unsigned link_count;
    _Atomic(uint32_t) live; /* instances, this one among them */
    struct lane *lane;      /* writes them down */
    struct job remember;
    bool remembers; /* it is under way; this and the next two are of the first link */
    uint32_t writing, remembered;

    pthread_mutex_t start_lock;
    pthread_cond_t looked;
    unsigned have_looked; /* links, of which the first outcome is known; under start_lock */

    _Atomic(int64_t) sure_us;  /* since then every reset was heard of; 0: not yet */
    atomic_uint up;            /* links */
    atomic_bool is_away;       /* it was said so */
    _Atomic(uint32_t) handing; /* what is on its way to Redis */

    pthread_mutex_t file_lock; /* of the file of bans; taken before the next */
    pthread_mutex_t lock;
    struct bans *bans; /* all decisions; from here on under the lock */
    struct job save_bans;
    bool saves_bans, bans_changed; /* the job is under way; there is something for it */
};

/* PREFIX, the route's name, kind and id; the text is out->s. */
const char *limiter_key_text(struct text *out, const struct limiter *limiter,
                             const struct limit_key *key);

/* A key as text, such as another instance names it; false if there is none like that. */
bool limiter_read_key(const struct limiter *limiter, const char *text, struct limit_key *ret);

/* This loop's; NULL on other threads. */
struct limiter_link *limiter_link_here(const struct limiter *limiter);

/* Without Redis, by the fallback; or in any case by this instance's share. Any thread. */
void limiter_decide_here(struct limiter *limiter, struct limiter_ask *ask);
void limiter_decide_share(struct limiter *limiter, struct limiter_ask *ask);

void limiter_answer(struct limiter_ask *ask);

/* Calls Redis by words, 16 at most. */
void limiter_call(struct limiter_link *link, unsigned count, const char *const *words,
                  redis_answer *done, void *arg);

/* Hands over what was admitted while Redis was away, if something was. True if what is asked now
 * comes there after all of it. */
bool limiter_hand_over(struct limiter_link *link, const struct limit_key *key,
                       const struct rule *rule);

/* On its loop: sends it with this turn's; or decides it here although it was under way, and
 * answers. */
void limiter_send(struct limiter_ask *ask);
void limiter_land_here(struct limiter_ask *ask);

/* Warns of those keys of ours that a script has removed, since they held something else. */
void limiter_tell_healed(const redisReply *healed, const char *const *names, unsigned count);

/* What a call says of the time. */
struct script_clock limiter_clock(const struct limiter_link *link, int64_t now_us);

/* What was asked then was not answered in time, or this process stood still: what the answer says
 * of the time is long over. */
bool limiter_is_late(const struct limiter_link *link, int64_t asked_us);

/* The clock of Redis was set: finds the shift that makes up for it, then sends what waits for it.
 */
void limiter_set_clock(struct limiter_link *link);

/* For the link: what is asked before it writes, what is said first, and what was found. */
void limiter_flush(void *arg, struct redis_link *redis);
void limiter_greet(void *arg, struct redis_link *redis);
void limiter_on_changed(void *arg, struct redis_link *redis, const char *why);

/* How many instances live: kept for the next start too (limiter_start.c). */
void limiter_take_live(struct limiter *limiter, long long live);
void limiter_read_live(struct limiter *limiter);

/* The link has been greeted, or Redis is away. */
void limiter_has_looked(struct limiter_link *link);

/* Tells Redis that this instance lives, or leaves. */
void limiter_leave(struct limiter_link *link);
void limiter_on_beat(uv_timer_t *timer);

/* Under the lock: the list, with what is in force of it on every loop, and in the file. */
void limiter_replace_bans(struct limiter *limiter, struct bans *bans);

/* Writes the bans to their file: at once, on a thread that may wait; or by the lane, from a loop,
 * under the lock. */
void limiter_save_bans(struct limiter *limiter);
void limiter_save_bans_later(struct limiter *limiter);
void limiter_spread_bans(struct limiter *limiter);
void limiter_take_bans(struct post *post);
