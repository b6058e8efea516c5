#include "remote/redis.h"

#include "core/loop.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <hiredis/hiredis_ssl.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

struct redis_target {
    const char *host;
    int port;
    int64_t database;
    const struct secret *username, *password; /* NULL: none */
    const struct texts *sentinels;            /* HOST:PORT; none: `host` is Redis itself */
    const char *master;
    const struct secret *sentinel_password;
    SSL_CTX *tls; /* NULL: none */
    const char *shown;
};

static bool is_set(const char *text)
{
    return text != NULL && *text != '\0';
}

bool redis_is_configured(const struct settings *settings)
{
    return is_set(settings->redis_host) || settings->redis_url != NULL ||
           settings->redis_sentinels.count > 0;
}

/* A part of the URL, decoded, in `mem`; NULL if it has none. */
static char *url_part(void *mem, CURLU *url, CURLUPart part)
{
    char *value = NULL, *copy = NULL;

    if (curl_url_get(url, part, &value, CURLU_URLDECODE) == CURLUE_OK && *value != '\0')
        copy = mem_string(mem, value);
    curl_free(value);
    return copy;
}

static const struct secret *url_secret(void *mem, CURLU *url, CURLUPart part)
{
    char *value = url_part(mem, url, part);
    struct secret *secret = value == NULL ? NULL : secret_new(mem, value, strlen(value));

    if (value != NULL)
        memset(value, 0, strlen(value));
    return secret;
}

static void free_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

/* redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// (*ret_secure). What cannot be read is told
 * and becomes no default. */
static const char *read_url(struct redis_target *target, const struct secret *text,
                            bool *ret_secure)
{
    __attribute__((cleanup(free_url))) CURLU *url = curl_url();
    const char *part;

    if (curl_url_set(url, CURLUPART_URL, (const char *)text->bytes, CURLU_NON_SUPPORT_SCHEME) !=
        CURLUE_OK)
        return "REDIS_URL cannot be read";
    target->host = url_part(target, url, CURLUPART_HOST);
    if (target->host == NULL)
        return "REDIS_URL names no host";
    part = url_part(target, url, CURLUPART_PORT);
    target->port = part == NULL ? 6379 : (int)strtol(part, NULL, 10);
    part = url_part(target, url, CURLUPART_PATH);
    target->database = part == NULL || part[0] != '/' ? 0 : strtol(part + 1, NULL, 10);
    target->username = url_secret(target, url, CURLUPART_USER);
    target->password = url_secret(target, url, CURLUPART_PASSWORD);
    *ret_secure = strncmp((const char *)text->bytes, "rediss:", 7) == 0;
    return NULL;
}

static void read_parts(struct redis_target *target, const struct settings *settings)
{
    const char *username = settings->redis_username;
    const struct secret *password = settings->redis_password;

    target->host = settings->redis_host;
    target->port = (int)settings->redis_port;
    target->database = settings->redis_db;
    if (is_set(username))
        target->username = secret_new(target, username, strlen(username));
    target->password = password != NULL && password->len > 0 ? password : NULL;
}

static int free_tls(struct redis_target *target)
{
    SSL_CTX_free(target->tls);
    return 0;
}

