#include "core/address.h"
#include "core/text.h"
#include "http/client.h"

#include "unit.h"

static struct address address(const char *text)
{
    struct address ret;

    assert_true(address_parse(text, strlen(text), &ret));
    return ret;
}

static void test_both_spellings_of_an_address_are_one(void **state)
{
    struct address four = address("203.0.113.9"), mapped = address("::ffff:203.0.113.9");
    char text[ADDRESS_TEXT_SIZE];

    (void)state;
    assert_memory_equal(&four, &mapped, sizeof four);
    address_text(text, &mapped);
    assert_string_equal(text, "203.0.113.9");
    address_text(text, &(struct address){{0x20, 1, 0xd, 0xb8, [15] = 1}});
    assert_string_equal(text, "2001:db8::1");
}

static void test_an_address_is_told_as_it_was_said(void **state)
{
    static const char *const said[] = {
        "0.0.0.0", "127.0.0.1",  "9.10.99.100",   "255.255.255.255", "1.20.109.200",
        "::",      "2001:db8::", "fe80::1:2:3:4", "::ffff:0:0:1"};

    (void)state;
    for (size_t i = 0; i < count_of(said); i++) {
        struct address one = address(said[i]);
        char text[ADDRESS_TEXT_SIZE];

        address_text(text, &one);
        assert_string_equal(text, said[i]);
    }
}

static void test_what_is_no_address_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",         "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4",
        "::1%eth0", "[::1]", "1::2::3",   "localhost", "0x7f.1",   "1.2.3.4/8"};
    struct address ret;

    (void)state;
    for (size_t i = 0; i < count_of(wrong); i++)
        assert_false(address_parse(wrong[i], strlen(wrong[i]), &ret));
}

static void test_networks_hold_their_addresses_and_no_other(void **state)
{
    static const struct {
        const char *network, *address;
        bool has;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::a00:1", false},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "1.2.3.4", true},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
    };
    static const char *const wrong[] = {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/",
                                        "::/129",     "10.0.0.0/8x", "x/8",         ""};
    struct network network;

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        struct address one = address(rows[i].address);

        assert_true(network_parse(rows[i].network, &network));
        assert_int_equal(network_has(&network, &one), rows[i].has);
    }
    for (size_t i = 0; i < count_of(wrong); i++)
        assert_false(network_parse(wrong[i], &network));
}

static void test_an_embedded_ipv4_address_is_found(void **state)
{
    static const struct {
        const char *address, *behind;
    } rows[] = {
        {"64:ff9b::203.0.113.9", "203.0.113.9"},
        {"64:ff9b::1:203.0.113.9", "64:ff9b::1:cb00:7109"},
        {"2002:cb00:7109::1", "203.0.113.9"},
        {"2002:cb00:7109:ffff:1:2:3:4", "203.0.113.9"},
        {"2001:0:4136:e378:8000:63bf:34ff:8ef6", "203.0.113.9"},
        {"2001:db8::1", "2001:db8::1"},
        {"203.0.113.9", "203.0.113.9"},
        {"::ffff:203.0.113.9", "203.0.113.9"},
    };

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        struct address from = address(rows[i].address), behind = address_behind(&from);
        char text[ADDRESS_TEXT_SIZE];

        address_text(text, &behind);
        assert_string_equal(text, rows[i].behind);
    }
}

