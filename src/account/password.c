#include "account/password.h"

#include "core/crypto.h"
#include "core/unicode.h"
#include "passwords_data.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

enum { OLD_KEY_BYTES = 32, OLD_HEX_LEN = 64, OLD_BASE64_LEN = 44, COMMON_BYTES = 64 };

/* What 0 rounds meant in the two versions of the replaced system. */
enum { OLD_HEX_ROUNDS = 10, OLD_BASE64_ROUNDS = 100000 };

/* Argon2id */

static size_t memory_bytes(const struct settings *settings)
{
    return (size_t)settings->argon2_memory * 1024;
}

enum err password_hash(struct task *task, const struct settings *settings, const char *password,
                       const char **ret)
{
    char *normal = unicode_nfc(task->mem, password);
    char *hash = mem_zero(task->mem, crypto_pwhash_STRBYTES);
    int wrong = crypto_pwhash_str(hash, normal, strlen(normal),
                                  (unsigned long long)settings->argon2_passes,
                                  memory_bytes(settings));

    crypto_wipe(normal, strlen(normal));
    if (wrong != 0)
        return fail(task, ERR_BUSY, "no memory for a password hash");
    *ret = hash;
    return OK;
}

/* A stored hash that no password fits, at the cost of one that some password does. */
static const char *decoy(struct task *task, const struct settings *settings)
{
    char salt[24], hash[48];
    uint8_t random[32];

    crypto_random(random, sizeof random);
    sodium_bin2base64(salt, sizeof salt, random, 16, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    sodium_bin2base64(hash, sizeof hash, random, 32, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    return mem_printf(task->mem, "$argon2id$v=19$m=%lld,t=%lld,p=1$%s$%s",
                      (long long)settings->argon2_memory, (long long)settings->argon2_passes, salt,
                      hash);
}

static enum err verify_argon2(struct task *task, const char *stored, const char *password,
                              bool *ret_matches)
{
    char *normal = unicode_nfc(task->mem, password);
    int wrong;

    errno = 0;
    wrong = crypto_pwhash_str_verify(stored, normal, strlen(normal));
    crypto_wipe(normal, strlen(normal));
    *ret_matches = wrong == 0;
    /* A mismatch is EINVAL; without it the hash was not computed. */
    if (wrong != 0 && errno != EINVAL)
        return fail(task, ERR_BUSY,
                    "a password hash cannot be computed: no memory, or a damaged hash");
    return OK;
}

/* The replaced system */

static bool encode_old(const uint8_t key[OLD_KEY_BYTES], bool is_hex, char out[OLD_HEX_LEN + 1])
{
    if (is_hex)
        return sodium_bin2hex(out, OLD_HEX_LEN + 1, key, OLD_KEY_BYTES) != NULL;
    return sodium_bin2base64(out, OLD_HEX_LEN + 1, key, OLD_KEY_BYTES,
                             sodium_base64_VARIANT_ORIGINAL) != NULL;
}

static bool matches_old(const struct settings *settings, const char *stored, const char *password)
{
    const struct secret *salt = settings->password_salt;
    const char *salt_text = salt == NULL ? "" : (const char *)salt->bytes;
    size_t salt_len = strlen(salt_text), len = strlen(stored);
    bool is_hex = len == salt_len + OLD_HEX_LEN;
    int64_t rounds = settings->password_rounds;
    uint8_t key[OLD_KEY_BYTES];
    char text[OLD_HEX_LEN + 1];

    if (!is_hex && len != salt_len + OLD_BASE64_LEN)
        return false;
    if (rounds == 0)
        rounds = is_hex ? OLD_HEX_ROUNDS : OLD_BASE64_ROUNDS;
    return crypto_equal(stored, salt_text, salt_len) &&
           PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const uint8_t *)salt_text,
                             (int)salt_len, (int)rounds, EVP_sha256(), sizeof key, key) == 1 &&
           encode_old(key, is_hex, text) && crypto_equal(stored + salt_len, text, len - salt_len);
}

enum err password_verify(struct task *task, const struct settings *settings, const char *stored,
                         const char *password, enum password_answer *ret)
{
    bool is_ours = stored != NULL && strncmp(stored, "$argon2id$", 10) == 0, matches;
    enum err e;

    *ret = PASSWORD_WRONG;
    if (stored != NULL && !is_ours && matches_old(settings, stored, password)) {
        *ret = PASSWORD_OUTDATED;
        return OK;
    }
    e = verify_argon2(task, is_ours ? stored : decoy(task, settings), password, &matches);
    if (e != OK || !matches || !is_ours)
        return e;
    *ret = crypto_pwhash_str_needs_rehash(stored, (unsigned long long)settings->argon2_passes,
                                          memory_bytes(settings)) == 0
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

static bool is_common(const char *password)
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

enum err password_check(struct task *task, const struct settings *settings, const char *password,
                        bool *ret_common)
{
    *ret_common = false;
    if (unicode_length(password) < (size_t)settings->password_min)
        return fail(task, ERR_INVALID,
                    mem_printf(task->mem, "Password must be at least %d characters long",
                               (int)settings->password_min));
    *ret_common = settings->password_common != PASSWORD_COMMON_ALLOW && is_common(password);
    if (*ret_common && settings->password_common == PASSWORD_COMMON_REFUSE)
        return fail(task, ERR_INVALID, "Password is too common: choose another one");
    return OK;
}
