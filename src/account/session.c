#include "account/session.h"

#include "account/provider.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/text.h"

#include <string.h>

enum { AGENT_BYTES = 256, DAY_S = 86400, MINUTE_S = 60 };
enum { DEVICE_V4_BYTES = 12 + 2, DEVICE_V6_BYTES = 6 }; /* of an address: its network */

/* A header may hold any byte; the stored text is printable ASCII. */
static const char *printable(void *mem, const char *text)
{
    char *copy = mem_copy(mem, text, strnlen(text, AGENT_BYTES));

    for (char *at = copy; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
    return copy;
}

/* An id that the same text always gets. */
static const char *derive_id(struct task *task, const char *label, const char *text)
{
    const char *labelled = mem_printf(task->mem, "%s\n%s", label, text);
    uint8_t hash[CRYPTO_HASH_BYTES];

    crypto_sha256(hash, labelled, strlen(labelled));
    return text_base64url(task->mem, hash, 16);
}

/* The program without its versions, which change every few weeks, and the network without the host,
 * which changes every day. */
const char *session_device_id(struct task *task, const struct device *device)
{
    const char *agent = printable(task->mem, device->agent == NULL ? "" : device->agent);
    struct text name = text_open(task->mem, 128);
    struct address address = {0};
    unsigned bytes;

    for (; *agent != '\0'; agent++) {
        if (*agent < '0' || *agent > '9')
            text_char(&name, *agent);
    }
    address_parse(device->address, strlen(device->address), &address);
    bytes = address_is_v4(&address) ? DEVICE_V4_BYTES : DEVICE_V6_BYTES;
    for (unsigned i = 0; i < bytes; i++)
        text_printf(&name, " %u", address.bytes[i]);
    return derive_id(task, "device", name.s);
}

static int64_t session_days(const struct settings *settings)
{
    return settings->session_days > settings->refresh_days ? settings->session_days
                                                           : settings->refresh_days;
}

static const char *sign_access(struct task *task, const struct user *user, const char *session_id,
                               int64_t now_s)
{
    struct token_claims claims = {
        .type = TOKEN_ACCESS,
        .user_id = user->id,
        .fullname = user->fullname,
        .id = crypto_id(task->mem),
        .session_id = session_id,
        .issued_s = now_s,
        .expires_s = now_s + task->settings->access_minutes * MINUTE_S,
    };

    return token_sign(task->mem, task->settings, &claims, user);
}

/* The same link and name make the same bytes. */
static const char *sign_refresh(struct task *task, const char *user_id, const char *fullname,
                                const char *session_id, const struct chain_link *link)
{
    struct token_claims claims = {
        .type = TOKEN_REFRESH,
        .user_id = user_id,
        .fullname = fullname,
        .id = link->id,
        .session_id = session_id,
        .issued_s = link->issued_s,
        .expires_s = link->expires_s,
    };

    return token_sign(task->mem, task->settings, &claims, NULL);
}

struct session_record session_begin(struct task *task, const struct user *user,
                                    const struct device *device, struct tokens *ret)
{
    int64_t now_ms = clock_wall_ms(), now_s = now_ms / 1000;
    struct session_record session = {
        .id = crypto_id(task->mem),
        .user_id = user->id,
        .created_ms = now_ms,
        .last_used_ms = now_ms,
        .expires_ms = now_ms + session_days(task->settings) * DAY_S * 1000,
        .address = device->address,
        .agent = printable(task->mem, device->agent == NULL ? "" : device->agent),
        .device = session_device_id(task, device),
        .chain = chain_begin(crypto_id(task->mem), now_s,
                             now_s + task->settings->refresh_days * DAY_S),
    };

    ret->access = sign_access(task, user, session.id, now_s);
    ret->refresh = sign_refresh(task, user->id, user->fullname, session.id,
                                &session.chain.links[0]);
    return session;
}

/* Opens the session of a token that has none, unless an earlier refresh did. */
static enum err adopt(struct task *task, const struct sessions *sessions, const char *token,
                      const struct user *user, struct token_claims *claims)
{
    int64_t longest_s = claims->issued_s + session_days(task->settings) * DAY_S;
    struct session_record session;
    enum session_opened opened;
    enum err e;

    claims->id = derive_id(task, "token", token);
    claims->session_id = derive_id(task, "session", token);
    session = (struct session_record){
        .id = claims->session_id,
        .user_id = claims->user_id,
        .created_ms = clock_ms_of(claims->issued_s),
        .last_used_ms = clock_wall_ms(),
        .expires_ms = clock_ms_of(claims->expires_s > longest_s ? claims->expires_s : longest_s),
        .address = "",
        .agent = "",
        .chain = chain_begin(claims->id, claims->issued_s, claims->expires_s),
    };
    e = store_session_open(task, sessions->store, &session, user->valid_from_ms, &opened);
    if (e == OK && opened == SESSION_USER_CHANGED)
        return fail(task, ERR_UNAUTHENTICATED, "Invalid refresh token");
    return e;
}

static enum err read_token(struct task *task, const char *token, struct token_claims **ret)
{
    *ret = token_verify(task->mem, task->settings, token, clock_wall_ms() / 1000);
    if (*ret == NULL)
        return fail(task, ERR_UNAUTHENTICATED, "Invalid refresh token");
    if ((*ret)->type != TOKEN_REFRESH)
        return fail(task, ERR_UNAUTHENTICATED, "Invalid token type");
    return OK;
}

static enum err read_user(struct task *task, const struct sessions *sessions,
                          const struct token_claims *claims, struct user *ret)
{
    bool found;
    enum err e = store_user_by_id(task, sessions->store, claims->user_id, &found, ret);

    if (e != OK)
        return e;
    if (!found || !ret->is_active || !provider_admits(task->settings, ret))
        return fail(task, ERR_UNAUTHENTICATED, "User not found or inactive");
    if (identity_is_void(claims, ret))
        return fail(task, ERR_UNAUTHENTICATED, "Invalid refresh token");
    return OK;
}

/* The successor that this refresh hands out unless there is one already. */
static enum err propose(struct task *task, const struct sessions *sessions,
                        const struct token_claims *claims, struct chain_link *ret)
{
    int64_t now_s = clock_wall_ms() / 1000;
    struct session_record session;
    bool found;
    enum err e = store_session_by_id(task, sessions->store, claims->session_id, &found, &session);

    if (e != OK)
        return e;
    if (!found || strcmp(session.user_id, claims->user_id) != 0)
        return fail(task, ERR_UNAUTHENTICATED, "Invalid refresh token");
    *ret = (struct chain_link){.issued_s = now_s,
                               .expires_s = now_s + task->settings->refresh_days * DAY_S};
    memcpy(ret->id, crypto_id(task->mem), sizeof ret->id);
    if (ret->expires_s > session.expires_ms / 1000)
        ret->expires_s = session.expires_ms / 1000;
    return OK;
}

static enum err rotate(struct task *task, const struct sessions *sessions,
                       const struct token_claims *claims, struct chain_link *ret_successor)
{
    struct chain_link fresh;
    enum session_refreshed outcome;
    enum err e = propose(task, sessions, claims, &fresh);

    if (e != OK)
        return e;
    e = store_session_refresh(task, sessions->store, claims->session_id, claims->id, &fresh,
                              clock_wall_ms(), &outcome, ret_successor);
    if (e != OK || outcome == SESSION_REFRESHED)
        return e;
    identity_forget_session(sessions->identity, claims->session_id);
    if (outcome == SESSION_REUSED)
        log_warning(task, "a replaced refresh token was used again: session ended",
                    LOG_S("session", claims->session_id));
    return fail(task, ERR_UNAUTHENTICATED, "Invalid refresh token");
}

enum err session_refresh(struct task *task, const struct sessions *sessions, const char *token,
                         struct tokens *ret)
{
    struct token_claims *claims;
    struct chain_link successor;
    struct user user;
    enum err e = read_token(task, token, &claims);

    assert_off_loops();
    if (e == OK)
        e = read_user(task, sessions, claims, &user);
    if (e == OK && claims->session_id == NULL)
        e = adopt(task, sessions, token, &user, claims);
    if (e == OK)
        e = rotate(task, sessions, claims, &successor);
    if (e != OK)
        return e;
    task->user_id = user.id;
    ret->access = sign_access(task, &user, claims->session_id, clock_wall_ms() / 1000);
    ret->refresh = sign_refresh(task, user.id, claims->fullname, claims->session_id, &successor);
    return OK;
}

enum err session_end(struct task *task, const struct sessions *sessions, const struct user *user,
                     const struct session_record *session)
{
    int64_t now_ms = clock_wall_ms();
    enum err e;

    assert_off_loops();
    if (session == NULL)
        e = store_user_void_tokens(task, sessions->store, user->id, now_ms);
    else
        e = store_session_end(task, sessions->store, session->id, now_ms, NULL);
    if (session == NULL)
        identity_forget_user(sessions->identity, user->id);
    else
        identity_forget_session(sessions->identity, session->id);
    return e;
}
