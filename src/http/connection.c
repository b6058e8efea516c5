#include "http/connection.h"

#include "core/clock.h"
#include "http/connection_parts.h"
#include "http/dispatch.h"
#include "http/proxy_protocol.h"

#include <assert.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    LINGER_BYTES = 4 << 20,
    PENDING_BYTES = 16 << 10, /* of later requests, kept while one is served */
    REQUEST_POOL_BYTES = 6 << 10,
    LEAST_BYTES_PER_SECOND = 500, /* of a body that comes, of a reply that is taken */
    BODY_MS = 30000,              /* for all of a body, however fast it comes */
};

/* How long a state may wait for the client; who keeps up the least rate in it may do so again. */
static const int64_t state_ms[CONNECTION_STATES] = {
    [CONNECTION_IDLE] = 1, /* KEEP_ALIVE_SECONDS */
    [CONNECTION_HEAD] = 10000,  [CONNECTION_BODY] = 10000,
    [CONNECTION_WRITE] = 10000, [CONNECTION_LINGER] = 2000,
};

static void resume(struct connection *c);
static void feed(struct connection *c, const char *bytes, size_t len);

/* States and their deadlines */

static int64_t now_ms(const struct connection *c)
{
    return (int64_t)uv_now(loop_uv(c->worker->loop));
}

/* Of the settings of the start, so that who came first in a list is due first. */
static int64_t patience_ms(const struct connection *c, enum connection_state state)
{
    const struct server_app *app = c->worker->app;

    return state == CONNECTION_IDLE ? app->settings(app->app)->keep_alive * 1000 : state_ms[state];
}

int64_t connection_waited_ms(const struct connection *c)
{
    return now_ms(c) + patience_ms(c, c->state) - c->deadline_ms;
}

static struct connection_list *state_list(const struct connection *c)
{
    return &c->worker->lists[c->state];
}

static void enter(struct connection *c, enum connection_state state)
{
    assert(c->state != CONNECTION_CLOSED);
    connection_list_remove(state_list(c), &c->by_state);
    c->state = state;
    connection_list_add(state_list(c), &c->by_state);
    c->since_ms = now_ms(c);
    c->moved_before = c->bytes_in;
    c->deadline_ms = state_ms[state] == 0 ? 0 : c->since_ms + patience_ms(c, state);
    if (c->deadline_ms != 0)
        worker_arm(c->worker, c->deadline_ms);
}

/* Memory that waits for the client */

void connection_set_waiting(struct connection *c, size_t bytes)
{
    if (bytes == c->waiting_bytes)
        return;
    if (c->waiting_bytes == 0)
        connection_list_add(&c->worker->payers, &c->by_memory);
    else if (bytes == 0)
        connection_list_remove(&c->worker->payers, &c->by_memory);
    worker_add_waiting(c->worker, (int64_t)bytes - (int64_t)c->waiting_bytes);
    c->waiting_bytes = bytes;
}

/* Of replies, sent and not acknowledged. */
static size_t bytes_in_kernel(const struct connection *c)
{
    int bytes = 0;
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &bytes) != 0)
        return 0;
    return (size_t)bytes;
}

/* May close this connection, or others. */
static void count_waiting(struct connection *c)
{
    size_t request = c->req == NULL ? 0 : talloc_total_size(c->req->task.mem);

    if (c->req != NULL && request < REQUEST_POOL_BYTES)
        request = REQUEST_POOL_BYTES;
    connection_set_waiting(c, c->pending_len + request + bytes_in_kernel(c));
    worker_bound_waiting(c->worker);
}

/* Closing */

static void free_request(struct connection *c)
{
    connection_set_waiting(c, 0);
    if (c->req != NULL)
        talloc_free(take_ptr(c->req)->task.mem);
}

static void release(struct connection *c)
{
    struct worker *worker = c->worker;

    assert(c->state == CONNECTION_CLOSED && c->holder == HOLDER_NONE);
    connection_list_remove(state_list(c), &c->by_state);
    if (c->counted)
        connection_uncount(c);
    free(c->pending);
    free_request(c);
    free(c);
    worker_count_closed(worker);
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;

    assert(c->state == CONNECTION_CLOSED);
    handle->data = NULL;
    if (c->holder == HOLDER_NONE)
        release(c);
}

