#include "remote/redis_link.h"

#include "core/clock.h"

#include <assert.h>
#include <hiredis/async.h>
#include <string.h>

enum {
    FIRST_PAUSE_MS = 100,
    LONGEST_PAUSE_MS = 5000,
    STEADY_MS = 10000, /* up for so long, the next pause is the first again */
    GREET_MS = 1000,   /* to connect, log in and be greeted */
    STILL_MS = 10,     /* a timer that is so late: this process stood still */
    STILL_MOST = 5,    /* times in a row that Redis gets more time for that */
};

enum state {
    STATE_PAUSE, /* until the timer */
    STATE_FIND,  /* a lane looks where Redis is */
    STATE_GREET, /* connecting, logging in, greeting */
    STATE_UP,
    STATE_CLOSED, /* for good */
};

struct call {
    struct call *next;
    redis_answer *answer;
    void *arg;
    struct redis_link *link;
    int64_t at_ms;
};

/* The handle outlives its connection until libuv lets go of it. */
struct socket {
    uv_poll_t poll;
    struct redis_link *link; /* NULL: forgotten */
    bool reads, writes;      /* what hiredis waits for */
    bool polls_write;
};

struct redis_link {
    struct loop *loop;
    struct lane *lane;
    const struct redis_target *target;
    int64_t deadline_ms;
    struct redis_link_hooks hooks;

    enum state state;
    atomic_bool is_up;
    redisAsyncContext *context; /* NULL: none */
    struct socket *socket;
    struct call *oldest, **newest; /* in the order of their answers */
    struct call *spare;
    uv_timer_t timer;
    int64_t due_ms;       /* when the timer was to run, by the loop's clock */
    unsigned stood_still; /* since the last answer */
    uv_prepare_t flush;   /* writes the commands of one turn of the loop together */
    int64_t pause_ms, up_since_ms;

    struct job find;
    struct redis_place place;
    const char *not_found; /* why */
};

static void go_down(struct redis_link *link, const char *why);

/* hiredis on libuv */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct socket *socket = poll->data;

    if (socket->link == NULL)
        return;
    if (status < 0) {
        bool connected = (socket->link->context->c.flags & REDIS_CONNECTED) != 0;

        go_down(socket->link, connected ? "Connection lost" : "Cannot connect");
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        redisAsyncHandleWrite(socket->link->context);
    if (socket->link != NULL && (events & UV_READABLE) != 0)
        redisAsyncHandleRead(socket->link->context);
}

static void poll_for(struct socket *socket)
{
    int events = (socket->reads ? UV_READABLE : 0) | (socket->polls_write ? UV_WRITABLE : 0);

    if (events == 0)
        uv_poll_stop(&socket->poll);
    else
        uv_poll_start(&socket->poll, events, on_poll);
}

static void set_reads(struct socket *socket, bool reads)
{
    if (socket->reads == reads)
        return;
    socket->reads = reads;
    poll_for(socket);
}

static void set_polls_write(struct socket *socket, bool polls)
{
    if (socket->polls_write == polls)
        return;
    socket->polls_write = polls;
    poll_for(socket);
}

static void on_add_read(void *data)
{
    set_reads(data, true);
}

static void on_del_read(void *data)
{
    set_reads(data, false);
}

/* While it connects, being writable is how that shows; later the loop's next turn writes. */
static void on_add_write(void *data)
{
    struct socket *socket = data;

    socket->writes = true;
    if (socket->link != NULL && socket->link->context != NULL &&
        (socket->link->context->c.flags & REDIS_CONNECTED) == 0)
        set_polls_write(socket, true);
}

static void on_del_write(void *data)
{
    struct socket *socket = data;

    socket->writes = false;
    set_polls_write(socket, false);
}

