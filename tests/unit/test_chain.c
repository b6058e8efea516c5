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

static void test_a_token_that_was_not_handed_out_yet_is_a_reused_one(void **state)
{
    (void)state;
    play((struct step[]){{0, "1", "2", "2"}, {1, "3", "4", NULL}, {0}});
}

static void test_a_retired_token_in_its_grace_retires_nothing_else(void **state)
{
    (void)state;
    play((struct step[]){{0, "1", "2", "2"},
                         {5, "2", "3", "3"},
                         {6, "1", "9", "2"},
                         {86400000, "2", "9", "3"},
                         {86400000, "3", "4", "4"},
                         {0}});
}

static void test_a_clock_that_steps_back_is_no_reuse(void **state)
{
    (void)state;
    play((struct step[]){{0, "1", "2", "2"},
                         {5, "2", "3", "3"},
                         {-900000, "1", "9", "2"},
                         {-900000, "3", "4", "4"},
                         {0}});
}

static void test_a_grace_that_a_clock_far_ahead_began_is_over(void **state)
{
    (void)state;
    play((struct step[]){{86400000, "1", "2", "2"},
                         {86400000, "2", "3", "3"},
                         {0, "3", "4", "4"},
                         {0, "1", "9", NULL},
                         {0}});
}

static void test_the_first_use_of_a_token_is_the_one_that_counts(void **state)
{
    struct chain chain = chain_begin(link_of("1").id, 1, 2);
    struct chain_link fresh = link_of("2"), successor;

    (void)state;
    chain_use(&chain, link_of("1").id, &fresh, START_MS, &successor);
    chain_use(&chain, link_of("1").id, &fresh, START_MS + 9, &successor);
    assert_int_equal(chain.links[0].used_ms, START_MS);
    assert_int_equal(successor.used_ms, 0);
}

static void test_links_past_their_grace_are_forgotten(void **state)
{
    struct chain chain = chain_begin(link_of("1").id, 1, 2);
    struct chain_link two = link_of("2"), three = link_of("3"), four = link_of("4"), successor;

    (void)state;
    chain_use(&chain, link_of("1").id, &two, START_MS, &successor);
    chain_use(&chain, link_of("2").id, &three, START_MS, &successor);
    chain_use(&chain, link_of("3").id, &four, START_MS + CHAIN_GRACE_MS + 1, &successor);
    assert_int_equal(chain.count, 3);
    assert_string_equal(chain.links[0].id, two.id);
}

static void test_a_full_chain_loses_its_oldest_and_keeps_its_successors(void **state)
{
    struct chain chain = {.count = CHAIN_LINKS};
    struct chain_link fresh = link_of("100"), other = link_of("101"), successor;
    struct chain_link newest;

    (void)state;
    for (int i = 0; i < CHAIN_LINKS; i++) {
        snprintf(chain.links[i].id, sizeof chain.links[i].id, "%022d", i);
        chain.links[i].used_ms = i + 1 < CHAIN_LINKS ? START_MS : 0;
    }
    newest = chain.links[CHAIN_LINKS - 1];
    assert_int_equal(chain_use(&chain, newest.id, &fresh, START_MS, &successor), CHAIN_ROTATED);
    assert_string_equal(successor.id, fresh.id);
    assert_int_equal(chain.count, CHAIN_LINKS);
    assert_string_equal(chain.links[0].id, link_of("1").id);
    assert_int_equal(chain_use(&chain, newest.id, &other, START_MS, &successor), CHAIN_ROTATED);
    assert_string_equal(successor.id, fresh.id);
}

static void test_a_stored_chain_has_as_many_links_as_a_chain_may_have(void **state)
{
    struct chain chain = {.count = CHAIN_LINKS}, back;
    char *text;

    for (int i = 0; i < CHAIN_LINKS; i++) {
        chain.links[i] = (struct chain_link){
            .issued_s = INT64_MIN + i, .expires_s = INT64_MAX - i, .used_ms = i};
        snprintf(chain.links[i].id, sizeof chain.links[i].id, "-_%020d", i);
    }
    text = chain_text(*state, &chain);
    assert_true(chain_parse(text, &back));
    assert_int_equal(back.count, CHAIN_LINKS);
    assert_memory_equal(back.links, chain.links, sizeof chain.links);
    assert_false(chain_parse(mem_printf(*state, "%s%s 1 2 3\n", text, link_of("1").id), &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_the_same_token_always_gets_the_same_successor),
        UNIT(test_a_token_stays_good_until_its_successor_was_used_and_ten_seconds_more),
        UNIT(test_using_an_old_token_within_the_grace_does_not_prolong_it),
        UNIT(test_an_unknown_token_is_a_reused_one),
        UNIT(test_a_client_may_adopt_for_ever),
        UNIT(test_a_token_that_was_not_handed_out_yet_is_a_reused_one),
        UNIT(test_a_retired_token_in_its_grace_retires_nothing_else),
        UNIT(test_a_clock_that_steps_back_is_no_reuse),
        UNIT(test_a_grace_that_a_clock_far_ahead_began_is_over),
        UNIT(test_the_first_use_of_a_token_is_the_one_that_counts),
        UNIT(test_links_past_their_grace_are_forgotten),
        UNIT(test_a_full_chain_loses_its_oldest_and_keeps_its_successors),
        UNIT(test_a_stored_chain_has_as_many_links_as_a_chain_may_have),
        UNIT(test_the_stored_form_reads_back_and_anything_else_is_refused),
    };

    return RUN_UNITS(tests);
}
