/* remote/peer and remote/transfer against a server of HTTP that answers from a script. */
#include "core/clock.h"
#include "core/settings.h"
#include "core/text.h"
#include "remote/peer.h"
#include "unit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* One answer for each connection, in turn; the last one again and again. NULL: hangs up. */
static struct {
    int listener;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock; /* of the answers; a client that has left is still answered */
    const char *const *answers;
    size_t count;
    atomic_uint asked;
    char request[1 << 18];
    size_t request_len;
    int64_t at_ms[32];
} server;

static size_t length_of_body(const char *head)
{
    const char *found = strcasestr(head, "\r\nContent-Length:");

    return found == NULL ? 0 : strtoul(found + 17, NULL, 10);
}

static void read_request(int fd)
{
    const char *end = NULL;
    size_t len = 0;
    ssize_t got;

    while ((got = read(fd, server.request + len, sizeof server.request - 1 - len)) > 0) {
        len += (size_t)got;
        server.request[len] = '\0';
        end = strstr(server.request, "\r\n\r\n");
        if (end != NULL &&
            (size_t)(server.request + len - end) - 4 >= length_of_body(server.request))
            break;
    }
    server.request_len = len;
}

static void *serve(void *unused)
{
    for (;;) {
        int fd = accept(server.listener, NULL, NULL);
        unsigned number;
        const char *answer;

        if (fd < 0)
            return unused;
        read_request(fd);
        pthread_mutex_lock(&server.lock);
        number = atomic_load(&server.asked);
        answer = server.answers[number < server.count ? number : server.count - 1];
        if (number < count_of(server.at_ms))
            server.at_ms[number] = clock_mono_ms();
        atomic_store(&server.asked, number + 1);
        pthread_mutex_unlock(&server.lock);
        if (answer != NULL)
            (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        close(fd);
    }
}

static void answer_with(const char *const *answers, size_t count)
{
    pthread_mutex_lock(&server.lock);
    server.answers = answers;
    server.count = count;
    atomic_store(&server.asked, 0);
    pthread_mutex_unlock(&server.lock);
}
#define ANSWER(...)                                                                                \
    answer_with((const char *const[]){__VA_ARGS__},                                                \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* The last one; what was read of it is seen with the count. */
static const char *last_request(void)
{
    return atomic_load(&server.asked) == 0 ? "" : server.request;
}

#define REPLY(status, headers, body)                                                               \
    "HTTP/1.1 " status "\r\nConnection: close\r\n" headers "\r\n" body

static int start_server(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;

    (void)state;
    transfer_start();
    pthread_mutex_init(&server.lock, NULL);
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&to, size), 0);
    assert_int_equal(listen(server.listener, 16), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&to, &size), 0);
    server.port = ntohs(to.sin_port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    return 0;
}

static bool is_there;

static bool probe(struct task *task, const void *owner, int64_t timeout_ms)
{
    (void)task;
    (void)owner;
    (void)timeout_ms;
    return is_there;
}

static const struct peer_rules quick = {.name = PEER_STRIPE,
                                        .tries = 4,
                                        .connect_ms = 1000,
                                        .try_ms = 5000,
                                        .first_wait_ms = 20,
                                        .longest_wait_ms = 80,
                                        .probe = probe};

static struct task task_for(void *mem, int64_t ms)
{
    return (struct task){.mem = mem, .deadline_ms = clock_mono_ms() + ms, .job = "test"};
}

static struct peer_call call_of(void *mem)
{
    return (struct peer_call){
        .transfer = {.url = mem_printf(mem, "http://127.0.0.1:%u/path", server.port),
                     .max_reply = 1 << 20}};
}

static void what_fails_is_tried_again_and_what_is_refused_is_an_answer(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 20000);
    struct peer *peer = peer_open(mem, &quick, NULL);
    struct peer_call call = call_of(mem);

    (void)state;
    ANSWER(REPLY("500 Oops", "", ""), NULL,
           REPLY("200 OK", "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n", "yes"));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    assert_int_equal(call.number, 3);
    assert_int_equal(call.transfer.status, 200);
    assert_string_equal(call.transfer.reply.s, "yes");
    assert_int_equal(call.date_s, 1767225600);
    ANSWER(REPLY("404 Not Found", "", "no"), REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    assert_int_equal(call.transfer.status, 404);
    assert_int_equal(call.number, 1);
    assert_int_equal(call.date_s, 0);
}

static void a_job_that_comes_again_by_itself_tries_once(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 20000);
    struct peer_call call = call_of(mem);

    (void)state;
    task.is_repetition = true;
    ANSWER(REPLY("503 Busy", "", ""));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &call), PEER_UNKNOWN);
    assert_int_equal(atomic_load(&server.asked), 1);
}

