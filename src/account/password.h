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
must_check enum err password_hash(struct task *task, const struct settings *settings,
                                  const char *password, const char **ret);

/* Whether `stored` was made from the password. NULL, or a form that is unknown, never matches; a
 * wrong password takes the time of an Argon2id hash whatever the stored form. */
must_check enum err password_verify(struct task *task, const struct settings *settings,
                                    const char *stored, const char *password,
                                    enum password_answer *ret);

/* PASSWORD_MIN_LENGTH and PASSWORD_COMMON for a password that somebody chooses. ERR_INVALID with
 * its text; *ret_common tells whether it is one of the most common. */
must_check enum err password_check(struct task *task, const struct settings *settings,
                                   const char *password, bool *ret_common);
