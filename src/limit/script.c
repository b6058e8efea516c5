#include "limit/script.h"

#include "lua_data.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

static const char *const texts[SCRIPTS] = {
    [SCRIPT_ONE] = lua_one,         [SCRIPT_ALL] = lua_all,     [SCRIPT_MERGE] = lua_merge,
    [SCRIPT_FORGIVE] = lua_forgive, [SCRIPT_BEAT] = lua_beat,   [SCRIPT_CLOCK] = lua_clock,
    [SCRIPT_TIME] = lua_time,       [SCRIPT_RESET] = lua_reset, [SCRIPT_DECIDE] = lua_decide,
};

static char hashes[SCRIPTS][SCRIPT_HASH_HEX + 1];

static void hash_texts(void)
{
    for (int i = 0; i < SCRIPTS; i++) {
        uint8_t digest[20];

        EVP_Digest(texts[i], strlen(texts[i]), digest, NULL, EVP_sha1(), NULL);
        for (size_t at = 0; at < sizeof digest; at++)
            snprintf(hashes[i] + 2 * at, 3, "%02x", digest[at]);
    }
}

const char *script_text(enum script script)
{
    assert(script < SCRIPTS);
    return texts[script];
}

const char *script_hash(enum script script)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    assert(script < SCRIPTS);
    pthread_once(&once, hash_texts);
    return hashes[script];
}

/* Requests */

static void put_bulk(struct text *out, const char *bytes, size_t len)
{
    text_char(out, '$');
    text_int(out, (int64_t)len);
    text_put(out, "\r\n", 2);
    text_put(out, bytes, len);
    text_put(out, "\r\n", 2);
}

static void put_number(struct text *out, int64_t number)
{
    char digits[24];
    struct text text = text_borrow(out->mem, digits, sizeof digits);

    text_int(&text, number);
    put_bulk(out, text.s, text.len);
}

void script_put_command(struct text *out, unsigned count, const char *const *words,
                        const size_t *lengths)
{
    text_char(out, '*');
    text_int(out, count);
    text_put(out, "\r\n", 2);
    for (unsigned i = 0; i < count; i++)
        put_bulk(out, words[i], lengths[i]);
}

void script_put_words(struct text *out, unsigned count, const char *const *words)
{
    size_t lengths[16];

    assert(count <= count_of(lengths));
    for (unsigned i = 0; i < count; i++)
        lengths[i] = strlen(words[i]);
    script_put_command(out, count, words, lengths);
}

/* Redis forgets by its own clock, which may be set forward by an hour. */
static int64_t keep_ms(const struct rule *rule)
{
    return ((int64_t)rule->longest + SCRIPT_KEPT_S) * 1000;
}

void script_compile_rule(void *mem, struct rule *rule)
{
    struct text wire = text_open(mem, 160);

    put_number(&wire, keep_ms(rule));
    put_number(&wire, rule->most);
    for (unsigned i = 0; i < rule->count; i++) {
        put_number(&wire, rule->windows[i].limit);
        put_number(&wire, (int64_t)rule->windows[i].seconds * 1000000);
    }
    rule->wire = wire.s;
    rule->wire_len = wire.len;
}

enum script script_for(unsigned count)
{
    return count > 1 ? SCRIPT_ALL : SCRIPT_ONE;
}

/* CRC16 (XMODEM) of what is between the first braces, or of all if nothing is. */
uint16_t script_slot(const char *key)
{
    const char *open = strchr(key, '{'), *close = open == NULL ? NULL : strchr(open, '}');
    size_t len = strlen(key);
    uint32_t crc = 0;

    if (close != NULL && close > open + 1) {
        key = open + 1;
        len = (size_t)(close - key);
    }
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t)(uint8_t)key[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1 ^ ((crc & 0x8000) != 0 ? 0x1021 : 0)) & 0xffff;
    }
    return crc % 16384;
}

