/* What the limiter has Redis do: Lua scripts (limit/lua/) that each decide and write in one step,
 * the requests that run them, and what their replies mean. Pure; any thread.
 *
 * A key's value is its log: times in us, 8 bytes each (big-endian), oldest first, at most twice the
 * largest limit of its rule. Times are Redis's own (TIME) plus a shift, in us, by which all
 * instances make up for a clock that was set; each call says what time it expects, and one that is
 * off by more than a second answers SCRIPT_CLOCK and does nothing. */
#pragma once

#include "limit/memory.h"

#include <hiredis/hiredis.h>

enum script {
    SCRIPT_ONE,   /* one key, or several that are charged each by itself */
    SCRIPT_ALL,   /* several keys, of one slot of a cluster: all are charged, or none */
    SCRIPT_MERGE, /* adds times by their ages, a piece once */
    SCRIPT_FORGIVE,
    SCRIPT_BEAT,   /* this instance lives; what do the others say? */
    SCRIPT_CLOCK,  /* which shift makes the clock right? */
    SCRIPT_TIME,   /* with the shift */
    SCRIPT_RESET,  /* tells all instances that a key is */
    SCRIPT_DECIDE, /* whether a network is banned */
    SCRIPTS
};

enum {
    SCRIPT_HASH_HEX = 40,
    SCRIPT_TAIL = 512,    /* times of a log, that an answer has at most */
    SCRIPT_KEPT_S = 3700, /* a log is kept for so long beyond the longest window */
};

/* The text of a script, and its SHA-1 in hexadecimal, by which EVALSHA names it. */
const char *script_text(enum script script);
const char *script_hash(enum script script);

/* Prepares rule->wire, the arguments that every call for the rule has; the text is in `mem`. */
void script_compile_rule(void *mem, struct rule *rule);

/* The script that decides about a request with so many keys. */
enum script script_for(unsigned count);

struct script_clock {
    int64_t shift_us, expected_us; /* 0: no time is expected */
};

/* The hash slot of the key in a Redis cluster. */
uint16_t script_slot(const char *key);

/* Adds a whole command (RESP) that decides, for SCRIPT_ONE any number of keys by the same rule, for
 * SCRIPT_ALL those of one request; `times` says how often the limits hold for each (limit_times();
 * NULL: once for all). `whole`: with the script's text, for a Redis that does not know it. */
void script_put_ask(struct text *out, enum script script, bool whole, const char *const *keys,
                    const uint32_t *times, unsigned count, const struct rule *rule,
                    const struct script_clock *clock);

/* Redis keeps beside each log which piece of each instance arrived last, under this prefix and the
 * key of the log. */
#define SCRIPT_HANDED_PREFIX "manus:handed:"

struct script_piece {
    const char *instance;
    uint64_t id;
    const char *ages; /* us, 8 bytes each (big-endian), oldest first */
    size_t ages_len;
};

void script_put_merge(struct text *out, bool whole, const char *key, uint32_t times,
                      const struct rule *rule, const struct script_clock *clock,
                      const struct script_piece *piece);
void script_put_forgive(struct text *out, bool whole, const char *key, int64_t at_us);

/* Adds any command: words and their lengths. script_put_words(): 16 words at most. */
void script_put_command(struct text *out, unsigned count, const char *const *words,
                        const size_t *lengths);
void script_put_words(struct text *out, unsigned count, const char *const *words);

enum script_outcome { SCRIPT_ADMITTED, SCRIPT_REFUSED, SCRIPT_NONSENSE };

struct script_answer {
    enum script_outcome outcome;
    struct verdict verdict;
    int64_t now_us;            /* Redis's clock and the shift */
    uint32_t held[LIMIT_KEYS]; /* times that each log held before */
    bool refused[LIMIT_KEYS];  /* which of the keys refuses */
    struct verdict each[LIMIT_KEYS];
};

/* A reply of Redis that is read part by part: one part for each request of a batch, in their
 * order. */
struct script_reply {
    const char *bytes;
    size_t left;
};

/* Begins to read a reply. NULL, or a reply of another type, has no parts. */
void script_open_reply(const redisReply *reply, struct script_reply *ret);

/* True if the script found the clock of Redis off the expected time. Then it has charged
 * nothing. */
bool script_says_clock_is_off(const redisReply *reply);

/* Whether a clock can show this time. */
bool script_is_time(int64_t us);

/* Reads the next part: the answer to one request with so many keys. SCRIPT_NONSENSE if it cannot be
 * read. */
void script_read_ask(struct script_reply *reply, const uint32_t *times, unsigned count,
                     const struct rule *rule, struct script_answer *ret);

/* Judges a log as Redis keeps it by the rule, at a time of the clock of Redis. */
struct verdict script_judge(const char *log, size_t len, const struct rule *rule, int64_t now_us);
