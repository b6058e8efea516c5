#include "http/client.h"

#include <string.h>

enum { MOST_BYTES = 4096, MOST_HOPS = 32 };

static bool is_trusted(const struct networks *trusted, const struct address *address)
{
    for (size_t i = 0; i < trusted->count; i++) {
        if (network_has(&trusted->of[i], address))
            return true;
    }
    return false;
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
        struct address address;

        while (begin > forwarded_for && begin[-1] != ',')
            begin--;
        hop = begin + strspn(begin, " \t");
        while (end > hop && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if (end > hop) {
            if (!parse_hop(hop, (size_t)(end - hop), &address))
                break;
            client = address;
            if (!is_trusted(trusted, &address))
                break;
            if (++hops == MOST_HOPS)
                return *peer;
        }
        end = begin > forwarded_for ? begin - 1 : forwarded_for;
    }
    return client;
}
