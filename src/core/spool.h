/* Bytes of any number that are written once and then read whole, such as a long reply: the first in
 * memory, more in a file without a name, which is mapped at the end. So they cost no memory that
 * could not be had back at once, and are gone with their owner however the process ends.
 *
 * One thread at a time. All spools of the process together hold SPOOL_BYTES at most, and leave
 * SPOOL_SPARE_BYTES of the disk. */
#pragma once

#include "core/task.h"
#include "core/text.h"

enum { SPOOL_MEMORY_BYTES = 64 << 10, SPOOL_BYTES = 1 << 30, SPOOL_SPARE_BYTES = 64 << 20 };

struct spool {
    struct text text; /* what comes next is put here; spool_flush() now and then keeps it short */
    const char *folder;
    struct spool_file *file; /* NULL: all is in `text` */
};

/* What is put lives in the task's memory. `folder`: where a file may be made. */
struct spool spool_open(struct task *task, const char *folder);

/* To be called after each piece. ERR_STORE_FULL: the disk is; ERR_BUSY: others hold too much;
 * ERR_STORE: the file cannot be written. */
must_check enum err spool_flush(struct task *task, struct spool *spool);

/* All of it, for as long as the task's memory lives. */
must_check enum err spool_end(struct task *task, struct spool *spool, const char **ret,
                              size_t *ret_len);
