#include "core/crypto.h"

#include "core/text.h"

#include <sodium.h>
#include <stdio.h>

void crypto_start(void)
{
    if (sodium_init() < 0) {
        fputs("manus: libsodium cannot start: no source of random numbers\n", stderr);
        abort();
    }
}

void crypto_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

char *crypto_id(void *mem)
{
    uint8_t bytes[16];

    crypto_random(bytes, sizeof bytes);
    return text_base64url(mem, bytes, sizeof bytes);
}

char *crypto_uuid(void *mem)
{
    uint8_t b[16];

    crypto_random(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    return mem_printf(mem, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                      b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
                      b[12], b[13], b[14], b[15]);
}

void crypto_sha256(uint8_t out[CRYPTO_HASH_BYTES], const void *bytes, size_t len)
{
    crypto_hash_sha256(out, bytes, len);
}

void crypto_hmac(uint8_t out[CRYPTO_HASH_BYTES], const void *key, size_t key_len, const void *bytes,
                 size_t len)
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, bytes, len);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *bytes, size_t len)
{
    sodium_memzero(bytes, len);
}
