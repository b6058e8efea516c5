#include "account/identity.h"

#include "core/cache.h"
#include "core/clock.h"
#include "core/loop.h"

#include <string.h>

enum { REMEMBER_MS = 1000 };

struct verified {
    const char *token;
    const struct settings *settings; /* whose keys it was verified with */
    struct token_claims claims;
};

struct identity {
    struct store *store;
    struct cache *users, *sessions, *tokens;
};

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
                                          strlen(user->email) + 3 + size_if(user->language));
    char *at = (char *)(copy + 1);

    *copy = *user;
    copy->id = append(&at, user->id);
    copy->fullname = append(&at, user->fullname);
    copy->email = append(&at, user->email);
    copy->language = append_if(&at, user->language);
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
    copy->address = copy->agent = copy->device = "";
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
    identity->users = cache_open(identity, copy_user);
    identity->sessions = cache_open(identity, copy_session);
    identity->tokens = cache_open(identity, copy_verified);
    return identity;
}

struct token_claims *identity_claims(struct identity *identity, void *mem,
                                     const struct settings *settings, const char *token,
                                     int64_t now_s)
{
    struct verified *known = cache_peek(identity->tokens, mem, token, REMEMBER_MS);
    struct token_claims *claims;

    if (known != NULL && known->settings == settings && known->claims.expires_s > now_s)
        return &known->claims;
    claims = token_verify(mem, settings, token, now_s);
    if (claims != NULL)
        cache_put(identity->tokens, &(struct verified){token, settings, *claims},
                  cache_generation(identity->tokens, token));
    return claims;
}

bool identity_is_void(const struct token_claims *claims, const struct user *user)
{
    return claims->session_id == NULL && clock_ms_of(claims->issued_s) < user->valid_from_ms &&
           claims->issued_s != user->spared_s;
}

static enum identity_answer judge(const struct token_claims *claims, const struct user *user,
                                  const struct session_record *session)
{
    bool admitted = user->is_active;

    if (session == NULL)
        admitted = admitted && !identity_is_void(claims, user);
    else
        admitted = admitted && session->ended_ms == 0 && session->expires_ms > clock_wall_ms() &&
                   strcmp(session->user_id, user->id) == 0;
    return admitted ? IDENTITY_VALID : IDENTITY_REFUSED;
}

enum identity_answer identity_peek(struct identity *identity, void *mem,
                                   const struct token_claims *claims, struct user **ret_user,
                                   struct session_record **ret_session)
{
    return identity_peek_within(identity, mem, claims, REMEMBER_MS, ret_user, ret_session);
}

enum identity_answer identity_peek_within(struct identity *identity, void *mem,
                                          const struct token_claims *claims, int64_t within_ms,
                                          struct user **ret_user,
                                          struct session_record **ret_session)
{
    *ret_session = NULL;
    *ret_user = cache_peek(identity->users, mem, claims->user_id, within_ms);
    if (*ret_user == NULL)
        return IDENTITY_UNKNOWN;
    if (claims->session_id != NULL) {
        *ret_session = cache_peek(identity->sessions, mem, claims->session_id, within_ms);
        if (*ret_session == NULL)
            return IDENTITY_UNKNOWN;
    }
    return judge(claims, *ret_user, *ret_session);
}

static enum err load_user(struct task *task, struct identity *identity, const char *id,
                          struct user **ret)
{
    uint64_t generation = cache_generation(identity->users, id);
    struct user user;
    bool found;
    enum err e = store_user_by_id(task, identity->store, id, &found, &user);

    *ret = NULL;
    if (e != OK || !found)
        return e;
    *ret = copy_user(task->mem, &user);
    cache_put(identity->users, &user, generation);
    return OK;
}

static enum err load_session(struct task *task, struct identity *identity, const char *id,
                             struct session_record **ret)
{
    uint64_t generation = cache_generation(identity->sessions, id);
    struct session_record session;
    bool found;
    enum err e = store_session_by_id(task, identity->store, id, &found, &session);

    *ret = NULL;
    if (e != OK || !found)
        return e;
    *ret = copy_session(task->mem, &session);
    cache_put(identity->sessions, &session, generation);
    return OK;
}

enum err identity_load(struct task *task, struct identity *identity,
                       const struct token_claims *claims, enum identity_answer *ret_answer,
                       struct user **ret_user, struct session_record **ret_session)
{
    enum err e = load_user(task, identity, claims->user_id, ret_user);

    assert_off_loops();
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
    cache_forget(identity->users, id);
}

void identity_forget_session(struct identity *identity, const char *id)
{
    cache_forget(identity->sessions, id);
}

static bool is_session_of(const void *record, const void *user_id)
{
    return strcmp(((const struct session_record *)record)->user_id, user_id) == 0;
}

void identity_forget_sessions_of(struct identity *identity, const char *user_id)
{
    cache_forget_those(identity->sessions, is_session_of, user_id);
}
