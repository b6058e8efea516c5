/* Networks that are refused for a time: few, in a list that is copied whole. Each is a decision, of
 * which the later one about the same network holds on every instance; so one that has ended or
 * lifts a ban is remembered too, for as long as a ban may last. Kept in a file of the data folder,
 * a line each: NETWORK UNTIL DECIDED (ms since the epoch; DECIDED is missing in older files). */
#pragma once

#include "core/address.h"
#include "core/task.h"

enum { BANS_MOST = 1000 /* in force; and as many that are over */, BANS_READ = 2 * BANS_MOST };

struct ban {
    struct network network;
    int64_t until_ms;   /* since the epoch; 0: it was lifted */
    int64_t decided_ms; /* as well */
};

struct bans {
    size_t count;
    struct ban of[]; /* in the order of the networks */
};

/* It is in force. */
bool ban_holds(const struct ban *ban, int64_t now_ms);

/* Of both lists the later decision about each network; without those that are of no use any more
 * and, where there are too many, the earliest decisions. */
struct bans *bans_merge(void *mem, const struct bans *a, const struct bans *b, int64_t now_ms);

/* An empty list with room for BANS_READ. */
struct bans *bans_new(void *mem);

/* Puts a list in order that was filled in any, and leaves one decision about each network. */
void bans_sort(struct bans *bans);

/* Those in force. */
struct bans *bans_in_force(void *mem, const struct bans *bans, int64_t now_ms);

bool bans_same(const struct bans *a, const struct bans *b);

/* The decision about just that network; NULL: there is none. */
const struct ban *bans_about(const struct bans *bans, const struct network *network);

/* The ban that holds for the address, or for the IPv4 address that it stands for
 * (address_behind()); NULL if there is none. */
const struct ban *bans_find(const struct bans *bans, const struct address *address, int64_t now_ms);

/* Its times are such as clocks say. */
bool ban_makes_sense(const struct ban *ban);

/* UNTIL DECIDED, as they stand behind a network. False: they make no sense. */
bool ban_read_times(const char *text, struct ban *ret);

/* No file is no bans; lines that make no sense are left out. */
struct bans *bans_read(void *mem, const char *path, int64_t now_ms);

/* Replaces the file as a whole. False if it cannot, and errno says why. */
bool bans_write(const struct bans *bans, const char *path);

/* 203.0.113.0/24, as it was given. */
const char *ban_text(void *mem, const struct network *network);
