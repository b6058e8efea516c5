#include "core/escape.h"

#include "core/unicode.h"

#include <ctype.h>
#include <strings.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define LINE_SEPARATOR "\xe2\x80\xa8"
#define PARAGRAPH_SEPARATOR "\xe2\x80\xa9"

/* Puts one character of text, of so many bytes. */
typedef void put_one(struct text *out, const char *bytes, size_t width);

static void put_each(struct text *out, const char *bytes, size_t len, put_one *put)
{
    for (const char *end = bytes + len; bytes < end;) {
        size_t width = *bytes == '\0' ? 0 : unicode_width(bytes, (size_t)(end - bytes));

        if (width == 0)
            put(out, REPLACEMENT, sizeof REPLACEMENT - 1);
        else
            put(out, bytes, width);
        bytes += width == 0 ? 1 : width;
    }
}

static void put_html(struct text *out, const char *bytes, size_t width)
{
    switch (*bytes) {
    case '<':
        text_add(out, "&lt;");
        break;
    case '>':
        text_add(out, "&gt;");
        break;
    case '&':
        text_add(out, "&amp;");
        break;
    case '"':
        text_add(out, "&quot;");
        break;
    case '\'':
        text_add(out, "&#39;");
        break;
    default:
        text_put(out, bytes, width);
    }
}

static void put_line(struct text *out, const char *bytes, size_t width)
{
    if (*bytes == '\n')
        text_add(out, "<br>");
    else
        put_html(out, bytes, width);
}

static void put_percent(struct text *out, const char *bytes, size_t width)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < width; i++) {
        unsigned char c = (unsigned char)bytes[i];

        text_put(out, (char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
    }
}

static void put_url(struct text *out, const char *bytes, size_t width)
{
    unsigned char c = (unsigned char)*bytes;

    if (c <= ' ' || c == 0x7f || strchr("\"'<>\\^`{|}", c) != NULL)
        put_percent(out, bytes, width);
    else
        put_html(out, bytes, width);
}

static void put_url_part(struct text *out, const char *bytes, size_t width)
{
    unsigned char c = (unsigned char)*bytes;

    if (c < 0x80 && (isalnum(c) || strchr("-._~", c) != NULL))
        text_put(out, bytes, width);
    else
        put_percent(out, bytes, width);
}

static bool begins(const char *bytes, size_t len, const char *prefix)
{
    size_t prefix_len = strlen(prefix);

    return len >= prefix_len && strncasecmp(bytes, prefix, prefix_len) == 0;
}

/* Anything before a colon may be a scheme to some browser, whatever blanks are in it. */
static bool is_safe_url(const char *bytes, size_t len)
{
    if (begins(bytes, len, "http://") || begins(bytes, len, "https://") ||
        begins(bytes, len, "mailto:"))
        return true;
    for (size_t i = 0; i < len && bytes[i] != '/' && bytes[i] != '?' && bytes[i] != '#'; i++) {
        if (bytes[i] == ':')
            return false;
    }
    return true;
}

void escape_html(struct text *out, const char *bytes, size_t len)
{
    put_each(out, bytes, len, put_html);
}

void escape_lines(struct text *out, const char *bytes, size_t len)
{
    put_each(out, bytes, len, put_line);
}

void escape_url(struct text *out, const char *bytes, size_t len)
{
    if (is_safe_url(bytes, len))
        put_each(out, bytes, len, put_url);
    else
        text_char(out, '#');
}

void escape_url_part(struct text *out, const char *bytes, size_t len)
{
    put_each(out, bytes, len, put_url_part);
}

/* <!-- and </script> begin with <; older JavaScript ends lines at U+2028 and U+2029. */
void escape_json(struct text *out, const char *bytes, size_t len)
{
    struct text json = text_open(out->mem, len + 16);

    text_json(&json, bytes, len);
    for (const char *at = json.s, *end = json.s + json.len; at < end; at++) {
        if (strchr("<>&'", *at) != NULL) {
            text_printf(out, "\\u%04x", *at);
        } else if (end - at >= 3 && (memcmp(at, LINE_SEPARATOR, 3) == 0 ||
                                     memcmp(at, PARAGRAPH_SEPARATOR, 3) == 0)) {
            text_add(out, at[2] == LINE_SEPARATOR[2] ? "\\u2028" : "\\u2029");
            at += 2;
        } else {
            text_char(out, *at);
        }
    }
    talloc_free(json.s);
}