void connection_close(struct connection *c)
{
    bool is_taken;

    if (c->state == CONNECTION_CLOSED)
        return;
    if (c->holder == HOLDER_LANE || c->holder == HOLDER_WRITE)
        atomic_store(&c->req->job.gone, true);
    else if (c->holder == HOLDER_NONE && c->req != NULL && c->req->method != NULL && !c->replied)
        dispatch_log(c->req, 499, 0);
    /* A reset frees at once what the kernel holds for who does not take it. */
    is_taken = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) == 0;
    enter(c, CONNECTION_CLOSED);
    if (is_taken || uv_tcp_close_reset(&c->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

/* Reading */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    const struct connection *c = handle->data;

    (void)suggested;
    /* What is read beside a request has its place in the pending bytes. */
    assert((c->state != CONNECTION_RUN && c->state != CONNECTION_WRITE) ||
           c->pending_len < PENDING_BYTES);
    *buf = uv_buf_init(c->worker->read_buffer,
                       c->state == CONNECTION_RUN || c->state == CONNECTION_WRITE
                           ? (unsigned)(PENDING_BYTES - c->pending_len)
                           : WORKER_READ_BYTES);
}

static void on_end_of_stream(struct connection *c)
{
    c->peer_done = true;
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
    /* A request that is whole is answered although its sender sends no more. */
    if (c->state != CONNECTION_RUN && c->state != CONNECTION_WRITE)
        connection_close(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;

    if (n == UV_EOF)
        on_end_of_stream(c);
    else if (n < 0)
        connection_close(c);
    if (n <= 0)
        return;
    c->bytes_in += (size_t)n;
    feed(c, buf->base, (size_t)n);
    /* The rest is to come: what is there takes room until then. */
    if ((c->state == CONNECTION_HEAD || c->state == CONNECTION_BODY) &&
        (c->req != NULL || c->pending_len > 0))
        count_waiting(c);
}

static void read_on(struct connection *c)
{
    if (c->reading || c->peer_done)
        return;
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
    if (!c->reading)
        connection_close(c);
}

static void stash(struct connection *c, const char *bytes, size_t len)
{
    char *grown = mem_malloc(c->pending_len + len);

    if (c->pending_len > 0)
        memcpy(grown, c->pending, c->pending_len);
    memcpy(grown + c->pending_len, bytes, len);
    free(c->pending);
    c->pending = grown;
    c->pending_len += len;
    if (c->pending_len >= PENDING_BYTES && c->reading && !c->awaits_proxy) {
        uv_read_stop((uv_stream_t *)&c->tcp);
        c->reading = false;
    }
}

/* Writing */

static void linger(struct connection *c);

static void end_request(struct connection *c)
{
    assert(c->replied && c->req != NULL);
    dispatch_log(c->req, c->req->reply.status, c->reply_bytes);
    free_request(c);
    if (c->keep_alive)
        enter(c, CONNECTION_IDLE);
    else if (c->pending_len > 0 || !c->received)
        linger(c);
    else
        connection_close(c);
}

/* The reply is out. The rest of a body that nobody wants is still to be read. */
static void on_reply_written(struct connection *c)
{
    assert(c->state == CONNECTION_WRITE);
    c->replied = true;
    if (c->received || !c->keep_alive)
        end_request(c);
    else
        enter(c, CONNECTION_BODY);
}

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = write->data;

    if (c->state == CONNECTION_CLOSED)
        return;
    if (status < 0) {
        connection_close(c);
        return;
    }
    on_reply_written(c);
    resume(c);
}

/* Bytes that came, or in WRITE those that the client has acknowledged: what the kernel holds for
 * it, which may be megabytes, it has not taken. */
static uint64_t bytes_moved(const struct connection *c)
{
    uint64_t left;

    if (c->state != CONNECTION_WRITE)
        return c->bytes_in;
    left = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + bytes_in_kernel(c);
    return left < c->bytes_out ? c->bytes_out - left : 0;
}

static void send_reply(struct connection *c)
{
    struct request *req = c->req;
    struct text head;
    uv_buf_t bufs[2];
    int n;

    assert(!c->replied && req->reply.status != 0);
    c->keep_alive = c->keep_alive && req->keep_alive && worker_keeps_alive(c->worker);
    head = dispatch_reply_head(c->worker, req, c->keep_alive);
    bufs[1] = uv_buf_init((char *)req->reply.body, (unsigned)req->reply.body_len);
    if (req->method != NULL && strcmp(req->method, "HEAD") == 0)
        bufs[1].len = 0;
    /* What fits behind the head goes with it: the kernel takes one piece faster than two. */
    if (bufs[1].len <= head.capacity - head.len) {
        text_put(&head, bufs[1].base, bufs[1].len);
        bufs[1].len = 0;
    }
    bufs[0] = uv_buf_init(head.s, (unsigned)head.len);
    c->reply_bytes = bufs[0].len + bufs[1].len;

    c->bytes_out += c->reply_bytes;
    enter(c, CONNECTION_WRITE);
    n = uv_try_write((uv_stream_t *)&c->tcp, bufs, bufs[1].len == 0 ? 1 : 2);
    if (n == (int)c->reply_bytes) {
        on_reply_written(c);
        return;
    }
    if (n < 0 && n != UV_EAGAIN) {
        connection_close(c);
        return;
    }
    for (int i = 0; i < 2 && n > 0; i++) {
        size_t out = (size_t)n < bufs[i].len ? (size_t)n : bufs[i].len;

        bufs[i].base += out;
        bufs[i].len -= out;
        n -= (int)out;
    }
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, bufs, 2, on_written) != 0) {
        connection_close(c);
        return;
    }
    c->moved_before = bytes_moved(c);
    count_waiting(c);
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown;
    (void)status;
}

