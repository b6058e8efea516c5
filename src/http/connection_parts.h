/* What the parts of a connection share: connection.c reads, answers and keeps deadlines,
 * connection_bounds.c bounds how many a client may have and closes some to make room. On the loop
 * of the connection's worker. */
#pragma once

#include "core/mem.h"
#include "http/client.h"
#include "http/message.h"
#include "http/worker.h"

#include <assert.h>

/* Who has the request under way, until it comes back. */
enum holder { HOLDER_NONE, HOLDER_GATE, HOLDER_ADMIT, HOLDER_WRITE, HOLDER_LANE };

struct connection {
    uv_tcp_t tcp;
    struct worker *worker;
    struct connection_link by_state;  /* in the worker's list of its state */
    struct connection_link by_client; /* in that of its client's bucket */
    struct connection_link by_memory; /* in that of those who have memory wait */
    int64_t deadline_ms;
    int64_t since_ms; /* in this state */
    enum connection_state state;
    bool reading;
    bool peer_done;    /* sends no more */
    bool awaits_proxy; /* its header must come first */
    bool unnamed;      /* and named nobody: what proxies in front write is somebody's own text */
    bool keep_alive;
    bool replied;  /* to the request under way */
    bool received; /* it, whole */
    bool at_head;  /* the parser stands behind the head */
    bool counted;  /* for `client` */
    enum holder holder;

    struct message message;
    struct request *req;
    char *pending;
    size_t pending_len;
    size_t dropped;
    size_t waiting_bytes;         /* of memory, while we wait for the client */
    uint64_t bytes_in, bytes_out; /* since it was opened; out: to libuv */
    uint64_t moved_before;        /* bytes_moved() when the window began */

    struct address peer;
    struct address client; /* as connections are counted */
    uv_write_t write;
    uv_shutdown_t shutdown;
    size_t reply_bytes;
};

static inline void connection_list_add(struct connection_list *list, struct connection_link *link)
{
    link->older = list->newest;
    link->newer = NULL;
    *(list->newest == NULL ? &list->oldest : &list->newest->newer) = link;
    list->newest = link;
}

static inline void connection_list_remove(struct connection_list *list,
                                          struct connection_link *link)
{
    struct connection_link **before = link->older == NULL ? &list->oldest : &link->older->newer;
    struct connection_link **behind = link->newer == NULL ? &list->newest : &link->newer->older;

    assert(*before == link && *behind == link);
    *before = link->newer;
    *behind = link->older;
}

/* In a list of one state; NULL for NULL. */
static inline struct connection *connection_of_state(struct connection_link *link)
{
    return link == NULL ? NULL : container_of(link, struct connection, by_state);
}

/* For how long the connection has kept us waiting: since its deadline was last put off. */
int64_t connection_waited_ms(const struct connection *c);

/* Notes how many bytes of memory wait for the client now. */
void connection_set_waiting(struct connection *c, size_t bytes);

/* Closes the connection at once. The handler that has its request is told that nobody waits any
 * more. The loop frees the connection later, so it may be used until then. */
void connection_close(struct connection *c);

/* Counts the connection for its client. At the client's bound another connection of the client
 * makes room; false: this one was refused and closed. */
bool connection_count(struct connection *c);

/* Takes a counted connection out of the count of its client. */
void connection_uncount(struct connection *c);
