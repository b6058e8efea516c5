#include "limit/limiter_parts.h"

#include "core/clock.h"
#include "core/metrics.h"

#include <string.h>

enum { OPERATOR_MS = 1000 };

/* NULL, and the task has failed. */
static redisContext *open_redis(struct task *task, const struct limiter *limiter)
{
    const char *wrong;
    redisContext *context = redis_open(limiter->settings.target, OPERATOR_MS, &wrong);

    assert_off_loops();
    if (context == NULL)
        (void)fail(task, ERR_REMOTE, mem_printf(task->mem, "Redis: %s", wrong));
    return context;
}

static const char *wrong_with(const redisReply *reply)
{
    return reply == NULL                      ? "No answer in time"
           : reply->type == REDIS_REPLY_ERROR ? redis_error_text(reply->str)
                                              : "Its answer makes no sense";
}

/* The reply of a type; NULL, and the task has failed. */
static redisReply *ask_redis(struct task *task, redisContext *context, int type, unsigned count,
                             const char **words)
{
    redisReply *reply = redisCommandArgv(context, (int)count, words, NULL);

    if (reply != NULL && reply->type == type)
        return reply;
    (void)fail(task, ERR_REMOTE, mem_printf(task->mem, "Redis: %s", wrong_with(reply)));
    freeReplyObject(reply);
    return NULL;
}

enum err limiter_look(struct task *task, struct limiter *limiter, const struct limit_key *key,
                      const struct rule *rule, struct verdict *ret)
{
    struct text name = text_open(task->mem, LIMITER_KEY_BYTES);
    struct rule wide = rule_times(rule, limit_times(key));

    if (limiter->settings.target == NULL) {
        *ret = memory_limiter_look(limiter->memory, key, 1, rule, clock_mono_us());
        return OK;
    }

    auto_redis redisContext *context = open_redis(task, limiter);

    if (context == NULL)
        return task->err;

    /* Two calls, since the keys may be of two slots of a cluster. */
    auto_redis_reply redisReply *log = ask_redis(
        task, context, REDIS_REPLY_STRING, 4,
        (const char *[]){"GETRANGE", limiter_key_text(&name, limiter, key), "0", "-1"});

    if (log == NULL)
        return task->err;

    auto_redis_reply redisReply *now = ask_redis(
        task, context, REDIS_REPLY_INTEGER, 4,
        (const char *[]){"EVAL", script_text(SCRIPT_TIME), "1", LIMITER_CLOCK_KEY});

    if (now == NULL)
        return task->err;
    *ret = script_judge(log->str, log->len, &wide, now->integer);
    return OK;
}

static enum err tell_reset(struct task *task, redisContext *context, const char *name)
{
    auto_redis_reply redisReply *told = ask_redis(
        task, context, REDIS_REPLY_INTEGER, 6,
        (const char *[]){"EVAL", script_text(SCRIPT_RESET), "2", LIMITER_RESETS_KEY,
                         LIMITER_CLOCK_KEY, name});

    return told == NULL ? task->err : OK;
}

/* The keys may be of two slots of a cluster. It is told before, so that no instance takes the log
 * for lost, and again, since until then they may hear of what the log refused. */
static enum err reset_there(struct task *task, redisContext *context, const char *name,
                            bool *ret_found)
{
    enum err e = tell_reset(task, context, name + strlen(LIMITER_PREFIX));

    if (e != OK)
        return e;

    auto_redis_reply redisReply *removed = ask_redis(task, context, REDIS_REPLY_INTEGER, 2,
                                                     (const char *[]){"DEL", name});

    if (removed == NULL)
        return task->err;
    *ret_found = *ret_found || removed->integer > 0;
    return tell_reset(task, context, name + strlen(LIMITER_PREFIX));
}

enum err limiter_reset(struct task *task, struct limiter *limiter, const struct limit_key *key,
                       bool *ret_found)
{
    struct text name = text_open(task->mem, LIMITER_KEY_BYTES);

    *ret_found = memory_limiter_reset(limiter->memory, key);
    if (limiter->settings.target == NULL)
        return OK;

    auto_redis redisContext *context = open_redis(task, limiter);

    if (context == NULL)
        return task->err;
    return reset_there(task, context, limiter_key_text(&name, limiter, key), ret_found);
}

/* So that Redis's clock tells which decision is the later one. NULL, or what is wrong; then it was
 * decided by our own clock. */
