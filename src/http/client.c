#include "http/client.h"

#include <string.h>
#include <strings.h>

enum { MOST_BYTES = 4096, MOST_HOPS = 32, HOP_BYTES = 64 };

bool client_is_trusted(const struct settings *settings, const struct address *peer)
{
    return networks_have(&settings->trusted_proxies, peer);
}

static bool is_port(const char *at, const char *end)
{
    ptrdiff_t digits = end - at - 1;

    if (digits < 1 || digits > 5 || *at != ':')
        return false;
    while (++at < end) {
        if (*at < '0' || *at > '9')
            return false;
    }
    return true;
}

/* The zone of an IPv6 address, fe80::1%eth0, is the proxy's own business. */
static bool parse_with_zone(const char *at, const char *end, struct address *ret)
{
    const char *zone = memchr(at, '%', (size_t)(end - at));

    if (zone != NULL && memchr(at, ':', (size_t)(zone - at)) != NULL)
        end = zone;
    return address_parse(at, (size_t)(end - at), ret);
}

/* 198.51.100.7, 198.51.100.7:5123, 2001:db8::1, [2001:db8::1], [2001:db8::1]:443. */
static bool parse_hop(const char *hop, size_t len, struct address *ret)
{
    const char *end = hop + len, *close = memchr(hop, ']', len), *colon = memchr(hop, ':', len);

    if (*hop == '[')
        return close != NULL && (close + 1 == end || is_port(close + 1, end)) &&
               parse_with_zone(hop + 1, close, ret);
    if (colon != NULL && is_port(colon, end))
        end = colon;
    return parse_with_zone(hop, end, ret);
}

/* How one field lists hops. */
struct syntax {
    /* Where the last element before `end` begins. */
    const char *(*find_last)(const char *begin, const char *end);
    bool (*parse)(const char *element, size_t len, struct address *ret);
};

/* From the right, since only that was written by proxies that are trusted: what stands left of it
 * changes nothing, however long or broken it is. */
static struct address walk(const struct networks *trusted, const struct address *peer,
                           const char *list, const struct syntax *syntax)
{
    const char *read = list == NULL || !networks_have(trusted, peer) ? "" : list;
    size_t len = strlen(read);
    bool is_cut = len > MOST_BYTES;
    const char *begin = is_cut ? read + len - MOST_BYTES : read, *end = read + len;
    const struct address nobody = {{0}};
    struct address client = *peer, hop;

    for (int hops = 0; end > begin && hops < MOST_HOPS;) {
        const char *element = syntax->find_last(begin, end), *stop = end;

        end = element > begin ? element - 1 : begin;
        if (element == begin && is_cut)
            return nobody;
        while (element < stop && (*element == ' ' || *element == '\t'))
            element++;
        while (stop > element && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        if (element == stop)
            continue;
        hops++;
        if (!syntax->parse(element, (size_t)(stop - element), &hop))
            return nobody;
        client = hop;
        if (!networks_have(trusted, &hop))
            break;
    }
    return client;
}

static const char *find_last_comma(const char *begin, const char *end)
{
    const char *comma = memrchr(begin, ',', (size_t)(end - begin));

    return comma == NULL ? begin : comma + 1;
}

struct address client_address(const struct networks *trusted, const struct address *peer,
                              const char *forwarded_for)
{
    static const struct syntax syntax = {find_last_comma, parse_hop};

    return walk(trusted, peer, forwarded_for, &syntax);
}

/* Forwarded (RFC 7239) */

static bool is_token_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* A token or a quoted string, cut to what fits; NULL if there is neither. */
static const char *read_value(const char *at, char value[HOP_BYTES])
{
    bool quoted = *at == '"';
    size_t len = 0;

    at += quoted;
    if (!quoted && !is_token_byte(*at))
        return NULL;
    for (; quoted ? *at != '"' : is_token_byte(*at); at++) {
        if (quoted && *at == '\\')
            at++;
        if (*at == '\0')
            return NULL;
        if (len < HOP_BYTES)
            value[len++] = *at;
    }
    /* No address is that long. */
    value[len == HOP_BYTES ? 0 : len] = '\0';
    return at + quoted;
}

/* NAME=VALUE; the value of "for" goes to `hop`. NULL if it is anything else. */
static const char *read_pair(const char *at, char hop[HOP_BYTES])
{
    char value[HOP_BYTES];
    size_t name = 0;
    bool is_for;

    while (is_token_byte(at[name]))
        name++;
    if (name == 0 || at[name] != '=')
        return NULL;
    is_for = name == 3 && strncasecmp(at, "for", 3) == 0;
    at = read_value(at + name + 1, value);
    if (at != NULL && is_for && hop[0] != '\0')
        return NULL;
    if (at != NULL && is_for)
        memcpy(hop, value, HOP_BYTES);
    return at;
}

/* Pairs separated by semicolons; false if it is anything else. hop: empty if no pair is for=. */
static bool read_element(const char *at, char hop[HOP_BYTES])
{
    hop[0] = '\0';
    for (;;) {
        at = read_pair(skip_blanks(at), hop);
        if (at == NULL)
            return false;
        at = skip_blanks(at);
        if (*at == '\0')
            return true;
        if (*at++ != ';')
            return false;
    }
}

static bool parse_element(const char *element, size_t len, struct address *ret)
{
    char text[MOST_BYTES + 1], hop[HOP_BYTES];

    memcpy(text, element, len);
    text[len] = '\0';
    /* Section 6: an IPv6 address stands in brackets. */
    return read_element(text, hop) && *hop != '\0' &&
           (*hop == '[' || strchr(hop, ':') == strrchr(hop, ':')) &&
           parse_hop(hop, strlen(hop), ret);
}

static bool is_escaped(const char *begin, const char *at)
{
    size_t backslashes = 0;

    while (at > begin && *--at == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* Quotes are paired from the right: one that stands open on the left encloses nothing here. */
static const char *find_last_outside_quotes(const char *begin, const char *end)
{
    bool quoted = false;

    for (; end > begin; end--) {
        if (end[-1] == '"' && !is_escaped(begin, end - 1))
            quoted = !quoted;
        else if (end[-1] == ',' && !quoted)
            break;
    }
    return end;
}

struct address client_address_forwarded(const struct networks *trusted, const struct address *peer,
                                        const char *forwarded)
{
    static const struct syntax syntax = {find_last_outside_quotes, parse_element};

    return walk(trusted, peer, forwarded, &syntax);
}
