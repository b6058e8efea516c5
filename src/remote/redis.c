#include "remote/redis.h"

#include <hiredis/hiredis.h>
#include <string.h>

static void close_context(redisContext **context)
{
    if (*context != NULL)
        redisFree(*context);
}

static void free_reply(redisReply **reply)
{
    freeReplyObject(*reply);
}

/* NULL if the server took the command. */
static const char *ask(redisContext *context, int count, const char **words, const size_t *lengths)
{
    __attribute__((cleanup(free_reply)))
    redisReply *reply = redisCommandArgv(context, count, words, lengths);

    if (reply == NULL)
        return context->err == REDIS_ERR_IO ? "No answer in time" : "Connection lost";
    if (reply->type != REDIS_REPLY_ERROR)
        return NULL;
    if (strncmp(reply->str, "NOAUTH", 6) == 0)
        return "Password required";
    if (strncmp(reply->str, "WRONGPASS", 9) == 0 || strncmp(reply->str, "ERR AUTH", 8) == 0 ||
        strncmp(reply->str, "ERR invalid password", 20) == 0)
        return "Password refused";
    return strncmp(reply->str, "LOADING", 7) == 0 ? "Loading its data" : "Command refused";
}

const char *redis_probe(const struct settings *settings, int64_t timeout_ms)
{
    struct timeval timeout = {timeout_ms / 1000, (timeout_ms % 1000) * 1000};
    __attribute__((cleanup(close_context))) redisContext *context = redisConnectWithTimeout(
        settings->redis_host, (int)settings->redis_port, timeout);
    const struct secret *password = settings->redis_password;
    const char *wrong = NULL;

    if (context == NULL)
        return "No memory";
    if (context->err != 0)
        return context->err == REDIS_ERR_OTHER ? "Host not found" : "Cannot connect";
    if (redisSetTimeout(context, timeout) != REDIS_OK)
        return "Cannot connect";
    if (password != NULL && password->len > 0)
        wrong = ask(context, 2, (const char *[]){"AUTH", (const char *)password->bytes},
                    (size_t[]){4, password->len});
    return wrong != NULL ? wrong : ask(context, 1, (const char *[]){"PING"}, (size_t[]){4});
}
