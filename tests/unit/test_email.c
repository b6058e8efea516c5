#include "core/email.h"

#include "unit.h"

#include <stddef.h>

static void test_an_address_has_one_at_and_a_domain_in_which_nothing_is_dropped(void **state)
{
    static const char *const wrong[] = {
        "a@",
        "@b.example",
        "zz@@b.example",
        "zz@@b\xc3\xbc"
        "cher.example",
        "zz@a@b\xc3\xbc"
        "cher.example",
        "zz@b\xc3\xbc"
        "cher@.example",
        "zz@b\xc3\xbc"
        "cher_.example",
        "zz@_b\xc3\xbc"
        "cher.example",
        "zz@(b\xc3\xbc"
        "cher.example",
        "zz@b\xc3\xbc/cher.example",
        "zz@b\xc3\xbc cher.example",
        "zz@b\xc3\xbc"
        "cher.example?",
        "zz@b\xc3\xbc\xef\xbc\xa0"
        "cher.example", /* a wide @ */
        "zz@b\xc3\xbc\xef\xbc\x8f"
        "cher.example", /* a wide slash */
        "zz@b\xc3\xbc\xef\xbc\xbf"
        "cher.example", /* a wide low line */
        "zz@b\xc3\xbc..example",
        "zz@xn--",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (email_normalise(*state, wrong[i]) != NULL)
            fail_msg("%s was taken for %s", wrong[i], email_normalise(*state, wrong[i]));
    }
}

static void test_every_spelling_of_a_mailbox_has_one_key(void **state)
{
    static const char *const spellings[] = {
        "zz@b\xc3\xbc"
        "cher.example",
        "ZZ@B\xc3\x9c"
        "CHER.example",
        "zz@bu\xcc\x88"
        "cher.example",
        "zz@xn--bcher-kva.example",
        "zz@XN--BCHER-KVA.example",
        " zz@b\xc3\xbc"
        "cher.example ",
        "zz@\xef\xbd\x82\xc3\xbc"
        "cher.example", /* a wide b */
    };

    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const char *key = email_normalise(*state, spellings[i]);

        if (key == NULL)
            fail_msg("%s is none", spellings[i]);
        assert_string_equal(key, spellings[0]);
        assert_string_equal(email_normalise(*state, key), key);
        assert_string_equal(email_wire(*state, key), "zz@xn--bcher-kva.example");
        assert_string_equal(email_key(*state, email_sent(*state, email_wire(*state, key))), key);
    }
}

static void test_a_mailbox_is_the_same_whatever_its_tag(void **state)
{
    static const char *const same[][2] = {
        {"victim+1@example.com", "victim@example.com"},
        {"victim@example.com", "victim@example.com"},
        {"victim+a+b@example.com", "victim@example.com"},
        {"victim+@example.com", "victim@example.com"},
        {"v.ictim+x@example.com", "v.ictim@example.com"},
        {"+x@example.com", "+x@example.com"},
        {"victim@ex+ample.com", "victim@ex+ample.com"},
        {"nothing+1", "nothing+1"},
        {"+@b.example", "+@b.example"},
        {"+ann@b.example", "+ann@b.example"},
        {"+ann+1@b.example", "+ann@b.example"},
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_string_equal(email_mailbox(*state, same[i][0]), same[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_an_address_has_one_at_and_a_domain_in_which_nothing_is_dropped),
        UNIT(test_every_spelling_of_a_mailbox_has_one_key),
        UNIT(test_a_mailbox_is_the_same_whatever_its_tag),
    };

    return RUN_UNITS(tests);
}
