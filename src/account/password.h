/* Password hashing: Argon2id (RFC 9106) by libsodium, stored in the PHC string format.
 *
 * Passwords are NFC-normalised, never cut. Each call takes its time and memory on the calling
 * thread: the hash lane's. */
#pragma once

#include "core/task.h"

#include <stdint.h>

struct password_cost {
    int64_t memory_kib;
    int64_t passes;
};

/* ERR_BUSY when there is no memory for it. *ret is in the task's memory. */
must_check enum err password_hash(struct task *task, const struct password_cost *cost,
                                  const char *password, const char **ret);

/* Whether `stored` was made from the password. NULL, or a form that is not ours, never matches and
 * takes the time of a hash at this cost all the same. */
must_check enum err password_verify(struct task *task, const struct password_cost *cost,
                                    const char *stored, const char *password, bool *ret_matches);
