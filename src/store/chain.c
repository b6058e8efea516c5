#include "store/chain.h"

#include "core/clock.h"
#include "core/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* By so much a clock may be set back without a grace that is under way being over. */
enum { AHEAD_MS = 3600000 };

struct chain chain_begin(const char *id, int64_t issued_s, int64_t expires_s)
{
    struct chain chain = {.count = 1};

    snprintf(chain.links[0].id, sizeof chain.links[0].id, "%s", id);
    chain.links[0].issued_s = issued_s;
    chain.links[0].expires_s = expires_s;
    return chain;
}

static bool is_past_grace(const struct chain *chain, unsigned i, int64_t now_ms)
{
    int64_t retired_ms = i + 1 < chain->count ? chain->links[i + 1].used_ms : 0;

    return retired_ms != 0 &&
           !clock_holds(retired_ms + CHAIN_GRACE_MS + 1, now_ms, CHAIN_GRACE_MS + AHEAD_MS);
}

static void drop_oldest(struct chain *chain, unsigned count)
{
    chain->count -= count;
    memmove(chain->links, chain->links + count, chain->count * sizeof chain->links[0]);
}

static void forget_retired(struct chain *chain, int64_t now_ms)
{
    unsigned past = 0;

    while (is_past_grace(chain, past, now_ms))
        past++;
    drop_oldest(chain, past);
}

enum chain_outcome chain_use(struct chain *chain, const char *id, const struct chain_link *fresh,
                             int64_t now_ms, struct chain_link *ret_successor)
{
    unsigned i = 0;

    forget_retired(chain, now_ms);
    while (i < chain->count && strcmp(chain->links[i].id, id) != 0)
        i++;
    if (i == chain->count)
        return CHAIN_REUSED;
    if (chain->links[i].used_ms == 0)
        chain->links[i].used_ms = now_ms;
    if (i + 1 == chain->count) {
        if (chain->count == CHAIN_LINKS) {
            drop_oldest(chain, 1);
            i--;
        }
        chain->links[chain->count++] = *fresh;
    }
    *ret_successor = chain->links[i + 1];
    return CHAIN_ROTATED;
}

char *chain_text(void *mem, const struct chain *chain)
{
    struct text text = text_open(mem, 64 * (chain->count + 1));

    for (unsigned i = 0; i < chain->count; i++) {
        const struct chain_link *link = &chain->links[i];

        text_printf(&text, "%s %lld %lld %lld\n", link->id, (long long)link->issued_s,
                    (long long)link->expires_s, (long long)link->used_ms);
    }
    return text.s;
}

/* A number and the byte that must stand behind it; NULL if it is anything else. */
static const char *read_number(const char *at, char end, int64_t *ret)
{
    char *behind;

    errno = 0;
    *ret = strtoll(at, &behind, 10);
    return errno == 0 && behind > at && *behind == end ? behind + 1 : NULL;
}

static const char *read_link(const char *at, struct chain_link *link)
{
    size_t len = strcspn(at, " ");

    if (len != CRYPTO_ID_LEN || at[len] != ' ')
        return NULL;
    memcpy(link->id, at, len);
    at = read_number(at + len + 1, ' ', &link->issued_s);
    at = at == NULL ? NULL : read_number(at, ' ', &link->expires_s);
    return at == NULL ? NULL : read_number(at, '\n', &link->used_ms);
}

bool chain_parse(const char *text, struct chain *ret)
{
    *ret = (struct chain){0};
    while (*text != '\0' && ret->count < CHAIN_LINKS) {
        text = read_link(text, &ret->links[ret->count++]);
        if (text == NULL)
            return false;
    }
    return *text == '\0' && ret->count > 0;
}
