#include "limit/script.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

/* Times of day of all scripts: ARGV[1] is the shift, ARGV[2] the time that is expected. */
#define NOW                                                                                        \
    "local c = redis.call('TIME')\n"                                                               \
    "local t = c[1] * 1000000 + c[2] + ARGV[1]\n"                                                  \
    "if ARGV[2] ~= '0' and math.abs(t - ARGV[2]) > 1000000 then return {2, t} end\n"

/* own(i, kind): a key of ours that holds something else is removed, and told by a bit of `healed`.
 */
#define OWN                                                                                        \
    "local healed = 0\n"                                                                           \
    "local function own(i, kind)\n"                                                                \
    "  local is = redis.call('TYPE', KEYS[i]).ok\n"                                                \
    "  if is ~= kind and is ~= 'none' then\n"                                                      \
    "    redis.call('DEL', KEYS[i])\n"                                                             \
    "    healed = healed + 2 ^ (i - 1)\n"                                                          \
    "  end\n"                                                                                      \
    "end\n"

/* `raw`: what the clock says; `shift`, as the key has it, if it is one. */
#define SHIFT(KEY)                                                                                 \
    "local c = redis.call('TIME')\n"                                                               \
    "local raw = c[1] * 1000000 + c[2]\n"                                                          \
    "local shift = tonumber(redis.pcall('GET', " KEY ") or '0') or 0\n"                            \
    "if not (math.abs(shift) < 2 ^ 53 and raw + shift > 0) then shift = 0 end\n"

/* Of `log`: what is no log counts for nothing; no time lies in the future, and none goes back. */
#define TIDY                                                                                       \
    "if #log % 8 > 0 then log = '' end\n"                                                          \
    "if #log > 0 then\n"                                                                           \
    "  local last = struct.unpack('>I8', log, #log - 7)\n"                                         \
    "  if last > t + 1000000 then\n"                                                               \
    "    local clipped = {}\n"                                                                     \
    "    for i = 1, #log, 8 do\n"                                                                  \
    "      clipped[#clipped + 1] = struct.pack('>I8', math.min(struct.unpack('>I8', log, i), "     \
    "t))\n"                                                                                        \
    "    end\n"                                                                                    \
    "    log = table.concat(clipped)\n"                                                            \
    "  elseif last > t then t = last end\n"                                                        \
    "end\n"

/* What both scripts that decide do. The other arguments are how long the log is kept (ms), the
 * largest limit, and limit and length (us) of each window. How long is said anew each time, also
 * when it is refused: the rule may be another one than the last time. Short logs are written anew,
 * since that is one command; long ones are appended to. The answer is one text, since that costs
 * less than a list; see script_read_ask(). They are written out, not called, since a function would
 * be made anew by each call. */
#define RULE(LAST)                                                                                 \
    "local call, unpack, pack = redis.call, struct.unpack, struct.pack\n"                          \
    "local now, most, answers = t, ARGV[4] + 0, {}\n"                                              \
    "local limits, windows = {}, {}\n"                                                             \
    "for i = 5, " LAST ", 2 do\n"                                                                  \
    "  limits[#limits + 1] = ARGV[i] + 0\n"                                                        \
    "  windows[#windows + 1] = ARGV[i + 1] + 0\n"                                                  \
    "end\n"

/* Of `key`: `log`, the newest of its `n` times; `t` is later than none of them. */
#define READ                                                                                       \
    "  local log = call('GETRANGE', key, '-4096', '-1')\n"                                         \
    "  local n = #log / 8\n"                                                                       \
    "  if n >= 512 then n = call('STRLEN', key) / 8 end\n"                                         \
    "  if n % 1 > 0 then\n"                                                                        \
    "    call('DEL', key)\n"                                                                       \
    "    n, log = 0, ''\n"                                                                         \
    "  elseif n > 0 then\n"                                                                        \
    "    local last = unpack('>I8', log, #log - 7)\n"                                              \
    "    if last > t + 1000000 then\n"                                                             \
    "      log = call('GET', key)\n" TIDY "      call('SET', key, log, 'PX', ARGV[3])\n"           \
    "      log = string.sub(log, -4096)\n"                                                         \
    "    elseif last > t then t = last end\n"                                                      \
    "  end\n"

