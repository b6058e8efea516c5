/* Pairs of keys (Ed25519, RFC 8032) by which tokens are signed that others verify: derived from the
 * signing keys of the configuration, so that they are replaced together.
 * Any thread, after crypto_start(). */
#pragma once

#include "core/secret.h"

enum { SIGNING_PUBLIC_BYTES = 32, SIGNATURE_BYTES = 64 };

struct signing_key {
    struct secret *secret;
    uint8_t public_key[SIGNING_PUBLIC_BYTES];
    const char *id;     /* its thumbprint (RFC 7638) */
    const char *header; /* of the tokens that it signs (RFC 8037), encoded */
};

/* In `mem`. */
struct signing_key *signing_key_of(void *mem, const struct secret *from);

void signing_sign(uint8_t out[SIGNATURE_BYTES], const struct signing_key *key, const void *bytes,
                  size_t len);

bool signing_verify(const struct signing_key *key, const uint8_t signature[SIGNATURE_BYTES],
                    const void *bytes, size_t len);

/* What others verify with: a JSON Web Key, as text. */
char *signing_public_jwk(void *mem, const struct signing_key *key);
