#include "core/text.h"

#include "unit.h"

static void test_a_text_grows_out_of_a_borrowed_buffer_and_keeps_what_it_had(void **state)
{
    char buffer[8];
    struct text text = text_borrow(*state, buffer, sizeof buffer);

    for (int i = 0; i < 1000; i++)
        text_int(&text, i % 10);
    assert_int_equal(text.len, 1000);
    assert_memory_equal(text.s, "01234567890", 11);
    assert_int_equal(text.s[1000], '\0');
}

static void test_json_strings_are_valid_whatever_the_bytes(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *json;
    } rows[] = {
        {"plain", 5, "\"plain\""},
        {"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"\n\t\x01\x1f", 4, "\"\\n\\t\\u0001\\u001f\""},
        {"\0", 1, "\"\\u0000\""},
        {"\xc3\xa9", 2, "\"\xc3\xa9\""},
        {" !#[]~", 6, "\" !#[]~\""},
        {"a\x7f\xc3\xa9\"", 5, "\"a\\u007f\xc3\xa9\\\"\""},
        {"\xff", 1, "\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, NULL},
        {"\xe2\x82", 2, NULL},
    };

    for (size_t i = 0; i < count_of(rows); i++) {
        struct text out = text_open(*state, 16);
        auto_json json_t *read = NULL;

        text_json(&out, rows[i].bytes, rows[i].len);
        if (rows[i].json != NULL)
            assert_string_equal(out.s, rows[i].json);
        read = json_loadb(out.s, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(read);
    }
}

static void test_times_are_utc_with_milliseconds(void **state)
{
    static const struct {
        int64_t ms;
        const char *iso, *http;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {1772359200999, "2026-03-01T10:00:00.999Z", "Sun, 01 Mar 2026 10:00:00 GMT"},
        {1772359201000, "2026-03-01T10:00:01.000Z", "Sun, 01 Mar 2026 10:00:01 GMT"},
        {-1, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {1772359200123, "2026-03-01T10:00:00.123Z", "Sun, 01 Mar 2026 10:00:00 GMT"},
        {951782399999, "2000-02-28T23:59:59.999Z", "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
        {253402300799999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
    };

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        char iso[TEXT_TIME_SIZE], http[TEXT_HTTP_DATE_SIZE];

        text_time(iso, rows[i].ms);
        text_http_date(http, rows[i].ms);
        assert_string_equal(iso, rows[i].iso);
        assert_string_equal(http, rows[i].http);
    }
}

static void test_times_beyond_all_years_are_clamped(void **state)
{
    char iso[TEXT_TIME_SIZE];

    (void)state;
    text_time(iso, INT64_MAX);
    assert_int_equal(strlen(iso), 24);
    text_time(iso, INT64_MIN);
    assert_int_equal(strlen(iso), 24);
}

static void test_base64url_knows_one_spelling_only(void **state)
{
    static const char *const wrong[] = {"A",    "AB==", "A B", "AB\n",
                                        "A+B/", "AB",   "AAB", "\xff\xff"};
    uint8_t bytes[64];
    size_t len;

    for (size_t n = 0; n < sizeof bytes; n++) {
        char *text;
        uint8_t *back;

        bytes[n] = (uint8_t)(n * 37);
        text = text_base64url(*state, bytes, n);
        back = text_base64url_decode(*state, text, strlen(text), &len);
        assert_non_null(back);
        assert_int_equal(len, n);
        assert_memory_equal(back, bytes, n);
    }
    for (size_t i = 0; i < count_of(wrong); i++)
        assert_null(text_base64url_decode(*state, wrong[i], strlen(wrong[i]), &len));
}

static void test_the_nearest_name_is_measured(void **state)
{
    (void)state;
    assert_int_equal(text_distance("REDIS_HOST", "redis_host", 3), 0);
    assert_int_equal(text_distance("REDIS_HOTS", "REDIS_HOST", 3), 2);
    assert_int_equal(text_distance("PORT", "PORTS", 3), 1);
    assert_int_equal(text_distance("", "abc", 3), 3);
    assert_int_equal(text_distance("completely", "different", 3), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_a_text_grows_out_of_a_borrowed_buffer_and_keeps_what_it_had),
        UNIT(test_json_strings_are_valid_whatever_the_bytes),
        UNIT(test_times_are_utc_with_milliseconds),
        UNIT(test_times_beyond_all_years_are_clamped),
        UNIT(test_base64url_knows_one_spelling_only),
        UNIT(test_the_nearest_name_is_measured),
    };

    return RUN_UNITS(tests);
}
