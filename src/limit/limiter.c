#include "limit/limiter.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "limit/limiter_parts.h"

#include <string.h>

enum { BEAT_MS = 400, CLOSED_WAIT_US = 1000000 };

/* Keys in Redis */

const char *limiter_key_text(struct text *out, const struct limiter *limiter,
                             const struct limit_key *key)
{
    text_add(out, LIMITER_PREFIX);
    text_add(out, limiter->settings.names[key->route]);
    text_char(out, ':');
    limit_key_add(out, key);
    return out->s;
}

bool limiter_route(const struct limiter *limiter, const char *text, uint16_t *ret)
{
    size_t len = strcspn(text, ":");

    if (len > 2 && text[0] == '{' && text[len - 1] == '}') {
        text++;
        len -= 2;
    }
    for (size_t i = 0; i < limiter->settings.name_count; i++) {
        const char *name = limiter->settings.names[i];

        name += *name == '{';
        if (strncmp(name, text, len) == 0 && (name[len] == '\0' || name[len] == '}')) {
            *ret = (uint16_t)i;
            return len > 0;
        }
    }
    return false;
}

const char *limiter_name(const struct limiter *limiter, uint16_t route)
{
    return limiter->settings.names[route];
}

/* A key as text, such as another instance names it; false if there is none like that. */
bool limiter_read_key(const struct limiter *limiter, const char *text, struct limit_key *ret)
{
    enum limit_kind kind;
    const char *id;
    uint16_t route;

    if (!limiter_route(limiter, text, &route) || !limit_key_parse(text, &kind, &id))
        return false;
    *ret = limit_key(route, kind, id);
    return true;
}

struct limiter_link *limiter_link_here(const struct limiter *limiter)
{
    const struct loop *loop = loop_current();

    return limiter->links == NULL || loop == NULL ? NULL : &limiter->links[loop_index(loop)];
}

/* Deciding without Redis */

static struct rule share_of(const struct rule *rule, uint32_t live)
{
    struct rule share = *rule;

    share.most = 0;
    for (unsigned i = 0; i < rule->count; i++) {
        share.windows[i].limit = (rule->windows[i].limit + live - 1) / live;
        share.most = share.windows[i].limit > share.most ? share.windows[i].limit : share.most;
    }
    return share;
}

static struct verdict everything(const struct rule *rule)
{
    struct verdict verdict = {.admitted = true};

    for (unsigned i = 0; i < rule->count; i++)
        verdict.remaining[i] = rule->windows[i].limit;
    return verdict;
}

static enum fallback fallback_of(const struct limiter *limiter, const struct rule *rule)
{
    if (rule->fallback != FALLBACK_UNSAID)
        return rule->fallback;
    return (enum fallback)atomic_load_explicit(&limiter->fallback, memory_order_relaxed);
}

void limiter_decide_here(struct limiter *limiter, struct limiter_ask *ask)
{
    struct rule share;

    atomic_fetch_add_explicit(&limiter->decided_here, 1, memory_order_relaxed);
    switch (fallback_of(limiter, ask->rule)) {
    case FALLBACK_OPEN:
        ask->verdict = everything(ask->rule);
        return;
    case FALLBACK_CLOSED:
        ask->verdict = (struct verdict){.closed = true, .wait_us = CLOSED_WAIT_US};
        return;
    default:
        share = share_of(ask->rule, atomic_load_explicit(&limiter->live, memory_order_relaxed));
        ask->verdict = memory_limiter_ask_apart(limiter->memory, ask->keys, ask->count, &share,
                                                clock_mono_us());
        return;
    }
}

static void answer(struct limiter_ask *ask)
{
    ask->answered = true;
    if (!ask->asking)
        ask->done(ask);
}

static void answer_here(struct limiter_ask *ask)
{
    limiter_decide_here(ask->link->limiter, ask);
    answer(ask);
}

/* The same for what was under way. */
void limiter_land_here(struct limiter_ask *ask)
{
    memory_limiter_landed(ask->link->limiter->memory, ask->keys, ask->count);
    answer_here(ask);
}

/* Handing over what was admitted while Redis was away */

struct handover {
    struct limiter_link *link;
    struct limit_key key;
    struct limit_span span;
};

