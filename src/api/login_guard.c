#include "api/login_guard.h"

#include "api/app.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/log.h"
#include "core/loop.h"
#include "http/reply.h"

#include <string.h>

enum { COOKIE_DAYS = 365, DAY_S = 86400 };

#define COOKIE "manus_device"

/* NONCE.MAC: for one address, so that a cookie of one account opens no count of another. */
static const char *cookie_for(void *mem, const struct secret *key, const char *nonce,
                              const char *email)
{
    const char *text = mem_printf(mem, "known device\n%s\n%s", nonce, email);
    uint8_t mac[CRYPTO_HASH_BYTES];

    crypto_hmac(mac, key->bytes, key->len, text, strlen(text));
    return mem_printf(mem, "%s.%s", nonce, text_base64url(mem, mac, sizeof mac));
}

/* The value of our cookie (RFC 6265 section 4.2); NULL if it was not sent. */
static const char *sent_cookie(const struct request *req)
{
    const char *at = request_header(req, HEADER_COOKIE);
    size_t name = strlen(COOKIE "=");

    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ";");

        if (len > name && strncmp(at, COOKIE "=", name) == 0)
            return mem_copy(req->task.mem, at + name, len - name);
        at += len;
        at += strspn(at, "; ");
    }
    return NULL;
}

/* The nonce of a cookie that was given for this address; NULL if there is none. */
static const char *known_nonce(struct request *req, const char *email)
{
    const char *sent = sent_cookie(req);
    const struct settings *settings = req->task.settings;
    const char *nonce;

    if (sent == NULL || strcspn(sent, ".") != CRYPTO_ID_LEN)
        return NULL;
    nonce = mem_copy(req->task.mem, sent, CRYPTO_ID_LEN);
    for (size_t i = 0; i <= settings->jwt_previous.count; i++) {
        const struct secret *key = i == 0 ? settings->jwt_secret : settings->jwt_previous.of[i - 1];
        const char *right = cookie_for(req->task.mem, key, nonce, email);

        if (strlen(sent) == strlen(right) && crypto_equal(sent, right, strlen(right)))
            return nonce;
    }
    return NULL;
}

/* What the failures of this attempt are counted by. */
static const char *name_of(struct request *req, const char *email, const char *device)
{
    const char *nonce = known_nonce(req, email);
    bool known = false;

    if (nonce != NULL)
        return mem_printf(req->task.mem, "cookie:%s:%s", nonce, email);
    if (store_device_known(&req->task, app_of(req)->store, email, device, &known) == OK && known)
        return mem_printf(req->task.mem, "device:%s:%s", device, email);
    return mem_printf(req->task.mem, LIMITS_STRANGERS "%s", email);
}

bool login_guard_enter(struct request *req, const char *email, struct login_guard *ret)
{
    struct device device = device_of(req);
    const char *name;

    assert_off_loops();
    *ret = (struct login_guard){0};
    if (!limits_count_failures(req))
        return true;
    name = name_of(req, email_key(req->task.mem, email), session_device_id(&req->task, &device));
    return limits_charge_failure(req, name, &ret->charge);
}

enum err login_guard_leave(struct request *req, const struct login_guard *guard, enum err outcome)
{
    assert_off_loops();
    if (outcome != ERR_WRONG_PASSWORD && outcome != ERR_UNAUTHENTICATED)
        limits_forgive_failure(req, &guard->charge);
    return outcome;
}

void login_guard_remember(struct request *req, const char *email)
{
    const char *url = req->task.settings->public_url;
    const char *key = email_key(req->task.mem, email);
    bool secure = url != NULL && strncmp(url, "https:", 6) == 0;
    const char *value = cookie_for(req->task.mem, req->task.settings->jwt_secret,
                                   crypto_id(req->task.mem), key);

    if (limits_count_failures(req) && known_nonce(req, key) == NULL)
        reply_header(req, "Set-Cookie",
                     mem_printf(req->task.mem,
                                COOKIE "=%s; Path=/api/v1/auth; Max-Age=%d; HttpOnly; "
                                       "SameSite=Strict%s",
                                value, COOKIE_DAYS * DAY_S, secure ? "; Secure" : ""));
}
