#include "limit/limiter_parts.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "remote/mend.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    RESETS_KEPT_US = 55000000, /* Redis keeps them for a minute */
};

bool limiter_is_late(const struct limiter_link *link, int64_t asked_us)
{
    return clock_mono_us() - asked_us > link->limiter->settings.deadline_ms * 1000;
}

static bool is_time(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_INTEGER && script_is_time(reply->integer);
}

/* Logs which of our keys held something else. A script tells them as a number with a bit for each
 * of its keys. */
void limiter_tell_healed(const redisReply *healed, const char *const *names, unsigned count)
{
    for (unsigned i = 0; healed->type == REDIS_REPLY_INTEGER && i < count; i++) {
        if ((healed->integer >> i & 1) != 0)
            log_warning(NULL, "a rate limit's key in Redis held other data and was removed",
                        LOG_S("key", names[i]));
    }
}

/* The clock of Redis was set: the instances agree on a shift that makes up for it. */

static void go_on_waiting(struct limiter_link *link)
{
    struct limiter_ask *ask = take_ptr(link->waiting), *next;

    link->sets_clock = false;
    for (; ask != NULL; ask = next) {
        next = ask->next;
        if (redis_link_is_up(link->redis))
            limiter_send(ask);
        else
            limiter_land_here(ask);
    }
}

static bool read_clock(struct limiter_link *link, const redisReply *reply)
{
    int64_t raw_us, shift_us;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4 || !is_time(reply->element[1]) ||
        reply->element[2]->type != REDIS_REPLY_INTEGER)
        return false;
    raw_us = reply->element[1]->integer;
    shift_us = reply->element[2]->integer;
    if ((shift_us > 0 && !script_is_time(shift_us)) || !script_is_time(raw_us + shift_us))
        return false;
    limiter_tell_healed(reply->element[3], (const char *[]){LIMITER_LIVE_KEY, LIMITER_CLOCK_KEY},
                        2);
    link->shift_us = shift_us;
    link->offset_us = raw_us + shift_us - clock_mono_us();
    return true;
}

static void call_whole(struct limiter_link *link, enum script script, unsigned keys,
                       const char *const *words, unsigned count, redis_answer *done)
{
    const char *all[16] = {"EVAL", script_text(script), keys == 2 ? "2" : "4"};

    assert(count + 3 <= count_of(all));
    assert(keys == 2 || keys == 4);
    memcpy(all + 3, words, count * sizeof *words);
    limiter_call(link, count + 3, all, done, link);
}

static void ask_clock(struct limiter_link *link, int64_t expected_us, redis_answer *done)
{
    char expected[24];

    link->clock_us = clock_mono_us();
    snprintf(expected, sizeof expected, "%lld", (long long)expected_us);
    call_whole(
        link, SCRIPT_CLOCK, 2,
        (const char *[]){LIMITER_LIVE_KEY, LIMITER_CLOCK_KEY, expected, link->limiter->instance}, 4,
        done);
}

static void on_clock(void *arg, const redisReply *reply)
{
    struct limiter_link *link = arg;

    if (reply != NULL && limiter_is_late(link, link->clock_us) && redis_link_is_up(link->redis)) {
        ask_clock(link, clock_mono_us() + link->offset_us, on_clock);
        return;
    }
    if (reply != NULL && !read_clock(link, reply))
        redis_link_fail(link->redis, "Its clock cannot be read");
    go_on_waiting(link);
}

void limiter_set_clock(struct limiter_link *link)
{
    assert_on_loop(link->loop);
    if (link->sets_clock)
        return;
    link->sets_clock = true;
    log_warning(NULL, "the clock of Redis was changed: the limits continue with the old time");
    ask_clock(link, clock_mono_us() + link->offset_us, on_clock);
}

/* Bans */

/* On the loop: takes over the list of bans that limiter_spread_bans() has left for it. */
void limiter_take_bans(struct post *post)
{
    struct limiter_link *link = container_of(post, struct limiter_link, banned);
    struct bans *fresh = atomic_exchange(&link->fresh_bans, NULL);

    assert_on_loop(link->loop);
    if (fresh == NULL)
        return;
    free(link->bans);
    link->bans = fresh;
}

