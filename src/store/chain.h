/* The refresh tokens of one session: the rule by which they follow each other.
 *
 * Every refresh hands out a successor, which is fixed when it is first handed out: the same token
 * refreshed again gets the same successor. A token stays good until its successor is used for the
 * first time, and for a grace after that (lost replies, second tabs); its use after the grace means
 * that somebody else has a copy, and ends the session. A client that ignores successors goes on
 * with its first token until that expires. CHAIN_LINKS tokens are remembered: of more that follow
 * each other within the grace, the oldest count as replaced.
 * Pure; both stores run this inside their atomic write. Times: ms; seconds where tokens carry them.
 */
#pragma once

#include "core/crypto.h"

#include <stdint.h>

enum { CHAIN_LINKS = 16, CHAIN_GRACE_MS = 10000 };

struct chain_link {
    char id[CRYPTO_ID_LEN + 1]; /* the token's jti */
    int64_t issued_s, expires_s;
    int64_t used_ms; /* first use; 0: never */
};

/* Oldest first; each link's successor stands behind it. */
struct chain {
    struct chain_link links[CHAIN_LINKS];
    unsigned count;
};

enum chain_outcome {
    CHAIN_ROTATED,
    CHAIN_REUSED, /* end the session */
};

struct chain chain_begin(const char *id, int64_t issued_s, int64_t expires_s);

/* Uses the token `id`. `fresh` becomes its successor if it has none yet; *ret_successor is the one
 * that counts. Links that are past their grace are forgotten. */
enum chain_outcome chain_use(struct chain *chain, const char *id, const struct chain_link *fresh,
                             int64_t now_ms, struct chain_link *ret_successor);

/* The stored form, and back; false if it is no chain. */
char *chain_text(void *mem, const struct chain *chain);
bool chain_parse(const char *text, struct chain *ret);
