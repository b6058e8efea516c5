/* How many connections each client holds, over all loops: an address of IPv4, or of IPv6 what
 * address_client() says and the networks of 56 and 48 bits around it. Any thread; one short lock.
 */
#pragma once

#include "core/address.h"

struct client_count;

/* `mem` owns it. */
struct client_count *client_count_open(void *mem);

/* Counts one more connection; returns how many the client has with it. */
unsigned client_count_add(struct client_count *clients, const struct address *client);

/* Which of so many buckets the client belongs to; nobody outside knows. */
size_t client_count_bucket(const struct client_count *clients, const struct address *client,
                           size_t buckets);

/* One that was added is gone. */
void client_count_remove(struct client_count *clients, const struct address *client);
