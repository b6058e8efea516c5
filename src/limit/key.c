#include "limit/key.h"

#include "core/address.h"
#include "core/crypto.h"

#include <assert.h>
#include <string.h>

static const char *const names[LIMIT_KINDS] = {"ip",   "net",     "net56", "net48",
                                               "user", "session", "email", "login"};

static void put_hash(struct limit_key *key, const char *id, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[CRYPTO_HASH_BYTES];

    crypto_sha256(hash, id, len);
    key->len = LIMIT_ID_BYTES;
    for (size_t i = 0; i < LIMIT_ID_BYTES; i++)
        key->id[i] = digits[i % 2 == 0 ? hash[i / 2] >> 4 : hash[i / 2] & 15];
}

struct limit_key limit_key(uint16_t route, enum limit_kind kind, const char *id)
{
    struct limit_key key = {.route = route, .kind = (uint8_t)kind};
    size_t len = strlen(id);

    assert(kind < LIMIT_KINDS);
    if (len > LIMIT_ID_BYTES) {
        put_hash(&key, id, len);
    } else {
        key.len = (uint8_t)len;
        memcpy(key.id, id, len);
    }
    return key;
}

bool limit_key_parse(const char *text, enum limit_kind *ret_kind, const char **ret_id)
{
    const char *name = strchr(text, ':');
    size_t len = name == NULL ? 0 : strcspn(++name, ":");

    if (len == 0 || name[len] == '\0' || name[len + 1] == '\0')
        return false;
    for (int kind = 0; kind < LIMIT_KINDS; kind++) {
        if (strlen(names[kind]) == len && strncmp(names[kind], name, len) == 0) {
            *ret_kind = (enum limit_kind)kind;
            *ret_id = name + len + 1;
            return true;
        }
    }
    return false;
}

uint32_t limit_times(const struct limit_key *key)
{
    return key->kind == LIMIT_NET56   ? address_networks[1].times
           : key->kind == LIMIT_NET48 ? address_networks[2].times
                                      : 1;
}

void limit_key_add(struct text *out, const struct limit_key *key)
{
    assert(key->kind < LIMIT_KINDS && key->len <= LIMIT_ID_BYTES);
    text_add(out, names[key->kind]);
    text_char(out, ':');
    text_put(out, key->id, key->len);
}