/* EVALSHA or EVAL, up to the keys. */
static void put_head(struct text *out, enum script script, bool whole, unsigned keys,
                     unsigned arguments)
{
    text_char(out, '*');
    text_int(out, 3 + keys + arguments);
    text_put(out, "\r\n", 2);
    if (whole) {
        put_bulk(out, "EVAL", 4);
        put_bulk(out, texts[script], strlen(texts[script]));
    } else {
        put_bulk(out, "EVALSHA", 7);
        put_bulk(out, script_hash(script), SCRIPT_HASH_HEX);
    }
    put_number(out, keys);
}

void script_put_ask(struct text *out, enum script script, bool whole, const char *const *keys,
                    const uint32_t *times, unsigned count, const struct rule *rule,
                    const struct script_clock *clock)
{
    assert(count > 0 && rule->wire != NULL);
    put_head(out, script, whole, count, 4 + 2 * rule->count + (script == SCRIPT_ALL ? count : 0));
    for (unsigned i = 0; i < count; i++)
        put_bulk(out, keys[i], strlen(keys[i]));
    put_number(out, clock->shift_us);
    put_number(out, clock->expected_us);
    text_put(out, rule->wire, rule->wire_len);
    for (unsigned i = 0; script == SCRIPT_ALL && i < count; i++)
        put_number(out, times == NULL ? 1 : times[i]);
}

/* In the slot of the log: by its tag, or by its whole name as one. */
static void put_handed_key(struct text *out, const char *key)
{
    char buffer[256];
    struct text name = text_borrow(out->mem, buffer, sizeof buffer);
    bool tagged = strchr(key, '{') != NULL;

    text_add(&name, SCRIPT_HANDED_PREFIX);
    text_add(&name, tagged ? "" : "{");
    text_add(&name, key);
    text_add(&name, tagged ? "" : "}");
    put_bulk(out, name.s, name.len);
}

void script_put_merge(struct text *out, bool whole, const char *key, uint32_t times,
                      const struct rule *rule, const struct script_clock *clock,
                      const struct script_piece *piece)
{
    put_head(out, SCRIPT_MERGE, whole, 2, 7);
    put_bulk(out, key, strlen(key));
    put_handed_key(out, key);
    put_number(out, clock->shift_us);
    put_number(out, clock->expected_us);
    put_number(out, keep_ms(rule));
    put_number(out, (int64_t)rule->most * times);
    put_bulk(out, piece->ages, piece->ages_len);
    put_bulk(out, piece->instance, strlen(piece->instance));
    put_number(out, (int64_t)piece->id);
}

void script_put_forgive(struct text *out, bool whole, const char *key, int64_t at_us)
{
    put_head(out, SCRIPT_FORGIVE, whole, 1, 1);
    put_bulk(out, key, strlen(key));
    put_number(out, at_us);
}

/* Replies */

#define LATEST_US (INT64_C(1) << 60) /* no clock says a later time */

struct packed {
    const uint8_t *bytes;
    uint32_t count;
};

static int64_t unpack(const uint8_t *bytes)
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return (int64_t)number;
}

/* So that no sum of them overflows. */
static int64_t bounded(int64_t time_us)
{
    return time_us < 0 || time_us > LATEST_US ? LATEST_US : time_us;
}

/* A damaged log holds any time, in any order. */
static int64_t not_past(int64_t reset_us)
{
    return reset_us < 0 ? 0 : reset_us;
}

static int64_t packed_time(const void *log, uint32_t n)
{
    const struct packed *packed = log;

    return bounded(unpack(packed->bytes + (size_t)(packed->count - n) * 8));
}

struct verdict script_judge(const char *log, size_t len, const struct rule *rule, int64_t now_us)
{
    struct packed packed = {(const uint8_t *)log, (uint32_t)(len / 8)};
    struct verdict verdict = verdict_of(&packed, packed.count, packed_time, rule, bounded(now_us));

    for (unsigned i = 0; i < rule->count; i++)
        verdict.reset_us[i] = not_past(verdict.reset_us[i]);
    return verdict;
}

/* A part: 8-byte numbers, big-endian. First whether it is refused, and the time; then for each key
 * how many times its log holds, how many of them follow, and those, the newest. Where more are held
 * than follow, at the end for each window that is longer than they reach how many are within it and
 * the first of them; else -1. */