/* Under the lock: leaves each loop its own copy of the bans in force. */
void limiter_spread_bans(struct limiter *limiter)
{
    auto_tree void *mem = mem_tree(1024);
    const struct bans *in_force = bans_in_force(mem, limiter->bans, clock_wall_ms());
    size_t bytes = sizeof *in_force + in_force->count * sizeof in_force->of[0];

    for (unsigned i = 0; i < limiter->link_count; i++) {
        struct limiter_link *link = &limiter->links[i];
        struct bans *copy = mem_malloc(bytes), *unread;

        memcpy(copy, in_force, bytes);
        unread = atomic_exchange(&link->fresh_bans, copy);
        if (unread == NULL)
            loop_post(link->loop, &link->banned);
        free(unread);
    }
}

/* Under the lock. */
void limiter_replace_bans(struct limiter *limiter, struct bans *bans)
{
    talloc_free(limiter->bans);
    limiter->bans = talloc_steal(limiter, bans);
    limiter_spread_bans(limiter);
}

void limiter_save_bans(struct limiter *limiter)
{
    auto_tree void *mem = mem_tree(1024);

    assert_off_loops();
    if (limiter->settings.bans_file == NULL)
        return;
    pthread_mutex_lock(&limiter->file_lock);
    if (!bans_write(limiter_list_bans(limiter, mem), limiter->settings.bans_file))
        log_warning(NULL, "bans cannot be saved: they will end with this process",
                    LOG_S("error", strerror(errno)));
    pthread_mutex_unlock(&limiter->file_lock);
}

static void save_on_lane(struct job *job)
{
    struct limiter *limiter = container_of(job, struct limiter, save_bans);

    pthread_mutex_lock(&limiter->lock);
    limiter->bans_changed = false;
    pthread_mutex_unlock(&limiter->lock);
    limiter_save_bans(limiter);
}

static void saved_on_lane(struct job *job, enum err outcome)
{
    struct limiter *limiter = container_of(job, struct limiter, save_bans);

    pthread_mutex_lock(&limiter->lock);
    limiter->saves_bans = false;
    if (outcome == OK && limiter->bans_changed)
        limiter_save_bans_later(limiter);
    pthread_mutex_unlock(&limiter->lock);
}

void limiter_save_bans_later(struct limiter *limiter)
{
    limiter->bans_changed = true;
    if (limiter->saves_bans || limiter->settings.bans_file == NULL)
        return;
    limiter->save_bans.run = save_on_lane;
    limiter->save_bans.done = saved_on_lane;
    limiter->saves_bans = lane_submit(limiter->lane, &limiter->save_bans) == OK;
    if (!limiter->saves_bans)
        log_warning(NULL, "bans are not saved: too much waits; the next change tries again");
}

int64_t limiter_banned_ms(const struct limiter *limiter, const struct address *client)
{
    const struct limiter_link *link = limiter_link_here(limiter);
    const struct ban *ban;
    int64_t now_ms;

    if (link == NULL || link->bans == NULL || link->bans->count == 0)
        return 0;
    now_ms = clock_wall_ms();
    ban = bans_find(link->bans, client, now_ms);
    return ban == NULL ? 0 : ban->until_ms - now_ms;
}

/* Beats: this instance lives, and hears what was decided elsewhere */

/* Forgets the keys that another instance has reset. */
static void hear_resets(struct limiter *limiter, const redisReply *list)
{
    for (size_t i = 0; i < list->elements; i++) {
        struct limit_key key;

        if (list->element[i]->type == REDIS_REPLY_STRING &&
            limiter_read_key(limiter, list->element[i]->str, &key))
            memory_limiter_reset(limiter->memory, &key);
    }
}

static void on_told(void *arg, const redisReply *reply)
{
    (void)arg;
    (void)reply;
}

/* Sends Redis the decisions that it lacks, since it has lost them or was away, and deletes those
 * there that are over. */
static void tell_bans(struct limiter_link *link, const struct bans *all, const struct bans *there)
{
    auto_tree void *mem = mem_tree(1024);

    for (size_t i = 0; i < all->count; i++) {
        const struct ban *ban = &all->of[i], *known = bans_about(there, &ban->network);

        if (known != NULL && known->decided_ms == ban->decided_ms &&
            known->until_ms == ban->until_ms)
            continue;
        limiter_call(link, 4,
                     (const char *[]){"HSET", LIMITER_BANS_KEY, ban_text(mem, &ban->network),
                                      mem_printf(mem, "%lld %lld", (long long)ban->until_ms,
                                                 (long long)ban->decided_ms)},
                     on_told, link);
    }
    for (size_t i = 0; i < there->count; i++) {
        if (bans_about(all, &there->of[i].network) == NULL)
            limiter_call(
                link, 3,
                (const char *[]){"HDEL", LIMITER_BANS_KEY, ban_text(mem, &there->of[i].network)},
                on_told, link);
    }
}

