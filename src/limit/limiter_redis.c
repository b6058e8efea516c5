/* Asking Redis: what one turn of a loop asks goes there in a few calls, and what comes back. */
#include "limit/limiter_parts.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "remote/peers.h"

#include <assert.h>
#include <string.h>

struct script_clock limiter_clock(const struct limiter_link *link, int64_t now_us)
{
    return (struct script_clock){link->shift_us, now_us + link->offset_us};
}

void limiter_call(struct limiter_link *link, unsigned count, const char *const *words,
                  redis_answer *done, void *arg)
{
    char buffer[LIMITER_COMMAND_BYTES * 4];
    struct text command = text_borrow(NULL, buffer, sizeof buffer);

    script_put_words(&command, count, words);
    redis_link_call(link->redis, command.s, command.len, done, arg);
    if (!command.borrowed)
        talloc_free(command.s);
}

/* Handing over what was admitted while Redis was away */

struct handover {
    struct limiter_link *link;
    struct limit_key key;
    struct rule rule; /* without its wire: new ones may be read meanwhile */
    struct limit_piece piece;
    uint32_t cost;
};

static void on_piece(void *arg, const redisReply *reply);

/* False if nothing is left to send. The answer may have come when this returns: the link is down.
 */
static bool send_piece(struct handover *handover, bool *ret_more)
{
    auto_tree void *mem = mem_tree(2048);
    struct limiter_link *link = handover->link;
    struct text ages = text_open(mem, 512), command = text_open(mem, 1024);
    struct text name_text = text_open(mem, LIMITER_KEY_BYTES);
    int64_t now_us = clock_mono_us();
    struct script_clock clock = limiter_clock(link, now_us);

    if (memory_limiter_take_apart(link->limiter->memory, &handover->key, &handover->rule, now_us,
                                  &ages, &handover->piece) == 0)
        return false;
    *ret_more = handover->piece.more;
    /* Rare enough to send the whole script, so that it cannot be unknown. */
    script_put_merge(
        &command, true, limiter_key_text(&name_text, link->limiter, &handover->key),
        limit_times(&handover->key), &handover->rule, &clock,
        &(struct script_piece){link->limiter->instance, handover->piece.id, ages.s, ages.len});
    redis_link_call(link->redis, command.s, command.len, on_piece, handover);
    return true;
}

/* Not so much at once that answers come late. */
static bool reserve(struct limiter *limiter, uint32_t cost)
{
    uint32_t had = atomic_fetch_add(&limiter->handing, cost);

    if (had == 0 || had + cost <= LIMITER_HANDING_MOST)
        return true;
    atomic_fetch_sub(&limiter->handing, cost);
    return false;
}

static void end_handover(struct handover *handover)
{
    assert(atomic_load(&handover->link->limiter->handing) >= handover->cost);
    atomic_fetch_sub(&handover->link->limiter->handing, handover->cost);
    free(handover);
}

/* The others wait for nothing: they would be decided without what was to be handed over. */
static void on_piece_refused(struct limiter_link *link, const redisReply *reply)
{
    if (script_says_clock_is_off(reply))
        limiter_set_clock(link);
    else if (redis_link_is_up(link->redis))
        redis_link_fail(link->redis, reply->type == REDIS_REPLY_ERROR
                                         ? redis_error_text(reply->str)
                                         : "Its answer makes no sense");
}

static void on_piece(void *arg, const redisReply *reply)
{
    struct handover *handover = arg;
    struct limiter_link *link = handover->link;
    bool arrived = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
                   reply->element[0]->type == REDIS_REPLY_INTEGER &&
                   reply->element[0]->integer == 0;
    bool more = memory_limiter_handed_over(link->limiter->memory, &handover->key,
                                           handover->piece.id, arrived, clock_mono_us());

    if (arrived && reply->elements > 2)
        limiter_tell_healed(reply->element[2],
                            (const char *[]){limiter_name(link->limiter, handover->key.route),
                                             SCRIPT_HANDED_PREFIX},
                            2);
    if (arrived && more && redis_link_is_up(link->redis) && send_piece(handover, &more))
        return;
    end_handover(handover);
    if (reply != NULL && !arrived)
        on_piece_refused(link, reply);
}

bool limiter_hand_over(struct limiter_link *link, const struct limit_key *key,
                       const struct rule *rule)
{
    struct handover *handover;
    bool more;
    uint32_t most = rule->most * limit_times(key);
    uint32_t cost = (most < LIMIT_PIECE ? most : LIMIT_PIECE) + most / LIMITER_MOVED_FREE;

    if (!reserve(link->limiter, cost))
        return false;
    handover = mem_malloc(sizeof *handover);
    *handover = (struct handover){.link = link, .key = *key, .rule = *rule, .cost = cost};
    if (send_piece(handover, &more))
        return !more;
    end_handover(handover);
    return true;
}

/* Sending: a call costs Redis as much as two decisions, so those of one rule go together. */

