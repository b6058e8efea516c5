#include "http/connection.h"

#include "core/metrics.h"
#include "http/client_count.h"
#include "http/connection_parts.h"

#include <assert.h>
#include <string.h>

enum { LOOKED_AT = 512 /* connections of one list, when one is to be closed */ };

/* The states that wait for the client, and can be ended to make room. */
static const enum connection_state waiting_states[] = {
    CONNECTION_LINGER, CONNECTION_IDLE, CONNECTION_HEAD, CONNECTION_BODY, CONNECTION_WRITE};

/* How many connections a client may have */

static size_t network_count(const struct address *client)
{
    return address_is_v4(client) ? 1 : ADDRESS_NETWORKS;
}

/* The last byte, which is zero in a client's network, tells the widths apart. */
static struct address network_around(const struct address *client, size_t which)
{
    struct address network;

    assert(which < ADDRESS_NETWORKS);
    if (which == 0)
        return *client;
    network = address_network(client, address_networks[which].bits);
    network.bytes[15] = (uint8_t)address_networks[which].bits;
    return network;
}

static struct connection_list *own_list(const struct connection *c)
{
    struct address widest = network_around(&c->client, network_count(&c->client) - 1);

    return &c->worker->by_client[client_count_bucket(c->worker->clients, &widest,
                                                     WORKER_CLIENT_BUCKETS)];
}

void connection_uncount(struct connection *c)
{
    assert(c->counted);
    for (size_t i = 0; i < network_count(&c->client); i++) {
        struct address network = network_around(&c->client, i);

        client_count_remove(c->worker->clients, &network);
    }
    connection_list_remove(own_list(c), &c->by_client);
    c->counted = false;
}

/* Of the client's networks the narrowest that has more than it may; -1: none. */
static int count_in(struct connection *c, int64_t most)
{
    int over = -1;

    assert(!c->counted);
    for (size_t i = network_count(&c->client); i-- > 0;) {
        struct address network = network_around(&c->client, i);

        if (client_count_add(c->worker->clients, &network) > most * address_networks[i].times)
            over = (int)i;
    }
    connection_list_add(own_list(c), &c->by_client);
    c->counted = true;
    return over;
}

/* Who is not counted: proxies, which hold everybody's, and whom no limit applies to. */
static bool is_counted(const struct settings *settings, const struct address *client)
{
    return !client_is_trusted(settings, client) &&
           !networks_have(&settings->rate_limit_allow, client);
}

static bool is_waiting(const struct connection *c)
{
    for (size_t i = 0; i < count_of(waiting_states); i++) {
        if (c->state == waiting_states[i])
            return true;
    }
    return false;
}

/* Closes, of the connections from the same network, the one that has kept us waiting for longest.
 */
static bool evict_own(const struct connection *c, size_t which)
{
    size_t bytes = address_is_v4(&c->client) ? sizeof c->client : address_networks[which].bits / 8;
    struct connection_link *link = own_list(c)->oldest;
    struct connection *chosen = NULL;

    for (int i = 0; link != NULL && i < LOOKED_AT; link = link->newer) {
        struct connection *own = container_of(link, struct connection, by_client);

        if (own == c || !is_waiting(own) || memcmp(own->client.bytes, c->client.bytes, bytes) != 0)
            continue;
        i++;
        if (chosen == NULL || connection_waited_ms(own) > connection_waited_ms(chosen))
            chosen = own;
    }
    if (chosen == NULL)
        return false;
    metric_add(METRIC_connections_evicted, 1);
    connection_close(chosen);
    return true;
}

bool connection_count(struct connection *c)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
                               "Content-Type: application/json\r\nContent-Length: 82\r\n"
                               "Retry-After: 1\r\nConnection: close\r\n\r\n"
                               "{\"code\":503,\"msg\":\"Too many connections from your address or "
                               "network\",\"data\":null}";
    const struct settings *settings = c->worker->app->settings(c->worker->app->app);
    uv_buf_t buf = uv_buf_init((char *)text, sizeof text - 1);
    int over;

    if (settings->client_connections == 0 || (!c->unnamed && !is_counted(settings, &c->peer)))
        return true;
    c->client = address_client(&c->peer);
    over = count_in(c, settings->client_connections);
    if (over < 0 || evict_own(c, (size_t)over))
        return true;
    metric_add(METRIC_connections_refused, 1);
    (void)!uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    connection_close(c);
    return false;
}

/* Making room */

bool connection_evict(struct worker *worker, const struct connection *except)
{
    struct connection *chosen = NULL;

    assert_on_loop(worker->loop);
    for (size_t i = 0; i < count_of(waiting_states); i++) {
        struct connection *c = connection_of_state(worker->lists[waiting_states[i]].oldest);

        if (c != NULL && c == except)
            c = connection_of_state(c->by_state.newer);
        if (c != NULL && (chosen == NULL || connection_waited_ms(c) > connection_waited_ms(chosen)))
            chosen = c;
        if (c != NULL && c->state == CONNECTION_LINGER)
            break;
    }
    if (chosen == NULL)
        return false;
    metric_add(METRIC_connections_evicted, 1);
    connection_close(chosen);
    return true;
}

bool connection_evict_largest(struct worker *worker)
{
    struct connection_link *link = worker->payers.oldest;
    struct connection *chosen = NULL;
    double most = 0;

    assert_on_loop(worker->loop);
    for (int i = 0; link != NULL && i < LOOKED_AT; i++, link = link->newer) {
        struct connection *c = container_of(link, struct connection, by_memory);
        double cost = (double)c->waiting_bytes * (double)(connection_waited_ms(c) + 1);

        if (cost <= most)
            continue;
        chosen = c;
        most = cost;
    }
    if (chosen == NULL)
        return false;
    metric_add(METRIC_connections_evicted, 1);
    connection_set_waiting(chosen, 0);
    connection_close(chosen);
    return true;
}
