/* The grammar of rate limits. */
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);

    try_rule(mem_copy(mem, (const char *)bytes, len));
    return 0;
}
