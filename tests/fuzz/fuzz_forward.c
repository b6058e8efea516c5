/* Who the client is, by those in front: the PROXY protocol, cut at every byte (the first byte is
 * even), and X-Forwarded-For and Forwarded. What stands left of that which trusted proxies wrote
 * changes nothing. */
#include "http/client.h"
#include "http/proxy_protocol.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { PROXY_TRIED = 300, HOPS = 32, LIST_BYTES = 4096 };

static struct address address_of(const char *text)
{
    struct address address;

    assert(address_parse(text, strlen(text), &address));
    return address;
}

static bool is_same(const struct address *a, const struct address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* PROXY */

struct outcome {
    enum proxy_read read;
    size_t used;
    struct address client;
};

/* In a block of just that length, so that a byte too many is noticed. */
static struct outcome read_proxy(void *mem, const uint8_t *bytes, size_t len)
{
    struct outcome outcome = {.client = address_of("10.0.0.5")};
    char *block = mem_malloc(len == 0 ? 1 : len);

    (void)mem;
    memcpy(block, bytes, len);
    outcome.read = proxy_read(block, len, &outcome.used, &outcome.client);
    free(block);
    return outcome;
}

/* What was said of the first bytes stays said, whatever comes behind them. */
static void try_proxy(void *mem, const uint8_t *bytes, size_t len)
{
    const struct address peer = address_of("10.0.0.5");
    struct outcome before = read_proxy(mem, bytes, 0);

    assert(before.read == PROXY_READ_MORE);
    for (size_t i = 1; i <= len && i <= PROXY_TRIED; i++) {
        struct outcome now = read_proxy(mem, bytes, i);

        assert(before.read == PROXY_READ_MORE || now.read == before.read);
        if (now.read != PROXY_READ_DONE)
            assert(is_same(&now.client, &peer));
        else if (before.read == PROXY_READ_DONE)
            assert(now.used == before.used && is_same(&now.client, &before.client));
        else
            assert(now.used == i);
        before = now;
    }
    before = read_proxy(mem, bytes, len);
    assert(before.read != PROXY_READ_MORE || len < PROXY_HEADER_BYTES);
}

/* Lists of hops */

typedef struct address reader(const struct networks *, const struct address *, const char *);

static bool is_trusted(const struct networks *trusted, const struct address *address)
{
    return network_has(&trusted->of[0], address) || network_has(&trusted->of[1], address);
}

/* `end` is what two proxies wrote: one of ours behind a client. */
static void try_reader(void *mem, const struct networks *trusted, reader *read, const char *text,
                       const char *end)
{
    const struct address peer = address_of("10.0.0.5"), stranger = address_of("192.0.2.1"),
                         client = address_of("198.51.100.7");
    struct address found = read(trusted, &stranger, text);

    assert(is_same(&found, &stranger));
    found = read(trusted, &peer, NULL);
    assert(is_same(&found, &peer));
    found = read(trusted, &peer, mem_printf(mem, "%s,%s", text, end));
    assert(is_same(&found, &client));
    found = read(trusted, &peer, mem_printf(mem, "%05000d%s , %s", 7, text, end));
    assert(is_same(&found, &client));
    /* A further element on the left may only be reached when all on its right are trusted. */
    found = read(trusted, &peer, text);
    if (!is_trusted(trusted, &found)) {
        struct address again = read(trusted, &peer, mem_printf(mem, "203.0.113.1,%s", text));

        assert(is_same(&found, &again));
    }
}

/* The zone of an IPv6 address goes; false: there is one where none can be. */
static bool cut_zone(char *hop)
{
    char *zone = strchr(hop, '%'), *close = zone == NULL ? NULL : strchr(zone, ']');
    const char *colon = strchr(hop, ':');

    if (zone == NULL || colon == NULL || colon > zone)
        return zone == NULL;
    if (*hop == '[' && close == NULL)
        return false;
    if (*hop == '[')
        memmove(zone, close, strlen(close) + 1);
    else
        *zone = '\0';
    return *hop == '[' || strchr(colon + 1, ':') != NULL;
}

/* The same in another way: X-Forwarded-For split into hops first, and these read by inet_pton(). */
static bool parse_hop(char *hop, struct address *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char *close = strchr(hop, ']'),
         *colon = *hop == '[' ? close == NULL ? NULL : close + 1 : strchr(hop, ':');
    bool one_colon = *hop == '[' || colon == NULL || strchr(colon + 1, ':') == NULL;

    if (*hop == '[' && (close == NULL || (*colon != ':' && *colon != '\0')))
        return false;
    if (colon != NULL && *colon == ':' && one_colon) {
        size_t digits = strspn(colon + 1, "0123456789");

        if (digits < 1 || digits > 5 || colon[1 + digits] != '\0')
            return false;
        *colon = '\0';
    }
    if (*hop == '[') {
        *close = '\0';
        hop++;
    }
    memcpy(ret->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET6, hop, ret->bytes) == 1 ||
           inet_pton(AF_INET, hop, ret->bytes + 12) == 1;
}

static struct address model(void *mem, const struct networks *trusted, const struct address *peer,
                            const char *text)
{
    char *copy = mem_string(mem, text);
    struct address client = *peer, hop;

    for (int hops = 0; hops < HOPS;) {
        char *comma = strrchr(copy, ','), *at = comma == NULL ? copy : comma + 1;
        size_t len;

        at += strspn(at, " \t");
        for (len = strlen(at); len > 0 && strchr(" \t", at[len - 1]) != NULL;)
            at[--len] = '\0';
        if (len > 0 && (!cut_zone(at) || !parse_hop(at, &hop)))
            return (struct address){{0}};
        if (len > 0) {
            client = hop;
            hops++;
            if (!is_trusted(trusted, &hop))
                break;
        }
        if (comma == NULL)
            break;
        *comma = '\0';
    }
    return client;
}

static void try_lists(void *mem, const char *text)
{
    struct network networks[2];
    const struct networks trusted = {networks, 2};
    const struct address peer = address_of("10.0.0.5");

    network_parse("10.0.0.0/8", &networks[0]);
    network_parse("2001:db8::/32", &networks[1]);
    try_reader(mem, &trusted, client_address, text, "198.51.100.7, 10.0.0.9");
    try_reader(mem, &trusted, client_address_forwarded, text,
               "proto=http;for=\"198.51.100.7:80\", for=\"[2001:db8::9]\"");
    if (strlen(text) <= LIST_BYTES) {
        struct address found = client_address(&trusted, &peer, text),
                       expected = model(mem, &trusted, &peer, text);

        assert(is_same(&found, &expected));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);

    if (len == 0)
        return 0;
    if (bytes[0] % 2 == 0)
        try_proxy(mem, bytes + 1, len - 1);
    else
        try_lists(mem, mem_copy(mem, (const char *)bytes + 1, len - 1));
    return 0;
}
