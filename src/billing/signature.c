#include "billing/signature.h"

#include "core/crypto.h"

#include <sodium.h>
#include <string.h>

enum { HEADER_BYTES = 4096, SIGNATURES = 16, HEX = 2 * CRYPTO_HASH_BYTES, DIGITS = 12 };

struct parts {
    const char *time;
    size_t time_len;
    const char *signatures[SIGNATURES];
    size_t count;
};

/* False: it is none of Stripe's. */
static bool split(const char *header, struct parts *ret)
{
    *ret = (struct parts){0};
    if (strlen(header) > HEADER_BYTES)
        return false;
    for (const char *at = header; *at != '\0';) {
        size_t len = strcspn(at, ",");

        if (len > 2 && strncmp(at, "t=", 2) == 0) {
            if (ret->time != NULL)
                return false;
            ret->time = at + 2;
            ret->time_len = len - 2;
        } else if (len == 3 + HEX && strncmp(at, "v1=", 3) == 0 &&
                   strspn(at + 3, "0123456789abcdef") >= HEX) {
            if (ret->count == SIGNATURES)
                return false;
            ret->signatures[ret->count++] = at + 3;
        }
        at += len + (at[len] == ',');
    }
    return ret->time != NULL && ret->time_len <= DIGITS &&
           strspn(ret->time, "0123456789") >= ret->time_len;
}

static void sign(char out[HEX + 1], const struct secret *secret, const struct parts *parts,
                 const char *body, size_t len)
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[CRYPTO_HASH_BYTES];

    crypto_auth_hmacsha256_init(&state, secret->bytes, secret->len);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)parts->time, parts->time_len);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)".", 1);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)body, len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_bin2hex(out, HEX + 1, mac, sizeof mac);
}

static bool is_in_time(const struct parts *parts, int64_t now_s)
{
    int64_t at_s = strtoll(parts->time, NULL, 10);

    return at_s >= now_s - SIGNATURE_TOLERANCE_S && at_s <= now_s + SIGNATURE_TOLERANCE_S;
}

bool signature_may_be_right(const char *header, int64_t now_s)
{
    struct parts parts;

    return split(header, &parts) && parts.count > 0 && is_in_time(&parts, now_s);
}

bool signature_is_right(const struct secrets *secrets, const char *header, const char *body,
                        size_t len, int64_t now_s)
{
    struct parts parts;
    bool right = false;

    if (!split(header, &parts))
        return false;
    for (size_t i = 0; i < secrets->count; i++) {
        char expected[HEX + 1];

        sign(expected, secrets->of[i], &parts, body, len);
        for (size_t j = 0; j < parts.count; j++)
            right |= crypto_equal(parts.signatures[j], expected, HEX);
    }
    return right && is_in_time(&parts, now_s);
}
