#include "account/password.h"

#include "core/crypto.h"
#include "core/loop.h"
#include "core/unicode.h"
#include "passwords_data.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MOST_TIMES_DEARER = 8 };
enum { OLD_KEY_BYTES = 32, OLD_HEX_LEN = 64, OLD_BASE64_LEN = 44, COMMON_BYTES = 64 };

/* What 0 rounds meant in the two versions of the replaced system. */
enum { OLD_HEX_ROUNDS = 10, OLD_BASE64_ROUNDS = 100000 };

/* Argon2id */

static size_t memory_bytes(const struct settings *settings)
{
    return (size_t)settings->argon2_memory * 1024;
}

enum err password_hash(struct task *task, const char *password, const char **ret)
{
    char *normal = unicode_nfc(task->mem, password);
    char *hash = mem_zero(task->mem, crypto_pwhash_STRBYTES);
    int wrong = crypto_pwhash_str(hash, normal, strlen(normal),
                                  (unsigned long long)task->settings->argon2_passes,
                                  memory_bytes(task->settings));

    assert_off_loops();
    crypto_wipe(normal, strlen(normal));
    if (wrong != 0)
        return fail(task, ERR_BUSY, "no memory for a password hash");
    *ret = hash;
    return OK;
}

/* Of an Argon2id hash: the KiB that it goes through. */
static int64_t cost_in_force(const struct settings *settings)
{
    return settings->argon2_memory * settings->argon2_passes;
}

/* 0 if the text is no whole Argon2id hash. */
static int64_t cost_of(const char *stored)
{
    static const char begin[] = "$argon2id$v=19$m=";
    uint32_t memory, passes;
    char *at;

    if (strncmp(stored, begin, sizeof begin - 1) != 0 ||
        crypto_pwhash_str_needs_rehash(stored, 1, crypto_pwhash_MEMLIMIT_MIN) < 0)
        return 0;
    memory = (uint32_t)strtoul(stored + sizeof begin - 1, &at, 10);
    if (strncmp(at, ",t=", 3) != 0)
        return 0;
    passes = (uint32_t)strtoul(at + 3, &at, 10);
    return *at == ',' ? (int64_t)memory * passes : 0;
}

/* What every attempt costs: as much as a hash at the cost in force, or as the dearest that was met,
 * since others were set before. A damaged hash does not set the price for everybody. */
static int64_t price(const struct settings *settings, int64_t stored_cost)
{
    static _Atomic int64_t dearest;
    int64_t in_force = cost_in_force(settings), known = atomic_load(&dearest);

    if (stored_cost > known && stored_cost <= MOST_TIMES_DEARER * in_force) {
        atomic_store(&dearest, stored_cost);
        known = stored_cost;
    }
    return known > in_force ? known : in_force;
}

/* The work of a hash that nobody needs. ERR_BUSY when there is no memory for it. */
static enum err work(struct task *task, const char *normal, int64_t cost)
{
    static const uint8_t salt[crypto_pwhash_SALTBYTES];
    uint8_t hash[32];
    int64_t passes = cost / task->settings->argon2_memory;
    int64_t memory = passes > 0 ? task->settings->argon2_memory : cost;

    if (memory * 1024 < (int64_t)crypto_pwhash_MEMLIMIT_MIN)
        return OK;
    if (crypto_pwhash(hash, sizeof hash, normal, strlen(normal), salt,
                      (unsigned long long)(passes > 0 ? passes : 1), (size_t)memory * 1024,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return fail(task, ERR_BUSY, "no memory for a password hash");
    return OK;
}

/* `stored` NULL, or damaged, matches nothing at the same price. */
static enum err verify_argon2(struct task *task, const char *stored, const char *normal,
                              bool *ret_matches)
{
    int64_t cost = stored == NULL ? 0 : cost_of(stored), left = price(task->settings, cost);

    *ret_matches = false;
    if (cost > 0) {
        errno = 0;
        *ret_matches = crypto_pwhash_str_verify(stored, normal, strlen(normal)) == 0;
        /* A mismatch is EINVAL; without it the hash was not computed. */
        if (!*ret_matches && errno != EINVAL) {
            if (cost <= cost_in_force(task->settings))
                return fail(task, ERR_BUSY, "no memory for a password hash");
            cost = 0;
        }
    }
    return left > cost ? work(task, normal, left - cost) : OK;
}

/* The replaced system */

static bool encode_old(const uint8_t key[OLD_KEY_BYTES], bool is_hex, char out[OLD_HEX_LEN + 1])
{
    if (is_hex)
        return sodium_bin2hex(out, OLD_HEX_LEN + 1, key, OLD_KEY_BYTES) != NULL;
    return sodium_bin2base64(out, OLD_HEX_LEN + 1, key, OLD_KEY_BYTES,
                             sodium_base64_VARIANT_ORIGINAL) != NULL;
}

static bool derive_old(const char *salt, const char *password, int64_t rounds,
                       uint8_t key[OLD_KEY_BYTES])
{
    return PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const uint8_t *)salt,
                             (int)strlen(salt), (int)rounds, EVP_sha256(), OLD_KEY_BYTES, key) == 1;
}