static const char *prepare_tls(struct redis_target *target, const char *ca_file)
{
    target->tls = SSL_CTX_new(TLS_client_method());
    if (target->tls == NULL)
        return "TLS cannot be prepared";
    SSL_CTX_set_min_proto_version(target->tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(target->tls, SSL_VERIFY_PEER, NULL);
    if (is_set(ca_file) ? SSL_CTX_load_verify_file(target->tls, ca_file) != 1
                        : SSL_CTX_set_default_verify_paths(target->tls) != 1)
        return "the certificate authorities of SSL_CERT_FILE cannot be read";
    return NULL;
}

struct redis_target *redis_target_new(void *mem, const struct settings *settings,
                                      const char **ret_wrong)
{
    struct redis_target *target;
    bool secure = settings->redis_tls;

    *ret_wrong = NULL;
    if (!redis_is_configured(settings))
        return NULL;
    target = mem_new(mem, struct redis_target);
    talloc_set_destructor(target, free_tls);
    if (settings->redis_url != NULL)
        *ret_wrong = read_url(target, settings->redis_url, &secure);
    else
        read_parts(target, settings);
    if (*ret_wrong != NULL)
        return NULL;
    target->sentinels = &settings->redis_sentinels;
    target->master = settings->redis_sentinel_master;
    target->sentinel_password = settings->redis_sentinel_password;
    target->shown = target->sentinels->count > 0
                        ? mem_printf(target, "sentinels of %s", target->master)
                        : mem_printf(target, "%s:%d", target->host, target->port);
    if (secure)
        *ret_wrong = prepare_tls(target, settings->ca_file);
    return *ret_wrong == NULL ? target : NULL;
}

const char *redis_target_shown(const struct redis_target *target)
{
    return target->shown;
}

unsigned redis_login(const struct redis_target *target, const char *words[3], size_t lengths[3])
{
    unsigned count = 0;

    if (target->password == NULL)
        return 0;
    words[count] = "AUTH";
    lengths[count++] = 4;
    if (target->username != NULL) {
        words[count] = (const char *)target->username->bytes;
        lengths[count++] = target->username->len;
    }
    assert(count < 3);
    words[count] = (const char *)target->password->bytes;
    lengths[count++] = target->password->len;
    return count;
}

int64_t redis_database(const struct redis_target *target)
{
    return target->database;
}

#define SEVERAL_NODES                                                                              \
    "Is a cluster of several nodes, which cannot be followed; give one Redis, its sentinels, or "  \
    "a "                                                                                           \
    "proxy before the cluster"

const char *redis_error_text(const char *error)
{
    static const struct {
        const char *begins, *text;
    } rows[] = {
        {"NOAUTH", "Password required"},
        {"WRONGPASS", "Password refused"},
        {"ERR AUTH", "Password refused"},
        {"ERR invalid password", "Password refused"},
        {"NOPERM", "The user lacks a permission"},
        {"ERR The user executing the script", "The user lacks a permission"},
        {"LOADING", "Loading its data"},
        {"READONLY", "Is a replica, which cannot be written"},
        {"MASTERDOWN", "Is a replica that has lost its master"},
        {"MISCONF", "Cannot save, and takes no writes"},
        {"OOM", "Out of memory (maxmemory)"},
        {"NOREPLICAS", "Has too few replicas, and takes no writes"},
        {"MOVED", SEVERAL_NODES},
        {"ASK", SEVERAL_NODES},
        {"CLUSTERDOWN", "Is a cluster that is down"},
        {"CROSSSLOT", "Is a cluster, and keys of one request are in several slots"},
        {"BUSY", "Is busy with a script"},
        {"WRONGTYPE", "A key holds something else"},
        {"NOSCRIPT", "Has forgotten the scripts"},
        {"ERR unknown command", "Lacks a command; Redis 6.2 or newer is needed"},
        {"ERR max number of clients", "Has no room for another connection"},
        {"ERR DB index", "Has no such database"},
    };

    const char *inner = strncmp(error, "ERR Error", 9) == 0 ? strstr(error, ": -") : NULL;

    if (inner != NULL)
        error = inner + 3; /* Redis 6: what a script met stands within the script's error */
    for (size_t i = 0; i < count_of(rows); i++) {
        if (strncmp(error, rows[i].begins, strlen(rows[i].begins)) == 0)
            return rows[i].text;
    }
    return "Command refused";
}

const char *redis_refused_cluster(const redisReply *info)
{
    static const char size[] = "cluster_size:";
    const char *at;

    if (info == NULL || info->type != REDIS_REPLY_STRING)
        return NULL;
    at = strstr(info->str, size);
    return at != NULL && strtol(at + strlen(size), NULL, 10) > 1 ? SEVERAL_NODES : NULL;
}

/* Finding */

/* An IP address; false if the resolver has none. */
static bool resolve(const char *host, char ret[REDIS_ADDRESS_BYTES])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool good = getaddrinfo(host, NULL, &hints, &found) == 0 &&
                getnameinfo(found->ai_addr, found->ai_addrlen, ret, REDIS_ADDRESS_BYTES, NULL, 0,
                            NI_NUMERICHOST) == 0;

    if (found != NULL)
        freeaddrinfo(found);
    return good;
}

static bool resolve_place(const char *host, int port, struct redis_place *ret)
{
    snprintf(ret->name, sizeof ret->name, "%s", host);
    ret->port = port;
    return resolve(host, ret->address);
}

void redis_close(redisContext **context)
{
    if (*context != NULL)
        redisFree(*context);
}

void redis_free_reply(redisReply **reply)
{
    freeReplyObject(*reply);
}

static redisReply *command(redisContext *context, unsigned count, const char **words,
                           const size_t *lengths)
{
    return redisCommandArgv(context, (int)count, words, lengths);
}

const char *redis_silence_text(const redisContext *context)
{
    if (context->err == REDIS_ERR_PROTOCOL)
        return "Is not Redis: its answer makes no sense";
    /* hiredis tells a timeout as any other error of the socket. */
    return context->err == REDIS_ERR_IO && strcmp(context->errstr, strerror(EAGAIN)) == 0
               ? "No answer in time"
               : "Connection lost";
}