static void free_socket(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_cleanup(void *data)
{
    struct socket *socket = data;

    if (socket->link != NULL)
        socket->link->socket = NULL;
    socket->link = NULL;
    if (!uv_is_closing((uv_handle_t *)&socket->poll)) {
        uv_poll_stop(&socket->poll);
        uv_close((uv_handle_t *)&socket->poll, free_socket);
    }
}

static void on_flush(uv_prepare_t *flush)
{
    struct redis_link *link = flush->data;
    struct socket *socket;

    link->hooks.flush(link->hooks.arg, link);
    socket = link->socket;
    if (socket == NULL || !socket->writes || socket->polls_write)
        return;
    redisAsyncHandleWrite(link->context);
    /* What did not fit goes when there is room. */
    if (link->socket != NULL && link->socket->writes)
        set_polls_write(link->socket, true);
}

static bool attach(struct redis_link *link)
{
    struct socket *socket = mem_malloc(sizeof *socket);

    assert(link->socket == NULL);
    memset(socket, 0, sizeof *socket);
    socket->poll.data = socket;
    socket->link = link;
    if (uv_poll_init(loop_uv(link->loop), &socket->poll, link->context->c.fd) != 0) {
        free(socket);
        return false;
    }
    link->socket = socket;
    link->context->ev.data = socket;
    link->context->ev.addRead = on_add_read;
    link->context->ev.delRead = on_del_read;
    link->context->ev.addWrite = on_add_write;
    link->context->ev.delWrite = on_del_write;
    link->context->ev.cleanup = on_cleanup;
    return true;
}

/* Calls */

static void arm(struct redis_link *link, int64_t ms);

static void on_reply(redisAsyncContext *context, void *reply, void *privdata)
{
    struct call *call = privdata;
    struct redis_link *link = call->link;
    redis_answer *answer = call->answer;
    void *arg = call->arg;

    assert(call == link->oldest);
    (void)context;
    if (reply != NULL)
        link->stood_still = 0;
    /* Answers come in the order of the calls. */
    link->oldest = call->next;
    if (link->oldest == NULL)
        link->newest = &link->oldest;
    call->next = link->spare;
    link->spare = call;
    answer(arg, reply);
}

void redis_link_call(struct redis_link *link, const char *command, size_t len, redis_answer *answer,
                     void *arg)
{
    struct call *call = link->spare;

    assert_on_loop(link->loop);
    if (link->context == NULL) {
        answer(arg, NULL);
        return;
    }
    if (call == NULL)
        call = mem_malloc(sizeof *call);
    else
        link->spare = call->next;
    *call = (struct call){
        .answer = answer, .arg = arg, .link = link, .at_ms = (int64_t)uv_now(loop_uv(link->loop))};
    if (redisAsyncFormattedCommand(link->context, on_reply, call, command, len) != REDIS_OK) {
        call->next = link->spare;
        link->spare = call;
        go_down(link, "Connection lost");
        answer(arg, NULL);
        return;
    }
    *link->newest = call;
    link->newest = &call->next;
    if (link->state == STATE_UP && !uv_is_active((uv_handle_t *)&link->timer))
        arm(link, link->deadline_ms);
}

/* Whoever still waits, in case hiredis did not come to them. */
static void answer_all(struct redis_link *link)
{
    while (link->oldest != NULL)
        on_reply(NULL, NULL, link->oldest);
}

/* States */

static void on_timer(uv_timer_t *timer);

static void arm(struct redis_link *link, int64_t ms)
{
    assert_on_loop(link->loop);
    link->due_ms = (int64_t)uv_now(loop_uv(link->loop)) + (ms < 1 ? 1 : ms);
    uv_timer_start(&link->timer, on_timer, ms < 1 ? 1 : (uint64_t)ms, 0);
}

/* While this process stood still Redis may have answered nothing, since what it was asked had not
 * left us: it gets the time that was lost, `most_ms` of it. */
static bool waits_on(struct redis_link *link, int64_t most_ms)
{
    int64_t late_ms = (int64_t)uv_now(loop_uv(link->loop)) - link->due_ms;

    if (late_ms < STILL_MS || link->stood_still == STILL_MOST)
        return false;
    link->stood_still++;
    arm(link, late_ms < most_ms ? late_ms : most_ms);
    return true;
}

static void drop_connection(struct redis_link *link)
{
    redisAsyncContext *context = take_ptr(link->context);

    if (context != NULL)
        redisAsyncFree(context);
    if (link->socket != NULL)
        on_cleanup(link->socket);
}

static void go_down(struct redis_link *link, const char *why)
{
    int64_t now_ms = clock_mono_ms();
    bool was_up = link->state == STATE_UP;

    assert_on_loop(link->loop);
    if (link->state != STATE_GREET && link->state != STATE_UP && link->state != STATE_FIND)
        return;
    if (was_up && now_ms - link->up_since_ms >= STEADY_MS)
        link->pause_ms = FIRST_PAUSE_MS;
    link->state = STATE_PAUSE;
    atomic_store(&link->is_up, false);
    link->hooks.changed(link->hooks.arg, link, why);
    /* A quarter more or less, so that instances do not come all at once. */
    arm(link, link->pause_ms - link->pause_ms / 4 + now_ms % (link->pause_ms / 2 + 1));
    link->pause_ms = link->pause_ms * 2 < LONGEST_PAUSE_MS ? link->pause_ms * 2 : LONGEST_PAUSE_MS;
    drop_connection(link);
}

static void on_disconnected(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    bool nonsense = context->err == REDIS_ERR_PROTOCOL;

    /* hiredis frees it itself now. */
    if (link->context != context)
        return;
    link->context = NULL;
    if (status != REDIS_OK || link->state != STATE_CLOSED)
        go_down(link, nonsense ? "Is not Redis: its answer makes no sense" : "Connection lost");
}

static void expect_ok(void *arg, const redisReply *reply)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        redis_link_fail(arg, redis_error_text(reply->str));
}

