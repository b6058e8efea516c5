#include "core/text.h"

#include "core/unicode.h"

#include <assert.h>
#include <ctype.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct text text_open(void *mem, size_t capacity)
{
    struct text text = {.mem = mem, .capacity = capacity};

    text.s = mem_grow(mem, NULL, capacity + 1);
    text.s[0] = '\0';
    return text;
}

struct text text_borrow(void *mem, char *buffer, size_t size)
{
    assert(size > 0);
    buffer[0] = '\0';
    return (struct text){.mem = mem, .s = buffer, .capacity = size - 1, .borrowed = true};
}

bool text_reserve(struct text *text, size_t more)
{
    size_t capacity = text->capacity < 64 ? 128 : text->capacity * 2;
    const char *before = text->s;
    char *grown;

    assert(text->len <= text->capacity);
    if (before != NULL && text->capacity - text->len >= more)
        return true;
    while (capacity - text->len < more)
        capacity *= 2;
    if (before == NULL)
        grown = mem_grow(text->mem, NULL, capacity + 1);
    else
        grown = mem_try_grow(text->mem, text->borrowed ? NULL : text->s, capacity + 1);
    if (grown == NULL)
        return false;
    if (text->borrowed && before != NULL)
        memcpy(grown, before, text->len + 1);
    text->s = grown;
    text->capacity = capacity;
    text->borrowed = false;
    return true;
}

void text_int(struct text *text, int64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0)
        text_char(text, '-');
    text_put(text, digits + at, sizeof digits - at);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args, again;
    int needed;

    va_start(args, format);
    va_copy(again, args);
    needed = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (needed > 0 && text_reserve(text, (size_t)needed)) {
        vsnprintf(text->s + text->len, (size_t)needed + 1, format, again);
        text->len += (size_t)needed;
    }
    va_end(again);
}

static void put_escaped(struct text *text, unsigned char c)
{
    static const char short_form[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    if (c == '"' || c == '\\') {
        text_put(text, (char[]){'\\', (char)c}, 2);
    } else if (c < 0x20 && short_form[c] != 0) {
        text_put(text, (char[]){'\\', short_form[c]}, 2);
    } else {
        char hex[7];

        snprintf(hex, sizeof hex, "\\u%04x", c);
        text_put(text, hex, 6);
    }
}

const bool text_json_plain[0x100] = {
    [0x20 ... '"' - 1] = true, ['"' + 1 ... '\\' - 1] = true, ['\\' + 1 ... 0x7e] = true};

void text_json(struct text *text, const char *bytes, size_t len)
{
    const char *end = bytes + len, *plain = bytes;

    text_char(text, '"');
    for (const char *at = bytes; at < end;) {
        unsigned char c = (unsigned char)*at;
        size_t width;

        if (text_json_plain[c]) {
            at++;
            continue;
        }
        width = c < 0x80 ? 1 : unicode_width(at, (size_t)(end - at));
        if (width != 0 && c >= 0x80) {
            at += width;
            continue;
        }
        text_put(text, plain, (size_t)(at - plain));
        if (width == 0)
            text_add(text, "\xef\xbf\xbd");
        else
            put_escaped(text, c);
        plain = ++at;
    }
    text_put(text, plain, (size_t)(end - plain));
    text_char(text, '"');
}

static void put_digits(char *out, int number, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

static struct tm civil(int64_t wall_ms)
{
    const int64_t last = 253402300799; /* 9999-12-31T23:59:59Z */
    int64_t seconds = wall_ms < 0 ? 0 : wall_ms / 1000;
    time_t clamped = (time_t)(seconds > last ? last : seconds);
    struct tm tm = {0};

    gmtime_r(&clamped, &tm);
    return tm;
}

static void put_second(char out[TEXT_TIME_SIZE], int64_t wall_ms)
{
    struct tm tm = civil(wall_ms);

    memcpy(out, "0000-00-00T00:00:00.000Z", TEXT_TIME_SIZE);
    put_digits(out, tm.tm_year + 1900, 4);
    put_digits(out + 5, tm.tm_mon + 1, 2);
    put_digits(out + 8, tm.tm_mday, 2);
    put_digits(out + 11, tm.tm_hour, 2);
    put_digits(out + 14, tm.tm_min, 2);
    put_digits(out + 17, tm.tm_sec, 2);
}

/* Many times are of the second of the one before, which is kept. */
void text_time(char out[TEXT_TIME_SIZE], int64_t wall_ms)
{
    static __thread char kept[TEXT_TIME_SIZE];
    static __thread int64_t kept_s = -1;
    int64_t ms = wall_ms < 0 ? 0 : wall_ms;

    if (ms / 1000 != kept_s) {
        put_second(kept, ms);
        kept_s = ms / 1000;
    }
    memcpy(out, kept, TEXT_TIME_SIZE);
    put_digits(out + 20, (int)(ms % 1000), 3);
}

void text_http_date(char out[TEXT_HTTP_DATE_SIZE], int64_t wall_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = civil(wall_ms);

    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", TEXT_HTTP_DATE_SIZE);
    memcpy(out, days + 3 * tm.tm_wday, 3);
    put_digits(out + 5, tm.tm_mday, 2);
    memcpy(out + 8, months + 3 * tm.tm_mon, 3);
    put_digits(out + 12, tm.tm_year + 1900, 4);
    put_digits(out + 17, tm.tm_hour, 2);
    put_digits(out + 20, tm.tm_min, 2);
    put_digits(out + 23, tm.tm_sec, 2);
}

char *text_base64url(void *mem, const void *bytes, size_t len)
{
    const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    size_t size = sodium_base64_encoded_len(len, variant);

    return sodium_bin2base64(mem_zero(mem, size), size, bytes, len, variant);
}

uint8_t *text_base64url_decode(void *mem, const char *text, size_t len, size_t *ret_len)
{
    uint8_t *bytes = mem_zero(mem, len / 4 * 3 + 3);
    const char *end = NULL;

    if (sodium_base642bin(bytes, len / 4 * 3 + 3, text, len, NULL, ret_len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != text + len) {
        talloc_free(bytes);
        return NULL;
    }
    return bytes;
}

bool text_same_ascii(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

unsigned text_distance(const char *a, const char *b, unsigned limit)
{
    enum { MAX = 64 };
    size_t a_len = strlen(a), b_len = strlen(b);
    unsigned row[MAX + 1];

    if (a_len > MAX || b_len > MAX)
        return limit + 1;
    for (unsigned j = 0; j <= b_len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            bool same = toupper((unsigned char)a[i - 1]) == toupper((unsigned char)b[j - 1]);
            unsigned change = diagonal + (same ? 0 : 1);
            unsigned insert_or_drop = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = change < insert_or_drop ? change : insert_or_drop;
        }
    }
    return row[b_len] > limit ? limit + 1 : row[b_len];
}