/* -1: there is none. */
static int64_t next_number(struct script_reply *reply)
{
    if (reply->left < 8)
        return -1;
    reply->bytes += 8;
    reply->left -= 8;
    return unpack((const uint8_t *)reply->bytes - 8);
}

/* What the times do not reach to, the script has counted. */
static void correct(struct script_reply *reply, const struct rule *rule, int64_t now_us,
                    struct verdict *verdict)
{
    verdict->wait_us = 0;
    verdict->admitted = true;
    for (unsigned i = 0; i < rule->count; i++) {
        int64_t young = next_number(reply), first_us = next_number(reply);
        uint32_t limit = rule->windows[i].limit;

        if (young >= 0) {
            verdict->remaining[i] = young < limit ? limit - (uint32_t)young : 0;
            verdict->reset_us[i] = not_past(bounded(first_us) +
                                            (int64_t)rule->windows[i].seconds * 1000000 - now_us);
        }
        if (verdict->remaining[i] > 0)
            continue;
        verdict->admitted = false;
        if (verdict->reset_us[i] > verdict->wait_us)
            verdict->wait_us = verdict->reset_us[i];
    }
}

/* No time lies in the future, so that none comes back later than its window ends. */
static bool makes_sense(const struct verdict *verdict, const struct rule *rule)
{
    for (unsigned i = 0; i < rule->count; i++) {
        if (verdict->reset_us[i] > ((int64_t)rule->windows[i].seconds + 1) * 1000000)
            return false;
    }
    return true;
}

/* The n-th key's part; false if it is none. */
static bool read_log(struct script_reply *reply, const struct rule *rule, struct script_answer *ret,
                     unsigned n)
{
    int64_t held = next_number(reply), count = next_number(reply);

    if (held < 0 || held > UINT32_MAX || count < 0 || count > held ||
        (uint64_t)count > reply->left / 8)
        return false;
    ret->held[n] = (uint32_t)held;
    ret->each[n] = script_judge(reply->bytes, (size_t)count * 8, rule, ret->now_us);
    reply->bytes += (size_t)count * 8;
    reply->left -= (size_t)count * 8;
    if (held > count)
        correct(reply, rule, ret->now_us, &ret->each[n]);
    ret->refused[n] = !ret->each[n].admitted;
    return makes_sense(&ret->each[n], rule);
}

bool script_is_time(int64_t us)
{
    return us > 0 && us <= LATEST_US;
}

void script_open_reply(const redisReply *reply, struct script_reply *ret)
{
    *ret = (struct script_reply){NULL, 0};
    if (reply != NULL && reply->type == REDIS_REPLY_STRING)
        *ret = (struct script_reply){reply->str, reply->len};
}

bool script_says_clock_is_off(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           reply->element[0]->type == REDIS_REPLY_INTEGER && reply->element[0]->integer == 2;
}

void script_read_ask(struct script_reply *reply, const uint32_t *times, unsigned count,
                     const struct rule *rule, struct script_answer *ret)
{
    int64_t refused = next_number(reply);

    *ret = (struct script_answer){.outcome = SCRIPT_NONSENSE, .now_us = next_number(reply)};
    if (!script_is_time(ret->now_us))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct rule wide;

        if (times != NULL && times[i] != 1)
            wide = rule_times(rule, times[i]);
        if (!read_log(reply, times == NULL || times[i] == 1 ? rule : &wide, ret, i))
            return;
    }
    ret->verdict = ret->each[0];
    for (unsigned i = 1; i < count; i++)
        verdict_join(&ret->verdict, &ret->each[i], rule);
    /* What was done there is what counts. */
    ret->verdict.admitted = refused == 0;
    if (ret->verdict.admitted) {
        ret->verdict.shared_us = ret->now_us;
        verdict_spend(&ret->verdict, rule);
    } else if (ret->verdict.wait_us < 1) {
        ret->verdict.wait_us = 1;
    }
    ret->outcome = ret->verdict.admitted ? SCRIPT_ADMITTED : SCRIPT_REFUSED;
}
