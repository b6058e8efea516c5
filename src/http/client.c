#include "http/client.h"

#include <string.h>
#include <strings.h>

enum { MOST_BYTES = 4096, MOST_HOPS = 32, HOP_BYTES = 64 };

static bool is_trusted(const struct networks *trusted, const struct address *address)
{
    for (size_t i = 0; i < trusted->count; i++) {
        if (network_has(&trusted->of[i], address))
            return true;
    }
    return false;
}

bool client_is_trusted(const struct settings *settings, const struct address *peer)
{
    return is_trusted(&settings->trusted_proxies, peer);
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

/* 198.51.100.7, 198.51.100.7:5123, 2001:db8::1, [2001:db8::1], [2001:db8::1]:443. */
static bool parse_hop(const char *hop, size_t len, struct address *ret)
{
    const char *end = hop + len, *close = memchr(hop, ']', len), *colon = memchr(hop, ':', len);

    if (*hop == '[')
        return close != NULL && (close + 1 == end || is_port(close + 1, end)) &&
               address_parse(hop + 1, (size_t)(close - hop - 1), ret);
    if (colon != NULL && is_port(colon, end))
        end = colon;
    return address_parse(hop, (size_t)(end - hop), ret);
}

/* Takes one hop on the way from the right. True: go on to the next one. */
static bool take_hop(const struct networks *trusted, const char *hop, size_t len,
                     struct address *client)
{
    struct address address;

    if (len == 0 || !parse_hop(hop, len, &address))
        return false;
    *client = address;
    return is_trusted(trusted, &address);
}

struct address client_address(const struct networks *trusted, const struct address *peer,
                              const char *forwarded_for)
{
    struct address client = *peer;
    const char *end;

    if (forwarded_for == NULL || trusted->count == 0 || !is_trusted(trusted, peer) ||
        strlen(forwarded_for) > MOST_BYTES)
        return client;
    end = forwarded_for + strlen(forwarded_for);
    for (int hops = 0; end > forwarded_for;) {
        const char *begin = end, *hop;

        while (begin > forwarded_for && begin[-1] != ',')
            begin--;
        hop = begin + strspn(begin, " \t");
        while (end > hop && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if (end > hop) {
            if (!take_hop(trusted, hop, (size_t)(end - hop), &client))
                break;
            if (++hops == MOST_HOPS)
                return *peer;
        }
        end = begin > forwarded_for ? begin - 1 : forwarded_for;
    }
    return client;
}

/* Forwarded (RFC 7239) */

struct hops {
    char of[MOST_HOPS][HOP_BYTES]; /* the value of for=, empty where there is none that fits */
    unsigned count;
};

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

/* False: it is no such field, or has too many elements. */
static bool read_elements(const char *at, struct hops *hops)
{
    for (;;) {
        at = skip_blanks(at);
        if (*at == ',') {
            at++;
            continue;
        }
        if (*at == '\0')
            return true;
        if (hops->count == MOST_HOPS)
            return false;
        do {
            at = read_pair(skip_blanks(at + (*at == ';')), hops->of[hops->count]);
            if (at == NULL)
                return false;
            at = skip_blanks(at);
        } while (*at == ';');
        hops->count++;
        if (*at != ',' && *at != '\0')
            return false;
    }
}

struct address client_address_forwarded(const struct networks *trusted, const struct address *peer,
                                        const char *forwarded)
{
    struct address client = *peer;
    struct hops hops = {0};

    if (forwarded == NULL || trusted->count == 0 || !is_trusted(trusted, peer) ||
        strlen(forwarded) > MOST_BYTES || !read_elements(forwarded, &hops))
        return client;
    while (hops.count > 0) {
        const char *hop = hops.of[--hops.count];

        /* Section 6: an IPv6 address stands in brackets. */
        if ((*hop != '[' && strchr(hop, ':') != strrchr(hop, ':')) ||
            !take_hop(trusted, hop, strlen(hop), &client))
            break;
    }
    return client;
}
