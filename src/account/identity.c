#include "account/identity.h"

#include "core/clock.h"

#include <pthread.h>
#include <string.h>

enum { SHARDS = 64, SETS = 32, WAYS = 4, REMEMBER_MS = 1000 };

/* Users, sessions and verified tokens alike: their first member is their id. */
struct record {
    const char *id;
};

struct verified {
    const char *token;
    const struct settings *settings; /* whose keys it was verified with */
    struct token_claims claims;
};

struct entry {
    uint64_t hash;
    int64_t loaded_ms;     /* monotonic */
    struct record *record; /* with its texts; NULL: free */
};

/* Set-associative, so that its size is fixed and a lookup touches four entries at most. */
struct shard {
    pthread_mutex_t lock;
    uint64_t generation; /* counts what was forgotten */
    struct entry entries[SETS][WAYS];
};

typedef void *copier(void *mem, const void *record);

struct cache {
    copier *copy;
    struct shard shards[SHARDS];
};

struct identity {
    struct store *store;
    struct cache *users, *sessions, *tokens;
};

/* FNV-1a. Only what we have signed gets in, so nobody chooses what collides. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = 14695981039346656037u;

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 1099511628211u;
    return hash ^ hash >> 32;
}

static struct shard *shard_of(struct cache *cache, uint64_t hash)
{
    return &cache->shards[hash % SHARDS];
}

static struct entry *set_of(struct shard *shard, uint64_t hash)
{
    return shard->entries[hash / SHARDS % SETS];
}

static bool is_of(const struct entry *entry, uint64_t hash, const char *id)
{
    return entry->record != NULL && entry->hash == hash && strcmp(entry->record->id, id) == 0;
}

static int close_cache(struct cache *cache)
{
    for (size_t i = 0; i < SHARDS; i++) {
        for (size_t j = 0; j < SETS * WAYS; j++)
            talloc_free(cache->shards[i].entries[j / WAYS][j % WAYS].record);
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    return 0;
}

static struct cache *open_cache(void *mem, copier *copy)
{
    struct cache *cache = mem_new(mem, struct cache);

    cache->copy = copy;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&cache->shards[i].lock, NULL);
    talloc_set_destructor(cache, close_cache);
    return cache;
}

/* To be taken before the store is read for what will be put. */
static uint64_t generation_of(struct cache *cache, const char *id)
{
    struct shard *shard = shard_of(cache, hash_of(id));
    uint64_t generation;

    pthread_mutex_lock(&shard->lock);
    generation = shard->generation;
    pthread_mutex_unlock(&shard->lock);
    return generation;
}

/* The entry of this id, else the one that was loaded longest ago. */
static struct entry *choose(struct entry *set, uint64_t hash, const char *id)
{
    struct entry *oldest = set;

    for (size_t i = 0; i < WAYS; i++) {
        if (is_of(&set[i], hash, id))
            return &set[i];
        if (set[i].loaded_ms < oldest->loaded_ms)
            oldest = &set[i];
    }
    return oldest;
}

/* What was read before something of its shard was forgotten may be out of date: it is not kept. */
static void put(struct cache *cache, const void *record, uint64_t generation)
{
    struct record *copy = cache->copy(NULL, record), *unused = copy;
    uint64_t hash = hash_of(copy->id);
    struct shard *shard = shard_of(cache, hash);

    pthread_mutex_lock(&shard->lock);
    if (generation == shard->generation) {
        struct entry *entry = choose(set_of(shard, hash), hash, copy->id);

        unused = entry->record;
        *entry = (struct entry){hash, clock_mono_ms(), copy};
    }
    pthread_mutex_unlock(&shard->lock);
    talloc_free(unused);
}

static void forget(struct cache *cache, const char *id)
{
    uint64_t hash = hash_of(id);
    struct shard *shard = shard_of(cache, hash);
    struct entry *set = set_of(shard, hash);

    pthread_mutex_lock(&shard->lock);
    shard->generation++;
    for (size_t i = 0; i < WAYS; i++) {
        if (is_of(&set[i], hash, id)) {
            talloc_free(set[i].record);
            set[i] = (struct entry){0};
        }
    }
    pthread_mutex_unlock(&shard->lock);
}

/* A copy of what is remembered; NULL if it is not. */
static void *peek(struct cache *cache, void *mem, const char *id)
{
    uint64_t hash = hash_of(id);
    struct shard *shard = shard_of(cache, hash);
    struct entry *set = set_of(shard, hash);
    int64_t now_ms = clock_mono_ms();
    void *found = NULL;

    pthread_mutex_lock(&shard->lock);
    for (size_t i = 0; i < WAYS && found == NULL; i++) {
        if (is_of(&set[i], hash, id) && now_ms - set[i].loaded_ms < REMEMBER_MS)
            found = cache->copy(mem, set[i].record);
    }
    pthread_mutex_unlock(&shard->lock);
    return found;
}

/* Copies a text behind `*at` and moves on. */
static const char *append(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);

    *at += size;
    return copy;
}

static const char *append_if(char **at, const char *text)
{
    return text == NULL ? NULL : append(at, text);
}

