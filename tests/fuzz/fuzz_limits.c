/* What strangers and operators write for the rate limits: X-Forwarded-For and Forwarded, the PROXY
 * protocol, and the grammar of rules. The first byte chooses. */
#include "http/client.h"
#include "http/proxy_protocol.h"
#include "limit/rule.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void try_rule(const char *text)
{
    struct rule rule;

    if (rule_parse(text, &rule) != NULL)
        return;
    assert(rule.count <= RULE_WINDOWS);
    for (unsigned i = 0; i < rule.count; i++) {
        const struct rule_window *window = &rule.windows[i];

        assert(window->limit >= 1 && window->limit <= rule.most);
        assert(window->seconds >= 1 && window->seconds <= rule.longest);
    }
    assert(rule.most <= RULE_COUNT_MAX && rule.longest <= RULE_SECONDS_MAX);
}

static void try_header(const char *header)
{
    struct network network;
    struct networks trusted = {&network, 1};
    struct address peer, client;

    network_parse("10.0.0.0/8", &network);
    address_parse("10.0.0.5", 8, &peer);
    client = client_address(&trusted, &peer, header);
    assert(memcmp(&client, &peer, sizeof peer) == 0 || header[strcspn(header, ".:")] != '\0');
    client_address_forwarded(&trusted, &peer, header);
    address_parse("192.0.2.1", 9, &peer);
    client = client_address(&trusted, &peer, header);
    assert(memcmp(&client, &peer, sizeof peer) == 0);
}

static void try_proxy(const char *bytes, size_t len)
{
    struct address peer, client;
    size_t used = 0;

    address_parse("10.0.0.5", 8, &peer);
    client = peer;
    if (proxy_read(bytes, len, &used, &client) == PROXY_READ_DONE)
        assert(used > 0 && used <= len && used <= PROXY_HEADER_BYTES);
    else
        assert(memcmp(&client, &peer, sizeof peer) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    const char *text = len == 0 ? "" : mem_copy(mem, (const char *)bytes + 1, len - 1);

    if (len > 0 && bytes[0] % 4 == 2)
        try_proxy((const char *)bytes + 1, len - 1);
    else if (len > 0 && bytes[0] % 2 == 0)
        try_rule(text);
    else
        try_header(text);
    return 0;
}
