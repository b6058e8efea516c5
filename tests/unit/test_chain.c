#include "store/chain.h"

#include "unit.h"

/* Times in the tables are in ms since the session began. */
enum { START_MS = 1000000 };

static struct chain_link link_of(const char *id)
{
    struct chain_link link = {.issued_s = 1, .expires_s = 2};

    snprintf(link.id, sizeof link.id, "%022d", atoi(id));
    return link;
}

struct step {
    int64_t at_ms;
    const char *present, *propose;
    const char *successor; /* NULL: reused, the session ends */
};

static void play(const struct step *steps)
{
    struct chain chain = chain_begin(link_of("1").id, 1, 2);

    for (; steps->present != NULL; steps++) {
        struct chain_link fresh = link_of(steps->propose), successor;
        enum chain_outcome outcome = chain_use(&chain, link_of(steps->present).id, &fresh,
                                               START_MS + steps->at_ms, &successor);

        assert_int_equal(outcome, steps->successor == NULL ? CHAIN_REUSED : CHAIN_ROTATED);
        if (steps->successor != NULL)
            assert_string_equal(successor.id, link_of(steps->successor).id);
    }
}

static void test_the_same_token_always_gets_the_same_successor(void **state)
{
    (void)state;
    play((struct step[]){{0, "1", "2", "2"}, {1, "1", "3", "2"}, {86400000, "1", "4", "2"}, {0}});
}

static void test_a_token_stays_good_until_its_successor_was_used_and_ten_seconds_more(void **state)
{
    (void)state;
    play((struct step[]){{0, "1", "2", "2"},
                         {50000, "2", "3", "3"},
                         {60000, "1", "9", "2"},
                         {60000, "2", "9", "3"},
                         {60001, "1", "9", NULL},
                         {0}});
}

static void test_using_an_old_token_within_the_grace_does_not_prolong_it(void **state)
{
    (void)state;
    play((struct step[]){{0, "1", "2", "2"},
                         {1000, "2", "3", "3"},
                         {9000, "1", "9", "2"},
                         {9000, "2", "9", "3"},
                         {11001, "1", "9", NULL},
                         {0}});
}

static void test_an_unknown_token_is_a_reused_one(void **state)
{
    (void)state;
    play((struct step[]){{0, "7", "2", NULL}, {0}});
}

static void test_a_client_may_adopt_for_ever(void **state)
{
    struct chain chain = chain_begin(link_of("1").id, 1, 2);
    char id[12], next[12];

    (void)state;
    for (int i = 1; i < 1000; i++) {
        struct chain_link fresh, successor;

        snprintf(id, sizeof id, "%d", i);
        snprintf(next, sizeof next, "%d", i + 1);
        fresh = link_of(next);
        assert_int_equal(chain_use(&chain, link_of(id).id, &fresh, START_MS + i, &successor),
                         CHAIN_ROTATED);
        assert_string_equal(successor.id, fresh.id);
        assert_true(chain.count <= CHAIN_LINKS);
    }
}

static void test_the_stored_form_reads_back_and_anything_else_is_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "x",
                                        "0000000000000000000001 1 2\n",
                                        "0000000000000000000001 1 2 3",
                                        "01 1 2 3\n",
                                        "0000000000000000000001 1 2 99999999999999999999\n",
                                        "0000000000000000000001 1 2 3\nx"};
    struct chain chain = chain_begin(link_of("1").id, 17, 18), back;
    struct chain_link fresh = link_of("2"), successor;

    chain_use(&chain, link_of("1").id, &fresh, START_MS, &successor);
    assert_true(chain_parse(chain_text(*state, &chain), &back));
    assert_int_equal(back.count, 2);
    assert_memory_equal(back.links, chain.links, 2 * sizeof chain.links[0]);
    for (size_t i = 0; i < count_of(wrong); i++)
        assert_false(chain_parse(wrong[i], &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_the_same_token_always_gets_the_same_successor),
        UNIT(test_a_token_stays_good_until_its_successor_was_used_and_ten_seconds_more),
        UNIT(test_using_an_old_token_within_the_grace_does_not_prolong_it),
        UNIT(test_an_unknown_token_is_a_reused_one),
        UNIT(test_a_client_may_adopt_for_ever),
        UNIT(test_the_stored_form_reads_back_and_anything_else_is_refused),
    };

    return RUN_UNITS(tests);
}
