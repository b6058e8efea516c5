/* Redis, on hiredis: where it is, and connections that block. redis_link.h has the one that does
 * not. */
#pragma once

#include "core/settings.h"

#include <hiredis/hiredis.h>

/* Where Redis is and how to log in, from the settings; read-only, any thread. */
struct redis_target;

enum {
    REDIS_ADDRESS_BYTES = 64,
    REDIS_LIST_MOST = 100000 /* elements of a reply; what announces more is no Redis of ours */
};

struct redis_place {
    char address[REDIS_ADDRESS_BYTES]; /* an IP address as text */
    char name[256];                    /* as its certificate has it */
    int port;
};

bool redis_is_configured(const struct settings *settings);

/* NULL if none is configured, or if its TLS cannot be prepared; *ret_wrong tells why. */
struct redis_target *redis_target_new(void *mem, const struct settings *settings,
                                      const char **ret_wrong);

/* host:port, without secrets. */
const char *redis_target_shown(const struct redis_target *target);

/* Asks the sentinels, if there are any, and the resolver. NULL, or what is wrong (static). Blocks:
 * a lane's work. */
const char *redis_find(const struct redis_target *target, int64_t timeout_ms,
                       struct redis_place *ret);

/* Begins TLS on a connection where the target asks for it. False if it cannot. */
bool redis_secure(const struct redis_target *target, redisContext *context,
                  const struct redis_place *place);

/* The words of AUTH, at most three, and their lengths; 0: nobody has to log in. */
unsigned redis_login(const struct redis_target *target, const char *words[3], size_t lengths[3]);
int64_t redis_database(const struct redis_target *target);

/* What an error reply means, static, without what it says of addresses or keys. */
const char *redis_error_text(const char *error);

/* What is wrong (static) if CLUSTER INFO tells of several nodes: limits are kept on one, or behind
 * one address. NULL: nothing is, also where there is no cluster. */
const char *redis_refused_cluster(const redisReply *info);

/* Ends a connection; frees a reply. Either may be NULL. */
void redis_close(redisContext **context);
void redis_free_reply(redisReply **reply);

#define auto_redis __attribute__((cleanup(redis_close)))
#define auto_redis_reply __attribute__((cleanup(redis_free_reply)))

/* A connection that is logged in, to the right database; each answer must come within the timeout.
 * NULL, and what is wrong. Blocks. redis_close() ends it. */
redisContext *redis_open(const struct redis_target *target, int64_t timeout_ms,
                         const char **ret_wrong);

/* Why no reply came, static. */
const char *redis_silence_text(const redisContext *context);
