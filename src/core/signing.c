#include "core/signing.h"

#include "core/crypto.h"
#include "core/text.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

/* What the seed is derived for, and nothing else is. */
static const char purpose[] = "Ed25519 key of tokens";

/* The members and the order of RFC 7638 section 3.2 and RFC 8037 section 2. */
static const char *thumbprint(void *mem, const uint8_t public_key[SIGNING_PUBLIC_BYTES])
{
    const char *jwk = mem_printf(mem, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}",
                                 text_base64url(mem, public_key, SIGNING_PUBLIC_BYTES));
    uint8_t hash[CRYPTO_HASH_BYTES];

    crypto_sha256(hash, jwk, strlen(jwk));
    return text_base64url(mem, hash, sizeof hash);
}

struct signing_key *signing_key_of(void *mem, const struct secret *from)
{
    struct signing_key *key = mem_new(mem, struct signing_key);
    uint8_t seed[CRYPTO_HASH_BYTES], pair[crypto_sign_SECRETKEYBYTES];
    const char *header;

    assert(from->len > 0);
    crypto_hmac(seed, from->bytes, from->len, purpose, sizeof purpose - 1);
    crypto_sign_seed_keypair(key->public_key, pair, seed);
    key->secret = secret_new(key, (const char *)pair, sizeof pair);
    crypto_wipe(seed, sizeof seed);
    crypto_wipe(pair, sizeof pair);
    key->id = thumbprint(key, key->public_key);
    header = mem_printf(key, "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"JWT\"}", key->id);
    key->header = text_base64url(key, header, strlen(header));
    return key;
}

void signing_sign(uint8_t out[SIGNATURE_BYTES], const struct signing_key *key, const void *bytes,
                  size_t len)
{
    crypto_sign_detached(out, NULL, bytes, len, key->secret->bytes);
}

bool signing_verify(const struct signing_key *key, const uint8_t signature[SIGNATURE_BYTES],
                    const void *bytes, size_t len)
{
    return crypto_sign_verify_detached(signature, bytes, len, key->public_key) == 0;
}

char *signing_public_jwk(void *mem, const struct signing_key *key)
{
    return mem_printf(mem,
                      "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"alg\":\"EdDSA\","
                      "\"kid\":\"%s\",\"x\":\"%s\"}",
                      key->id, text_base64url(mem, key->public_key, SIGNING_PUBLIC_BYTES));
}
