#include "store/search.h"

#include "unit.h"

static void test_each_word_begins_a_word_whatever_its_case_and_accents(void **state)
{
    static const struct {
        const char *search, *email, *fullname;
        bool found;
    } rows[] = {
        {"ann", "x@example.com", "Ann Lee", true},
        {"LE an", "x@example.com", "Ann Lee", true},
        {"nn", "x@example.com", "Ann Lee", false},
        {"ann bob", "x@example.com", "Ann Lee", false},
        {"x@example.com", "x@example.com", "Ann Lee", true},
        {"zoe", "x@example.com", "Zo\xc3\xab M\xc3\xbcller", true},
        {"zo\xc3\xab muller", "x@example.com", "ZOE\xcc\x88 M\xc3\xbcller", true},
        {"com", "x@example.com", "", true},
        {"\xd8\xb9\xd8\xa8\xd8\xaf", "x@example.com",
         "\xd8\xb9\xd8\xa8\xd8\xaf \xd8\xa7\xd9\x84\xd9\x84\xd9\x87", true},
        {" - \xe2\x80\x94 ", "x@example.com", "Ann Lee", false},
        {"", "x@example.com", "Ann Lee", false},
    };

    for (size_t i = 0; i < count_of(rows); i++) {
        struct search search = search_parse(*state, rows[i].search);

        assert_int_equal(search_matches(&search, rows[i].email, rows[i].fullname), rows[i].found);
    }
}

static void test_only_words_that_few_rows_have_are_rare(void **state)
{
    struct search search = search_parse(*state, "ann example rare");

    for (int i = 0; i < 1000; i++)
        search_matches(&search, "x@example.com", i % 50 == 0 ? "Ann Lee" : "Rae Lee");
    assert_string_equal(search_rare_words(&search), "\"rare\" * ");
    search = search_parse(*state, "example");
    search_matches(&search, "x@example.com", "Ann");
    assert_null(search_rare_words(&search));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_each_word_begins_a_word_whatever_its_case_and_accents),
        UNIT(test_only_words_that_few_rows_have_are_rare),
    };

    return RUN_UNITS(tests);
}