static void what_it_asks_to_wait_is_waited_or_nothing_more_is_tried(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 20000);
    struct peer *peer = peer_open(mem, &quick, NULL);
    struct peer_call call = call_of(mem);

    (void)state;
    ANSWER(REPLY("429 Slower", "Retry-After: 1\r\n", ""), REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    assert_int_equal(atomic_load(&server.asked), 2);
    assert_true(server.at_ms[1] - server.at_ms[0] >= 990);
    ANSWER(REPLY("503 Busy",
                 "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                 "Retry-After: Thu, 01 Jan 2026 00:00:01 GMT\r\n",
                 ""),
           REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    assert_int_equal(atomic_load(&server.asked), 2);
    assert_true(server.at_ms[1] - server.at_ms[0] >= 990);
    ANSWER(REPLY("503 Busy", "Retry-After: 99999999999999999999\r\n", ""), REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_UNKNOWN);
    assert_int_equal(atomic_load(&server.asked), 1);
    ANSWER(REPLY("503 Busy", "Retry-After: -5\r\n", ""), REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
}

static void repetitions_have_a_budget(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct peer *peer = peer_open(mem, &quick, NULL);
    unsigned tries = 0;

    (void)state;
    ANSWER(REPLY("429 Slower", "", ""));
    for (int i = 0; i < 20; i++) {
        struct peer_call call = call_of(mem);

        assert_int_equal(peer_ask(&task, peer, &call), PEER_UNKNOWN);
        tries += (unsigned)call.number;
    }
    assert_in_range(tries, 30, 32); /* 20, ten that were saved up, and a tenth of each */
}

static void who_fails_for_several_is_left_alone_until_it_is_back(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct peer *peer = peer_open(mem, &quick, NULL);
    static const char *const about[] = {"a", "a", "b", "b", "c"};

    (void)state;
    task.is_repetition = true;
    is_there = false;
    ANSWER(REPLY("500 Oops", "", ""));
    for (size_t i = 0; i < count_of(about); i++) {
        struct peer_call call = call_of(mem);

        call.about = about[i];
        assert_int_equal(peer_ask(&task, peer, &call), PEER_UNKNOWN);
    }
    for (int i = 0; i < 3; i++) {
        struct peer_call call = call_of(mem);

        assert_int_equal(peer_ask(&task, peer, &call), PEER_NOT_ASKED);
    }
    usleep(1100000); /* the first break is over: a probe, which fails, and a longer one */
    {
        struct peer_call call = call_of(mem);

        assert_int_equal(peer_ask(&task, peer, &call), PEER_NOT_ASKED);
    }
    assert_int_equal(atomic_load(&server.asked), count_of(about));
    is_there = true;
    ANSWER(REPLY("200 OK", "", ""));
    usleep(2100000);
    {
        struct peer_call call = call_of(mem);

        assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    }
    assert_int_equal(peer_outages(peer), 1);
}

static void what_fails_for_one_stops_nobody(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct peer *peer = peer_open(mem, &quick, NULL);

    (void)state;
    task.is_repetition = true;
    ANSWER(REPLY("500 Oops", "", ""));
    for (int i = 0; i < 12; i++) {
        struct peer_call call = call_of(mem);

        call.about = i % 2 == 0 ? "a" : "b";
        assert_int_equal(peer_ask(&task, peer, &call), PEER_UNKNOWN);
    }
}

static void nothing_is_begun_behind_the_deadline(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 100);
    struct peer_call call = call_of(mem);

    (void)state;
    ANSWER(REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &call), PEER_UNKNOWN);
    assert_int_equal(atomic_load(&server.asked), 0);
}

/* Bodies */

enum { BIG = 200000 };

struct upload {
    struct peer_call call;
    size_t at, fails_at;
    int prepared;
    char header[32];
};

static char byte_at(size_t at)
{
    return (char)(at * 7 % 251);
}

static size_t give(struct transfer *transfer, char *to, size_t room)
{
    struct upload *u = container_of(container_of(transfer, struct peer_call, transfer),
                                    struct upload, call);
    size_t len = room > 1000 ? 1000 : room;

    if (u->fails_at > 0 && u->at >= u->fails_at)
        return 0;
    for (size_t i = 0; i < len; i++)
        to[i] = byte_at(u->at + i);
    u->at += len;
    return len;
}

static bool sign(struct peer_call *call)
{
    struct upload *u = container_of(call, struct upload, call);

    u->at = 0;
    snprintf(u->header, sizeof u->header, "Signature: %d", ++u->prepared);
    call->transfer.headers[0] = u->header;
    return true;
}

static void a_body_is_given_piece_by_piece_anew_for_each_try_and_signed_for_it(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct upload u = {.call = call_of(mem)};
    const char *body;

    (void)state;
    u.call.prepare = sign;
    u.call.transfer.method = "PUT";
    u.call.transfer.read = give;
    u.call.transfer.body_len = BIG;
    u.call.transfer.headers[1] = "Expect:";
    ANSWER(REPLY("500 Oops", "", ""), REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &u.call), PEER_ANSWERED);
    assert_int_equal(u.prepared, 2);
    assert_memory_equal(last_request(), "PUT /path HTTP/1.1\r\n", 20);
    assert_non_null(strstr(server.request, "Signature: 2\r\n"));
    body = strstr(server.request, "\r\n\r\n") + 4;
    assert_int_equal(server.request_len - (size_t)(body - server.request), BIG);
    for (size_t i = 0; i < BIG; i++)
        assert_int_equal(body[i], byte_at(i));
}