static void on_handed_over(void *arg, const redisReply *reply)
{
    struct handover *handover = arg;
    bool done = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
                reply->element[0]->type == REDIS_REPLY_INTEGER && reply->element[0]->integer == 0;

    memory_limiter_handed_over(handover->link->limiter->memory, &handover->key, &handover->span,
                               done, clock_mono_us());
    free(handover);
}

struct script_clock limiter_clock(const struct limiter_link *link, int64_t now_us)
{
    return (struct script_clock){link->shift_us, now_us + link->offset_us};
}

static void hand_over(struct limiter_link *link, const struct limit_key *key,
                      const struct rule *rule)
{
    auto_tree void *mem = mem_tree(2048);
    struct text ages = text_open(mem, 512), command = text_open(mem, 1024);
    struct text name_text = text_open(mem, LIMITER_KEY_BYTES);
    int64_t now_us = clock_mono_us();
    struct script_clock clock = limiter_clock(link, now_us);
    struct handover *handover;
    struct limit_span span;

    if (memory_limiter_take_apart(link->limiter->memory, key, rule, now_us, &ages, &span) == 0)
        return;
    handover = mem_malloc(sizeof *handover);
    *handover = (struct handover){link, *key, span};
    /* Rare enough to send the whole script, so that it cannot be unknown. */
    script_put_merge(&command, true, limiter_key_text(&name_text, link->limiter, key), rule, &clock,
                     ages.s, ages.len);
    redis_link_call(link->redis, command.s, command.len, on_handed_over, handover);
}

/* Asking */

static void on_answer(void *arg, const redisReply *reply);
static void on_retry(uv_timer_t *retry);

void limiter_send(struct limiter_ask *ask)
{
    struct limiter_link *link = ask->link;
    char buffer[LIMITER_COMMAND_BYTES], names[LIMIT_KEYS][LIMITER_KEY_BYTES];
    struct text command = text_borrow(NULL, buffer, sizeof buffer);
    struct script_clock clock;
    const char *keys[LIMIT_KEYS];

    for (unsigned i = 0; i < ask->count; i++) {
        struct text name = text_borrow(NULL, names[i], LIMITER_KEY_BYTES);

        keys[i] = limiter_key_text(&name, link->limiter, &ask->keys[i]);
    }
    ask->asked_us = clock_mono_us();
    clock = limiter_clock(link, ask->asked_us);
    script_put_ask(&command, script_for(ask->count), ask->whole, keys, ask->count, ask->rule,
                   &clock);
    redis_link_call(link->redis, command.s, command.len, on_answer, ask);
    if (!command.borrowed)
        talloc_free(command.s);
}

/* What an answer means */

static void count_call(struct limiter_link *link, int64_t us)
{
    atomic_fetch_add_explicit(&link->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&link->call_us, us, memory_order_relaxed);
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
    char buffer[LIMITER_COMMAND_BYTES], name_buffer[LIMITER_KEY_BYTES];
    struct text command = text_borrow(NULL, buffer, sizeof buffer);
    struct text name = text_borrow(NULL, name_buffer, sizeof name_buffer);
    struct limiter *limiter = ask->link->limiter;
    struct missing *missing = mem_malloc(sizeof *missing);

    *missing = (struct missing){limiter, ask->keys[which], ask->asked_us, held};
    limiter_key_text(&name, limiter, &ask->keys[which]);
    script_put_words(
        &command, 3,
        (const char *[]){"ZSCORE", LIMITER_RESETS_KEY, name.s + strlen(LIMITER_PREFIX)});
    redis_link_call(ask->link->redis, command.s, command.len, on_missing, missing);
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

/* Once more, after the scripts or the clock were set right. */
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
        char buffer[LIMITER_COMMAND_BYTES], name_buffer[LIMITER_KEY_BYTES];
        struct text command = text_borrow(NULL, buffer, sizeof buffer);
        struct text name = text_borrow(NULL, name_buffer, sizeof name_buffer);
        const char *words[] = {"DEL", limiter_key_text(&name, ask->link->limiter, &ask->keys[i])};
        struct dropped *dropped = mem_malloc(sizeof *dropped);

        *dropped = (struct dropped){ask->link->limiter, ask->keys[i]};
        script_put_words(&command, 2, words);
        redis_link_call(ask->link->redis, command.s, command.len, on_dropped, dropped);
    }
}

