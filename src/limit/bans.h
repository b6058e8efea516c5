/* Networks that are refused for a time: few, in a list that is copied whole. Kept in a file of the
 * data folder, a line each: NETWORK UNTIL (ms since the epoch). */
#pragma once

#include "core/address.h"
#include "core/task.h"

enum { BANS_MOST = 1000 };

struct ban {
    struct network network;
    int64_t until_ms; /* since the epoch */
};

struct bans {
    size_t count;
    struct ban of[];
};

/* A copy with that network banned until then, or no longer if that is past; what has ended is left
 * out. NULL if there are too many. */
struct bans *bans_with(void *mem, const struct bans *bans, const struct network *network,
                       int64_t until_ms, int64_t now_ms);

bool bans_same(const struct bans *a, const struct bans *b);

/* Until when the address is banned; 0 if it is not. */
int64_t bans_find(const struct bans *bans, const struct address *address, int64_t now_ms);

/* No file is no bans; lines that make no sense are left out. */
struct bans *bans_read(void *mem, const char *path, int64_t now_ms);

/* Replaces the file as a whole. False if it cannot, and errno says why. */
bool bans_write(const struct bans *bans, const char *path);

/* 203.0.113.0/24, as it was given. */
const char *ban_text(void *mem, const struct network *network);
