#include "http/client_count.h"

#include "core/crypto.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

enum { FIRST_SLOTS = 256 };

/* A slot of the table; count 0: free. */
struct held {
    struct address client;
    unsigned count;
};

struct client_count {
    pthread_mutex_t lock;
    uint8_t hash_key[crypto_shorthash_KEYBYTES]; /* so that nobody chooses what collides */
    struct held *slots;                          /* open addressing, linear */
    size_t slot_count, used;
};

static int close_count(struct client_count *clients)
{
    free(clients->slots);
    pthread_mutex_destroy(&clients->lock);
    return 0;
}

static struct held *new_slots(size_t count)
{
    struct held *slots = mem_malloc(count * sizeof *slots);

    memset(slots, 0, count * sizeof *slots);
    return slots;
}

struct client_count *client_count_open(void *mem)
{
    struct client_count *clients = mem_new(mem, struct client_count);

    crypto_random(clients->hash_key, sizeof clients->hash_key);
    clients->slot_count = FIRST_SLOTS;
    clients->slots = new_slots(FIRST_SLOTS);
    pthread_mutex_init(&clients->lock, NULL);
    talloc_set_destructor(clients, close_count);
    return clients;
}

size_t client_count_bucket(const struct client_count *clients, const struct address *client,
                           size_t buckets)
{
    uint64_t hash;

    crypto_shorthash((uint8_t *)&hash, client->bytes, sizeof client->bytes, clients->hash_key);
    return hash % buckets;
}

static size_t home_of(const struct client_count *clients, const struct address *client)
{
    return client_count_bucket(clients, client, clients->slot_count);
}

static size_t next_of(const struct client_count *clients, size_t slot)
{
    return (slot + 1) & (clients->slot_count - 1);
}

/* Where the client is, or would be put. */
static size_t find(const struct client_count *clients, const struct address *client)
{
    size_t at = home_of(clients, client);

    while (clients->slots[at].count != 0 &&
           memcmp(&clients->slots[at].client, client, sizeof *client) != 0)
        at = next_of(clients, at);
    return at;
}

static void grow(struct client_count *clients)
{
    struct held *before = clients->slots;
    size_t count = clients->slot_count;

    assert(count > 0 && (count & (count - 1)) == 0);
    clients->slot_count = 2 * count;
    clients->slots = new_slots(2 * count);
    for (size_t i = 0; i < count; i++) {
        if (before[i].count != 0)
            clients->slots[find(clients, &before[i].client)] = before[i];
    }
    free(before);
}

/* Closes the gap that a client leaves: whoever was put behind it because its own place was taken
 * moves up. */
static void close_gap(struct client_count *clients, size_t gap)
{
    for (size_t at = next_of(clients, gap); clients->slots[at].count != 0;
         at = next_of(clients, at)) {
        size_t home = home_of(clients, &clients->slots[at].client);
        bool between = gap <= at ? gap < home && home <= at : gap < home || home <= at;

        if (between)
            continue;
        clients->slots[gap] = clients->slots[at];
        gap = at;
    }
    clients->slots[gap].count = 0;
}

unsigned client_count_add(struct client_count *clients, const struct address *client)
{
    struct held *held;
    unsigned count;

    pthread_mutex_lock(&clients->lock);
    held = &clients->slots[find(clients, client)];
    if (held->count == 0 && 2 * (clients->used + 1) > clients->slot_count) {
        grow(clients);
        held = &clients->slots[find(clients, client)];
    }
    if (held->count == 0) {
        held->client = *client;
        clients->used++;
    }
    count = ++held->count;
    assert(clients->used < clients->slot_count);
    pthread_mutex_unlock(&clients->lock);
    return count;
}

void client_count_remove(struct client_count *clients, const struct address *client)
{
    size_t at;

    pthread_mutex_lock(&clients->lock);
    at = find(clients, client);
    assert(clients->slots[at].count > 0);
    if (--clients->slots[at].count == 0) {
        assert(clients->used > 0);
        clients->used--;
        close_gap(clients, at);
    }
    pthread_mutex_unlock(&clients->lock);
}