/* Whether one of the windows is full; what the log does not reach to is counted. */
#define JUDGE(LIMIT)                                                                               \
    "  local held, beyond = #log / 8, ''\n"                                                        \
    "  for i, limit in ipairs(limits) do\n" LIMIT                                                  \
    "    local since, young, first = t - windows[i], -1, -1\n"                                     \
    "    if limit <= held then\n"                                                                  \
    "      if unpack('>I8', log, (held - limit) * 8 + 1) > since then refused = 1 end\n"           \
    "    elseif n > held and unpack('>I8', log, 1) > since then\n"                                 \
    "      local low, high = math.max(n - limit, 0), n - held\n"                                   \
    "      first = unpack('>I8', log, 1)\n"                                                        \
    "      while low < high do\n"                                                                  \
    "        local middle = math.floor((low + high) / 2)\n"                                        \
    "        local at = unpack('>I8',\n"                                                           \
    "          call('GETRANGE', key, middle * 8, middle * 8 + 7))\n"                               \
    "        if at > since then high, first = middle, at else low = middle + 1 end\n"              \
    "      end\n"                                                                                  \
    "      young = n - high\n"                                                                     \
    "      if young >= limit then refused = 1 end\n"                                               \
    "    end\n"                                                                                    \
    "    if n > held then beyond = beyond .. pack('>i8i8', young, first) end\n"                    \
    "  end\n"

#define WRITE                                                                                      \
    "  if refused == 0 and n < 32 then\n"                                                          \
    "    if n >= most then log = string.sub(log, (n - most + 1) * 8 + 1) end\n"                    \
    "    call('SET', key, log .. stamp, 'PX', ARGV[3])\n"                                          \
    "  elseif refused == 0 and n >= 2 * most then\n"                                               \
    "    local kept = call('GETRANGE', key, (n - most + 1) * 8, '-1')\n"                           \
    "    call('SET', key, kept .. stamp, 'PX', ARGV[3])\n"                                         \
    "  else\n"                                                                                     \
    "    if refused == 0 then call('APPEND', key, stamp) end\n"                                    \
    "    call('PEXPIRE', key, ARGV[3])\n"                                                          \
    "  end\n"

/* Each key counts by itself. */
static const char one_text[] = NOW RULE(
    "#ARGV") "for k, key in ipairs(KEYS) do\n"
             "  local t, refused = now, 0\n" READ JUDGE(
                 "") "  answers[3 * k - 2] = pack('>I8I8I8I8', refused, t, n, held)\n"
                     "  answers[3 * k - 1], answers[3 * k] = log, beyond\n"
                     "  local stamp = pack('>I8', t)\n" WRITE "end\n"
                     "return table.concat(answers)\n";

/* The last arguments are how many times the limits hold for each of the keys. */
static const char all_text[] = NOW RULE(
    "#ARGV - #KEYS") "local logs, counts, refused, widest = {}, {}, 0, most\n"
                     "for k, key in ipairs(KEYS) do\n" READ "  logs[k], counts[k] = log, n\n"
                     "end\n"
                     "for k, key in ipairs(KEYS) do\n"
                     "  local log, n, times = logs[k], counts[k], ARGV[#ARGV - #KEYS + k] + "
                     "0\n" JUDGE(
                         "    limit = limit * times\n") "  answers[3 * k - 1] = pack('>I8I8', n, "
                                                        "held)\n"
                                                        "  answers[3 * k], answers[3 * k + 1] = "
                                                        "log, beyond\n"
                                                        "end\n"
                                                        "answers[1] = pack('>I8I8', refused, t)\n"
                                                        "local stamp = pack('>I8', t)\n"
                                                        "for k, key in ipairs(KEYS) do\n"
                                                        "  local log, n, most = logs[k], "
                                                        "counts[k], widest * ARGV[#ARGV - #KEYS + "
                                                        "k]\n" WRITE "end\n"
                                                        "return table.concat(answers)\n";

