#include "core/unicode.h"

#include "unit.h"

static void test_lower_case_is_that_of_the_replaced_system(void **state)
{
    /* Taken from Python's str.lower(). */
    static const struct {
        const char *text, *lower;
    } rows[] = {
        {"ANN@EXAMPLE.COM", "ann@example.com"},
        {"STRASSE\xc3\x9f", "strasse\xc3\x9f"},
        {"\xe1\xba\x9e", "\xc3\x9f"},             /* capital sharp s */
        {"\xc4\xb0", "i\xcc\x87"},                /* dotted capital I */
        {"I\xc4\xb1", "i\xc4\xb1"},               /* no Turkish rules */
        {"\xce\x9f\xce\xa3", "\xce\xbf\xcf\x82"}, /* final sigma */
        {"\xce\xa3\xce\x9f", "\xcf\x83\xce\xbf"}, /* first sigma */
        {"\xce\xa3", "\xcf\x83"},                 /* alone */
        {"\xce\x9f\xce\xa3.", "\xce\xbf\xcf\x82."},
        {"\xf0\x90\x90\x80", "\xf0\x90\x90\xa8"}, /* Deseret */
        {"", ""},
    };

    for (size_t i = 0; i < count_of(rows); i++)
        assert_string_equal(unicode_lower(*state, rows[i].text), rows[i].lower);
}

static void test_trimming_takes_all_white_space_of_unicode(void **state)
{
    static const struct {
        const char *text, *trimmed;
    } rows[] = {
        {"  a b \t\n", "a b"},
        {"\xc2\xa0\xe2\x80\x83"
         "a\xe3\x80\x80",
         "a"},
        {"\x1c\x1d\x1e\x1f\xc2\x85x", "x"},
        {"\xe2\x80\x8bx", "\xe2\x80\x8bx"}, /* zero width space is none */
        {" \t ", ""},
        {"", ""},
    };

    for (size_t i = 0; i < count_of(rows); i++)
        assert_string_equal(unicode_trim(*state, rows[i].text), rows[i].trimmed);
}

static void test_only_well_formed_utf8_is_valid(void **state)
{
    static const struct {
        const char *bytes;
        bool valid;
    } rows[] = {
        {"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true},
        {"\xc0\xaf", false},
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf8\x88\x80\x80", false},
        {"\x80", false},
        {"\xe2\x82", false},
        {"\xff", false},
    };

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++)
        assert_int_equal(unicode_is_valid(rows[i].bytes, strlen(rows[i].bytes)), rows[i].valid);
    assert_int_equal(unicode_length("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), 4);
}

static void test_controls_and_what_shows_nothing_are_seen(void **state)
{
    (void)state;
    assert_true(unicode_has_control("a\x01"));
    assert_true(unicode_has_control("a\xc2\x85"));
    assert_true(unicode_has_control("a\xe2\x80\xa8"));
    assert_false(unicode_has_control("\xe2\x80\xae"
                                     "a \xe2\x80\x8d"));
    assert_true(unicode_has_blank_or_invisible("a b"));
    assert_true(unicode_has_blank_or_invisible("a\xe2\x80\x8b"));
    assert_true(unicode_has_blank_or_invisible("a\xc2\xad"));
    assert_true(unicode_has_blank_or_invisible("\xef\xbb\xbf"
                                               "a"));
    assert_false(unicode_has_blank_or_invisible("a\xc3\xa9"));
}

static void test_two_spellings_of_one_text_are_one_after_normalising(void **state)
{
    assert_string_equal(unicode_nfc(*state, "e\xcc\x81"), "\xc3\xa9");
    assert_string_equal(unicode_nfc(*state, "\xc3\xa9"), "\xc3\xa9");
    assert_string_equal(unicode_nfc(*state, "\xef\xac\x81"), "\xef\xac\x81"); /* no NFKC */
}

static void test_only_what_shows_something_is_counted_as_visible(void **state)
{
    (void)state;
    assert_int_equal(unicode_visible_length("Ann"), 3);
    assert_int_equal(unicode_visible_length("\xd8\xb9\xd9\x84\xd9\x8a"), 3); /* Arabic */
    assert_int_equal(unicode_visible_length("\xe6\x9d\x8e\xe6\x98\x8e"), 2); /* Chinese */
    assert_int_equal(unicode_visible_length("\xcc\x81\xcc\x81"), 0);         /* a mark */
    assert_int_equal(unicode_visible_length("\xe2\x80\x8b\xe2\x80\x8b\xe2\x81\xa0"),
                     0);                                                     /* ZWSP, WJ */
    assert_int_equal(unicode_visible_length("\xe3\x85\xa4\xe3\x85\xa4"), 0); /* Hangul fillers */
    assert_int_equal(unicode_visible_length("\xe2\xa0\x80\xe2\xa0\x80"), 0); /* blank Braille */
    assert_int_equal(unicode_visible_length("  \xc2\xa0"), 0);
    assert_int_equal(unicode_visible_length(""), 0);
}

static void test_what_turns_the_direction_must_be_closed(void **state)
{
    (void)state;
    assert_true(unicode_directions_are_closed("Ann"));
    assert_true(unicode_directions_are_closed("\xe2\x80\xaa"
                                              "a\xe2\x80\xac"));
    assert_true(unicode_directions_are_closed("\xe2\x81\xa7"
                                              "a\xe2\x81\xa9 b"));
    assert_true(
        unicode_directions_are_closed("a\xe2\x80\x8f")); /* a mark turns nothing behind it */
    assert_false(unicode_directions_are_closed("a\xe2\x80\xae"
                                               "b"));
    assert_false(unicode_directions_are_closed("a\xe2\x80\xac"));
    assert_false(unicode_directions_are_closed("\xe2\x81\xa7"
                                               "a\xe2\x80\xac"));
    assert_false(unicode_directions_are_closed("\xe2\x81\xa7\xe2\x80\xaa"
                                               "a\xe2\x81\xa9\xe2\x80\xac"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_lower_case_is_that_of_the_replaced_system),
        UNIT(test_trimming_takes_all_white_space_of_unicode),
        UNIT(test_only_well_formed_utf8_is_valid),
        UNIT(test_controls_and_what_shows_nothing_are_seen),
        UNIT(test_only_what_shows_something_is_counted_as_visible),
        UNIT(test_what_turns_the_direction_must_be_closed),
        UNIT(test_two_spellings_of_one_text_are_one_after_normalising),
    };

    return RUN_UNITS(tests);
}