/* NULL if the server took the command. */
static const char *ask(redisContext *context, unsigned count, const char **words,
                       const size_t *lengths)
{
    auto_redis_reply redisReply *reply = command(context, count, words, lengths);

    if (reply == NULL)
        return redis_silence_text(context);
    return reply->type == REDIS_REPLY_ERROR ? redis_error_text(reply->str) : NULL;
}

static redisContext *connect_to(const struct redis_target *target, const struct redis_place *place,
                                int64_t timeout_ms, const char **ret_wrong)
{
    struct timeval timeout = {timeout_ms / 1000, (timeout_ms % 1000) * 1000};
    redisContext *context = redisConnectWithTimeout(place->address, place->port, timeout);

    *ret_wrong = NULL;
    if (context != NULL)
        context->reader->maxelements = REDIS_LIST_MOST;
    if (context == NULL || context->err != 0 || redisSetTimeout(context, timeout) != REDIS_OK)
        *ret_wrong = "Cannot connect";
    else if (!redis_secure(target, context, place))
        *ret_wrong = "TLS failed";
    if (*ret_wrong == NULL)
        return context;
    redis_close(&context);
    return NULL;
}

/* HOST:PORT or [HOST]:PORT. */
static bool split_place(const char *text, char host[256], int *ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t len;

    if (colon == NULL)
        return false;
    len = (size_t)(colon - text);
    if (len > 1 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len > 255)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    *ret_port = (int)strtol(colon + 1, NULL, 10);
    return true;
}

/* What one sentinel says where the master is. */
static bool ask_sentinel(const struct redis_target *target, const char *sentinel,
                         int64_t timeout_ms, struct redis_place *ret)
{
    const char *words[] = {"SENTINEL", "get-master-addr-by-name", target->master};
    const struct secret *password = target->sentinel_password;
    struct redis_place place;
    const char *wrong;
    char host[256];
    int port;

    if (!split_place(sentinel, host, &port) || !resolve_place(host, port, &place))
        return false;

    auto_redis redisContext *context = connect_to(target, &place, timeout_ms, &wrong);

    if (context == NULL)
        return false;
    if (password != NULL && ask(context, 2, (const char *[]){"AUTH", (const char *)password->bytes},
                                (size_t[]){4, password->len}) != NULL)
        return false;

    auto_redis_reply redisReply *reply = command(context, 3, words,
                                                 (size_t[]){8, 23, strlen(target->master)});

    return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           reply->element[1]->type == REDIS_REPLY_STRING &&
           resolve_place(reply->element[0]->str, (int)strtol(reply->element[1]->str, NULL, 10),
                         ret);
}

const char *redis_find(const struct redis_target *target, int64_t timeout_ms,
                       struct redis_place *ret)
{
    size_t count = target->sentinels->count;

    assert_off_loops();
    if (count == 0)
        return resolve_place(target->host, target->port, ret) ? NULL : "Host not found";
    for (size_t i = 0; i < count; i++) {
        if (ask_sentinel(target, target->sentinels->of[i], timeout_ms / (int64_t)count, ret))
            return NULL;
    }
    return "No sentinel knows the master";
}

bool redis_secure(const struct redis_target *target, redisContext *context,
                  const struct redis_place *place)
{
    SSL *ssl;

    if (target->tls == NULL)
        return true;
    ssl = SSL_new(target->tls);
    if (ssl == NULL)
        return false;
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), place->name) != 1 &&
        (SSL_set1_host(ssl, place->name) != 1 || SSL_set_tlsext_host_name(ssl, place->name) != 1)) {
        SSL_free(ssl);
        return false;
    }
    if (redisInitiateSSL(context, ssl) == REDIS_OK)
        return true;
    SSL_free(ssl);
    return false;
}

redisContext *redis_open(const struct redis_target *target, int64_t timeout_ms,
                         const char **ret_wrong)
{
    const char *words[3];
    size_t lengths[3];
    unsigned login = redis_login(target, words, lengths);
    struct redis_place place;
    redisContext *context;
    char database[24];

    assert_off_loops();
    *ret_wrong = redis_find(target, timeout_ms, &place);
    if (*ret_wrong != NULL)
        return NULL;
    context = connect_to(target, &place, timeout_ms, ret_wrong);
    if (context == NULL)
        return NULL;
    if (login > 0)
        *ret_wrong = ask(context, login, words, lengths);
    if (*ret_wrong == NULL && target->database != 0) {
        snprintf(database, sizeof database, "%lld", (long long)target->database);
        *ret_wrong = ask(context, 2, (const char *[]){"SELECT", database},
                         (size_t[]){6, strlen(database)});
    }
    if (*ret_wrong == NULL)
        return context;
    redis_close(&context);
    return NULL;
}
