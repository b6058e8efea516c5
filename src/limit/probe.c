#include "limit/probe.h"

#include "limit/limiter_parts.h"

#include <string.h>

#define PROBE_KEY LIMITER_PREFIX "probe:"
#define PROBE_LIVE_KEY "manus:{limits}:probe:live"
#define PROBE_RESETS_KEY "manus:{limits}:probe:resets"
#define PROBE_BANS_KEY "manus:{limits}:probe:decisions"
#define PROBE_CLOCK_KEY "manus:{limits}:probe:clock"

static redisReply *call(redisContext *context, const struct text *command)
{
    void *reply = NULL;

    if (redisAppendFormattedCommand(context, command->s, command->len) != REDIS_OK ||
        redisGetReply(context, &reply) != REDIS_OK)
        return NULL;
    return reply;
}

static const char *judge(const redisContext *context, const redisReply *reply, int type)
{
    if (reply == NULL)
        return redis_silence_text(context);
    if (reply->type == REDIS_REPLY_ERROR)
        return redis_error_text(reply->str);
    return reply->type == type ? NULL : "Its answer makes no sense";
}

static const char *look_for_cluster(void *mem, redisContext *context)
{
    struct text command = text_open(mem, 64);

    script_put_words(&command, 2, (const char *[]){"CLUSTER", "INFO"});

    auto_redis_reply redisReply *info = call(context, &command);

    return redis_refused_cluster(info);
}

/* A decision as for a request, by a rule that always admits, so that it writes. */
static const char *decide(void *mem, redisContext *context, bool whole, bool *ret_unknown)
{
    struct rule rule = {.count = 1, .windows = {{.limit = 1}}, .most = 1};
    struct text command = text_open(mem, 8192);

    script_compile_rule(mem, &rule);
    script_put_ask(&command, script_for(1), whole, (const char *[]){PROBE_KEY}, NULL, 1, &rule,
                   &(struct script_clock){0});

    auto_redis_reply redisReply *reply = call(context, &command);

    *ret_unknown = reply != NULL && reply->type == REDIS_REPLY_ERROR &&
                   strncmp(reply->str, "NOSCRIPT", 8) == 0;
    return judge(context, reply, REDIS_REPLY_STRING);
}

/* A sign of life as each instance gives it. */
static const char *beat(void *mem, redisContext *context)
{
    struct text command = text_open(mem, 4096);

    script_put_words(&command, 13,
                     (const char *[]){"EVAL", script_text(SCRIPT_BEAT), "4", PROBE_LIVE_KEY,
                                      PROBE_RESETS_KEY, PROBE_BANS_KEY, PROBE_CLOCK_KEY, "0", "0",
                                      "probe", "0", "0", "1"});

    auto_redis_reply redisReply *reply = call(context, &command);

    return judge(context, reply, REDIS_REPLY_ARRAY);
}

const char *limit_probe(const struct redis_target *target, int64_t timeout_ms)
{
    auto_tree void *mem = mem_tree(0);
    const char *wrong;
    bool unknown = false;
    auto_redis redisContext *context = redis_open(target, timeout_ms, &wrong);

    if (context == NULL)
        return wrong;
    wrong = look_for_cluster(mem, context);
    if (wrong != NULL)
        return wrong;
    wrong = decide(mem, context, false, &unknown);
    if (unknown)
        wrong = decide(mem, context, true, &unknown);
    return wrong == NULL ? beat(mem, context) : wrong;
}