/* Says that no more comes, and lets the client read the reply before it meets a reset. */
static void linger(struct connection *c)
{
    enter(c, CONNECTION_LINGER);
    c->dropped = c->pending_len;
    free(take_ptr(c->pending));
    c->pending_len = 0;
    if (c->peer_done || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut_down) != 0)
        connection_close(c);
    else
        read_on(c);
}

static void drop(struct connection *c, size_t len)
{
    c->dropped += len;
    if (c->dropped > LINGER_BYTES)
        connection_close(c);
}

/* Requests */

static void begin_request(struct connection *c)
{
    void *tree = mem_tree(REQUEST_POOL_BYTES);

    assert(c->req == NULL && c->holder == HOLDER_NONE);
    mem_cap(tree);
    c->req = mem_new(tree, struct request);
    c->req->task.mem = tree;
    c->req->connection = c;
    c->req->unnamed = c->unnamed;
    c->req->started_us = clock_turn_mono_us();
    c->message.req = c->req;
    c->keep_alive = true;
    c->replied = c->received = c->at_head = false;
    if (c->state != CONNECTION_HEAD)
        enter(c, CONNECTION_HEAD);
}

static void hold(struct connection *c, enum holder holder)
{
    assert(c->req != NULL && c->holder == HOLDER_NONE);
    c->holder = holder;
    connection_set_waiting(c, 0);
    enter(c, CONNECTION_RUN);
}

/* The request came back. False: its client has gone. */
static bool take_back(struct connection *c)
{
    assert(c->holder != HOLDER_NONE);
    c->holder = HOLDER_NONE;
    if (c->state != CONNECTION_CLOSED)
        return true;
    dispatch_log(c->req, 499, 0);
    if (c->tcp.data == NULL)
        release(c);
    return false;
}

static void on_job_done(struct job *job, enum err outcome)
{
    struct request *req = container_of(job, struct request, job);
    struct connection *c = req->connection;

    if (!take_back(c))
        return;
    if (outcome != OK)
        dispatch_unrun(req, outcome);
    send_reply(c);
    resume(c);
}

/* A refusal before the body: a small body of known length is read and dropped so that the
 * connection goes on; any other ends it. */
static void refuse_body(struct connection *c)
{
    const struct request *req = c->req;

    if (req->content_length < 0 || req->content_length > HTTP_BODY_BYTES || req->expects_continue)
        c->keep_alive = false;
    c->message.max_body = HTTP_BODY_BYTES;
    c->message.discard_body = true;
}

static void ask_for_body(struct connection *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = uv_buf_init((char *)text, sizeof text - 1);

    if (uv_try_write((uv_stream_t *)&c->tcp, &buf, 1) != (int)sizeof text - 1)
        connection_close(c);
}

static void take_head(struct connection *c, enum dispatched dispatched, bool body_has_begun)
{
    bool has_body = c->req->content_length != 0;

    if (dispatched == DISPATCH_WAITS) {
        hold(c, HOLDER_GATE);
        return;
    }
    c->message.max_body = dispatch_max_body(c->req);
    if (dispatched == DISPATCH_ANSWERED && has_body) {
        refuse_body(c);
        send_reply(c);
        return;
    }
    if (!has_body)
        return;
    enter(c, CONNECTION_BODY);
    if (c->req->expects_continue && !body_has_begun)
        ask_for_body(c);
}