static void take_error(struct limiter_ask *ask, const char *error)
{
    if (strncmp(error, "NOSCRIPT", 8) == 0 && may_repeat(ask)) {
        ask->whole = true;
        limiter_send(ask);
        return;
    }
    if (strncmp(error, "WRONGTYPE", 9) == 0) {
        log_warning(NULL, "a key of the limits in Redis held something else, and was removed",
                    LOG_S("route", limiter_name(ask->link->limiter, ask->keys[0].route)));
        drop_keys(ask);
    } else {
        redis_link_fail(ask->link->redis, redis_error_text(error));
    }
    limiter_land_here(ask);
}

static void take(struct limiter_ask *ask, const redisReply *reply)
{
    struct limiter_link *link = ask->link;
    struct script_answer said;

    script_read_ask(reply, ask->count, ask->rule, &said);
    ask->verdict = said.verdict;
    switch (said.outcome) {
    case SCRIPT_ADMITTED:
        take_admitted(ask, &said);
        break;
    case SCRIPT_REFUSED:
        take_refused(ask, &said);
        break;
    case SCRIPT_CLOCK_IS_OFF:
        if (!may_repeat(ask))
            break;
        ask->next = link->waiting;
        link->waiting = ask;
        limiter_set_clock(link);
        return;
    default:
        redis_link_fail(link->redis, "Its answer makes no sense");
        break;
    }
    if (said.outcome == SCRIPT_ADMITTED || said.outcome == SCRIPT_REFUSED) {
        link->offset_us = said.now_us - clock_mono_us();
        answer(ask);
    } else {
        limiter_land_here(ask);
    }
}

static void on_answer(void *arg, const redisReply *reply)
{
    struct limiter_ask *ask = arg;

    if (reply == NULL) {
        limiter_land_here(ask);
        return;
    }
    count_call(ask->link, clock_mono_us() - ask->asked_us);
    if (reply->type == REDIS_REPLY_ERROR)
        take_error(ask, reply->str);
    else
        take(ask, reply);
}

/* What depends on others under way waits for them: they may be on other loops, so it looks again.
 */
static void park(struct limiter_ask *ask)
{
    struct limiter_link *link = ask->link;

    ask->next = link->parked;
    link->parked = ask;
    if (!uv_is_active((uv_handle_t *)&link->retry))
        uv_timer_start(&link->retry, on_retry, 1, 0);
}

/* So that nobody waits for the deadline twice, those under way count as admitted after a while. */
static bool has_waited_enough(const struct limiter_ask *ask)
{
    return clock_mono_us() - ask->asked_us > LIMITER_SETTLED_MS * INT64_C(1000);
}

static void end_waiting(struct limiter_ask *ask)
{
    if (fallback_of(ask->link->limiter, ask->rule) == FALLBACK_LOCAL)
        answer(ask);
    else
        answer_here(ask);
}

/* On its loop: answers, sends or parks it. */
static void go_on(struct limiter_ask *ask)
{
    struct limiter_link *link = ask->link;
    struct memory_limiter *memory = link->limiter->memory;
    bool apart;

    if (!redis_link_is_up(link->redis)) {
        answer_here(ask);
        return;
    }
    switch (memory_limiter_start(memory, ask->keys, ask->count, ask->rule, clock_mono_us(),
                                 &ask->verdict, &apart)) {
    case LIMIT_REFUSED:
        answer(ask);
        break;
    case LIMIT_BUSY:
        if (has_waited_enough(ask))
            end_waiting(ask);
        else
            park(ask);
        break;
    case LIMIT_ASK:
        for (unsigned i = 0; apart && i < ask->count; i++)
            hand_over(link, &ask->keys[i], ask->rule);
        limiter_send(ask);
        break;
    }
}

static void on_retry(uv_timer_t *retry)
{
    struct limiter_link *link = retry->data;
    struct limiter_ask *ask = take_ptr(link->parked), *next;

    for (; ask != NULL; ask = next) {
        next = ask->next;
        go_on(ask);
    }
}