static uint16_t slot_of(const struct limiter_ask *ask)
{
    char buffer[LIMITER_KEY_BYTES];
    struct text name = text_borrow(NULL, buffer, sizeof buffer);

    return script_slot(limiter_key_text(&name, ask->link->limiter, &ask->keys[0]));
}

void limiter_send(struct limiter_ask *ask)
{
    struct limiter_link *link = ask->link;

    assert_on_loop(link->loop);
    ask->slot = link->by_slot ? slot_of(ask) : 0;

    ask->asked_us = clock_mono_us();
    ask->next = NULL;
    *link->last_unsent = ask;
    link->last_unsent = &ask->next;
}

static bool go_together(const struct limiter_ask *one, const struct limiter_ask *other)
{
    return one->rule == other->rule && one->count == 1 && other->count == 1 && !one->alone &&
           !other->alone && one->whole == other->whole && one->slot == other->slot;
}

/* Takes those out of the queue that go with the first; in the order in which they were asked. */
static struct limiter_ask *take_batch(struct limiter_ask **queue)
{
    struct limiter_ask *first = *queue, **last = &first->next, **at = queue;
    unsigned count = 1;

    *queue = first->next;
    while (*at != NULL && count < LIMITER_BATCH) {
        struct limiter_ask *ask = *at;

        if (!go_together(first, ask)) {
            at = &ask->next;
            continue;
        }
        *at = ask->next;
        *last = ask;
        last = &ask->next;
        count++;
    }
    *last = NULL;
    return first;
}

static void on_answer(void *arg, const redisReply *reply);

static void send_batch(struct limiter_link *link, struct limiter_ask *first)
{
    char buffer[LIMITER_COMMAND_BYTES * 4], names[LIMITER_BATCH][LIMITER_KEY_BYTES];
    struct text command = text_borrow(NULL, buffer, sizeof buffer);
    struct script_clock clock = limiter_clock(link, clock_mono_us());
    const char *keys[LIMITER_BATCH];
    uint32_t times[LIMITER_BATCH];
    unsigned key_count = 0;

    for (struct limiter_ask *ask = first; ask != NULL; ask = ask->next) {
        for (unsigned i = 0; i < ask->count; i++) {
            struct text name = text_borrow(NULL, names[key_count], LIMITER_KEY_BYTES);

            assert(key_count < LIMITER_BATCH);
            times[key_count] = limit_times(&ask->keys[i]);
            keys[key_count++] = limiter_key_text(&name, link->limiter, &ask->keys[i]);
        }
    }
    script_put_ask(&command, script_for(first->count), first->whole, keys, times, key_count,
                   first->rule, &clock);
    redis_link_call(link->redis, command.s, command.len, on_answer, first);
    if (!command.borrowed)
        talloc_free(command.s);
}

void limiter_flush(void *arg, struct redis_link *redis)
{
    struct limiter_link *link = arg;

    assert_on_loop(link->loop);
    (void)redis;
    /* An answer that comes at once, since the link is down, may lead to the next request. */
    while (link->unsent != NULL) {
        struct limiter_ask *queue = take_ptr(link->unsent);

        link->last_unsent = &link->unsent;
        while (queue != NULL)
            send_batch(link, take_batch(&queue));
    }
}

/* What an answer means */

static void count_call(int64_t us)
{
    metric_observe(METRIC_limit_redis_seconds, 0, us);
    metric_observe(METRIC_remote_seconds, PEER_REDIS, us);
}

/* Times that Redis must hold and does not: were they reset, or lost? */
struct missing {
    struct limiter *limiter;
    struct limit_key key;
    int64_t asked_us;
    uint32_t held;
};

/* Of a reset, the beat tells. */
static void on_missing(void *arg, const redisReply *reply)
{
    struct missing *missing = arg;

    if (reply != NULL && reply->type == REDIS_REPLY_NIL)
        memory_limiter_lost(missing->limiter->memory, &missing->key, missing->asked_us,
                            missing->held);
    free(missing);
}

static void look_for(struct limiter_ask *ask, unsigned which, uint32_t held)
{
    char name_buffer[LIMITER_KEY_BYTES];
    struct text name = text_borrow(NULL, name_buffer, sizeof name_buffer);
    struct limiter *limiter = ask->link->limiter;
    struct missing *missing = mem_malloc(sizeof *missing);

    *missing = (struct missing){limiter, ask->keys[which], ask->asked_us, held};
    limiter_key_text(&name, limiter, &ask->keys[which]);
    limiter_call(ask->link, 3,
                 (const char *[]){"ZSCORE", LIMITER_RESETS_KEY, name.s + strlen(LIMITER_PREFIX)},
                 on_missing, missing);
}

static void take_admitted(struct limiter_ask *ask, const struct script_answer *said)
{
    struct limiter *limiter = ask->link->limiter;
    int64_t settled_us = ask->asked_us -
                         (limiter->settings.deadline_ms + LIMITER_SETTLED_MS) * 1000;

    unsigned missing = memory_limiter_admitted(limiter->memory, ask->keys, ask->count, ask->rule,
                                               ask->asked_us, said->held, settled_us);

    for (unsigned i = 0; i < ask->count; i++) {
        if (missing & 1u << i)
            look_for(ask, i, said->held[i]);
    }
    ask->verdict.at_us = ask->asked_us;
}