static size_t size_if(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

/* Without the hash of the password, which is for nobody who comes by a token. */
static void *copy_user(void *mem, const void *record)
{
    const struct user *user = record;
    struct user *copy = mem_zero(mem, sizeof *copy + strlen(user->id) + strlen(user->fullname) +
                                          strlen(user->email) + 3);
    char *at = (char *)(copy + 1);

    *copy = *user;
    copy->id = append(&at, user->id);
    copy->fullname = append(&at, user->fullname);
    copy->email = append(&at, user->email);
    copy->password_hash = NULL;
    return copy;
}

/* Without its refresh tokens and its device. */
static void *copy_session(void *mem, const void *record)
{
    const struct session_record *session = record;
    struct session_record *copy = mem_zero(mem, sizeof *copy + strlen(session->id) +
                                                    strlen(session->user_id) + 2);
    char *at = (char *)(copy + 1);

    copy->id = append(&at, session->id);
    copy->user_id = append(&at, session->user_id);
    copy->created_ms = session->created_ms;
    copy->last_used_ms = session->last_used_ms;
    copy->expires_ms = session->expires_ms;
    copy->ended_ms = session->ended_ms;
    copy->address = copy->agent = "";
    return copy;
}

static void *copy_verified(void *mem, const void *record)
{
    const struct verified *verified = record;
    const struct token_claims *claims = &verified->claims;
    struct verified *copy = mem_zero(
        mem, sizeof *copy + strlen(verified->token) + strlen(claims->user_id) +
                 strlen(claims->fullname) + 3 + size_if(claims->id) + size_if(claims->session_id));
    char *at = (char *)(copy + 1);

    *copy = *verified;
    copy->token = append(&at, verified->token);
    copy->claims.user_id = append(&at, claims->user_id);
    copy->claims.fullname = append(&at, claims->fullname);
    copy->claims.id = append_if(&at, claims->id);
    copy->claims.session_id = append_if(&at, claims->session_id);
    return copy;
}

struct identity *identity_open(void *mem, struct store *store)
{
    struct identity *identity = mem_new(mem, struct identity);

    identity->store = store;
    identity->users = open_cache(identity, copy_user);
    identity->sessions = open_cache(identity, copy_session);
    identity->tokens = open_cache(identity, copy_verified);
    return identity;
}

struct token_claims *identity_claims(struct identity *identity, void *mem,
                                     const struct settings *settings, const char *token,
                                     int64_t now_s)
{
    struct verified *known = peek(identity->tokens, mem, token);
    struct token_claims *claims;

    if (known != NULL && known->settings == settings && known->claims.expires_s > now_s)
        return &known->claims;
    claims = token_verify(mem, settings, token, now_s);
    if (claims != NULL)
        put(identity->tokens, &(struct verified){token, settings, *claims},
            generation_of(identity->tokens, token));
    return claims;
}

static enum identity_answer judge(const struct token_claims *claims, const struct user *user,
                                  const struct session_record *session)
{
    bool admitted = user->is_active;

    if (session == NULL)
        admitted = admitted && claims->issued_s * 1000 >= user->valid_from_ms;
    else
        admitted = admitted && session->ended_ms == 0 && session->expires_ms > clock_wall_ms() &&
                   strcmp(session->user_id, user->id) == 0;
    return admitted ? IDENTITY_VALID : IDENTITY_REFUSED;
}

enum identity_answer identity_peek(struct identity *identity, void *mem,
                                   const struct token_claims *claims, struct user **ret_user,
                                   struct session_record **ret_session)
{
    *ret_session = NULL;
    *ret_user = peek(identity->users, mem, claims->user_id);
    if (*ret_user == NULL)
        return IDENTITY_UNKNOWN;
    if (claims->session_id != NULL) {
        *ret_session = peek(identity->sessions, mem, claims->session_id);
        if (*ret_session == NULL)
            return IDENTITY_UNKNOWN;
    }
    return judge(claims, *ret_user, *ret_session);
}

static enum err load_user(struct task *task, struct identity *identity, const char *id,
                          struct user **ret)
{
    uint64_t generation = generation_of(identity->users, id);
    struct user user;
    bool found;
    enum err e = store_user_by_id(task, identity->store, id, &found, &user);

    *ret = NULL;
    if (e != OK || !found)
        return e;
    *ret = copy_user(task->mem, &user);
    put(identity->users, &user, generation);
    return OK;
}

static enum err load_session(struct task *task, struct identity *identity, const char *id,
                             struct session_record **ret)
{
    uint64_t generation = generation_of(identity->sessions, id);
    struct session_record session;
    bool found;
    enum err e = store_session_by_id(task, identity->store, id, &found, &session);

    *ret = NULL;
    if (e != OK || !found)
        return e;
    *ret = copy_session(task->mem, &session);
    put(identity->sessions, &session, generation);
    return OK;
}

enum err identity_load(struct task *task, struct identity *identity,
                       const struct token_claims *claims, enum identity_answer *ret_answer,
                       struct user **ret_user, struct session_record **ret_session)
{
    enum err e = load_user(task, identity, claims->user_id, ret_user);

    *ret_answer = IDENTITY_REFUSED;
    *ret_session = NULL;
    if (e != OK || *ret_user == NULL)
        return e;
    if (claims->session_id != NULL) {
        e = load_session(task, identity, claims->session_id, ret_session);
        if (e != OK || *ret_session == NULL)
            return e;
    }
    *ret_answer = judge(claims, *ret_user, *ret_session);
    return OK;
}

void identity_forget_user(struct identity *identity, const char *id)
{
    forget(identity->users, id);
}

void identity_forget_session(struct identity *identity, const char *id)
{
    forget(identity->sessions, id);
}

void identity_forget_sessions_of(struct identity *identity, const char *user_id)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &identity->sessions->shards[i];

        pthread_mutex_lock(&shard->lock);
        shard->generation++;
        for (size_t j = 0; j < SETS * WAYS; j++) {
            struct entry *entry = &shard->entries[j / WAYS][j % WAYS];
            const struct session_record *session = (const void *)entry->record;

            if (session != NULL && strcmp(session->user_id, user_id) == 0) {
                talloc_free(entry->record);
                *entry = (struct entry){0};
            }
        }
        pthread_mutex_unlock(&shard->lock);
    }
}
