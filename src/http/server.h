/* The HTTP server: listening sockets, one worker per event loop, limits on connections, draining.
 * Knows nothing of accounts: what it serves comes in as routes and hooks. */
#pragma once

#include "core/loop.h"
#include "http/request.h"

struct server;

struct server_app {
    void *app; /* handed to every request */
    const struct router *router;
    struct lane *lanes[LANE_COUNT]; /* LANE_LOOP: NULL */

    /* The settings in force; called on the loop, once per request. */
    const struct settings *(*settings)(void *app);

    /* On the loop, before anything else is made of a request: true if its client is barred, and
     * answered. */
    bool (*bar)(struct request *req);

    /* On the loop: true if it has answered a request whose path nobody has; else it is a 404 like
     * any other. */
    bool (*missing)(struct request *req);

    /* On the loop, after the head and before the body: may this request go on? Fails, answers, or
     * waits (struct request). */
    enum err (*gate)(struct request *req);

    /* On the loop, after the body was read and checked: the same question once more, also of a
     * request that is answered because its body will not do. */
    enum err (*admit)(struct request *req);

    /* On the lane, before the handler: what the gate could not settle without waiting. */
    enum err (*prepare)(struct request *req);
};

struct server_limits {
    unsigned max_connections;
};

/* Sockets to accept on. Made before the loops run, so that what is wrong is told at the start. */
struct listeners {
    int *fds; /* one for each loop and address: address a of loop l is fds[a * loops + l] */
    unsigned addresses;
    unsigned loops;
    const char *left_out; /* NULL, or which addresses of HOST could not be bound, and why */
    char shown[64 + ADDRESS_TEXT_SIZE]; /* http://HOST:PORT */
};

/* Binds, for each loop a socket of its own (SO_REUSEPORT), those addresses of the host that can be
 * bound. NULL if there are none, and *ret_why says what is wrong and how to mend it. */
struct listeners *listeners_bind(void *mem, const char *host, unsigned port, unsigned loops,
                                 const char **ret_why);

/* The sockets that a service manager opened, shared by all loops. */
struct listeners *listeners_inherit(void *mem, const int *fds, unsigned count, unsigned loops,
                                    const char **ret_why);

/* For who has only tried to have them. */
void listeners_close(struct listeners *listeners);

/* `mem` owns the server; the listeners' descriptors become its. It does nothing yet. */
struct server *server_new(void *mem, const struct server_app *app,
                          const struct server_limits *limits, struct listeners *listeners,
                          struct loop **loops, unsigned count);

/* Starts to accept: who connects after this is served. */
void server_start(struct server *server);

/* From now on replies carry Connection: close. Any thread. */
void server_stop_keeping_alive(struct server *server);

/* Takes what waits in the listening queues, closes the sockets and the idle connections. The rest
 * ends with its replies. Any thread. */
void server_drain(struct server *server);

/* Connections that are open, of all loops. Any thread. */
unsigned server_connections(const struct server *server);

/* Closes every connection and listening socket at once, for good. Any thread. */
void server_abort(struct server *server);

/* The end has begun: server_stop_keeping_alive() was called. Any thread. */
bool server_is_stopping(const struct server *server);