static void call_words(struct redis_link *link, unsigned count, const char **words,
                       const size_t *lengths)
{
    char *command = NULL;
    long long len = redisFormatCommandArgv(&command, (int)count, words, lengths);

    if (len > 0)
        redis_link_call(link, command, (size_t)len, expect_ok, link);
    redisFreeCommand(command);
}

static void log_in(struct redis_link *link)
{
    const char *words[3];
    size_t lengths[3];
    unsigned count = redis_login(link->target, words, lengths);
    int64_t database = redis_database(link->target);
    char number[24];

    if (count > 0)
        call_words(link, count, words, lengths);
    if (database != 0 && link->context != NULL) {
        snprintf(number, sizeof number, "%lld", (long long)database);
        call_words(link, 2, (const char *[]){"SELECT", number}, (size_t[]){6, strlen(number)});
    }
    if (link->context != NULL)
        link->hooks.greet(link->hooks.arg, link);
}

static void on_connected(redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;

    if (link->context != context)
        return;
    if (status != REDIS_OK) {
        link->context = NULL;
        go_down(link, "Cannot connect");
        return;
    }
    log_in(link);
}

static void connect_now(struct redis_link *link)
{
    redisAsyncContext *context = redisAsyncConnect(link->place.address, link->place.port);

    assert(link->context == NULL);
    link->state = STATE_GREET;
    link->stood_still = 0;
    link->context = context;
    if (context == NULL || context->err != 0 || !attach(link)) {
        go_down(link, "Cannot connect");
        return;
    }
    context->data = link;
    context->c.reader->maxelements = REDIS_LIST_MOST;
    redisAsyncSetConnectCallbackNC(context, on_connected);
    redisAsyncSetDisconnectCallback(context, on_disconnected);
    if (!redis_secure(link->target, &context->c, &link->place)) {
        go_down(link, "TLS failed");
        return;
    }
    arm(link, GREET_MS);
}

static void run_find(struct job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, find);

    link->not_found = redis_find(link->target, GREET_MS, &link->place);
}

