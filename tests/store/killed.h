/* A process that opens a store, writes to it until it is killed, and tells what was acknowledged.
 * cmocka assertions; on the main thread. */
#pragma once

#include "core/crypto.h"
#include "store/store.h"

#include <sys/types.h>

/* What it tells of one user. */
struct acknowledged {
    char email[64], session_id[CRYPTO_ID_LEN + 1], token[CRYPTO_ID_LEN + 1];
};

enum { KILLED_WRITERS = 4 }; /* threads of it, each with one write under way */

/* Registers again and again, and refreshes every session once. `open` is that of struct
 * contract_store. *ret_pipe: what it tells, an entry after the other. */
pid_t killed_start(struct task *task, struct store *(*open)(struct task *task, const char *folder),
                   const char *folder, int *ret_pipe);

/* With SIGKILL. */
void killed_end(pid_t pid);

/* Up to `least` entries in all, or until the pipe ends; the list grows in `mem`. */
struct acknowledged *killed_read(void *mem, int fd, struct acknowledged *list, size_t *count,
                                 size_t least);

/* That the store has all of it. */
void assert_kept(struct task *task, struct store *store, const struct acknowledged *a);
