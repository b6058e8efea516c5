/* IP addresses and networks. IPv4 is kept as IPv4-mapped IPv6, so that both spellings of an address
 * are one. Pure; any thread. */
#pragma once

#include "core/mem.h"

#include <stdint.h>
#include <sys/socket.h>

struct address {
    uint8_t bytes[16];
};

struct network {
    struct address address;
    unsigned bits; /* of 128 */
};

struct networks {
    struct network *of;
    size_t count;
};

#define ADDRESS_TEXT_SIZE 46

/* Reads `len` bytes of text, in the forms that inet_pton() takes and no other. */
bool address_parse(const char *text, size_t len, struct address *ret);

/* False for families other than IPv4 and IPv6. A zone is dropped. */
bool address_from_socket(const struct sockaddr *from, struct address *ret);

bool address_is_v4(const struct address *address);

/* The IPv4 address that an IPv6 address stands for, or the address itself if it stands for none. It
 * stands for one behind NAT64 (64:ff9b::/96, RFC 6052; 64:ff9b:1::/48, RFC 8215, read as networks
 * of 96 bits), by 6to4 (2002::/16, RFC 3056) and by Teredo (2001::/32, RFC 4380). Each of these
 * networks holds the whole IPv4 Internet. */
struct address address_behind(const struct address *address);

/* The address that counts as one client: address_behind() if that is IPv4, else the IPv6 network of
 * 64 bits. */
struct address address_client(const struct address *address);

/* The networks by which an IPv6 client is counted, the narrowest first. A network may have `times`
 * as much as one client, since the holder of a wide network has all narrow ones in it. */
enum { ADDRESS_NETWORKS = 3 };
extern const struct address_network {
    unsigned bits, times;
} address_networks[ADDRESS_NETWORKS];

/* The network of `bits` bits that the address is in; `bits` is a multiple of 8. */
struct address address_network(const struct address *address, unsigned bits);

/* 203.0.113.9 or 2001:db8::1. */
void address_text(char out[ADDRESS_TEXT_SIZE], const struct address *address);

/* Reads 10.0.0.0/8, 2001:db8::/32 or a single address. False if host bits are set. */
bool network_parse(const char *text, struct network *ret);

bool network_has(const struct network *network, const struct address *address);

/* Whether one of the networks has the address. */
bool networks_have(const struct networks *networks, const struct address *address);
