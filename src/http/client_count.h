/* How many connections each client holds, over all loops. One client is what address_client() says:
 * an IPv4 address, or an IPv6 network of 64 bits. Any thread; one short lock. */
#pragma once

#include "core/address.h"

struct client_count;

/* `mem` owns it. */
struct client_count *client_count_open(void *mem);

/* Counts one more connection; returns how many the client has with it. */
unsigned client_count_add(struct client_count *clients, const struct address *client);

/* One that was added is gone. */
void client_count_remove(struct client_count *clients, const struct address *client);
