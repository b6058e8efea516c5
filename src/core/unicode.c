#include "core/unicode.h"

#include "core/text.h"

#include <string.h>
#include <utf8proc.h>

enum {
    CAPITAL_SIGMA = 0x3a3,
    SMALL_SIGMA = 0x3c3,
    FINAL_SIGMA = 0x3c2,
    CAPITAL_I_DOT = 0x130,
    BRAILLE_BLANK = 0x2800
};

static utf8proc_int32_t decode(const char *at, size_t len, size_t *ret_width)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t width = utf8proc_iterate((const utf8proc_uint8_t *)at, (utf8proc_ssize_t)len,
                                              &code);

    *ret_width = width > 0 ? (size_t)width : 0;
    return code;
}

size_t unicode_width(const char *bytes, size_t len)
{
    size_t width;

    decode(bytes, len, &width);
    return width;
}

bool unicode_is_valid(const char *bytes, size_t len)
{
    size_t width;

    for (size_t at = 0; at < len; at += width) {
        width = (unsigned char)bytes[at] < 0x80 ? 1 : unicode_width(bytes + at, len - at);
        if (width == 0)
            return false;
    }
    return true;
}

size_t unicode_length(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static bool is_space(utf8proc_int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

char *unicode_trim(void *mem, const char *text)
{
    size_t len = strlen(text), width, begin = 0, end = 0;

    for (size_t at = 0; at < len; at += width) {
        utf8proc_int32_t c = decode(text + at, len - at, &width);

        if (width == 0)
            width = 1;
        if (is_space(c)) {
            if (end == 0)
                begin = at + width;
        } else {
            end = at + width;
        }
    }
    return mem_copy(mem, text + begin, end > begin ? end - begin : 0);
}

static bool is_cased(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);

    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT || utf8proc_toupper(c) != c || utf8proc_tolower(c) != c;
}

static bool is_case_ignorable(utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2018 || c == 0x2019 ||
               c == 0x2024 || c == 0x2027;
    }
}

/* Unicode's Final_Sigma: after a cased letter, and not before one; what is case-ignorable between
 * does not count. */
static bool is_final_sigma(const utf8proc_int32_t *codes, size_t count, size_t at)
{
    size_t before = at, after = at + 1;

    while (before > 0 && is_case_ignorable(codes[before - 1]))
        before--;
    if (before == 0 || !is_cased(codes[before - 1]))
        return false;
    while (after < count && is_case_ignorable(codes[after]))
        after++;
    return after == count || !is_cased(codes[after]);
}

static void put_code(struct text *out, utf8proc_int32_t code)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t width = utf8proc_encode_char(code, bytes);

    text_put(out, (const char *)bytes, (size_t)width);
}

char *unicode_lower(void *mem, const char *text)
{
    size_t len = strlen(text), width, count = 0;
    utf8proc_int32_t *codes = mem_array(mem, utf8proc_int32_t, len + 1);
    struct text out = text_open(mem, len + 8);

    for (size_t at = 0; at < len; at += width) {
        codes[count] = decode(text + at, len - at, &width);
        if (width == 0)
            break;
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        if (codes[i] == CAPITAL_I_DOT)
            text_add(&out, "i\xcc\x87");
        else if (codes[i] == CAPITAL_SIGMA)
            put_code(&out, is_final_sigma(codes, count, i) ? FINAL_SIGMA : SMALL_SIGMA);
        else
            put_code(&out, utf8proc_tolower(codes[i]));
    }
    talloc_free(codes);
    return out.s;
}

static char *take(void *mem, utf8proc_uint8_t *normal, const char *otherwise)
{
    char *copy = mem_string(mem, normal == NULL ? otherwise : (const char *)normal);

    free(normal);
    return copy;
}

char *unicode_nfc(void *mem, const char *text)
{
    return take(mem, utf8proc_NFC((const utf8proc_uint8_t *)text), text);
}

char *unicode_nfd(void *mem, const char *text)
{
    return take(mem, utf8proc_NFD((const utf8proc_uint8_t *)text), text);
}

char *unicode_nfkc(void *mem, const char *text)
{
    return take(mem, utf8proc_NFKC((const utf8proc_uint8_t *)text), text);
}

char *unicode_fold(void *mem, const char *text)
{
    utf8proc_uint8_t *plain = NULL;
    char *folded;

    if (utf8proc_map((const utf8proc_uint8_t *)text, 0, &plain,
                     UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                         UTF8PROC_STRIPMARK) < 0)
        plain = NULL;
    folded = unicode_lower(mem, plain == NULL ? text : (const char *)plain);
    free(plain);
    return folded;
}

/* Bytes at the front that are of words, or that are not. */
static size_t span(const char *text, bool of_words)
{
    size_t len = strlen(text), width, at = 0;

    for (; at < len; at += width) {
        unsigned char byte = (unsigned char)text[at];
        bool is_of_word = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                          (byte >= 'A' && byte <= 'Z');

        width = 1;
        if (byte >= 0x80) {
            utf8proc_category_t category = utf8proc_category(decode(text + at, len - at, &width));

            is_of_word = category <= UTF8PROC_CATEGORY_LO ||
                         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) ||
                         category == UTF8PROC_CATEGORY_CO;
        }
        if (width == 0 || is_of_word != of_words)
            break;
    }
    return at;
}

size_t unicode_word_gap(const char *text)
{
    return span(text, false);
}

size_t unicode_word_length(const char *text)
{
    return span(text, true);
}

static bool any(const char *text, bool (*is)(utf8proc_int32_t))
{
    size_t len = strlen(text), width;

    for (size_t at = 0; at < len; at += width) {
        utf8proc_int32_t c = decode(text + at, len - at, &width);

        if (width == 0 || is(c))
            return true;
    }
    return false;
}

static bool is_control(utf8proc_int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

static bool is_blank_or_invisible(utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return is_space(c) || utf8proc_get_property(c)->ignorable;
    }
}

bool unicode_has_control(const char *text)
{
    return any(text, is_control);
}

bool unicode_has_blank_or_invisible(const char *text)
{
    return any(text, is_blank_or_invisible);
}

size_t unicode_visible_length(const char *text)
{
    size_t len = strlen(text), count = 0, width;

    for (size_t at = 0; at < len; at += width) {
        utf8proc_int32_t c = decode(text + at, len - at, &width);

        if (width == 0)
            return count;
        if (is_blank_or_invisible(c) || c == BRAILLE_BLANK)
            continue;
        /* A mark shows on what it marks: vowels of many scripts are such. */
        count += utf8proc_category(c) != UTF8PROC_CATEGORY_MN || count > 0;
    }
    return count;
}

bool unicode_directions_are_closed(const char *text)
{
    enum { DEPTH = 16 };
    size_t len = strlen(text), depth = 0, width;
    bool isolates[DEPTH];

    for (size_t at = 0; at < len; at += width) {
        utf8proc_int32_t c = decode(text + at, len - at, &width);
        bool is_isolate = c >= 0x2066 && c <= 0x2068;
        bool opens = is_isolate || c == 0x202a || c == 0x202b || c == 0x202d || c == 0x202e;

        if (width == 0 || (opens && depth == DEPTH))
            return false;
        if (opens)
            isolates[depth++] = is_isolate;
        else if ((c == 0x202c || c == 0x2069) && (depth == 0 || isolates[--depth] != (c == 0x2069)))
            return false;
    }
    return depth == 0;
}
