/* The reader of HTTP messages: a stream must mean the same however it is cut into reads. The first
 * byte says where it is cut. */
#include "http/message.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { MESSAGES = 8 };

struct outcome {
    unsigned requests;
    enum err refused;
    struct {
        char path[64], query[64];
        bool keep_alive;
        int64_t content_length;
        size_t body_len;
    } of[MESSAGES];
};

static void *begin(struct message *message)
{
    void *tree = mem_tree(0);

    message->req = mem_new(tree, struct request);
    message->req->task.mem = tree;
    return tree;
}

static void note(struct outcome *outcome, const struct request *req)
{
    unsigned i = outcome->requests++;

    snprintf(outcome->of[i].path, sizeof outcome->of[i].path, "%s", req->path);
    snprintf(outcome->of[i].query, sizeof outcome->of[i].query, "%s",
             req->query == NULL ? "(none)" : req->query);
    outcome->of[i].keep_alive = req->keep_alive;
    outcome->of[i].content_length = req->content_length;
    outcome->of[i].body_len = req->body_len;
}

/* One read. False when nothing more can be told apart. */
static bool feed(struct message *message, void **tree, const char *bytes, size_t len,
                 struct outcome *outcome)
{
    enum message_event event = MESSAGE_MORE;

    while (len > 0 || event == MESSAGE_HEAD) {
        size_t used;

        event = message_feed(message, bytes, len, &used);
        assert(used <= len);
        bytes += used;
        len -= used;
        message->max_body = 1000;
        if (event == MESSAGE_REFUSED) {
            outcome->refused = message->refused;
            return false;
        }
        if (event != MESSAGE_END)
            continue;
        note(outcome, message->req);
        talloc_free(*tree);
        *tree = begin(message);
        if (outcome->requests == MESSAGES)
            return false;
    }
    return true;
}

static struct outcome read_stream(const char *bytes, size_t len, size_t cut)
{
    struct outcome outcome = {0};
    struct message message = {0};
    void *tree;

    message_open(&message);
    tree = begin(&message);
    if (feed(&message, &tree, bytes, cut, &outcome))
        feed(&message, &tree, bytes + cut, len - cut, &outcome);
    talloc_free(tree);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *stream = (const char *)bytes + 1;
    struct outcome whole, cut;

    if (len < 2)
        return 0;
    len--;
    whole = read_stream(stream, len, len);
    cut = read_stream(stream, len, bytes[0] % len);
    assert(whole.requests == cut.requests && whole.refused == cut.refused);
    for (unsigned i = 0; i < whole.requests; i++) {
        assert(strcmp(whole.of[i].path, cut.of[i].path) == 0);
        assert(strcmp(whole.of[i].query, cut.of[i].query) == 0);
        assert(whole.of[i].keep_alive == cut.of[i].keep_alive);
        assert(whole.of[i].content_length == cut.of[i].content_length);
        assert(whole.of[i].body_len == cut.of[i].body_len);
    }
    return 0;
}
