#include "account/password.h"

#include "core/crypto.h"
#include "core/unicode.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

/* The caller wipes it. */
static char *normal_form(struct task *task, const char *password)
{
    return unicode_nfc(task->mem, password);
}

enum err password_hash(struct task *task, const struct password_cost *cost, const char *password,
                       const char **ret)
{
    char *normal = normal_form(task, password);
    char *hash = mem_zero(task->mem, crypto_pwhash_STRBYTES);
    int wrong = crypto_pwhash_str(hash, normal, strlen(normal), (unsigned long long)cost->passes,
                                  (size_t)cost->memory_kib * 1024);

    crypto_wipe(normal, strlen(normal));
    if (wrong != 0)
        return fail(task, ERR_BUSY, "no memory for a password hash");
    *ret = hash;
    return OK;
}

/* A stored hash that no password fits, at the cost of one that some password does. */
static const char *decoy(struct task *task, const struct password_cost *cost)
{
    char salt[24], hash[48];
    uint8_t random[32];

    crypto_random(random, sizeof random);
    sodium_bin2base64(salt, sizeof salt, random, 16, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    sodium_bin2base64(hash, sizeof hash, random, 32, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    return mem_printf(task->mem, "$argon2id$v=19$m=%lld,t=%lld,p=1$%s$%s",
                      (long long)cost->memory_kib, (long long)cost->passes, salt, hash);
}

enum err password_verify(struct task *task, const struct password_cost *cost, const char *stored,
                         const char *password, bool *ret_matches)
{
    bool is_ours = stored != NULL && strncmp(stored, "$argon2id$", 10) == 0;
    char *normal = normal_form(task, password);
    int wrong;

    if (!is_ours)
        stored = decoy(task, cost);
    errno = 0;
    wrong = crypto_pwhash_str_verify(stored, normal, strlen(normal));
    crypto_wipe(normal, strlen(normal));
    *ret_matches = wrong == 0 && is_ours;
    /* A mismatch is EINVAL; without it the hash was not computed. */
    if (wrong != 0 && errno != EINVAL)
        return fail(task, ERR_BUSY,
                    "a password hash cannot be computed: no memory, or a damaged hash");
    return OK;
}
