/* What one event loop knows of the server: its connections in lists by state, oldest first, so that
 * deadlines and the choice of whom to close cost nothing. On its loop's thread only. */
#pragma once

#include "http/server.h"

enum connection_state {
    CONNECTION_IDLE,   /* nothing of a request has come: KEEP_ALIVE_SECONDS */
    CONNECTION_HEAD,   /* a head is coming, or the first one is due: 10 s */
    CONNECTION_BODY,   /* a body is coming: 500 bytes a second over each 10 s, 30 s in all */
    CONNECTION_RUN,    /* a handler is at work: bounded by its lane */
    CONNECTION_WRITE,  /* a reply is going out: 500 bytes a second over each 10 s */
    CONNECTION_LINGER, /* refused; what still comes is dropped: 2 s, 4 MiB */
    CONNECTION_CLOSED, /* waits for its handle, or for its handler */
    CONNECTION_STATES
};

enum {
    WORKER_READ_BYTES = 64 << 10,
    WORKER_RANDOM_BYTES = 4096,
    WORKER_ADDRESSES = 4,
    WORKER_CLIENT_BUCKETS = 1024
};

/* The place of a connection in a list. */
struct connection_link {
    struct connection_link *older, *newer;
};

struct connection_list {
    struct connection_link *oldest, *newest;
};

struct worker {
    struct server *server;
    const struct server_app *app;
    struct loop *loop;
    uv_tcp_t listeners[WORKER_ADDRESSES];
    unsigned listener_count;
    uv_timer_t timer;
    int64_t timer_at_ms; /* 0: not armed */
    struct connection_list lists[CONNECTION_STATES];
    struct connection_list by_client[WORKER_CLIENT_BUCKETS];
    struct connection_list payers;        /* by when memory began to wait for them */
    bool awaiting_room[WORKER_ADDRESSES]; /* the listener's next connection waits for room */
    bool closed;

    int fds[WORKER_ADDRESSES]; /* of the listeners */
    struct post start, drain, evict, abort;
    atomic_uint
        evicting; /* `evict` is posted: loops that it may still go on to, this one being one */
    struct client_count *clients; /* the server's */

    char *read_buffer;
    uint8_t random[WORKER_RANDOM_BYTES];
    size_t random_left;
    int64_t date_s;
    char date[TEXT_HTTP_DATE_SIZE];
};

/* A new ULID: 26 characters, sortable by time. */
const char *worker_new_id(struct worker *worker, char id[REQUEST_ID_SIZE]);

/* The Date header's value now. */
const char *worker_date(struct worker *worker);

/* A connection was opened, or is gone: the next one may have waited for its place. */
void worker_count_opened(struct worker *worker);
void worker_count_closed(struct worker *worker);

/* Closes one connection, of this loop or of another, if there are more than MAX_CONNECTIONS, but
 * never `except`. */
void worker_bound_connections(struct worker *worker, const struct connection *except);

/* So many bytes more, or less, wait for clients. */
void worker_add_waiting(struct worker *worker, int64_t bytes);

/* Closes connections, of this loop or of others, while more waits than WAITING_MEMORY_MIB. */
void worker_bound_waiting(struct worker *worker);

/* Puts a deadline in force for connections of some state. */
void worker_arm(struct worker *worker, int64_t deadline_ms);

bool worker_keeps_alive(const struct worker *worker);
