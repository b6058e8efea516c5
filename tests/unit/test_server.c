#include "http/server.h"

#include "unit.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

/* What HOST resolves to here: 198.51.100.0/24 is for documentation, and no address of any machine.
 */
static const char *const *addresses;

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret);
void __wrap_freeaddrinfo(struct addrinfo *found);

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret)
{
    static struct addrinfo found[4];
    static struct sockaddr_in names[4];

    (void)host;
    (void)hints;
    for (int i = 0; addresses[i] != NULL; i++) {
        names[i] = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(service))};
        assert_int_equal(inet_pton(AF_INET, addresses[i], &names[i].sin_addr), 1);
        found[i] = (struct addrinfo){.ai_family = AF_INET,
                                     .ai_socktype = SOCK_STREAM,
                                     .ai_addr = (struct sockaddr *)&names[i],
                                     .ai_addrlen = sizeof names[i],
                                     .ai_next = addresses[i + 1] == NULL ? NULL : &found[i + 1]};
    }
    *ret = found;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

static struct listeners *bind_at(void *mem, const char *const *to, unsigned port,
                                 const char **ret_why)
{
    addresses = to;
    return listeners_bind(mem, "localhost", port, 2, ret_why);
}

static struct listeners *bind_to(void *mem, const char *const *to, const char **ret_why)
{
    return bind_at(mem, to, 0, ret_why);
}

/* A socket of somebody else, and its port. */
static unsigned take_port(const char *address, int *ret_fd)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t size = sizeof name;

    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, address, &name.sin_addr), 1);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(*ret_fd, 1), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&name, &size), 0);
    return ntohs(name.sin_port);
}

static void an_address_whose_port_somebody_has_is_left_out_and_told(void **state)
{
    static const char *const both[] = {"127.0.0.1", "127.0.0.2", NULL};
    int fd;
    unsigned port = take_port("127.0.0.1", &fd);
    const char *why;
    struct listeners *l = bind_at(*state, both, port, &why);

    assert_non_null(l);
    assert_int_equal(l->addresses, 1);
    assert_non_null(strstr(l->left_out, "is in use on 127.0.0.1 of localhost"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(close(l->fds[i]), 0);
    close(fd);
}

static void an_address_that_a_name_has_twice_is_bound_once(void **state)
{
    static const char *const twice[] = {"127.0.0.1", "127.0.0.2", "127.0.0.1", NULL};
    int fd;
    unsigned port = take_port("127.0.0.1", &fd);
    const char *why;
    struct listeners *l;

    close(fd);
    l = bind_at(*state, twice, port, &why);
    assert_non_null(l);
    assert_int_equal(l->addresses, 2);
    assert_null(l->left_out);
    for (int i = 0; i < 4; i++)
        assert_int_equal(close(l->fds[i]), 0);
}

static void of_a_hosts_addresses_those_are_bound_that_can_be(void **state)
{
    static const char *const some[] = {"198.51.100.1", "127.0.0.1", "198.51.100.2", NULL};
    static const char *const none[] = {"198.51.100.1", "198.51.100.2", NULL};
    static const char *const all[] = {"127.0.0.1", "127.0.0.2", NULL};
    const char *why;
    struct listeners *l = bind_to(*state, some, &why);

    assert_non_null(l);
    assert_int_equal(l->addresses, 1);
    assert_non_null(
        strstr(l->left_out, "198.51.100.1 of localhost is not an address of this machine"));
    assert_non_null(
        strstr(l->left_out, "198.51.100.2 of localhost is not an address of this machine"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(close(l->fds[i]), 0);

    assert_null(bind_to(*state, none, &why));
    assert_non_null(strstr(why, "is not an address of this machine: correct HOST"));

    l = bind_to(*state, all, &why);
    assert_non_null(l);
    assert_int_equal(l->addresses, 2);
    assert_null(l->left_out);
    for (int i = 0; i < 4; i++)
        assert_int_equal(close(l->fds[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(of_a_hosts_addresses_those_are_bound_that_can_be),
        UNIT(an_address_whose_port_somebody_has_is_left_out_and_told),
        UNIT(an_address_that_a_name_has_twice_is_bound_once),
    };

    return RUN_UNITS(tests);
}
