/* What a server on Redis' port may answer: the reader of its protocol, and what the limiter makes
 * of the replies. The first byte chooses the script. */
#include "limit/script.h"
#include "remote/redis.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void try_reply(const redisReply *reply, enum script script)
{
    struct rule rule;
    struct script_answer answer;
    struct script_reply parts;
    static const uint32_t times[LIMIT_KEYS] = {1, 4, 16, 1};
    unsigned count = script == SCRIPT_ALL ? LIMIT_KEYS : 1;

    rule_parse(script == SCRIPT_ONE ? "70/minute;1000/hour" : "5/minute;20/hour", &rule);
    script_open_reply(reply, &parts);
    for (int i = 0; i < 3; i++) {
        script_read_ask(&parts, times, count, &rule, &answer);
        if (answer.outcome == SCRIPT_ADMITTED)
            assert(answer.verdict.admitted);
        if (answer.outcome == SCRIPT_REFUSED)
            assert(!answer.verdict.admitted && answer.verdict.wait_us > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    redisReader *reader = redisReaderCreate();
    enum script script = (enum script)(len == 0 ? 0 : bytes[0] % (SCRIPT_ALL + 1));
    void *reply = NULL;

    reader->maxelements = REDIS_LIST_MOST; /* as on every connection */
    if (len > 0)
        redisReaderFeed(reader, (const char *)bytes + 1, len - 1);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
        try_reply(reply, script);
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return 0;
}
