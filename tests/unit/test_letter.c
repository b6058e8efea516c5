#include "mail/letter.h"

#include "unit.h"

/* Letters are then written as they are read. */
static const struct settings to_files = {.environment = "development"};

static void what_a_stranger_chose_is_text_in_a_letter(void **state)
{
    const char *letter = letter_new_device(*state, &to_files, "ann@example.com", LANGUAGE_ARABIC, 0,
                                           "192.0.2.1", "\"'><script>\xff");

    assert_non_null(strstr(letter, "<br>الجهاز: &quot;&#39;&gt;&lt;script&gt;\xef\xbf\xbd</p>"));
    assert_non_null(strstr(letter, "\r\nالجهاز: \"'><script>"));
    letter = letter_payment_failed(*state, &to_files, "ann@example.com", LANGUAGE_ENGLISH,
                                   "javascript:alert(1)", 7);
    assert_non_null(strstr(letter, "<a href=\"#\">javascript:alert(1)</a>"));
}

static void a_number_of_days_has_its_plural_form(void **state)
{
    static const struct {
        int days;
        const char *english, *arabic;
    } rows[] = {
        {0, "for 0 days from", "لمدة 0 يوم من"},     {1, "for 1 day from", "لمدة يوم واحد من"},
        {2, "for 2 days from", "لمدة يومين من"},     {3, "for 3 days from", "لمدة 3 أيام من"},
        {11, "for 11 days from", "لمدة 11 يومًا من"}, {100, "for 100 days from", "لمدة 100 يوم من"},
    };

    for (size_t i = 0; i < count_of(rows); i++) {
        assert_non_null(strstr(letter_payment_failed(*state, &to_files, "ann@example.com",
                                                     LANGUAGE_ENGLISH, "/", rows[i].days),
                               rows[i].english));
        assert_non_null(strstr(letter_payment_failed(*state, &to_files, "ann@example.com",
                                                     LANGUAGE_ARABIC, "/", rows[i].days),
                               rows[i].arabic));
    }
}

static void a_letter_has_the_paragraphs_that_it_needs(void **state)
{
    const char *with_link = letter_verify(*state, &to_files, "ann@example.com", LANGUAGE_ENGLISH,
                                          "123456", 10, "https://a.example/v#t", 24);
    const char *without = letter_verify(*state, &to_files, "ann@example.com", LANGUAGE_ENGLISH,
                                        "123456", 10, NULL, 24);
    const char *bought = letter_trial_ends(*state, &to_files, "ann@example.com", LANGUAGE_ENGLISH,
                                           "https://a.example/b", 0, true);

    assert_non_null(strstr(
        with_link, "\r\n\r\nTo confirm that this address is yours, open this "
                   "link:\r\n\r\nhttps://a.example/v#t\r\n\r\nOr enter this "
                   "code\r\n\r\n123456\r\n\r\nThe link expires after 24 hours, the code after "
                   "10 minutes. Each works once. "));
    assert_non_null(strstr(without,
                           "\r\n\r\nTo confirm that this address is yours, enter this "
                           "code\r\n\r\n123456\r\n\r\nThe code works once and expires after 10 "
                           "minutes. "));
    assert_null(strstr(without, "link"));
    assert_null(strstr(without, "<a "));
    assert_non_null(strstr(bought, "on this page:\r\n\r\nhttps://a.example/b\r\n--"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(what_a_stranger_chose_is_text_in_a_letter),
        UNIT(a_number_of_days_has_its_plural_form),
        UNIT(a_letter_has_the_paragraphs_that_it_needs),
    };

    return RUN_UNITS(tests);
}
