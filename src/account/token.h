/* The tokens that people carry: JSON Web Tokens (RFC 7519) in one strict profile. Refresh tokens,
 * which nobody else verifies, by HMAC-SHA-256; access tokens so too, or by Ed25519, as
 * JWT_ALGORITHM says: so no refresh token can be taken for an access token by who has public keys.
 *
 * The algorithm is ours, never read from a token. Signed with JWT_SECRET_KEY, or the key that is
 * derived from it; verified with it and with JWT_SECRET_KEY_PREVIOUS. Pure; any thread. Times:
 * seconds since the epoch. */
#pragma once

#include "core/settings.h"
#include "store/store.h"

enum token_type { TOKEN_ACCESS, TOKEN_REFRESH };

enum { TOKEN_BYTES = 4096 };

struct token_claims {
    enum token_type type;
    const char *user_id;
    const char *fullname;   /* may be empty */
    const char *id;         /* jti and sid: both, or NULL both in tokens that the system which */
    const char *session_id; /* manus replaces has issued */
    int64_t issued_s, expires_s;
};

/* The claims, in `mem`; NULL if the token is not one of ours, is altered or has expired. */
struct token_claims *token_verify(void *mem, const struct settings *settings, const char *token,
                                  int64_t now_s);

/* `user` fills what an access token tells beside the claims; refresh tokens do not look at it. */
char *token_sign(void *mem, const struct settings *settings, const struct token_claims *claims,
                 const struct user *user);