static void take_message(struct connection *c, enum dispatched dispatched)
{
    if (dispatched == DISPATCH_WAITS)
        hold(c, c->req->waits ? HOLDER_ADMIT : HOLDER_LANE);
    else if (dispatched == DISPATCH_WRITES)
        hold(c, HOLDER_WRITE);
    else
        send_reply(c);
}

static void on_message(struct connection *c)
{
    assert(c->req != NULL);
    c->received = true;
    if (c->replied)
        end_request(c);
    else if (c->req->reply.status != 0)
        send_reply(c);
    else
        take_message(c, dispatch_body(c->worker, c->req, on_job_done));
}

void request_go_on(struct request *req)
{
    struct connection *c = req->connection;
    enum holder holder = c->holder;

    assert_on_loop(c->worker->loop);
    if (!take_back(c))
        return;
    if (holder == HOLDER_GATE) {
        enter(c, CONNECTION_HEAD);
        take_head(c, dispatch_gate(c->worker, req), c->pending_len > 0);
    } else if (holder == HOLDER_ADMIT) {
        take_message(c, dispatch_admit(c->worker, req, on_job_done));
    } else {
        take_message(c, dispatch_start(c->worker, req, on_job_done));
    }
    resume(c);
}

/* What follows cannot be told apart from a request: answer, if that was not done, and end. */
static void on_refused(struct connection *c)
{
    c->keep_alive = false;
    if (c->replied) {
        end_request(c);
        return;
    }
    dispatch_refuse(c->worker, c->req, &c->peer, c->message.refused);
    send_reply(c);
}

static bool can_parse(const struct connection *c)
{
    return c->state == CONNECTION_IDLE || c->state == CONNECTION_HEAD ||
           c->state == CONNECTION_BODY;
}

/* What has come so far of the proxy's header; true once it is there, and out of the pending bytes.
 */
static bool take_proxy_header(struct connection *c)
{
    size_t used = 0;
    enum proxy_read read = proxy_read(c->pending, c->pending_len, &used, &c->peer);

    assert(c->awaits_proxy && !c->counted);
    if (read == PROXY_READ_WRONG)
        connection_close(c);
    if (read != PROXY_READ_DONE && read != PROXY_READ_NOBODY)
        return false;
    c->awaits_proxy = false;
    c->unnamed = read == PROXY_READ_NOBODY;
    c->pending_len -= used;
    memmove(c->pending, c->pending + used, c->pending_len);
    return connection_count(c);
}

static void feed(struct connection *c, const char *bytes, size_t len)
{
    enum message_event event;
    size_t used;

    if (c->awaits_proxy) {
        stash(c, bytes, len);
        if (take_proxy_header(c))
            resume(c);
        return;
    }
    /* The end of a message without a body shows only when the parser is asked again. */
    while (can_parse(c) && (len > 0 || c->at_head)) {
        if (c->req == NULL)
            begin_request(c);
        c->at_head = false;
        event = message_feed(&c->message, bytes, len, &used);
        bytes += used;
        len -= used;
        c->at_head = event == MESSAGE_HEAD;
        if (event == MESSAGE_HEAD)
            take_head(c, dispatch_head(c->worker, c->req, &c->peer), len > 0);
        else if (event == MESSAGE_END)
            on_message(c);
        else if (event == MESSAGE_REFUSED)
            on_refused(c);
    }
    if (len == 0 || c->state == CONNECTION_CLOSED)
        return;
    if (c->state == CONNECTION_LINGER)
        drop(c, len);
    else
        stash(c, bytes, len);
}

/* After a wait: what was read meanwhile, then what comes. */
static void resume(struct connection *c)
{
    if (can_parse(c) && (c->pending_len > 0 || c->at_head)) {
        auto_text char *pending = take_ptr(c->pending);
        size_t len = c->pending_len;

        c->pending_len = 0;
        feed(c, len == 0 ? "" : pending, len);
    }
    if (!can_parse(c))
        return;
    if (c->peer_done)
        connection_close(c);
    else
        read_on(c);
}

/* Accepting */

static void set_peer(struct connection *c)
{
    struct sockaddr_storage name;
    int size = sizeof name;

    memset(&c->peer, 0, sizeof c->peer);
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&name, &size) == 0)
        address_from_socket((struct sockaddr *)&name, &c->peer);
}

