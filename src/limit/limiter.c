#include "limit/limiter.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "limit/limiter_parts.h"

#include <assert.h>
#include <string.h>

enum { BEAT_MS = 400, CLOSED_WAIT_US = 1000000 };

/* Keys in Redis */

/* The networks of an IPv6 client are asked together: one tag keeps them in one slot. */
static void add_tag(struct text *out, const struct limit_key *key)
{
    struct address network;

    if (key->kind != LIMIT_NET && key->kind != LIMIT_NET56 && key->kind != LIMIT_NET48)
        return;
    if (!address_parse(key->id, key->len, &network))
        return;
    text_char(out, '{');
    for (int i = 0; i < 6; i++)
        text_printf(out, "%02x", network.bytes[i]);
    text_char(out, '}');
}

const char *limiter_key_text(struct text *out, const struct limiter *limiter,
                             const struct limit_key *key)
{
    assert(key->route < limiter->settings.name_count);
    text_add(out, LIMITER_PREFIX);
    text_add(out, limiter->settings.names[key->route]);
    text_char(out, ':');
    limit_key_add(out, key);
    add_tag(out, key);
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
    assert(route < limiter->settings.name_count);
    return limiter->settings.names[route];
}

/* A key as text, such as another instance names it; false if there is none like that. */
bool limiter_read_key(const struct limiter *limiter, const char *text, struct limit_key *ret)
{
    char plain[LIMITER_KEY_BYTES];
    enum limit_kind kind;
    const char *id;
    uint16_t route;
    size_t len;

    if (!limiter_route(limiter, text, &route) || !limit_key_parse(text, &kind, &id))
        return false;
    len = strcspn(id, "{"); /* the tag */
    if (len >= sizeof plain)
        return false;
    memcpy(plain, id, len);
    plain[len] = '\0';
    *ret = limit_key(route, kind, plain);
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

    assert(live > 0);
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

void limiter_decide_share(struct limiter *limiter, struct limiter_ask *ask)
{
    struct rule share = share_of(ask->rule,
                                 atomic_load_explicit(&limiter->live, memory_order_relaxed));

    ask->verdict = memory_limiter_ask_apart(limiter->memory, ask->keys, ask->count, &share,
                                            clock_mono_us());
}

void limiter_decide_here(struct limiter *limiter, struct limiter_ask *ask)
{
    metric_add(METRIC_limit_local, 1);
    switch (fallback_of(limiter, ask->rule)) {
    case FALLBACK_OPEN:
        ask->verdict = everything(ask->rule);
        return;
    case FALLBACK_CLOSED:
        ask->verdict = (struct verdict){.closed = true, .wait_us = CLOSED_WAIT_US};
        return;
    default:
        limiter_decide_share(limiter, ask);
        return;
    }
}

void limiter_answer(struct limiter_ask *ask)
{
    assert(!ask->answered);
    ask->answered = true;
    if (!ask->asking)
        ask->done(ask);
}

static void answer_here(struct limiter_ask *ask)
{
    limiter_decide_here(ask->link->limiter, ask);
    limiter_answer(ask);
}

/* The same for what was under way. */
void limiter_land_here(struct limiter_ask *ask)
{
    memory_limiter_answered(ask->link->limiter->memory, ask->keys, ask->count);
    answer_here(ask);
}

/* Asking */

static void on_retry(uv_timer_t *retry);

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

/* So that nobody waits for the deadline twice, those under way count as admitted after a while.
 * Where more would be admitted or refused than that, Redis gets the time that it has. */
static bool has_waited_enough(const struct limiter_ask *ask)
{
    const struct limiter *limiter = ask->link->limiter;
    int64_t most_ms = LIMITER_SETTLED_MS;

    if (fallback_of(limiter, ask->rule) != FALLBACK_LOCAL)
        most_ms += limiter->settings.deadline_ms;
    return clock_mono_us() - ask->asked_us > most_ms * 1000;
}

static void end_waiting(struct limiter_ask *ask)
{
    if (fallback_of(ask->link->limiter, ask->rule) == FALLBACK_LOCAL)
        limiter_answer(ask);
    else
        answer_here(ask);
}

static bool hand_over(struct limiter_ask *ask)
{
    bool whole = true;

    for (unsigned i = 0; i < ask->count; i++)
        whole = limiter_hand_over(ask->link, &ask->keys[i], ask->rule) && whole;
    return whole;
}

/* Redis is there, and does not know enough of the key yet. */
static void share(struct limiter_ask *ask)
{
    limiter_decide_share(ask->link->limiter, ask);
    limiter_answer(ask);
}

/* On its loop: answers, sends or parks it. */
static void go_on(struct limiter_ask *ask)
{
    struct limiter_link *link = ask->link;
    struct memory_limiter *memory = link->limiter->memory;
    bool apart;

    assert_on_loop(link->loop);
    if (!redis_link_is_up(link->redis)) {
        answer_here(ask);
        return;
    }
    switch (memory_limiter_start(memory, ask->keys, ask->count, ask->rule, clock_mono_us(),
                                 &ask->verdict, &apart)) {
    case LIMIT_REFUSED:
        if (apart)
            hand_over(ask); /* the other instances are to refuse it too */
        limiter_answer(ask);
        break;
    case LIMIT_BUSY:
        if (has_waited_enough(ask))
            end_waiting(ask);
        else
            park(ask);
        break;
    case LIMIT_HERE:
        share(ask);
        break;
    case LIMIT_ASK:
        if (!apart || hand_over(ask)) {
            limiter_send(ask);
            break;
        }
        memory_limiter_answered(memory, ask->keys, ask->count);
        share(ask);
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

    assert(ask->count > 0 && ask->count <= LIMIT_KEYS);
    if (link == NULL || link->redis == NULL) {
        ask->verdict = memory_limiter_ask(limiter->memory, ask->keys, ask->count, ask->rule,
                                          clock_mono_us());
        return true;
    }
    ask->link = link;
    ask->repeated = ask->whole = ask->alone = ask->answered = false;
    ask->asking = true;
    ask->asked_us = clock_mono_us();
    go_on(ask);
    ask->asking = false;
    return ask->answered;
}

bool limiter_refuses(struct limiter *limiter, const struct limit_key *keys, unsigned count,
                     const struct rule *rule, struct verdict *ret)
{
    struct limiter_link *link = limiter_link_here(limiter);
    bool refused, apart;

    if (link != NULL && link->redis != NULL) {
        refused = memory_limiter_refuses(limiter->memory, keys, count, rule, clock_mono_us(), ret,
                                         &apart);
        for (unsigned i = 0; refused && apart && redis_link_is_up(link->redis) && i < count; i++)
            limiter_hand_over(link, &keys[i], rule);
        return refused;
    }
    *ret = memory_limiter_look(limiter->memory, keys, count, rule, clock_mono_us());
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
    limiter_read_live(limiter);
    limiter->bans = settings->bans_file == NULL
                        ? mem_new(limiter, struct bans)
                        : bans_read(limiter, settings->bans_file, clock_wall_ms());
    pthread_mutex_init(&limiter->file_lock, NULL);
    pthread_mutex_init(&limiter->lock, NULL);
    pthread_mutex_init(&limiter->start_lock, NULL);
    clock_condition(&limiter->looked);
    return limiter;
}

static void start_here(struct post *post)
{
    struct limiter_link *link = container_of(post, struct limiter_link, start);

    assert_on_loop(link->loop);
    link->beat.data = link->retry.data = link;
    uv_timer_init(loop_uv(link->loop), &link->retry);
    uv_timer_init(loop_uv(link->loop), &link->beat);
    uv_timer_start(&link->beat, limiter_on_beat, BEAT_MS, BEAT_MS);
    redis_link_start(link->redis);
}

static void stop_here(struct post *post)
{
    struct limiter_link *link = container_of(post, struct limiter_link, stop);

    assert_on_loop(link->loop);
    if (link->redis == NULL)
        return;
    if (redis_link_is_up(link->redis) && link->index == 0)
        limiter_leave(link);
    redis_link_close(link->redis);
    limiter_flush(link, link->redis);
    on_retry(&link->retry);
    uv_close((uv_handle_t *)&link->retry, NULL);
    uv_close((uv_handle_t *)&link->beat, NULL);
}

void limiter_start(struct limiter *limiter, struct loop **loops, unsigned count, struct lane *lane)
{
    assert(limiter->links == NULL);
    limiter->links = mem_array(limiter, struct limiter_link, count);
    limiter->link_count = count;
    limiter->lane = lane;
    for (unsigned i = 0; i < count; i++) {
        struct limiter_link *link = &limiter->links[i];
        const struct redis_link_hooks hooks = {limiter_flush, limiter_greet, limiter_on_changed,
                                               link};

        link->limiter = limiter;
        link->index = i;
        link->last_unsent = &link->unsent;
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
    pthread_cond_destroy(&limiter->looked);
    pthread_mutex_destroy(&limiter->start_lock);
    pthread_mutex_destroy(&limiter->file_lock);
    pthread_mutex_destroy(&limiter->lock);
}