/* KEYS: the log, which pieces arrived. ARGV[5]: ages in us, 8 bytes each, oldest first. ARGV[6] and
 * ARGV[7]: whose piece it is, and its number; one that is sent again is not counted again. The log
 * is read from the piece's oldest time on, so that a long one costs no more than what changes. */
static const char merge_text[] = NOW OWN
    "own(1, 'string')\n"
    "own(2, 'hash')\n"
    "local call, unpack, pack = redis.call, struct.unpack, struct.pack\n"
    "if call('HGET', KEYS[2], ARGV[6]) == ARGV[7] then return {0, t, healed} end\n"
    "local now, most, n = t, ARGV[4] + 0, call('STRLEN', KEYS[1]) / 8\n"
    "local function at(i) return unpack('>I8', call('GETRANGE', KEYS[1], i * 8, i * 8 + 7)) end\n"
    "if n % 1 > 0 or n > 0 and at(n - 1) > now + 1000000 then\n"
    "  local log = call('GET', KEYS[1])\n" TIDY "  call('SET', KEYS[1], log, 'PX', ARGV[3])\n"
    "  n = #log / 8\n"
    "end\n"
    "local first = now - unpack('>I8', ARGV[5], 1)\n"
    "local low, high = 0, n\n"
    "if n > 0 and at(n - 1) <= first then low = n end\n"
    "while low < high do\n"
    "  local middle = math.floor((low + high) / 2)\n"
    "  if at(middle) > first then high = middle else low = middle + 1 end\n"
    "end\n"
    "local tail = low < n and call('GETRANGE', KEYS[1], low * 8, '-1') or ''\n"
    "local parts, taken, left = {}, 0, #tail / 8\n"
    "for i = 1, #ARGV[5], 8 do\n"
    "  local stamp = now - unpack('>I8', ARGV[5], i)\n"
    "  local from, to = taken, left\n"
    "  while from < to do\n"
    "    local middle = math.floor((from + to) / 2)\n"
    "    if unpack('>I8', tail, middle * 8 + 1) > stamp then to = middle\n"
    "    else from = middle + 1 end\n"
    "  end\n"
    "  if from > taken then parts[#parts + 1] = string.sub(tail, taken * 8 + 1, from * 8) end\n"
    "  taken = from\n"
    "  parts[#parts + 1] = pack('>I8', stamp)\n"
    "end\n"
    "parts[#parts + 1] = string.sub(tail, taken * 8 + 1)\n"
    "tail = table.concat(parts)\n"
    "if low + #tail / 8 > 2 * most then\n"
    "  local log = low > 0 and call('GETRANGE', KEYS[1], 0, low * 8 - 1) or ''\n"
    "  call('SET', KEYS[1], string.sub(log .. tail, -most * 8), 'PX', ARGV[3])\n"
    "else\n"
    "  call('SETRANGE', KEYS[1], low * 8, tail)\n"
    "  call('PEXPIRE', KEYS[1], ARGV[3])\n"
    "end\n"
    "call('HSET', KEYS[2], ARGV[6], ARGV[7])\n"
    "call('PEXPIRE', KEYS[2], ARGV[3])\n"
    "return {0, t, healed}\n";

/* ARGV[1]: the time that is taken back. */
static const char forgive_text[] =
    "local log, stamp = redis.call('GET', KEYS[1]) or '', ARGV[1] + 0\n"
    "for i = #log - 7, 1, -8 do\n"
    "  local at = struct.unpack('>I8', log, i)\n"
    "  if at == stamp then\n"
    "    redis.call('SET', KEYS[1], string.sub(log, 1, i - 1) .. string.sub(log, i + 8), "
    "'KEEPTTL')\n"
    "    return {0, 1}\n"
    "  end\n"
    "  if at < stamp then break end\n"
    "end\n"
    "return {0, 0}\n";