static struct bans *read_bans(void *mem, const redisReply *list)
{
    struct bans *bans = bans_new(mem);

    for (size_t i = 0; i + 1 < list->elements && bans->count < BANS_READ; i += 2) {
        const redisReply *name = list->element[i], *times = list->element[i + 1];
        struct ban ban;

        if (name->type == REDIS_REPLY_STRING && times->type == REDIS_REPLY_STRING &&
            network_parse(name->str, &ban.network) && ban_read_times(times->str, &ban))
            bans->of[bans->count++] = ban;
    }
    bans_sort(bans);
    return bans;
}

static void hear_bans(struct limiter_link *link, const redisReply *list)
{
    auto_tree void *mem = mem_tree(1024);
    struct limiter *limiter = link->limiter;
    struct bans *there = read_bans(mem, list), *all;

    pthread_mutex_lock(&limiter->lock);
    all = bans_merge(mem, limiter->bans, there, clock_wall_ms());
    tell_bans(link, all, there);
    if (!bans_same(all, limiter->bans)) {
        limiter_replace_bans(limiter, talloc_steal(limiter, all));
        limiter_save_bans_later(limiter);
    }
    pthread_mutex_unlock(&limiter->lock);
}

/* After a time without news of resets, forgets what Redis has said before: some of it may have been
 * reset since, and Redis knows. Every link checks this, since the link that hears of resets may be
 * up later than others. */
static void doubt_what_was_told(struct limiter_link *link, int64_t now_us)
{
    struct limiter *limiter = link->limiter;
    int64_t sure_us = atomic_load(&limiter->sure_us);

    if (sure_us != 0 && now_us - sure_us > RESETS_KEPT_US)
        memory_limiter_forget_told(limiter->memory);
    else if (sure_us != 0 && link->index != 0)
        return;
    atomic_store(&limiter->sure_us, now_us);
}

/* Takes over the answer to a beat. False: it cannot be read. */
static bool hear(struct limiter_link *link, const redisReply *reply)
{
    int64_t now_us = clock_mono_us();

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER || !is_time(reply->element[1]))
        return false;
    if (reply->element[0]->integer == 2) {
        limiter_set_clock(link);
        return true;
    }
    if (reply->elements != 6 || reply->element[2]->type != REDIS_REPLY_INTEGER ||
        reply->element[3]->type != REDIS_REPLY_ARRAY ||
        reply->element[4]->type != REDIS_REPLY_ARRAY)
        return false;
    limiter_tell_healed(
        reply->element[5],
        (const char *[]){LIMITER_LIVE_KEY, LIMITER_RESETS_KEY, LIMITER_BANS_KEY, LIMITER_CLOCK_KEY},
        4);
    link->offset_us = reply->element[1]->integer - now_us;
    if (link->index == 0) {
        limiter_take_live(link->limiter, reply->element[2]->integer);
        hear_resets(link->limiter, reply->element[3]);
        hear_bans(link, reply->element[4]);
    }
    doubt_what_was_told(link, now_us);
    link->cursor_us = reply->element[1]->integer;
    return true;
}

static const char *wrong_with(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR ? redis_error_text(reply->str)
                                            : "Its answer makes no sense";
}

static void send_beat(struct limiter_link *link, bool leaves, redis_answer *done)
{
    struct script_clock clock = limiter_clock(link, clock_mono_us());
    char shift[24], expected[24], cursor[24];

    link->beat_us = clock_mono_us();
    snprintf(shift, sizeof shift, "%lld", (long long)clock.shift_us);
    snprintf(expected, sizeof expected, "%lld", (long long)clock.expected_us);
    snprintf(cursor, sizeof cursor, "%lld", (long long)link->cursor_us);
    call_whole(link, SCRIPT_BEAT, 4,
               (const char *[]){LIMITER_LIVE_KEY, LIMITER_RESETS_KEY, LIMITER_BANS_KEY,
                                LIMITER_CLOCK_KEY, shift, expected, link->limiter->instance, cursor,
                                leaves ? "1" : "0", link->index == 0 ? "1" : "0"},
               10, done);
}

