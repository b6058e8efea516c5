/* Random numbers, SHA-256, HMAC-SHA-256 and comparison in constant time, on libsodium.
 * Any thread, after crypto_start(). */
#pragma once

#include "core/mem.h"

#include <stdint.h>

enum { CRYPTO_HASH_BYTES = 32 };

/* Before anything else here. Exits the program if there is no source of randomness. */
void crypto_start(void);

void crypto_random(void *out, size_t len);

/* 16 random bytes as 22 characters of base64url: ids of users, sessions, tokens. */
enum { CRYPTO_ID_LEN = 22 };
char *crypto_id(void *mem);

/* RFC 9562 version 4, in small letters. */
char *crypto_uuid(void *mem);

void crypto_sha256(uint8_t out[CRYPTO_HASH_BYTES], const void *bytes, size_t len);

/* The key may have any length. */
void crypto_hmac(uint8_t out[CRYPTO_HASH_BYTES], const void *key, size_t key_len, const void *bytes,
                 size_t len);

/* Takes the same time wherever the difference is. */
bool crypto_equal(const void *a, const void *b, size_t len);

void crypto_wipe(void *bytes, size_t len);
