#include "http/message.h"

#include "unit.h"

struct outcome {
    enum message_event event; /* the last one */
    enum err refused;
    char path[80], query[80];
    bool has_query;
};

static void note(struct outcome *outcome, const struct request *req)
{
    snprintf(outcome->path, sizeof outcome->path, "%s", req->path);
    outcome->has_query = req->query != NULL;
    snprintf(outcome->query, sizeof outcome->query, "%s", req->query == NULL ? "" : req->query);
}

/* Reads `len` bytes in pieces of `piece`, each in a block of its own so that a look beyond it is
 * found out by sanitizers. */
static struct outcome read_message(const char *bytes, size_t len, size_t piece, size_t max_body)
{
    struct outcome outcome = {0};
    struct message message = {0};
    void *tree = mem_tree(0);

    message_open(&message);
    message.req = mem_new(tree, struct request);
    message.req->task.mem = tree;
    for (size_t at = 0; at < len && outcome.event != MESSAGE_REFUSED;) {
        size_t size = len - at < piece ? len - at : piece, used;
        char *block = malloc(size);

        memcpy(block, bytes + at, size);
        outcome.event = message_feed(&message, block, size, &used);
        free(block);
        at += used;
        if (outcome.event == MESSAGE_HEAD)
            note(&outcome, message.req);
        message.max_body = max_body;
        if (outcome.event == MESSAGE_END)
            break;
    }
    outcome.refused = message.refused;
    talloc_free(tree);
    return outcome;
}

/* RFC 9112 section 3.2. */
static void test_each_form_of_target_is_read_or_refused(void **state)
{
    static const struct {
        const char *method, *target, *path, *query; /* path NULL: 400 */
    } table[] = {
        {"GET", "/", "/", NULL},
        {"GET", "/?", "/", ""},
        {"GET", "/a/b?x=1&y=?", "/a/b", "x=1&y=?"},
        {"GET", "//a//b", "//a//b", NULL},
        {"GET", "/http://a?x", "/http://a", "x"},
        {"GET", "http://a", "/", NULL},
        {"GET", "http://a?x", "/", "x"},
        {"GET", "http://a?", "/", ""},
        {"GET", "http://a?x/y", "/", "x/y"},
        {"GET", "http://a/", "/", NULL},
        {"GET", "http://a/?x", "/", "x"},
        {"GET", "http://a/b/c?x=/?", "/b/c", "x=/?"},
        {"GET", "HTTPS://a.example:443/b", "/b", NULL},
        {"GET", "http://[::1]", "/", NULL},
        {"GET", "http://[::1]:80?x", "/", "x"},
        {"GET", "http://[::1]:80/b", "/b", NULL},
        {"GET", "http://[::1", NULL, NULL},
        {"GET", "http://[::1/b", NULL, NULL},
        {"GET", "http://[x]/b", NULL, NULL},
        {"GET", "http://a:port/b", NULL, NULL},
        {"GET", "http://user@a/b", NULL, NULL},
        {"GET", "http://user:word@a?x", NULL, NULL},
        {"GET", "http://", NULL, NULL},
        {"GET", "http:///b", NULL, NULL},
        {"GET", "http://?x", NULL, NULL},
        {"GET", "http:/a", NULL, NULL},
        {"GET", "ftp://a/b", NULL, NULL},
        {"GET", "/a#b", NULL, NULL},
        {"GET", "/a?x#b", NULL, NULL},
        {"GET", "http://a#b", NULL, NULL},
        {"GET", "a:80", NULL, NULL},
        {"GET", "*", NULL, NULL},
        {"OPTIONS", "*", "*", NULL},
        {"OPTIONS", "*?x", NULL, NULL},
        {"OPTIONS", "http://a", "/", NULL},
    };
    char head[200];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int len = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", table[i].method,
                           table[i].target);

        for (size_t piece = 1; piece <= (size_t)len; piece++) {
            struct outcome outcome = read_message(head, (size_t)len, piece, 100);

            if (table[i].path == NULL) {
                assert_int_equal(outcome.event, MESSAGE_REFUSED);
                assert_int_equal(outcome.refused, ERR_BAD_REQUEST);
                continue;
            }
            assert_int_not_equal(outcome.event, MESSAGE_REFUSED);
            assert_string_equal(outcome.path, table[i].path);
            assert_int_equal(outcome.has_query, table[i].query != NULL);
            assert_string_equal(outcome.query, table[i].query == NULL ? "" : table[i].query);
        }
    }
}

static void test_a_target_cut_at_any_byte_is_read_or_refused(void **state)
{
    static const char *const targets[] = {"http://[::1]:80/b?x", "https://a.example?x/y", "/a?b"};
    char head[200];

    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        for (int cut = 1; cut <= (int)strlen(targets[i]); cut++) {
            int len = snprintf(head, sizeof head, "GET %.*s HTTP/1.1\r\nHost: a\r\n\r\n", cut,
                               targets[i]);
            struct outcome outcome = read_message(head, (size_t)len, (size_t)len, 100);

            assert_true(outcome.event == MESSAGE_REFUSED ? outcome.refused == ERR_BAD_REQUEST
                                                         : *outcome.path == '/');
        }
    }
}

static void test_a_chunk_larger_than_the_bound_is_refused_by_its_head(void **state)
{
    static const struct {
        const char *body;
        bool refused;
    } table[] = {
        {"64\r\n", false},
        {"65\r\n", true},
        {"10001\r\n", true},
        {"FFFFFFFFFFFFFFFF\r\n", true},
        {"7fffffffffffffff\r\n", true},
        {"1\r\nx\r\n63\r\n", false},
        {"1\r\nx\r\n64\r\n", true},
        {"65;a=b\r\n", true},
    };
    char message[200];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int len = snprintf(message, sizeof message,
                           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                           table[i].body);

        for (size_t piece = 1; piece <= (size_t)len; piece++) {
            struct outcome outcome = read_message(message, (size_t)len, piece, 100);

            assert_int_equal(outcome.event, table[i].refused ? MESSAGE_REFUSED : MESSAGE_MORE);
            assert_int_equal(outcome.refused, table[i].refused ? ERR_BODY_TOO_LARGE : OK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_each_form_of_target_is_read_or_refused),
        UNIT(test_a_target_cut_at_any_byte_is_read_or_refused),
        UNIT(test_a_chunk_larger_than_the_bound_is_refused_by_its_head),
    };

    return RUN_UNITS(tests);
}
