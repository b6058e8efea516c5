#include "core/settings_check.h"

#include "core/address.h"
#include "core/email.h"
#include "core/mem.h"
#include "core/secret.h"
#include "core/unicode.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { MIN_TOKEN = 32 };

/* What browsers read as an IPv4 address, or refuse: 127.1, 0x7f.1, 1.2.3.4.5. */
static bool ends_in_number(const char *host, size_t len)
{
    const char *dot = memrchr(host, '.', len), *last = dot == NULL ? host : dot + 1;
    size_t rest = (size_t)(host + len - last), digits = 0;

    if (rest > 2 && last[0] == '0' && (last[1] | 0x20) == 'x')
        return true;
    while (digits < rest && isdigit((unsigned char)last[digits]))
        digits++;
    return rest > 0 && digits == rest;
}

static bool is_host_name(const char *host, size_t len)
{
    struct address address;

    if (len == 0 || len > 253 || host[0] == '-' || host[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)host[i]) && strchr("-._", host[i]) == NULL)
            return false;
        if (host[i] == '.' && i + 1 < len && host[i + 1] == '.')
            return false;
    }
    return !ends_in_number(host, len) || address_parse(host, len, &address);
}

const char *check_host(const char *value)
{
    struct address address;

    if (address_parse(value, strlen(value), &address) || is_host_name(value, strlen(value)))
        return NULL;
    return "is neither a host name nor an IP address; give one alone, without scheme or port";
}

static const char *after_authority(const char *at);

const char *check_host_port(const char *value)
{
    const char *end = after_authority(value);

    if (end != NULL && *end == '\0' && strrchr(value, ':') != NULL &&
        value[strlen(value) - 1] != ']')
        return NULL;
    return "is not HOST:PORT; write it like redis-1.example.com:26379";
}

/* RFC 3986 section 3.2.1, which leaves no doubt where the host begins. */
static bool is_userinfo(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '%' && (len - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
                         !isxdigit((unsigned char)text[i + 2]) ||
                         (text[i + 1] < '2' && isdigit((unsigned char)text[i + 1]))))
            return false;
        if (c <= ' ' || c >= 0x7f || strchr("/?#@[]\\\"<>^`{|}", c) != NULL)
            return false;
    }
    return true;
}

const char *check_redis_url(const char *value)
{
    const char *at = strncmp(value, "rediss://", 9) == 0  ? value + 9
                     : strncmp(value, "redis://", 8) == 0 ? value + 8
                                                          : NULL;
    const char *host = at == NULL ? NULL : strrchr(at, '@');
    const char *end = at == NULL ? NULL : after_authority(host == NULL ? at : host + 1);

    if (host != NULL && !is_userinfo(at, (size_t)(host - at)))
        end = NULL;
    if (end != NULL && *end == '/')
        end += 1 + (strspn(end + 1, "0123456789") > 5 ? 0 : strspn(end + 1, "0123456789"));
    if (end != NULL && *end == '\0')
        return NULL;
    return "is not a Redis URL; write redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for "
           "TLS, "
           "and percent-encode special characters in USER and PASSWORD";
}

static const char *after_scheme(const char *url)
{
    if (strncmp(url, "https://", 8) == 0)
        return url + 8;
    return strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
}

/* Host and optional port at the front of `at`; the first byte after them, NULL if there are none.
 */
static const char *after_authority(const char *at)
{
    size_t len = *at == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":/?#");
    struct address address;
    const char *end = at + len;

    if (*at == '[' ? len < 3 || end[-1] != ']' || !address_parse(at + 1, len - 2, &address)
                   : !is_host_name(at, len))
        return NULL;
    if (*end == ':') {
        size_t digits = strspn(end + 1, "0123456789");
        long port = digits == 0 || digits > 5 ? 0 : strtol(end + 1, NULL, 10);

        if (port < 1 || port > 65535 || end[1] == '0')
            return NULL;
        end += 1 + digits;
    }
    return end;
}

/* Blanks, control characters, and what browsers read as something else. */
static bool has_odd_bytes(const char *url)
{
    for (; *url != '\0'; url++) {
        if ((unsigned char)*url <= ' ' || *url == 0x7f || strchr("\"<>\\", *url) != NULL)
            return true;
    }
    return false;
}

const char *check_url(const char *value)
{
    const char *at = after_scheme(value);

    at = at == NULL ? NULL : after_authority(at);
    if (at != NULL && (*at == '\0' || *at == '/') && !has_odd_bytes(value))
        return NULL;
    return "is not a web address; write it like https://example.com/path";
}

size_t origin_length(const char *url)
{
    const char *host = after_scheme(url);
    const char *port = strncmp(url, "https", 5) == 0 ? ":443" : ":80";
    size_t len = host == NULL ? 0 : (size_t)(host - url) + strcspn(host, "/?#"),
           tail = strlen(port);

    return len > tail && strncmp(url + len - tail, port, tail) == 0 ? len - tail : len;
}

