/* Who the client is, by what proxies write: the PROXY protocol, X-Forwarded-For and Forwarded. The
 * first byte chooses. What stands left of the client that trusted proxies name changes nothing. */
#include "http/client.h"
#include "http/proxy_protocol.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

typedef struct address reader(const struct networks *trusted, const struct address *peer,
                              const char *list);

enum { SHORT = 1500 /* so that two of them are within what is looked at */ };

static bool is_same(const struct address *a, const struct address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static struct address address_of(const char *text)
{
    struct address address;

    assert(address_parse(text, strlen(text), &address));
    return address;
}

/* PROXY */

/* In a block of its exact length, so that a sanitizer sees what is read behind it. */
static enum proxy_read read_exactly(const char *bytes, size_t len, size_t *ret_used,
                                    struct address *client)
{
    auto_tree void *mem = mem_tree(0);

    return proxy_read(memcpy(mem_zero(mem, len), bytes, len), len, ret_used, client);
}

/* However the header is cut into reads: first more is wanted, then it is done, or wrong. */
static void try_proxy(const char *bytes, size_t len)
{
    const struct address peer = address_of("10.0.0.5");
    struct address client = peer, again;
    size_t used = 0, used_again;
    enum proxy_read whole = read_exactly(bytes, len, &used, &client), cut;

    assert(whole != PROXY_READ_MORE || len < PROXY_HEADER_BYTES);
    assert(whole == PROXY_READ_DONE || is_same(&client, &peer));
    assert(whole != PROXY_READ_DONE || (used > 0 && used <= len && used <= PROXY_HEADER_BYTES));
    for (size_t i = 0; i <= len && i <= PROXY_HEADER_BYTES; i++) {
        again = peer;
        cut = read_exactly(bytes, i, &used_again, &again);
        if (whole == PROXY_READ_DONE)
            assert(cut == (i < used ? PROXY_READ_MORE : PROXY_READ_DONE));
        if (whole == PROXY_READ_MORE)
            assert(cut == PROXY_READ_MORE);
        if (cut == PROXY_READ_DONE)
            assert(used_again == used && is_same(&again, &client));
        else
            assert(is_same(&again, &peer));
    }
}

/* Lists */

static const struct networks *trusted_networks(void)
{
    static struct network network;
    static struct networks trusted = {&network, 1};

    network_parse("10.0.0.0/8", &network);
    return &trusted;
}

/* left '\n' right: the right part alone names somebody, and so it does behind any left one. */
static void try_list(void *mem, reader *read, char *text, const char *hop, const char *tail)
{
    const struct networks *trusted = trusted_networks();
    const struct address peer = address_of("10.0.0.5"), stranger = address_of("192.0.2.1"),
                         expected = address_of("198.51.100.7");
    char *right = strchr(text, '\n');
    struct address client, again;

    if (right != NULL)
        *right++ = '\0';
    client = read(trusted, &stranger, text);
    assert(is_same(&client, &stranger));
    client = read(trusted, &peer, mem_printf(mem, "%s,%s", text, hop));
    assert(is_same(&client, &expected));
    client = read(trusted, &peer, mem_printf(mem, "%s,%s,%s", text, hop, tail));
    assert(is_same(&client, &expected));
    if (right == NULL || strlen(right) > SHORT)
        return;
    client = read(trusted, &peer, right);
    if (network_has(&trusted->of[0], &client))
        return;
    again = read(trusted, &peer, mem_printf(mem, "%s,%s", text, right));
    assert(is_same(&client, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    char *text = len == 0 ? mem_string(mem, "") : mem_copy(mem, (const char *)bytes + 1, len - 1);

    if (len > 0 && bytes[0] % 3 == 0)
        try_proxy((const char *)bytes + 1, len - 1);
    else if (len > 0 && bytes[0] % 3 == 1)
        try_list(mem, client_address, text, "198.51.100.7:5123",
                 " 10.0.0.9 ,, [::ffff:10.1.1.1]:5");
    else
        try_list(mem, client_address_forwarded, text, "by=x;For=\"198.51.100.7:80\"",
                 "for=10.0.0.9;proto=\"a,\\\"\", , for=10.1.1.1");
    return 0;
}