static void a_body_that_cannot_be_read_is_said_and_not_tried_again(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct upload u = {.call = call_of(mem), .fails_at = 5000};

    (void)state;
    u.call.prepare = sign;
    u.call.transfer.method = "PUT";
    u.call.transfer.read = give;
    u.call.transfer.body_len = BIG;
    ANSWER(REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &u.call), PEER_UNKNOWN);
    assert_int_equal(u.prepared, 1);
    assert_string_equal(u.call.transfer.problem, "What was to be sent cannot be read");
    for (int i = 0; i < 5000 && atomic_load(&server.asked) == 0; i++)
        usleep(1000); /* the server has seen the end of it */
}

static void a_body_of_any_bytes_is_sent_whole(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct peer_call call = call_of(mem);
    static const char body[] = "a\0b\xff\n";

    (void)state;
    call.transfer.method = "POST";
    call.transfer.body = body;
    call.transfer.body_len = sizeof body;
    ANSWER(REPLY("200 OK", "", ""));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &call), PEER_ANSWERED);
    assert_memory_equal(last_request() + server.request_len - sizeof body, body, sizeof body);
}

static struct text taken;

static bool take(struct transfer *transfer, const char *piece, size_t len)
{
    (void)transfer;
    text_put(&taken, piece, len);
    return taken.len < 8;
}

static void a_reply_may_be_taken_piece_by_piece_but_not_that_of_a_failure(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct peer *peer = peer_open(mem, &quick, NULL);
    struct peer_call call = call_of(mem);

    (void)state;
    taken = text_open(mem, 64);
    call.transfer.write = take;
    ANSWER(REPLY("500 Oops", "", "why"), REPLY("200 OK", "", "piece"));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    assert_int_equal(taken.len, 5);
    ANSWER(REPLY("404 Not Found", "", "why"));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_ANSWERED);
    assert_string_equal(call.transfer.reply.s, "why");
    ANSWER(REPLY("200 OK", "", "too much of it"));
    assert_int_equal(peer_ask(&task, peer, &call), PEER_UNKNOWN);
}

static void a_reply_has_a_bound(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct peer_call call = call_of(mem);

    (void)state;
    call.transfer.max_reply = 4;
    ANSWER(REPLY("200 OK", "", "12345"));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &call), PEER_UNKNOWN);
    assert_int_equal(atomic_load(&server.asked), 1);
    assert_string_equal(call.transfer.problem, "Answer too long or malformed");
}

static void no_name_leads_where_nobody_may_go(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = task_for(mem, 60000);
    struct network of;
    struct networks allowed = {.of = &of, .count = 1};
    struct peer_call call = call_of(mem);

    (void)state;
    call.transfer.url = mem_printf(mem, "http://localhost:%u/", server.port);
    call.transfer.allowed = &allowed;
    ANSWER(REPLY("200 OK", "", ""));
    assert_true(network_parse("203.0.113.0/24", &of));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &call), PEER_UNKNOWN);
    assert_int_equal(call.number, 1);
    assert_int_equal(atomic_load(&server.asked), 0);
    assert_string_equal(call.transfer.problem, "OUTBOUND_NETWORKS does not have its address");
    assert_true(network_parse("127.0.0.0/8", &of));
    assert_int_equal(peer_ask(&task, peer_open(mem, &quick, NULL), &call), PEER_ANSWERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_is_tried_again_and_what_is_refused_is_an_answer),
        cmocka_unit_test(a_job_that_comes_again_by_itself_tries_once),
        cmocka_unit_test(what_it_asks_to_wait_is_waited_or_nothing_more_is_tried),
        cmocka_unit_test(repetitions_have_a_budget),
        cmocka_unit_test(who_fails_for_several_is_left_alone_until_it_is_back),
        cmocka_unit_test(what_fails_for_one_stops_nobody),
        cmocka_unit_test(nothing_is_begun_behind_the_deadline),
        cmocka_unit_test(a_body_is_given_piece_by_piece_anew_for_each_try_and_signed_for_it),
        cmocka_unit_test(a_body_that_cannot_be_read_is_said_and_not_tried_again),
        cmocka_unit_test(a_body_of_any_bytes_is_sent_whole),
        cmocka_unit_test(a_reply_may_be_taken_piece_by_piece_but_not_that_of_a_failure),
        cmocka_unit_test(a_reply_has_a_bound),
        cmocka_unit_test(no_name_leads_where_nobody_may_go),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
