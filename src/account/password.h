/* Passwords: what may be one, and how they are kept.
 *
 * Kept as Argon2id (RFC 9106) by libsodium, in the PHC string format; NFC-normalised, never cut.
 * The hashes of the system that manus replaces are understood too: the salt, then PBKDF2 with
 * HMAC-SHA-256 of the bytes as sent, as 64 hexadecimal digits or as padded base64.
 * Hashing takes its time and memory on the calling thread: the hash lane's. */
#pragma once

#include "core/settings.h"
#include "core/task.h"

enum password_answer {
    PASSWORD_WRONG,
    PASSWORD_RIGHT,
    PASSWORD_OUTDATED, /* right, and kept in an old form or at another cost: to be hashed anew */
};

/* ERR_BUSY when there is no memory for it. *ret is in the task's memory. */
must_check enum err password_hash(struct task *task, const char *password, const char **ret);

/* Whether `stored` was made from the password. NULL, or a form that is unknown or damaged, never
 * matches. Whatever is stored, the work is the same: a hash of the replaced system at
 * PASSWORD_HASH_ROUNDS, and an Argon2id one at the cost in force or the dearest that was met. */
must_check enum err password_verify(struct task *task, const char *stored, const char *password,
                                    enum password_answer *ret);

/* One of the most common, which who guesses tries first. */
bool password_is_common(const char *password);

/* PASSWORD_MIN_LENGTH, of the characters that are hashed, and PASSWORD_COMMON for a password that
 * somebody chooses. ERR_INVALID with its text, which begins with `name` ("New password");
 * *ret_common tells whether it is one of the most common. */
must_check enum err password_check(struct task *task, const char *name, const char *password,
                                   bool *ret_common);
