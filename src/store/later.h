/* A write that an event loop hands over instead of waiting for it.
 *
 * Until done() the store owns the task and all that the write points to, and whoever began it
 * touches nothing of them but `gone`. It happens, or does not, by the rules of a write that is
 * waited for: durable before done(OK); ERR_BUSY when its task's deadline came first, or at once,
 * without done(), when that has passed or too many wait. While half of those that may do, one owner
 * has an eighth of them at most. */
#pragma once

#include "core/err.h"

#include <stdatomic.h>
#include <stdint.h>

struct store_later {
    /* On the loop that began it; on a thread of the store's if no loop did. */
    void (*done)(struct store_later *later, enum err e);
    /* Nobody wants it any more: unless it has begun it does not happen, and that is ERR_GONE. */
    const atomic_bool *gone;
    /* Whose it is: a user's or a customer's identifier; NULL: nobody's. */
    const char *owner;

    int64_t began_us; /* from here on: the store's own */
    unsigned operation;
};
