#include "http/server.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "http/client_count.h"
#include "http/connection.h"
#include "http/port_holder.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

enum { BACKLOG = 4096, ROOM_MS = 10, SEND_BUFFER_BYTES = 128 << 10 };

struct server {
    struct server_app app;
    struct server_limits limits;
    unsigned worker_count;
    struct worker *workers;
    atomic_uint connections;
    _Atomic(int64_t) waiting_bytes;
    struct client_count *clients;
    atomic_bool keep_alive_ends, draining, aborted;
};

/* Listening */

/* What the kernel holds for a client that does not take it counts nowhere: it would be megabytes.
 * Connections inherit it from the socket that they come by. */
static void bound_send_buffer(int fd)
{
    const int bytes = SEND_BUFFER_BYTES;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static int open_socket(const struct addrinfo *to, bool shared)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1, off = 0;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    bound_send_buffer(fd);
    if (to->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, to->ai_addr, to->ai_addrlen) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static const char *explain_bind(void *mem, int wrong, const struct addrinfo *to, const char *host,
                                unsigned port)
{
    char text[ADDRESS_TEXT_SIZE] = "";
    const char *of, *of_host, *holder;
    struct address address;
    bool is_named;

    if (address_from_socket(to->ai_addr, &address))
        address_text(text, &address);
    is_named = strcmp(text, host) != 0;
    of = is_named ? " of " : "";
    of_host = is_named ? host : "";
    switch (wrong) {
    case EADDRINUSE:
        holder = port_holder(mem, port);
        return mem_printf(mem, "port %u is in use on %s%s%s by %s: stop it, or set PORT to another",
                          port, text, of, of_host, holder == NULL ? "another program" : holder);
    case EACCES:
        return mem_printf(mem, "port %u cannot be opened by this user: set PORT to 1024 or more",
                          port);
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return mem_printf(mem, "%s%s%s is not an address of this machine: correct HOST", text, of,
                          of_host);
    default:
        return mem_printf(mem, "cannot listen on %s port %u: %s: correct HOST and PORT", host, port,
                          strerror(wrong));
    }
}

/* A socket that is not shared finds out whether somebody else has the port: sockets with
 * SO_REUSEPORT of one user would silently share it with another process. */
static bool is_port_free(const struct addrinfo *to)
{
    int fd = open_socket(to, false);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A socket of each loop on one more address. 0, or what went wrong. */
static int bind_all(struct listeners *l, const struct addrinfo *to)
{
    int *fds = l->fds + l->addresses * l->loops;
    int wrong;

    if (!is_port_free(to))
        return errno;
    for (unsigned i = 0; i < l->loops; i++) {
        fds[i] = open_socket(to, true);
        if (fds[i] >= 0)
            continue;
        wrong = errno;
        while (i > 0)
            close(fds[--i]);
        return wrong;
    }
    l->addresses++;
    return 0;
}

/* A name that stands in two lines of /etc/hosts has the same address twice. */
static bool is_repeated(const struct addrinfo *found, const struct addrinfo *to)
{
    for (; found != to; found = found->ai_next) {
        if (found->ai_addrlen == to->ai_addrlen &&
            memcmp(found->ai_addr, to->ai_addr, to->ai_addrlen) == 0)
            return true;
    }
    return false;
}

struct listeners *listeners_bind(void *mem, const char *host, unsigned port, unsigned loops,
                                 const char **ret_why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    struct listeners *l = mem_new(mem, struct listeners);
    char service[8];
    const char *why;
    int unknown;

    snprintf(service, sizeof service, "%u", port);
    unknown = getaddrinfo(host, service, &hints, &found);
    if (unknown != 0) {
        *ret_why = mem_printf(mem, "HOST %s is not known: %s", host, gai_strerror(unknown));
        return NULL;
    }
    l->loops = loops;
    l->fds = mem_array(l, int, loops *WORKER_ADDRESSES);
    for (const struct addrinfo *to = found; to != NULL && l->addresses < WORKER_ADDRESSES;
         to = to->ai_next) {
        int wrong = is_repeated(found, to) ? 0 : bind_all(l, to);

        if (wrong == 0)
            continue;
        why = explain_bind(mem, wrong, to, host, port);
        l->left_out = l->left_out == NULL ? why : mem_printf(mem, "%s; %s", l->left_out, why);
    }
    freeaddrinfo(found);
    if (l->addresses == 0) {
        *ret_why = l->left_out;
        return NULL;
    }
    snprintf(l->shown, sizeof l->shown,
             strchr(host, ':') == NULL ? "http://%.64s:%u" : "http://[%.64s]:%u", host, port);
    return l;
}

struct listeners *listeners_inherit(void *mem, const int *fds, unsigned count, unsigned loops,
                                    const char **ret_why)
{
    struct listeners *l = mem_new(mem, struct listeners);

    l->loops = loops;
    l->addresses = count > WORKER_ADDRESSES ? WORKER_ADDRESSES : count;
    l->fds = mem_array(l, int, loops *WORKER_ADDRESSES);
    for (unsigned i = 0; i < loops; i++) {
        for (unsigned a = 0; a < l->addresses; a++) {
            int on = 0;
            socklen_t size = sizeof on;

            if (getsockopt(fds[a], SOL_SOCKET, SO_ACCEPTCONN, &on, &size) != 0 || !on) {
                *ret_why =
                    "a socket in LISTEN_FDS is not a listening socket: use ListenStream= and "
                    "Accept=no";
                return NULL;
            }
            if (getsockopt(fds[a], SOL_SOCKET, SO_DOMAIN, &on, &size) != 0 ||
                (on != AF_INET && on != AF_INET6)) {
                *ret_why =
                    "a socket in LISTEN_FDS has no addresses that clients could be told apart "
                    "by: give ListenStream= an address and a port, not a path";
                return NULL;
            }
            bound_send_buffer(fds[a]);
            l->fds[a * loops + i] = i == 0 ? fds[a] : dup(fds[a]);
        }
    }
    snprintf(l->shown, sizeof l->shown, "the sockets of the service manager");
    return l;
}

void listeners_close(struct listeners *l)
{
    for (unsigned i = 0; i < l->addresses * l->loops; i++)
        close(l->fds[i]);
}

/* Connections */

void worker_count_opened(struct worker *worker)
{
    atomic_fetch_add(&worker->server->connections, 1);
}

/* Whether one more is taken: beyond the bound another one then makes room, so that who is new is
 * known before anybody is closed for them. */
static bool takes_more(const struct worker *worker)
{
    return atomic_load(&worker->server->connections) <= worker->server->limits.max_connections;
}

static bool has_too_many(const struct worker *worker)
{
    return !takes_more(worker);
}

static bool waits_too_much(const struct worker *worker)
{
    const struct settings *settings = worker->app->settings(worker->app->app);

    return atomic_load_explicit(&worker->server->waiting_bytes, memory_order_relaxed) >
           settings->waiting_memory << 20;
}

static void accept_waiting(struct worker *worker)
{
    for (unsigned i = 0; i < worker->listener_count; i++) {
        uv_stream_t *listener = (uv_stream_t *)&worker->listeners[i];

        if (!worker->awaiting_room[i] || uv_is_closing((uv_handle_t *)listener))
            continue;
        if (!takes_more(worker) && !atomic_load(&worker->server->draining))
            return;
        worker->awaiting_room[i] = false;
        connection_accept(worker, listener);
    }
}

void worker_count_closed(struct worker *worker)
{
    assert(atomic_load(&worker->server->connections) > 0);
    atomic_fetch_sub(&worker->server->connections, 1);
    accept_waiting(worker);
}

/* Has the next loop make room, and if it has none to close, the one after that. */
static void ask_next(struct worker *worker, unsigned loops)
{
    struct server *server = worker->server;
    size_t next = ((size_t)(worker - server->workers) + 1) % server->worker_count;
    unsigned idle = 0;

    if (loops > 0 && atomic_compare_exchange_strong(&server->workers[next].evicting, &idle, loops))
        loop_post(server->workers[next].loop, &server->workers[next].evict);
}

static bool bound_waiting_here(struct worker *worker)
{
    while (waits_too_much(worker)) {
        if (!connection_evict_largest(worker))
            return false;
    }
    return true;
}

static void evict_here(struct post *post)
{
    struct worker *worker = container_of(post, struct worker, evict);
    unsigned loops = atomic_exchange(&worker->evicting, 0);
    bool done = !has_too_many(worker) || connection_evict(worker, NULL);

    assert(loops > 0);
    if (!bound_waiting_here(worker) || !done)
        ask_next(worker, loops - 1);
}

void worker_bound_connections(struct worker *worker, const struct connection *except)
{
    if (has_too_many(worker) && !connection_evict(worker, except))
        ask_next(worker, worker->server->worker_count - 1);
}

void worker_add_waiting(struct worker *worker, int64_t bytes)
{
    atomic_fetch_add_explicit(&worker->server->waiting_bytes, bytes, memory_order_relaxed);
    metric_add(METRIC_waiting_bytes, bytes);
}

void worker_bound_waiting(struct worker *worker)
{
    if (!bound_waiting_here(worker))
        ask_next(worker, worker->server->worker_count - 1);
}

/* Until there is room libuv stops listening on this socket; this loop looks again. */
static void await_room(struct worker *worker, uv_stream_t *listener)
{
    assert((uv_tcp_t *)listener - worker->listeners < (ptrdiff_t)worker->listener_count);
    worker->awaiting_room[(uv_tcp_t *)listener - worker->listeners] = true;
    worker_arm(worker, (int64_t)uv_now(loop_uv(worker->loop)) + ROOM_MS);
    worker_bound_connections(worker, NULL);
}

/* libuv tries again at once, and comes back to nothing else before that has worked: what is open
 * here makes room, or whoever holds the descriptors is waited for. */
static void make_room_for_accepting(struct worker *worker, int status)
{
    bool has_none = status == UV_EMFILE || status == UV_ENFILE;

    log_bounded(LOG_WARNING, NULL, "cannot accept a connection",
                LOG_S("error", uv_strerror(status)));
    if (!has_none || !connection_evict(worker, NULL))
        usleep(ROOM_MS * 1000);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct worker *worker = listener->data;

    assert(worker->app != NULL);
    if (status < 0)
        make_room_for_accepting(worker, status);
    else if (takes_more(worker))
        connection_accept(worker, listener);
    else
        await_room(worker, listener);
}

/* Deadlines */

static void on_timer(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    int64_t now = (int64_t)uv_now(loop_uv(worker->loop)), next;

    worker->timer_at_ms = 0;
    next = connection_expire(worker, now);
    accept_waiting(worker);
    for (unsigned i = 0; i < worker->listener_count; i++) {
        if (worker->awaiting_room[i])
            await_room(worker, (uv_stream_t *)&worker->listeners[i]);
    }
    if (next != 0)
        worker_arm(worker, next);
}

void worker_arm(struct worker *worker, int64_t deadline_ms)
{
    int64_t now = (int64_t)uv_now(loop_uv(worker->loop));

    if (worker->closed || (worker->timer_at_ms != 0 && worker->timer_at_ms <= deadline_ms))
        return;
    worker->timer_at_ms = deadline_ms;
    uv_timer_start(&worker->timer, on_timer, deadline_ms > now ? (uint64_t)(deadline_ms - now) : 0,
                   0);
}

/* What every reply needs */

const char *worker_new_id(struct worker *worker, char id[REQUEST_ID_SIZE])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* Crockford's base 32 */
    uint64_t time = (uint64_t)clock_turn_wall_ms();
    const uint8_t *random;

    if (worker->random_left < 16) {
        crypto_random(worker->random, WORKER_RANDOM_BYTES);
        worker->random_left = WORKER_RANDOM_BYTES;
    }
    worker->random_left -= 16;
    random = worker->random + worker->random_left;
    for (int i = 9; i >= 0; i--, time >>= 5)
        id[i] = digits[time & 31];
    for (int i = 0; i < 16; i++)
        id[10 + i] = digits[random[i] & 31];
    id[REQUEST_ID_SIZE - 1] = '\0';
    return id;
}

const char *worker_date(struct worker *worker)
{
    int64_t now_ms = clock_turn_wall_ms();

    if (now_ms / 1000 != worker->date_s) {
        worker->date_s = now_ms / 1000;
        text_http_date(worker->date, now_ms);
    }
    return worker->date;
}

bool worker_keeps_alive(const struct worker *worker)
{
    return !atomic_load_explicit(&worker->server->keep_alive_ends, memory_order_relaxed);
}

/* Starting and ending */

static void drain_here(struct post *post)
{
    struct worker *worker = container_of(post, struct worker, drain);

    assert_on_loop(worker->loop);
    /* A closed socket loses what waits in its queue: take it first. */
    accept_waiting(worker);
    for (unsigned i = 0; i < worker->listener_count; i++) {
        uv_os_fd_t fd;
        int client;

        if (uv_fileno((uv_handle_t *)&worker->listeners[i], &fd) != 0)
            continue;
        while ((client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
            connection_adopt(worker, client);
        uv_close((uv_handle_t *)&worker->listeners[i], NULL);
    }
    connection_drain(worker);
}

static void abort_here(struct post *post)
{
    struct worker *worker = container_of(post, struct worker, abort);

    connection_abort_all(worker);
    for (unsigned i = 0; i < worker->listener_count; i++) {
        if (!uv_is_closing((uv_handle_t *)&worker->listeners[i]))
            uv_close((uv_handle_t *)&worker->listeners[i], NULL);
    }
    worker->closed = true;
    if (!uv_is_closing((uv_handle_t *)&worker->timer))
        uv_close((uv_handle_t *)&worker->timer, NULL);
}

static void start_here(struct post *post)
{
    struct worker *worker = container_of(post, struct worker, start);
    uv_loop_t *uv = loop_uv(worker->loop);

    assert_on_loop(worker->loop);
    worker->timer.data = worker;
    uv_timer_init(uv, &worker->timer);
    for (unsigned i = 0; i < worker->listener_count; i++) {
        uv_tcp_t *listener = &worker->listeners[i];

        listener->data = worker;
        if (uv_tcp_init(uv, listener) != 0 || uv_tcp_open(listener, worker->fds[i]) != 0 ||
            uv_listen((uv_stream_t *)listener, BACKLOG, on_connection) != 0)
            log_critical(NULL, "cannot listen on a socket", LOG_S("error", strerror(errno)));
    }
}

static int free_workers(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        free(server->workers[i].read_buffer);
    return 0;
}

struct server *server_new(void *mem, const struct server_app *app,
                          const struct server_limits *limits, struct listeners *listeners,
                          struct loop **loops, unsigned count)
{
    struct server *server = mem_new(mem, struct server);

    assert(count > 0 && listeners->loops == count);
    assert(listeners->addresses <= WORKER_ADDRESSES);
    server->app = *app;
    server->limits = *limits;
    server->worker_count = count;
    server->clients = client_count_open(server);
    server->workers = mem_array(server, struct worker, count);
    talloc_set_destructor(server, free_workers);
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = &server->workers[i];

        worker->server = server;
        worker->clients = server->clients;
        worker->app = &server->app;
        worker->loop = loops[i];
        worker->listener_count = listeners->addresses;
        for (unsigned a = 0; a < listeners->addresses; a++)
            worker->fds[a] = listeners->fds[a * listeners->loops + i];
        worker->read_buffer = mem_malloc(WORKER_READ_BYTES);
        worker->start.run = start_here;
        worker->drain.run = drain_here;
        worker->evict.run = evict_here;
        worker->abort.run = abort_here;
    }
    return server;
}

void server_start(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];

        for (unsigned a = 0; a < worker->listener_count; a++)
            listen(worker->fds[a], BACKLOG);
        loop_post(worker->loop, &worker->start);
    }
}

void server_stop_keeping_alive(struct server *server)
{
    atomic_store(&server->keep_alive_ends, true);
}

void server_drain(struct server *server)
{
    server_stop_keeping_alive(server);
    if (atomic_exchange(&server->draining, true))
        return;
    for (unsigned i = 0; i < server->worker_count; i++)
        loop_post(server->workers[i].loop, &server->workers[i].drain);
}

void server_abort(struct server *server)
{
    if (atomic_exchange(&server->aborted, true))
        return;
    for (unsigned i = 0; i < server->worker_count; i++)
        loop_post(server->workers[i].loop, &server->workers[i].abort);
}

unsigned server_connections(const struct server *server)
{
    return atomic_load(&server->connections);
}

bool server_is_stopping(const struct server *server)
{
    return atomic_load_explicit(&server->keep_alive_ends, memory_order_relaxed);
}
