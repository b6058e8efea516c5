#include "core/text.h"

#include "unit.h"

enum { CAP = MEM_CAP_BYTES };

static void a_text_stops_at_the_cap_of_its_tree_and_keeps_what_it_has(void **state)
{
    void *tree = mem_tree(4096);
    struct text text = text_open(tree, 16);
    char piece[1000];

    (void)state;
    memset(piece, 'x', sizeof piece);
    mem_cap(tree);
    for (int i = 0; i < 100000; i++)
        text_put(&text, piece, sizeof piece);
    text_printf(&text, "%0*d", 2 * CAP, 1);
    assert_true(mem_is_over_cap(tree));
    assert_in_range(text.len, 1000, CAP);
    assert_int_equal(strlen(text.s), text.len);
    assert_true(talloc_total_size(tree) < 2 * CAP);
    talloc_free(tree);
}

static void what_is_no_text_is_given_beyond_the_cap_and_told(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        void *tree = mem_tree(4096), *branch;
        char *got;

        mem_cap(tree);
        branch = mem_zero(mem_zero(tree, 10), 10);
        assert_false(mem_is_over_cap(tree));
        got = how == 0   ? mem_zero(branch, 2 * CAP)
              : how == 1 ? mem_grow(branch, mem_zero(branch, 100), 2 * CAP)
                         : mem_copy(branch, mem_zero(*state, 2 * CAP), 2 * CAP - 1);
        assert_non_null(got);
        assert_true(mem_is_over_cap(tree));
        assert_null(mem_try_grow(branch, NULL, CAP));
        talloc_free(tree);
    }
}

static void memory_that_is_given_back_counts_no_more(void **state)
{
    void *tree = mem_tree(4096);

    (void)state;
    mem_cap(tree);
    for (int i = 0; i < 1000; i++)
        talloc_free(mem_zero(tree, CAP / 2));
    assert_false(mem_is_over_cap(tree));
    talloc_free(tree);
}

static void a_tree_without_a_cap_is_never_over_it(void **state)
{
    struct text text = text_open(*state, 16);

    for (int i = 0; i < 2 * CAP; i++)
        text_char(&text, 'x');
    assert_int_equal(text.len, 2 * CAP);
    assert_false(mem_is_over_cap(*state));
}

static void many_small_pieces_count_at_the_end(void **state)
{
    void *tree = mem_tree(4096);

    (void)state;
    mem_cap(tree);
    for (int i = 0; i < 20; i++)
        assert_non_null(mem_printf(tree, "%0*d", 1 << 20, 1));
    assert_true(mem_is_over_cap(tree));
    talloc_free(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(a_text_stops_at_the_cap_of_its_tree_and_keeps_what_it_has),
        UNIT(what_is_no_text_is_given_beyond_the_cap_and_told),
        UNIT(many_small_pieces_count_at_the_end),
        UNIT(memory_that_is_given_back_counts_no_more),
        UNIT(a_tree_without_a_cap_is_never_over_it),
    };

    return RUN_UNITS(tests);
}