/* `stored` NULL, or of another form, matches nothing at the same price. */
static bool matches_old(const struct settings *settings, const char *stored, const char *password)
{
    const struct secret *secret = settings->password_salt;
    const char *salt = secret == NULL ? "" : (const char *)secret->bytes;
    size_t salt_len = strlen(salt), len = stored == NULL ? 0 : strlen(stored);
    bool is_hex = len == salt_len + OLD_HEX_LEN, is_base64 = len == salt_len + OLD_BASE64_LEN;
    int64_t rounds = settings->password_rounds == 0 ? OLD_BASE64_ROUNDS : settings->password_rounds;
    uint8_t key[OLD_KEY_BYTES];
    char text[OLD_HEX_LEN + 1];
    bool derived = derive_old(salt, password, rounds, key);

    if (is_hex && settings->password_rounds == 0)
        derived = derive_old(salt, password, OLD_HEX_ROUNDS, key);
    return derived && (is_hex || is_base64) && crypto_equal(stored, salt, salt_len) &&
           encode_old(key, is_hex, text) && crypto_equal(stored + salt_len, text, len - salt_len);
}

enum err password_verify(struct task *task, const char *stored, const char *password,
                         enum password_answer *ret)
{
    bool is_ours = stored != NULL && strncmp(stored, "$argon2id$", 10) == 0, matches;
    bool is_old = matches_old(task->settings, is_ours ? NULL : stored, password);
    char *normal = unicode_nfc(task->mem, password);
    enum err e = verify_argon2(task, is_ours ? stored : NULL, normal, &matches);

    assert_off_loops();
    crypto_wipe(normal, strlen(normal));
    *ret = is_old ? PASSWORD_OUTDATED : PASSWORD_WRONG;
    if (e != OK || !matches)
        return e;
    *ret = crypto_pwhash_str_needs_rehash(stored, (unsigned long long)task->settings->argon2_passes,
                                          memory_bytes(task->settings)) == 0
               ? PASSWORD_RIGHT
               : PASSWORD_OUTDATED;
    return OK;
}

/* Choosing */

/* The list is sorted text, a word a line, each in lower case. */
static bool is_listed(const char *word)
{
    const char *low = embedded_common_passwords_txt;
    const char *high = low + sizeof embedded_common_passwords_txt - 1;
    size_t len = strlen(word);

    while (low < high) {
        const char *line = low + (high - low) / 2, *end;
        int order;

        while (line > low && line[-1] != '\n')
            line--;
        end = memchr(line, '\n', (size_t)(high - line));
        order = strncmp(word, line, len);
        if (order == 0 && line + len == end)
            return true;
        if (order <= 0)
            high = line;
        else
            low = end + 1;
    }
    return false;
}

bool password_is_common(const char *password)
{
    char word[COMMON_BYTES];
    size_t len = strlen(password);
    bool listed;

    if (len >= sizeof word)
        return false;
    for (size_t i = 0; i <= len; i++)
        word[i] = (char)tolower((unsigned char)password[i]);
    listed = is_listed(word);
    crypto_wipe(word, sizeof word);
    return listed;
}

enum err password_check(struct task *task, const char *name, const char *password, bool *ret_common)
{
    char *normal = unicode_nfc(task->mem, password);
    size_t length = unicode_length(normal);

    crypto_wipe(normal, strlen(normal));
    *ret_common = false;
    if (length < (size_t)task->settings->password_min)
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem, "%s must be at least %d characters long", name,
                               (int)task->settings->password_min));
    *ret_common = task->settings->password_common != PASSWORD_COMMON_ALLOW &&
                  password_is_common(password);
    if (*ret_common && task->settings->password_common == PASSWORD_COMMON_REFUSE)
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem, "%s is too common: choose another one", name));
    return OK;
}
