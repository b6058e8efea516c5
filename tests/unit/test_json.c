#include "core/json.h"

#include "unit.h"

static const char event[] =
    "{\"id\": \"evt_1\",\"object\":\"event\", \"created\":1772359200,\"livemode\":false,\n"
    " \"data\":{\"object\":{\"id\":\"sub_1\",\"items\":[{\"quantity\":-12},[],[0, 1],{}],"
    "\"note\":null}},\t\"pending\":true,\"a\":\"\",\"\":1}\r\n";

/* What jansson says of it, which reads all of JSON. */
static json_t *reference(const char *bytes, size_t len, size_t flags)
{
    return json_loadb(bytes, len, JSON_DECODE_ANY | flags, NULL);
}

static void assert_read_as_by_reference(const char *bytes, size_t len)
{
    struct json_problem problem;
    auto_json json_t *strict = json_read(bytes, len, &problem);
    auto_json json_t *strict_reference = reference(bytes, len, JSON_REJECT_DUPLICATES);
    auto_json json_t *mended = json_read_mended(bytes, len, &problem);
    auto_json json_t *mended_reference = reference(bytes, len, 0);

    assert_true(strict == strict_reference || json_equal(strict, strict_reference));
    assert_true(mended == mended_reference || json_equal(mended, mended_reference));
}

static void each_text_is_read_as_by_the_library(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "1",
        "-1",
        "-0",
        "-",
        "01",
        "-01",
        "1.5",
        "1e3",
        "1 2",
        "999999999999999999",
        "1000000000000000000",
        "9223372036854775807",
        "-9223372036854775808",
        "true",
        "truex",
        "tru",
        "null",
        "nul",
        "\"",
        "\"a",
        "\"a\"",
        "\"a\"b",
        "\"\\u00e9\\n\"",
        "\"\xc3\xa9\"",
        "\"\xff\"",
        "\"\x1f\"",
        "\"\x7f\"",
        "[",
        "]",
        "[]",
        "[,]",
        "[1,]",
        "[1 2]",
        "[1,2",
        "{",
        "{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"b\":2,\"a\":{}}",
        "{\"\":1}",
        "{a:1}",
        "{\"a\":1]",
        "\xef\xbb\xbf{}",
    };

    (void)state;
    for (size_t i = 0; i < count_of(texts); i++)
        assert_read_as_by_reference(texts[i], strlen(texts[i]));
}

/* Each byte of an event replaced by each of these, left out, and the text cut there. */
static void a_broken_text_is_read_as_by_the_library(void **state)
{
    static const char bytes[] = "\" {}[],:0-9.at/\n\x01\x7f\xc3\xff";

    (void)state;
    assert_read_as_by_reference(event, sizeof event - 1);
    for (size_t at = 0; at < sizeof event - 1; at++) {
        char broken[sizeof event];

        for (size_t i = 0; i < sizeof bytes; i++) {
            memcpy(broken, event, sizeof event);
            broken[at] = bytes[i];
            assert_read_as_by_reference(broken, sizeof event - 1);
        }
        memcpy(broken, event, sizeof event);
        memmove(broken + at, broken + at + 1, sizeof event - 1 - at);
        assert_read_as_by_reference(broken, sizeof event - 2);
        assert_read_as_by_reference(event, at);
    }
}

static void levels_beyond_the_bound_are_refused(void **state)
{
    char nested[2 * JSON_DEPTH + 3];
    struct json_problem problem;

    (void)state;
    for (int levels = JSON_DEPTH; levels <= JSON_DEPTH + 1; levels++) {
        auto_json json_t *json = NULL;

        memset(nested, '[', (size_t)levels);
        memset(nested + levels, ']', (size_t)levels);
        json = json_read(nested, 2 * (size_t)levels, &problem);
        assert_int_equal(json != NULL, levels == JSON_DEPTH);
        assert_int_equal(problem.fault, json != NULL ? JSON_FINE : JSON_UNSAFE);
    }
}

static void what_is_mended_stands_beside_what_is_plain(void **state)
{
    static const char text[] = "{\"a\":\"\\u0000\\ud800\",\"b\":1,\"b\":2}";
    struct json_problem problem;
    auto_json json_t *json = json_read_mended(text, sizeof text - 1, &problem);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(json, "a")), "\xef\xbf\xbd\xef\xbf\xbd");
    assert_int_equal(json_integer_value(json_object_get(json, "b")), 2);
    assert_null(json_read(text, sizeof text - 1, &problem));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(each_text_is_read_as_by_the_library),
        UNIT(a_broken_text_is_read_as_by_the_library),
        UNIT(levels_beyond_the_bound_are_refused),
        UNIT(what_is_mended_stands_beside_what_is_plain),
    };

    return RUN_UNITS(tests);
}
