#include "http/client_count.h"

#include "unit.h"

enum { CLIENTS = 3000 };

static struct address numbered(unsigned n)
{
    struct address address = {{0x20, 1, 0xd, 0xb8, [6] = (uint8_t)(n >> 8), [7] = (uint8_t)n}};

    return address;
}

/* Against a plain array, over many comings and goings in an order that mixes the clients. */
static void counts_stay_right_as_clients_come_and_go(void **state)
{
    struct client_count *clients = client_count_open(*state);
    unsigned held[CLIENTS] = {0};
    uint32_t random = 1;

    for (int step = 0; step < 200000; step++) {
        unsigned n;
        struct address client;

        random = random * 1664525 + 1013904223;
        /* First more come than go, then more go. */
        n = (random >> 8) % CLIENTS;
        client = numbered(n);
        if (held[n] > 0 && (random >> 28) < (step < 100000 ? 6u : 12u)) {
            client_count_remove(clients, &client);
            held[n]--;
        } else {
            assert_int_equal(client_count_add(clients, &client), ++held[n]);
        }
    }
    for (unsigned n = 0; n < CLIENTS; n++) {
        struct address client = numbered(n);

        while (held[n] > 0) {
            client_count_remove(clients, &client);
            held[n]--;
        }
        assert_int_equal(client_count_add(clients, &client), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(counts_stay_right_as_clients_come_and_go),
    };

    return RUN_UNITS(tests);
}
