/* The reader of tokens: once with the bytes as they are, once with header and claims made from them
 * and rightly signed, so that what stands behind the signature is reached too. */
#include "account/token.h"
#include "core/text.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char key[] = "kq3Vd8Zr1nW5xT7bLmY0cHf2GsJ9pQeA4uRi6oXv";

enum { NOW_S = 1800000000 };

static struct settings *settings_with_key(void)
{
    static struct settings settings;

    if (settings.jwt_secret == NULL) {
        crypto_start();
        settings.jwt_secret = secret_new(NULL, key, sizeof key - 1);
    }
    return &settings;
}

/* header '\n' claims */
static const char *sign(void *mem, const uint8_t *bytes, size_t len)
{
    const uint8_t *line = memchr(bytes, '\n', len);
    size_t header_len = line == NULL ? 0 : (size_t)(line - bytes);
    const uint8_t *claims = line == NULL ? bytes : line + 1;
    struct text token = text_open(mem, 256);
    uint8_t signature[CRYPTO_HASH_BYTES];

    text_add(&token, header_len == 0 ? "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
                                     : text_base64url(mem, bytes, header_len));
    text_char(&token, '.');
    text_add(&token, text_base64url(mem, claims, len - (size_t)(claims - bytes)));
    crypto_hmac(signature, key, sizeof key - 1, token.s, token.len);
    text_char(&token, '.');
    text_add(&token, text_base64url(mem, signature, sizeof signature));
    return token.s;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const struct settings *settings = settings_with_key();
    auto_tree void *mem = mem_tree(0);
    const struct token_claims *claims;

    assert(token_verify(mem, settings, mem_copy(mem, (const char *)bytes, len), NOW_S) == NULL);
    claims = token_verify(mem, settings, sign(mem, bytes, len), NOW_S);
    if (claims != NULL) {
        assert(*claims->user_id != '\0' && claims->expires_s > NOW_S);
        assert((claims->id == NULL) == (claims->session_id == NULL));
    }
    return 0;
}