static struct connection *new_connection(struct worker *worker)
{
    struct connection *c = mem_malloc(sizeof *c);

    memset(c, 0, sizeof *c);
    c->worker = worker;
    c->tcp.data = c;
    uv_tcp_init(loop_uv(worker->loop), &c->tcp);
    c->state = CONNECTION_IDLE;
    connection_list_add(state_list(c), &c->by_state);
    worker_count_opened(worker);
    return c;
}

static void begin(struct connection *c, int wrong)
{
    const struct settings *settings;

    if (wrong != 0) {
        connection_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    set_peer(c);
    settings = c->worker->app->settings(c->worker->app->app);
    c->awaits_proxy = settings->proxy_protocol;
    if (c->awaits_proxy && !client_is_trusted(settings, &c->peer)) {
        connection_close(c);
        return;
    }
    if (!c->awaits_proxy && !connection_count(c))
        return;
    message_open(&c->message);
    /* Nothing has come yet, but the first head is due as if it had begun. */
    enter(c, CONNECTION_HEAD);
    read_on(c);
}

void connection_accept(struct worker *worker, uv_stream_t *listener)
{
    struct connection *c = new_connection(worker);

    assert_on_loop(worker->loop);
    begin(c, uv_accept(listener, (uv_stream_t *)&c->tcp));
    worker_bound_connections(worker, c);
}

void connection_adopt(struct worker *worker, int fd)
{
    struct connection *c = new_connection(worker);

    assert_on_loop(worker->loop);
    begin(c, uv_tcp_open(&c->tcp, fd));
}

/* Deadlines */

/* Who has moved enough in the window that ends gets another one. */
static bool keeps_up(struct connection *c)
{
    int64_t now = now_ms(c), window_ms = state_ms[c->state];
    uint64_t moved;

    if (c->state != CONNECTION_WRITE &&
        (c->state != CONNECTION_BODY || now - c->since_ms >= BODY_MS))
        return false;
    moved = bytes_moved(c);
    if (moved < c->moved_before + (uint64_t)window_ms / 1000 * LEAST_BYTES_PER_SECOND)
        return false;
    c->moved_before = moved;
    connection_list_remove(state_list(c), &c->by_state);
    connection_list_add(state_list(c), &c->by_state);
    c->deadline_ms = now + window_ms;
    worker_arm(c->worker, c->deadline_ms);
    return true;
}

static void time_out(struct connection *c)
{
    bool waits_for_client = c->state == CONNECTION_HEAD || c->state == CONNECTION_BODY;

    if (keeps_up(c))
        return;
    if (!waits_for_client || c->req == NULL || c->replied) {
        connection_close(c);
        return;
    }
    c->keep_alive = false;
    dispatch_refuse(c->worker, c->req, &c->peer, ERR_REQUEST_TIMEOUT);
    send_reply(c);
}

int64_t connection_expire(struct worker *worker, int64_t now_ms)
{
    int64_t next = 0;

    assert_on_loop(worker->loop);
    for (int state = 0; state < CONNECTION_STATES; state++) {
        const struct connection_list *list = &worker->lists[state];
        struct connection *c;

        if (state_ms[state] == 0)
            continue;
        while ((c = connection_of_state(list->oldest)) != NULL && c->deadline_ms <= now_ms)
            time_out(c);
        if (c != NULL && (next == 0 || c->deadline_ms < next))
            next = c->deadline_ms;
    }
    return next;
}

/* Ending */

static bool has_unread_bytes(struct connection *c)
{
    uv_os_fd_t fd;
    char byte;

    return uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void close_idle(struct connection *c)
{
    for (struct connection *next; c != NULL; c = next) {
        next = connection_of_state(c->by_state.newer);
        if (c->req == NULL && !has_unread_bytes(c))
            connection_close(c);
    }
}

void connection_drain(struct worker *worker)
{
    assert_on_loop(worker->loop);
    close_idle(connection_of_state(worker->lists[CONNECTION_IDLE].oldest));
    close_idle(connection_of_state(worker->lists[CONNECTION_HEAD].oldest));
}

void connection_abort_all(struct worker *worker)
{
    assert_on_loop(worker->loop);
    for (int state = 0; state < CONNECTION_CLOSED; state++) {
        while (worker->lists[state].oldest != NULL)
            connection_close(connection_of_state(worker->lists[state].oldest));
    }
}