static void take_refused(struct limiter_ask *ask, const struct script_answer *said)
{
    memory_limiter_refused(ask->link->limiter->memory, ask->keys, ask->count, ask->rule,
                           ask->asked_us, said->refused, said->each);
}

/* Once more, after the scripts or the clock were set right: for that one may wait twice. */
static bool may_repeat(struct limiter_ask *ask)
{
    bool first = !ask->repeated;

    ask->repeated = true;
    return first && redis_link_is_up(ask->link->redis);
}

struct dropped {
    struct limiter *limiter;
    struct limit_key key;
};

/* All of our times go there with the next request. */
static void on_dropped(void *arg, const redisReply *reply)
{
    struct dropped *dropped = arg;

    (void)reply;
    memory_limiter_lost(dropped->limiter->memory, &dropped->key, INT64_MAX, 0);
    free(dropped);
}

static void drop_keys(struct limiter_ask *ask)
{
    for (unsigned i = 0; i < ask->count; i++) {
        char name_buffer[LIMITER_KEY_BYTES];
        struct text name = text_borrow(NULL, name_buffer, sizeof name_buffer);
        const char *words[] = {"DEL", limiter_key_text(&name, ask->link->limiter, &ask->keys[i])};
        struct dropped *dropped = mem_malloc(sizeof *dropped);

        *dropped = (struct dropped){ask->link->limiter, ask->keys[i]};
        limiter_call(ask->link, 2, words, on_dropped, dropped);
    }
}

static void take_wrong_type(struct limiter_ask *ask, bool alone)
{
    if (!alone) {
        ask->alone = true; /* whose it is tells the next answer */
        limiter_send(ask);
        return;
    }
    log_warning(NULL, "a rate limit's key in Redis held other data and was removed",
                LOG_S("route", limiter_name(ask->link->limiter, ask->keys[0].route)));
    drop_keys(ask);
    limiter_land_here(ask);
}

static void take_error(struct limiter_ask *ask, const char *error, bool alone)
{
    if (strncmp(error, "NOSCRIPT", 8) == 0 && may_repeat(ask)) {
        ask->whole = true;
        limiter_send(ask);
    } else if (strncmp(error, "CROSSSLOT", 9) == 0 && !alone) {
        ask->link->by_slot = true; /* nothing was charged */
        limiter_send(ask);
    } else if (strncmp(error, "WRONGTYPE", 9) == 0) {
        take_wrong_type(ask, alone);
    } else {
        if (redis_link_is_up(ask->link->redis))
            redis_link_fail(ask->link->redis, redis_error_text(error));
        limiter_land_here(ask);
    }
}

static void take_clock_off(struct limiter_ask *ask)
{
    struct limiter_link *link = ask->link;

    if (!may_repeat(ask)) {
        limiter_land_here(ask);
        return;
    }
    ask->next = link->waiting;
    link->waiting = ask;
    limiter_set_clock(link);
}

static void take_part(struct limiter_ask *ask, struct script_reply *reply)
{
    struct limiter_link *link = ask->link;
    uint32_t times[LIMIT_KEYS];
    struct script_answer said;

    for (unsigned i = 0; i < ask->count; i++)
        times[i] = limit_times(&ask->keys[i]);
    script_read_ask(reply, times, ask->count, ask->rule, &said);
    ask->verdict = said.verdict;
    if (said.outcome == SCRIPT_NONSENSE && redis_link_is_up(link->redis))
        redis_link_fail(link->redis, "Its answer makes no sense");
    if (said.outcome == SCRIPT_NONSENSE) {
        limiter_land_here(ask);
        return;
    }
    if (said.outcome == SCRIPT_ADMITTED)
        take_admitted(ask, &said);
    else
        take_refused(ask, &said);
    if (!limiter_is_late(link, ask->asked_us))
        link->offset_us = said.now_us - clock_mono_us();
    limiter_answer(ask);
}

static void take(struct limiter_ask *ask, const redisReply *reply, struct script_reply *parts,
                 bool alone)
{
    if (reply == NULL)
        limiter_land_here(ask);
    else if (reply->type == REDIS_REPLY_ERROR)
        take_error(ask, reply->str, alone);
    else if (script_says_clock_is_off(reply))
        take_clock_off(ask);
    else
        take_part(ask, parts);
}

/* Of a whole batch. */
static void on_answer(void *arg, const redisReply *reply)
{
    struct limiter_ask *ask = arg, *next;
    bool alone = ask->next == NULL;
    struct script_reply parts;

    script_open_reply(reply, &parts);
    if (reply != NULL)
        count_call(clock_mono_us() - ask->asked_us);
    for (; ask != NULL; ask = next) {
        next = ask->next;
        take(ask, reply, &parts, alone);
    }
}
