/* What Redis answers to the limiter's scripts, as the bytes of its text. The first byte chooses the
 * rule and the number of keys. */
#include "limit/script.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void try_verdict(const struct verdict *verdict, const struct rule *rule)
{
    for (unsigned i = 0; i < rule->count; i++) {
        assert(verdict->remaining[i] <= rule->windows[i].limit);
        assert(verdict->reset_us[i] >= 0);
    }
    assert(verdict->wait_us >= 0);
}

/* Times that a log holds, and that Redis says it is now, whatever they are. */
static void try_log(const struct rule *rule, const char *log, size_t len)
{
    int64_t now_us = INT64_C(1800000000000000);
    struct verdict verdict;

    if (len >= 16 && len % 2 == 0)
        memcpy(&now_us, log, sizeof now_us);
    verdict = script_judge(log, len, rule, now_us);

    try_verdict(&verdict, rule);
    assert(!verdict.admitted || verdict.wait_us == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const char *const rules[] = {"5/minute;20/hour", "70/minute;1000/hour", "unlimited",
                                        "1/second;100000/30days"};
    uint32_t times[LIMIT_KEYS];
    struct script_reply reply;
    struct script_answer answer;
    struct rule rule;
    char *block;

    if (len == 0)
        return 0;
    for (unsigned i = 0; i < LIMIT_KEYS; i++)
        times[i] = bytes[0] & 0x10 ? 1U << (2 * i) : 1;
    assert(rule_parse(rules[bytes[0] >> 2 & 3], &rule) == NULL);
    /* In a block of just that length, so that a byte too many is noticed. */
    block = mem_malloc(len);
    memcpy(block, bytes + 1, len - 1);
    reply = (struct script_reply){block, len - 1};
    for (int i = 0; i < 4; i++) {
        size_t left = reply.left;

        script_read_ask(&reply, times, bytes[0] % LIMIT_KEYS + 1, &rule, &answer);
        assert(reply.left <= left && reply.bytes + reply.left == block + len - 1);
        if (answer.outcome == SCRIPT_NONSENSE)
            break;
        assert(answer.verdict.admitted == (answer.outcome == SCRIPT_ADMITTED));
        assert(answer.verdict.admitted || answer.verdict.wait_us > 0);
        assert(script_is_time(answer.now_us));
        for (unsigned key = 0; key <= bytes[0] % LIMIT_KEYS; key++) {
            struct rule wide = rule_times(&rule, times[key]);

            try_verdict(&answer.each[key], &wide);
        }
    }
    try_log(&rule, block, len - 1);
    free(block);
    return 0;
}