/* KEYS: who lives, keys that were reset, decisions about networks, the shift. ARGV[3] is this
 * instance, ARGV[4] the time since when it knows of resets, ARGV[5] whether it leaves, ARGV[6]
 * whether it wants the decisions. */
static const char beat_text[] = NOW OWN
    "own(1, 'zset')\n"
    "own(2, 'zset')\n"
    "own(3, 'hash')\n"
    "own(4, 'string')\n"
    "local function number(x) return string.format('%.0f', x) end\n"
    "redis.call('SET', KEYS[4], ARGV[1])\n"
    "if ARGV[5] == '1' then redis.call('ZREM', KEYS[1], ARGV[3])\n"
    "else redis.call('ZADD', KEYS[1], number(t), ARGV[3]) end\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(t - 3000000))\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], number(t + 3000000), '+inf')\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(t - 60000000))\n"
    "return {0, t, redis.call('ZCARD', KEYS[1]),\n"
    "  redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[4], '+inf', 'LIMIT', 0, 1000),\n"
    "  ARGV[6] == '1' and redis.call('HGETALL', KEYS[3]) or {}, healed}\n";

/* KEYS: who lives, the shift. ARGV[1] is the time that this instance expects, 0 if it knows none;
 * ARGV[2] is this instance. The clock was set if no other lives by what it says now. */
static const char clock_text[] = OWN
    "own(1, 'zset')\n"
    "own(2, 'string')\n" SHIFT(
        "KEYS[2]") "local t, expected = raw + shift, ARGV[1] + 0\n"
                   "if expected ~= 0 and math.abs(t - expected) > 1000000 then\n"
                   "  local others = 0\n"
                   "  for _, who in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1],\n"
                   "      string.format('%.0f', t - 1200000), string.format('%.0f', t + 1200000))) "
                   "do\n"
                   "    if who ~= ARGV[2] then others = others + 1 end\n"
                   "  end\n"
                   "  if others == 0 then\n"
                   "    shift = expected - raw\n"
                   "    redis.call('SET', KEYS[2], string.format('%.0f', shift))\n"
                   "  end\n"
                   "end\n"
                   "return {0, raw, shift, healed}\n";

/* KEYS: the shift. */
static const char time_text[] = SHIFT("KEYS[1]") "return raw + shift\n";

/* KEYS: keys that were reset, the shift. ARGV[1] names the log to the instances. */
static const char reset_text[] = OWN "own(1, 'zset')\n" SHIFT(
    "KEYS[2]") "return redis.call('ZADD', KEYS[1], string.format('%.0f', raw + shift), ARGV[1])\n";

/* KEYS: decisions about networks: of each "UNTIL DECIDED" (bans.h). ARGV: the network, until when
 * it is banned, and when it was decided at the earliest. Answers when, and whether it was banned.
 */
static const char decide_text[] = OWN
    "own(1, 'hash')\n"
    "local old = redis.call('HGET', KEYS[1], ARGV[1]) or ''\n"
    "local till, had = string.match(old, '^(%d+) (%d+)$')\n"
    "local c = redis.call('TIME')\n"
    "local now = c[1] * 1000 + math.floor(c[2] / 1000)\n"
    "if had and #had > 15 then had = nil end\n"
    "local decided = math.max(now, ARGV[3] + 0, (had or -1) + 1)\n"
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', decided))\n"
    "return {decided, (till or 0) + 0 > now and 1 or 0}\n";

static const char *const texts[SCRIPTS] = {
    [SCRIPT_ONE] = one_text,         [SCRIPT_ALL] = all_text,     [SCRIPT_MERGE] = merge_text,
    [SCRIPT_FORGIVE] = forgive_text, [SCRIPT_BEAT] = beat_text,   [SCRIPT_CLOCK] = clock_text,
    [SCRIPT_TIME] = time_text,       [SCRIPT_RESET] = reset_text, [SCRIPT_DECIDE] = decide_text,
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
    return texts[script];
}

const char *script_hash(enum script script)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

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