/* [2001:db8::1] in the one spelling that browsers send. */
static bool is_shortest_literal(const char *host)
{
    size_t len = strcspn(host, "]");
    char shortest[ADDRESS_TEXT_SIZE];
    struct address address;

    if (*host != '[' || !address_parse(host + 1, len - 1, &address))
        return *host != '[';
    address_text(shortest, &address);
    return strlen(shortest) == len - 1 && strncmp(shortest, host + 1, len - 1) == 0;
}

const char *check_origin(const char *value)
{
    const char *host = after_scheme(value);
    const char *at = host == NULL ? NULL : after_authority(host);

    if (at == NULL || *at != '\0')
        return "is not an origin; give scheme, host and port only, such as https://app.example.com "
               "(no path, no trailing slash, no *)";
    for (; *value != '\0'; value++) {
        if (isupper((unsigned char)*value))
            return "has capital letters, which no browser sends; write it in lower case";
    }
    return is_shortest_literal(host)
               ? NULL
               : "has an IPv6 address that is not in its shortest form, which browsers send";
}

const char *check_signing_key(const char *value)
{
    return secret_weakness(value);
}

const char *check_sender(const char *value)
{
    auto_tree void *mem = mem_tree(0);
    const char *open = strrchr(value, '<'), *address = value;

    if (*value == '\0')
        return NULL;
    if (open != NULL && value[strlen(value) - 1] == '>')
        address = mem_copy(mem, open + 1, strlen(open + 1) - 1);
    return email_normalise(mem, address) != NULL && !unicode_has_control(value)
               ? NULL
               : "is not a sender; write it like ann@example.com, or Ann Lee <ann@example.com>";
}

const char *check_token(const char *value)
{
    if (strlen(value) < MIN_TOKEN)
        return "is shorter than 32 characters; give at least 32 random ones: openssl rand -hex 32";
    for (; *value != '\0'; value++) {
        if (*value <= ' ' || *value > '~')
            return "has characters that a header cannot hold; use letters and digits";
    }
    return NULL;
}

const char *check_mongodb_uri(const char *value)
{
    (void)value;
    return "is set, but this version has the embedded store only; unset it, and the store is in "
           "DATA_DIR";
}

const char *check_email(const char *value)
{
    auto_tree void *mem = mem_tree(0);

    return email_normalise(mem, value) != NULL
               ? NULL
               : "is not an e-mail address; write it like ann@example.com";
}

const char *check_path(const char *value)
{
    return *value != '~' ? NULL
                         : "begins with ~, which only a shell replaces; write the whole path";
}

/* Shows nothing, wherever it stands. */
static bool is_zero_width(const char *at)
{
    static const char *const signs[] = {"\u00ad", "\u200b", "\u2060", "\ufeff"};

    for (size_t i = 0; i < count_of(signs); i++) {
        if (strncmp(at, signs[i], strlen(signs[i])) == 0)
            return true;
    }
    return false;
}

/* Blanks other than those of ASCII, which quotes may hold on purpose. */
static bool is_odd_blank(const char *at)
{
    static const char *const blanks[] = {"\u00a0", "\u1680", "\u202f", "\u205f", "\u3000"};

    for (size_t i = 0; i < count_of(blanks); i++) {
        if (strncmp(at, blanks[i], strlen(blanks[i])) == 0)
            return true;
    }
    /* U+2000 to U+200A */
    return strncmp(at, "\xe2\x80", 2) == 0 && (unsigned char)at[2] >= 0x80 &&
           (unsigned char)at[2] <= 0x8a;
}

const char *check_visible(const char *value)
{
    bool is_hidden = is_odd_blank(value);
    size_t len = strlen(value), width;

    for (size_t at = 0; at < len; at += width) {
        width = unicode_width(value + at, len - at);
        if (width == 0)
            break;
        if (is_zero_width(value + at) || (at + width == len && is_odd_blank(value + at)))
            is_hidden = true;
    }
    return is_hidden ? "has a character that cannot be seen, such as a no-break space; delete the "
                       "value and type it"
                     : NULL;
}

const char *check_price(const char *value)
{
    size_t len = 0;

    if (strncmp(value, "prod_", 5) == 0)
        return "is the id of a product; give that of its price (price_...), from the product's "
               "page "
               "in Stripe's dashboard";
    while (isalnum((unsigned char)value[len]) || value[len] == '_')
        len++;
    return len > 0 && len <= 255 && value[len] == '\0'
               ? NULL
               : "is not a price id; copy one such as price_1Abc from the price's page in Stripe's "
                 "dashboard";
}