static void on_beat(void *arg, const redisReply *reply)
{
    struct limiter_link *link = arg;
    bool late = limiter_is_late(link, link->beat_us);

    link->beat_us = 0;
    if (reply == NULL || !redis_link_is_up(link->redis))
        return;
    if (late)
        send_beat(link, false, on_beat);
    else if (!hear(link, reply))
        redis_link_fail(link->redis, wrong_with(reply));
}

void limiter_on_beat(uv_timer_t *timer)
{
    struct limiter_link *link = timer->data;

    assert_on_loop(link->loop);
    if (redis_link_is_up(link->redis) && link->beat_us == 0)
        send_beat(link, false, on_beat);
}

/* Greeting: the clock, the scripts, a first beat. What is answered late says nothing of the time,
 * and is asked again: the link ends that. */

static void on_greeted(void *arg, const redisReply *reply)
{
    struct limiter_link *link = arg;
    bool late = limiter_is_late(link, link->beat_us);

    link->beat_us = 0;
    if (reply == NULL)
        return;
    if (late)
        send_beat(link, false, on_greeted);
    else if (!hear(link, reply))
        redis_link_fail(link->redis, wrong_with(reply));
    else
        redis_link_greeted(link->redis);
}

static void on_loaded(void *arg, const redisReply *reply)
{
    struct limiter_link *link = arg;

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        redis_link_fail(link->redis, redis_error_text(reply->str));
}

void limiter_leave(struct limiter_link *link)
{
    send_beat(link, true, on_loaded);
}

static void load_scripts(struct limiter_link *link)
{
    static const enum script scripts[] = {SCRIPT_ONE, SCRIPT_ALL};

    for (size_t i = 0; i < count_of(scripts); i++)
        limiter_call(link, 3, (const char *[]){"SCRIPT", "LOAD", script_text(scripts[i])},
                     on_loaded, link);
}

static void on_greeting_clock(void *arg, const redisReply *reply);

static void greet_clock(struct limiter_link *link)
{
    ask_clock(link, link->offset_us == 0 ? 0 : clock_mono_us() + link->offset_us,
              on_greeting_clock);
}

static void on_greeting_clock(void *arg, const redisReply *reply)
{
    struct limiter_link *link = arg;
    bool late = limiter_is_late(link, link->clock_us);

    if (reply == NULL)
        return;
    if (late) {
        greet_clock(link);
        return;
    }
    if (!read_clock(link, reply)) {
        redis_link_fail(link->redis, wrong_with(reply));
        return;
    }
    if (link->cursor_us == 0)
        link->cursor_us = link->offset_us + clock_mono_us();
    load_scripts(link);
    send_beat(link, false, on_greeted);
}

static void on_cluster_info(void *arg, const redisReply *reply)
{
    struct limiter_link *link = arg;
    const char *wrong = redis_refused_cluster(reply);

    if (wrong != NULL)
        redis_link_fail(link->redis, wrong);
}

void limiter_greet(void *arg, struct redis_link *redis)
{
    struct limiter_link *link = arg;

    (void)redis;
    limiter_call(link, 2, (const char *[]){"CLUSTER", "INFO"}, on_cluster_info, link);
    greet_clock(link);
}

static void say_away(struct limiter *limiter, const char *why)
{
    if (!atomic_exchange(&limiter->is_away, true))
        log_warning(NULL, "Redis is down: this process counts rate limits by itself",
                    LOG_S("why", why), LOG_S("redis", redis_target_shown(limiter->settings.target)),
                    LOG_I("instances", atomic_load(&limiter->live)),
                    LOG_S("mend", mend_of("redis", why)));
}

void limiter_on_changed(void *arg, struct redis_link *redis, const char *why)
{
    struct limiter_link *link = arg;
    struct limiter *limiter = link->limiter;

    (void)redis;
    limiter_has_looked(link);
    if (why != NULL) {
        metric_add(METRIC_limit_redis_failures, 1);
        if (link->was_up)
            atomic_fetch_sub(&limiter->up, 1);
        link->was_up = false;
        say_away(limiter, why);
        return;
    }
    link->was_up = true;
    if (atomic_fetch_add(&limiter->up, 1) + 1 == limiter->link_count &&
        atomic_exchange(&limiter->is_away, false))
        log_info(NULL, "Redis counts the limits again");
}