static void on_found(struct job *job, enum err outcome)
{
    struct redis_link *link = container_of(job, struct redis_link, find);

    if (link->state != STATE_FIND)
        return;
    if (outcome != OK || link->not_found != NULL)
        go_down(link, outcome != OK ? "No time to look for it" : link->not_found);
    else
        connect_now(link);
}

static void find(struct redis_link *link)
{
    assert(link->state == STATE_PAUSE);
    link->state = STATE_FIND;
    if (lane_submit(link->lane, &link->find) != OK)
        go_down(link, "No time to look for it");
}

/* An answer that lies in the socket is not late: this process may have stood still. */
static void check_deadline(struct redis_link *link)
{
    int64_t left;

    if (link->oldest != NULL && link->context != NULL)
        redisAsyncHandleRead(link->context);
    if (link->state != STATE_UP || link->oldest == NULL)
        return;
    left = link->oldest->at_ms + link->deadline_ms - (int64_t)uv_now(loop_uv(link->loop));
    if (left > 0)
        arm(link, left);
    else if (!waits_on(link, link->deadline_ms))
        go_down(link, "No answer in time");
}

static void on_timer(uv_timer_t *timer)
{
    struct redis_link *link = timer->data;

    assert_on_loop(link->loop);
    switch (link->state) {
    case STATE_PAUSE:
        find(link);
        break;
    case STATE_GREET:
        if (!waits_on(link, GREET_MS))
            go_down(link, "No answer in time");
        break;
    case STATE_UP:
        check_deadline(link);
        break;
    default:
        break;
    }
}

void redis_link_greeted(struct redis_link *link)
{
    if (link->state != STATE_GREET)
        return;
    link->state = STATE_UP;
    link->up_since_ms = clock_mono_ms();
    uv_timer_stop(&link->timer);
    atomic_store(&link->is_up, true);
    link->hooks.changed(link->hooks.arg, link, NULL);
}

void redis_link_fail(struct redis_link *link, const char *why)
{
    go_down(link, why);
}

bool redis_link_is_up(const struct redis_link *link)
{
    return atomic_load_explicit(&link->is_up, memory_order_relaxed);
}

/* Opening and closing */

void redis_link_start(struct redis_link *link)
{
    uv_loop_t *uv = loop_uv(link->loop);

    assert_on_loop(link->loop);
    link->timer.data = link->flush.data = link;
    uv_timer_init(uv, &link->timer);
    uv_prepare_init(uv, &link->flush);
    uv_prepare_start(&link->flush, on_flush);
    find(link);
}

static int free_calls(struct redis_link *link)
{
    for (struct call *next, *call = link->spare; call != NULL; call = next) {
        next = call->next;
        free(call);
    }
    return 0;
}

struct redis_link *redis_link_open(void *mem, struct loop *loop, struct lane *lane,
                                   const struct redis_target *target, int64_t deadline_ms,
                                   const struct redis_link_hooks *hooks)
{
    struct redis_link *link = mem_new(mem, struct redis_link);

    link->loop = loop;
    link->lane = lane;
    link->target = target;
    link->deadline_ms = deadline_ms;
    link->hooks = *hooks;
    link->newest = &link->oldest;
    link->pause_ms = FIRST_PAUSE_MS;
    link->find.run = run_find;
    link->find.done = on_found;
    talloc_set_destructor(link, free_calls);
    return link;
}

void redis_link_close(struct redis_link *link)
{
    assert_on_loop(link->loop);
    link->state = STATE_CLOSED;
    atomic_store(&link->is_up, false);
    if (link->socket != NULL && link->socket->writes)
        redisAsyncHandleWrite(link->context);
    drop_connection(link);
    answer_all(link);
    if (link->timer.data == NULL)
        return;
    uv_close((uv_handle_t *)&link->timer, NULL);
    uv_close((uv_handle_t *)&link->flush, NULL);
}