bool limiter_ask(struct limiter *limiter, struct limiter_ask *ask)
{
    struct limiter_link *link = limiter_link_here(limiter);

    if (link == NULL || link->redis == NULL) {
        ask->verdict = memory_limiter_ask(limiter->memory, ask->keys, ask->count, ask->rule,
                                          clock_mono_us());
        return true;
    }
    ask->link = link;
    ask->repeated = ask->whole = ask->answered = false;
    ask->asking = true;
    ask->asked_us = clock_mono_us();
    go_on(ask);
    ask->asking = false;
    return ask->answered;
}

bool limiter_refuses(struct limiter *limiter, const struct limit_key *key, const struct rule *rule,
                     struct verdict *ret)
{
    if (limiter->settings.target != NULL)
        return memory_limiter_refuses(limiter->memory, key, rule, clock_mono_us(), ret);
    *ret = memory_limiter_look(limiter->memory, key, 1, rule, clock_mono_us());
    return !ret->admitted;
}

/* Opening and closing */

void limiter_set_fallback(struct limiter *limiter, enum fallback fallback)
{
    atomic_store_explicit(&limiter->fallback, (int)fallback, memory_order_relaxed);
    memory_limiter_forget_refusals(limiter->memory);
}

struct limiter *limiter_open(void *mem, const struct limiter_settings *settings)
{
    struct limiter *limiter = mem_new(mem, struct limiter);

    limiter->settings = *settings;
    limiter->memory = memory_limiter_open(limiter, settings->max_keys);
    limiter->instance = crypto_id(limiter);
    limiter->live = 1;
    limiter->bans = settings->bans_file == NULL
                        ? mem_new(limiter, struct bans)
                        : bans_read(limiter, settings->bans_file, clock_wall_ms());
    pthread_mutex_init(&limiter->lock, NULL);
    return limiter;
}

static void start_here(struct post *post)
{
    struct limiter_link *link = container_of(post, struct limiter_link, start);

    link->beat.data = link->retry.data = link;
    uv_timer_init(loop_uv(link->loop), &link->retry);
    uv_timer_init(loop_uv(link->loop), &link->beat);
    uv_timer_start(&link->beat, limiter_on_beat, BEAT_MS, BEAT_MS);
    redis_link_start(link->redis);
}

static void stop_here(struct post *post)
{
    struct limiter_link *link = container_of(post, struct limiter_link, stop);

    if (link->redis == NULL)
        return;
    if (redis_link_is_up(link->redis) && link->index == 0)
        limiter_leave(link);
    redis_link_close(link->redis);
    on_retry(&link->retry);
    uv_close((uv_handle_t *)&link->retry, NULL);
    uv_close((uv_handle_t *)&link->beat, NULL);
}

void limiter_start(struct limiter *limiter, struct loop **loops, unsigned count, struct lane *lane)
{
    limiter->links = mem_array(limiter, struct limiter_link, count);
    limiter->link_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct limiter_link *link = &limiter->links[i];
        const struct redis_link_hooks hooks = {limiter_greet, limiter_on_changed, link};

        link->limiter = limiter;
        link->index = i;
        link->loop = loops[i];
        link->start.run = start_here;
        link->stop.run = stop_here;
        link->banned.run = limiter_take_bans;
        if (limiter->settings.target == NULL)
            continue;
        link->redis = redis_link_open(limiter, link->loop, lane, limiter->settings.target,
                                      limiter->settings.deadline_ms, &hooks);
        loop_post(link->loop, &link->start);
    }
    pthread_mutex_lock(&limiter->lock);
    limiter_spread_bans(limiter);
    pthread_mutex_unlock(&limiter->lock);
}

void limiter_stop(struct limiter *limiter)
{
    for (unsigned i = 0; i < limiter->link_count; i++)
        loop_post(limiter->links[i].loop, &limiter->links[i].stop);
}

void limiter_close(struct limiter *limiter)
{
    for (unsigned i = 0; i < limiter->link_count; i++) {
        free(limiter->links[i].bans);
        free(atomic_load(&limiter->links[i].fresh_bans));
    }
    memory_limiter_close(limiter->memory);
    pthread_mutex_destroy(&limiter->lock);
}
