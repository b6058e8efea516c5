#include "billing/signature.h"

#include "core/crypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
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

static EVP_MAC *hmac;

static void fetch_hmac(void)
{
    hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
}

/* OpenSSL's, since a processor's own instructions for SHA-256 take a quarter of the time: a loop
 * signs all of each delivery. False: there is no memory. */
static bool sign(char out[HEX + 1], const struct secret *secret, const struct parts *parts,
                 const char *body, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof digest - 1),
        OSSL_PARAM_construct_end()};
    uint8_t mac[CRYPTO_HASH_BYTES];
    EVP_MAC_CTX *context;
    size_t mac_len = 0;
    bool done;

    pthread_once(&once, fetch_hmac);
    context = hmac == NULL ? NULL : EVP_MAC_CTX_new(hmac);
    done = context != NULL && EVP_MAC_init(context, secret->bytes, secret->len, params) == 1 &&
           EVP_MAC_update(context, (const uint8_t *)parts->time, parts->time_len) == 1 &&
           EVP_MAC_update(context, (const uint8_t *)".", 1) == 1 &&
           EVP_MAC_update(context, (const uint8_t *)body, len) == 1 &&
           EVP_MAC_final(context, mac, &mac_len, sizeof mac) == 1 && mac_len == sizeof mac;
    EVP_MAC_CTX_free(context);
    if (done)
        sodium_bin2hex(out, HEX + 1, mac, sizeof mac);
    return done;
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

        if (!sign(expected, secrets->of[i], &parts, body, len))
            return false;
        for (size_t j = 0; j < parts.count; j++)
            right |= crypto_equal(parts.signatures[j], expected, HEX);
    }
    return right && is_in_time(&parts, now_s);
}
