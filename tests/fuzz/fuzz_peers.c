/* What services that we call may answer: a mail server, Stripe. The first byte chooses; the rest is
 * what a server on this machine says, a line after each command, or whole after the request. */
#include "core/clock.h"
#include "core/crypto.h"
#include "remote/smtp.h"
#include "remote/stripe.h"
#include "remote/transfer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { DEADLINE_MS = 400 /* leaves no time for a second try */, PATIENCE_US = 20000, MOST = 8192 };

struct answer {
    bool line_by_line;
    size_t len;
    char bytes[MOST];
};

static struct {
    int fd, port;
    pthread_mutex_t lock;
    struct answer answer;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Up to the end of an answer that is complete: of 250-A, 250 B the second line. */
static size_t answer_length(const char *bytes, size_t len)
{
    size_t used = 0;

    while (used < len) {
        const char *line = bytes + used, *end = memchr(line, '\n', len - used);
        bool goes_on = len - used > 3 && line[3] == '-';

        used = end == NULL ? len : (size_t)(end + 1 - bytes);
        if (!goes_on)
            break;
    }
    return used;
}

static void say(int fd, const struct answer *answer)
{
    char heard[MOST];
    size_t said = 0;

    if (!answer->line_by_line) {
        (void)!recv(fd, heard, sizeof heard, 0);
        (void)!send(fd, answer->bytes, answer->len, MSG_NOSIGNAL);
        return;
    }
    while (said < answer->len) {
        size_t len = answer_length(answer->bytes + said, answer->len - said);

        if (send(fd, answer->bytes + said, len, MSG_NOSIGNAL) < 0)
            return;
        said += len;
        if (recv(fd, heard, sizeof heard, 0) == 0)
            return;
    }
}

/* Who asks may have gone on to the next input meanwhile, so the answer is a copy. */
static void *serve(void *unused)
{
    const struct timeval patience = {.tv_usec = PATIENCE_US};
    static struct answer answer;

    for (;;) {
        int fd = accept(server.fd, NULL, NULL);

        if (fd < 0)
            continue;
        pthread_mutex_lock(&server.lock);
        answer = server.answer;
        pthread_mutex_unlock(&server.lock);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        say(fd, &answer);
        close(fd);
    }
    return unused;
}

static void set_answer(const uint8_t *bytes, size_t len, bool line_by_line)
{
    pthread_mutex_lock(&server.lock);
    server.answer.line_by_line = line_by_line;
    server.answer.len = len < MOST ? len : MOST;
    memcpy(server.answer.bytes, bytes, server.answer.len);
    pthread_mutex_unlock(&server.lock);
}

static void open_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    pthread_t thread;

    crypto_start();
    transfer_start();
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(bind(server.fd, (struct sockaddr *)&address, len) == 0 && listen(server.fd, 16) == 0);
    assert(getsockname(server.fd, (struct sockaddr *)&address, &len) == 0);
    server.port = ntohs(address.sin_port);
    assert(pthread_create(&thread, NULL, serve, NULL) == 0);
}

/* Whatever the server says of a mail is one line without the recipient's name. */
static void try_smtp(void *mem, const char *to)
{
    const struct settings settings = {.email_host = (char *)"127.0.0.1", .email_port = server.port};
    auto_smtp CURL *curl = NULL;
    bool for_good;
    const char *wrong = smtp_send(mem, &curl, &settings, "manus@example.com", to,
                                  "Subject: a\r\n\r\nb\r\n", &for_good);

    if (wrong == NULL) {
        assert(!for_good);
        return;
    }
    assert(strcasestr(wrong, "bob-the-builder@") == NULL && strlen(wrong) < 400);
    for (const char *at = wrong; *at != '\0'; at++)
        assert(*at >= ' ' && *at <= '~');
}

static void try_stripe(void *mem)
{
    struct settings settings = {
        .stripe_api_base = mem_printf(mem, "http://127.0.0.1:%d", server.port),
        .stripe_secret = secret_new(mem, "sk_test_1", 9)};
    struct task task = {.mem = mem, .deadline_ms = clock_mono_ms() + DEADLINE_MS, .id = "fuzz"};
    struct stripe *stripe = stripe_open(mem, &settings);
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/customers/cus_1"};
    enum err e = stripe_ask(&task, stripe, &call);

    assert(e == OK || e == ERR_STRIPE || e == ERR_STRIPE_DOWN);
    assert(call.code != NULL && call.param != NULL);
    if (e == OK)
        assert(json_is_object(call.reply) && call.status >= 200 && call.status < 300);
    if (e == ERR_STRIPE)
        assert(json_is_object(call.reply) && call.status >= 300);
    stripe_is_missing(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);

    if (len == 0)
        return 0;
    if (server.port == 0)
        open_server();
    set_answer(bytes + 1, len - 1, bytes[0] % 4 != 0);
    if (bytes[0] % 4 == 0)
        try_stripe(mem);
    else
        try_smtp(mem, bytes[0] % 4 == 1 ? "bob-the-builder@b\xc3\xbc"
                                          "cher.example"
                                        : "bob-the-builder@example.org");
    return 0;
}