static const char *decide_there(void *mem, const struct limiter *limiter, struct ban *ban,
                                bool *ret_was)
{
    const char *wrong;
    auto_redis redisContext *context = redis_open(limiter->settings.target, OPERATOR_MS, &wrong);

    assert_off_loops();
    if (context == NULL)
        return wrong;

    auto_redis_reply redisReply *reply = redisCommandArgv(
        context, 7,
        (const char *[]){"EVAL", script_text(SCRIPT_DECIDE), "1", LIMITER_BANS_KEY,
                         ban_text(mem, &ban->network),
                         mem_printf(mem, "%lld", (long long)ban->until_ms),
                         mem_printf(mem, "%lld", (long long)ban->decided_ms)},
        NULL);

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return wrong_with(reply);
    ban->decided_ms = reply->element[0]->integer;
    if (!ban_makes_sense(ban))
        return "Its answer makes no sense";
    *ret_was = *ret_was || reply->element[1]->integer == 1;
    return NULL;
}

/* Under the lock: dates it after what is known about the network. False: there are too many. */
static bool begin_ban(const struct limiter *limiter, struct ban *ban, int64_t now_ms, bool *ret_was)
{
    auto_tree void *mem = mem_tree(1024);
    const struct ban *known = bans_about(limiter->bans, &ban->network);

    *ret_was = known != NULL && ban_holds(known, now_ms);
    ban->decided_ms = known == NULL ? 0 : known->decided_ms + 1;
    return ban->until_ms == 0 || *ret_was ||
           bans_in_force(mem, limiter->bans, now_ms)->count < BANS_MOST;
}

static void add_ban(struct limiter *limiter, const struct ban *ban)
{
    auto_tree void *mem = mem_tree(256);
    struct bans *one = bans_new(mem);

    one->of[one->count++] = *ban;
    pthread_mutex_lock(&limiter->lock);
    limiter_replace_bans(limiter, bans_merge(limiter, limiter->bans, one, clock_wall_ms()));
    pthread_mutex_unlock(&limiter->lock);
    limiter_save_bans(limiter);
}

enum err limiter_ban(struct task *task, struct limiter *limiter, const struct network *network,
                     int64_t until_ms, bool *ret_was)
{
    int64_t now_ms = clock_wall_ms();
    struct ban ban = {*network, until_ms > now_ms ? until_ms : 0, 0};
    const char *wrong = NULL;
    bool has_room;

    pthread_mutex_lock(&limiter->lock);
    has_room = begin_ban(limiter, &ban, now_ms, ret_was);
    pthread_mutex_unlock(&limiter->lock);
    if (!has_room)
        return fail(task, ERR_INVALID, "there are 1000 bans already; lift some first");
    if (limiter->settings.target != NULL)
        wrong = decide_there(task->mem, limiter, &ban, ret_was);
    if (wrong != NULL && ban.until_ms == 0)
        return fail(task, ERR_REMOTE, mem_printf(task->mem, "Redis: %s", wrong));
    if ((limiter->settings.target == NULL || wrong != NULL) && ban.decided_ms < now_ms)
        ban.decided_ms = now_ms;
    add_ban(limiter, &ban);
    return OK;
}

struct bans *limiter_list_bans(struct limiter *limiter, void *mem)
{
    struct bans *copy;
    size_t bytes;

    pthread_mutex_lock(&limiter->lock);
    bytes = sizeof *copy + limiter->bans->count * sizeof copy->of[0];
    copy = mem_zero(mem, bytes);
    memcpy(copy, limiter->bans, bytes);
    pthread_mutex_unlock(&limiter->lock);
    return copy;
}

size_t limiter_top(struct limiter *limiter, struct limit_talker *talkers, size_t most)
{
    return memory_limiter_top(limiter->memory, talkers, most, clock_mono_us());
}

static int64_t keys_now(const void *arg, unsigned value)
{
    const struct limiter *limiter = arg;

    (void)value;
    return (int64_t)memory_limiter_keys(limiter->memory);
}

static int64_t links_now(const void *arg, unsigned value)
{
    const struct limiter *limiter = arg;
    unsigned up = atomic_load(&limiter->up);

    if (limiter->settings.target == NULL)
        return METRIC_UNKNOWN;
    return value == STATE_UP_NOW ? up : limiter->link_count - up;
}

static int64_t fallback_now(const void *arg, unsigned value)
{
    int64_t down = links_now(arg, STATE_DOWN_NOW);

    (void)value;
    return down == METRIC_UNKNOWN ? METRIC_UNKNOWN : down > 0;
}

static int64_t instances_now(const void *arg, unsigned value)
{
    const struct limiter *limiter = arg;

    (void)value;
    return limiter->settings.target == NULL ? METRIC_UNKNOWN : atomic_load(&limiter->live);
}

void limiter_show_metrics(const struct limiter *limiter)
{
    metric_read_by(METRIC_limit_keys, keys_now, limiter);
    metric_read_by(METRIC_limit_redis_links, links_now, limiter);
    metric_read_by(METRIC_limit_fallback, fallback_now, limiter);
    metric_read_by(METRIC_limit_instances, instances_now, limiter);
}
