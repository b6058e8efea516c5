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

static struct listeners *bind_to(void *mem, const char *const *to, const char **ret_why)
{
    addresses = to;
    return listeners_bind(mem, "localhost", 0, 2, ret_why);
}

static void of_a_hosts_addresses_those_are_bound_that_the_machine_has(void **state)
{
    static const char *const some[] = {"198.51.100.1", "127.0.0.1", "198.51.100.2", NULL};
    static const char *const none[] = {"198.51.100.1", "198.51.100.2", NULL};
    static const char *const all[] = {"127.0.0.1", "127.0.0.2", NULL};
    const char *why;
    struct listeners *l = bind_to(*state, some, &why);

    assert_non_null(l);
    assert_int_equal(l->addresses, 1);
    assert_non_null(strstr(l->absent, "198.51.100.2 of localhost is no address of this machine"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(close(l->fds[i]), 0);

    assert_null(bind_to(*state, none, &why));
    assert_non_null(strstr(why, "is no address of this machine: mend HOST"));

    l = bind_to(*state, all, &why);
    assert_non_null(l);
    assert_int_equal(l->addresses, 2);
    assert_null(l->absent);
    for (int i = 0; i < 4; i++)
        assert_int_equal(close(l->fds[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(of_a_hosts_addresses_those_are_bound_that_the_machine_has),
    };

    return RUN_UNITS(tests);
}