static void test_the_client_is_the_last_hop_that_is_not_trusted(void **state)
{
    static const struct {
        const char *peer, *forwarded, *client;
    } rows[] = {
        {"203.0.113.1", "198.51.100.7", "203.0.113.1"}, /* nobody trusts the peer */
        {"10.0.0.1", NULL, "10.0.0.1"},
        {"10.0.0.1", "198.51.100.7", "198.51.100.7"},
        {"10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"},
        {"10.0.0.1", "198.51.100.7, 10.0.0.2,10.0.0.3", "198.51.100.7"},
        {"10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"},
        {"10.0.0.1", "198.51.100.7, junk", "::"}, /* the proxy is not its own client */
        {"10.0.0.1", "unknown, 10.0.0.2", "::"},
        {"10.0.0.1", "fe80::1%eth0", "fe80::1"},
        {"10.0.0.1", "[fe80::1%eth0]:443", "fe80::1"},
        {"10.0.0.1", "5.5.5.5%eth0", "::"},
        {"10.0.0.1", "junk, 198.51.100.7", "198.51.100.7"},
        {"10.0.0.1", "198.51.100.7,,", "198.51.100.7"},
        {"10.0.0.1", ",,,", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.7:1234", "198.51.100.7"},
        {"10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"},
        {"10.0.0.1", "[2001:db8::1]", "2001:db8::1"},
        {"10.0.0.1", "2001:db8::1", "2001:db8::1"},
    };
    struct network ten;
    const struct networks trusted = {&ten, 1};

    (void)state;
    assert_true(network_parse("10.0.0.0/8", &ten));
    for (size_t i = 0; i < count_of(rows); i++) {
        struct address peer = address(rows[i].peer), expected = address(rows[i].client);
        struct address client = client_address(&trusted, &peer, rows[i].forwarded);

        assert_memory_equal(&client, &expected, sizeof client);
    }
}

static void test_an_endless_chain_of_hops_is_not_walked(void **state)
{
    struct text hops = text_open(*state, 64);
    struct address peer = address("10.0.0.1"), client;
    struct network ten;
    const struct networks trusted = {&ten, 1};

    text_add(&hops, "6.6.6.6");
    for (int i = 0; i < 100000; i++)
        text_add(&hops, ",10.0.0.1");
    assert_true(network_parse("10.0.0.0/8", &ten));
    client = client_address(&trusted, &peer, hops.s);
    assert_memory_equal(&client, &peer, sizeof client);
}

static void the_client_of_forwarded_is_the_first_hop_that_is_not_trusted(void **state)
{
    static const struct {
        const char *peer, *forwarded, *client;
    } rows[] = {
        {"10.0.0.5", "for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "for=\"[2001:db8:c::17]:47\";proto=https", "2001:db8:c::17"},
        {"10.0.0.5", "For=198.51.100.17;by=x, for=10.0.0.9", "198.51.100.17"},
        {"10.0.0.5", "for=6.6.6.6, for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "for=\"198.51.100.17:5123\"", "198.51.100.17"},
        {"10.0.0.5", ",, for=198.51.100.17 ,", "198.51.100.17"},
        {"10.0.0.5", "for=\"198.51.100\\.17\"", "198.51.100.17"},
        {"10.0.0.5", "proto=http;host=\"a, for=6.6.6.6\";for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "for=_secret", "::"},
        {"10.0.0.5", "for=unknown", "::"},
        {"10.0.0.5", "for=6.6.6.6, for=_hidden", "::"},
        {"10.0.0.5", "for=6.6.6.6, proto=http", "::"},
        {"10.0.0.5", "for=2001:db8::1", "::"},
        {"10.0.0.5", "for=\"2001:db8::1\"", "::"},
        {"10.0.0.5", "for=198.51.100.17:5123", "::"},
        {"10.0.0.5", "for=\"198.51.100.17", "::"},
        {"10.0.0.5", "for=\"198.51.100.17\\", "::"},
        {"10.0.0.5", "for=198.51.100.17;for=6.6.6.6", "::"},
        {"10.0.0.5", "for=198.51.100.17 by=x", "::"},
        {"10.0.0.5", "for = 198.51.100.17", "::"},
        {"10.0.0.5", "198.51.100.17", "::"},
        {"10.0.0.5", "for=", "::"},
        {"10.0.0.5", "", "10.0.0.5"},
        {"10.0.0.5", "for=\"x, for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "\", for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "for=\"6.6.6.6, for=198.51.100.17, for=10.0.0.9", "198.51.100.17"},
        {"10.0.0.5", "===;;\\, for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "for=6.6.6.6;for=6.6.6.6,for=198.51.100.17", "198.51.100.17"},
        {"10.0.0.5", "for=6.6.6.6, for=;, for=10.0.0.9", "::"},
        {"10.0.0.5", "x, for=198.51.100.17;host=\"a\\\", b\"", "198.51.100.17"},
        {"203.0.113.9", "for=198.51.100.17", "203.0.113.9"},
    };
    struct network network;
    struct networks trusted = {&network, 1};

    (void)state;
    assert_true(network_parse("10.0.0.0/8", &network));
    for (size_t i = 0; i < count_of(rows); i++) {
        struct address peer, client;
        char text[ADDRESS_TEXT_SIZE];

        assert_true(address_parse(rows[i].peer, strlen(rows[i].peer), &peer));
        client = client_address_forwarded(&trusted, &peer, rows[i].forwarded);
        address_text(text, &client);
        if (strcmp(text, rows[i].client) != 0)
            fail_msg("%s gave %s", rows[i].forwarded, text);
    }
}

/* What a client writes stands left of what the proxy wrote, and cannot hide it. */
static void nothing_left_of_the_nearest_hop_changes_the_client(void **state)
{
    static const char *const fillers[] = {"6.6.6.6,", "junk,", "10.0.0.9,", "\",",
                                          "for=\"",   ",",     "x"};
    struct network network;
    struct networks trusted = {&network, 1};
    struct address peer, right, client;

    assert_true(network_parse("10.0.0.0/8", &network));
    assert_true(address_parse("10.0.0.5", 8, &peer));
    assert_true(address_parse("198.51.100.17", 13, &right));
    for (size_t i = 0; i < count_of(fillers); i++) {
        for (int times = 1; times < 6000; times = times * 3 + 1) {
            struct text list = text_open(*state, 4096), elements = text_open(*state, 4096);

            for (int n = 0; n < times; n++) {
                text_add(&list, fillers[i]);
                text_add(&elements, fillers[i]);
            }
            text_add(&list, ", 198.51.100.17, 10.0.0.9");
            text_add(&elements, ", for=198.51.100.17, for=10.0.0.9");
            client = client_address(&trusted, &peer, list.s);
            assert_memory_equal(&client, &right, sizeof right);
            client = client_address_forwarded(&trusted, &peer, elements.s);
            assert_memory_equal(&client, &right, sizeof right);
        }
    }
}

static void a_hop_that_is_cut_by_the_bound_is_not_read(void **state)
{
    struct network network;
    struct networks trusted = {&network, 1};
    struct text list = text_open(*state, 8192);
    struct address peer, client;

    assert_true(network_parse("10.0.0.0/8", &network));
    assert_true(address_parse("10.0.0.5", 8, &peer));
    text_add(&list, "6.6.6.6");
    while (list.len < 4096 + 2)
        text_char(&list, ' ');
    client = client_address(&trusted, &peer, list.s);
    assert_memory_equal(&client, &(struct address){{0}}, sizeof client);
}

static void one_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(void **state)
{
    static const char *const same[][2] = {{"2001:db8:1:2::1", "2001:db8:1:2:ffff::2"},
                                          {"192.0.2.1", "::ffff:192.0.2.1"},
                                          {"192.0.2.1", "64:ff9b::c000:201"},
                                          {"192.0.2.1", "64:ff9b:1::c000:201"},
                                          {"192.0.2.1", "2002:c000:201:1::5"}};
    static const char *const apart[][2] = {{"2001:db8:1:2::1", "2001:db8:1:3::1"},
                                           {"192.0.2.1", "192.0.2.2"},
                                           {"64:ff9b::c000:201", "64:ff9b::c000:202"}};
    struct address a, b;

    (void)state;
    for (size_t i = 0; i < count_of(same); i++) {
        assert_true(address_parse(same[i][0], strlen(same[i][0]), &a));
        assert_true(address_parse(same[i][1], strlen(same[i][1]), &b));
        a = address_client(&a);
        b = address_client(&b);
        assert_memory_equal(&a, &b, sizeof a);
    }
    for (size_t i = 0; i < count_of(apart); i++) {
        assert_true(address_parse(apart[i][0], strlen(apart[i][0]), &a));
        assert_true(address_parse(apart[i][1], strlen(apart[i][1]), &b));
        a = address_client(&a);
        b = address_client(&b);
        assert_memory_not_equal(&a, &b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_both_spellings_of_an_address_are_one),
        UNIT(test_an_address_is_told_as_it_was_said),
        UNIT(test_what_is_no_address_is_refused),
        UNIT(test_networks_hold_their_addresses_and_no_other),
        UNIT(test_an_embedded_ipv4_address_is_found),
        UNIT(test_the_client_is_the_last_hop_that_is_not_trusted),
        UNIT(test_an_endless_chain_of_hops_is_not_walked),
        UNIT(the_client_of_forwarded_is_the_first_hop_that_is_not_trusted),
        UNIT(one_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits),
        UNIT(nothing_left_of_the_nearest_hop_changes_the_client),
        UNIT(a_hop_that_is_cut_by_the_bound_is_not_read),
    };

    return RUN_UNITS(tests);
}
