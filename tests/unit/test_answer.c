/* What operators' operations answer: the same rows as JSON and as lines, safe whatever is put. */
#include "core/answer.h"

#include "unit.h"

static void put(struct answer *a, const char *name)
{
    answer_list(a, "users");
    answer_row(a, NULL, "{name|nobody:10}  {is_on?on/off:4}{count:+5}  {at|never}");
    answer_string(a, "name", name);
    answer_flag(a, "is_on", true);
    answer_number(a, "count", -7);
    answer_time(a, "at", 0);
    answer_row_end(a);
    answer_list_end(a);
    answer_row(a, NULL, NULL);
    answer_string(a, "last_word", "end");
    answer_time(a, "at", 1500);
    answer_row_end(a);
    answer_say(a, "%u said", 1U);
}

static void test_rows_are_json(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct answer *a = answer_open(mem, ANSWER_JSON);

    (void)state;
    put(a, "a\"\n\xff");
    assert_string_equal(
        answer_end(a, mem),
        "{\"users\":[{\"name\":\"a\\\"\\n\xef\xbf\xbd\",\"is_on\":true,\"count\":-7,"
        "\"at\":null}],\"last_word\":\"end\",\"at\":\"1970-01-01T00:00:01.500Z\"}");
}

static void test_rows_are_lines(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct answer *a = answer_open(mem, ANSWER_LINES);

    (void)state;
    put(a, NULL);
    assert_string_equal(answer_end(a, mem), "nobody      on     -7  never\n"
                                            "last word: end\n"
                                            "at: 1970-01-01T00:00:01Z\n"
                                            "1 said\n");
}

static const char *shown(void *mem, const char *layout, const char *value)
{
    struct answer *a = answer_open(mem, ANSWER_LINES);

    answer_row(a, NULL, layout);
    answer_string(a, "value", value);
    answer_row_end(a);
    return answer_end(a, mem);
}

static void test_no_value_reaches_a_terminal_as_more_than_text(void **state)
{
    auto_tree void *mem = mem_tree(0);

    (void)state;
    assert_string_equal(shown(mem, "{value}", "plain {value} %s"), "plain {value} %s\n");
    assert_string_equal(shown(mem, "{value}", "a\x1b[2J\r\nb"),
                        "\u2068a\\x1b[2J\\x0d\\x0ab\u2069\n");
    assert_string_equal(shown(mem, "{value}", "\xc2\x9b\u2028\xff"),
                        "\u2068\\x9b\\xa8\\xff\u2069\n");
    assert_string_equal(shown(mem, "{value}", "\u202eab\u2066\u2069"),
                        "\u2068\\u202eab\\u2066\\u2069\u2069\n");
    assert_string_equal(shown(mem, "{value}", "سلام"), "\u2068سلام\u2069\n");
    assert_string_equal(shown(mem, "{value*}", "a\n\tb\x1b\r"), "a\n\tb\\x1b\\x0d\n");
    assert_string_equal(shown(mem, NULL, "a\nb"), "value: \u2068a\\x0ab\u2069\n");
}

static void test_what_was_taken_is_not_told_again(void **state)
{
    for (int form = ANSWER_JSON; form <= ANSWER_LINES; form++) {
        auto_tree void *mem = mem_tree(0);
        struct answer *whole = answer_open(mem, (enum answer_form)form);
        struct answer *a = answer_open(mem, (enum answer_form)form);
        struct text parts = text_open(mem, 64);

        answer_list(whole, "rows");
        answer_list(a, "rows");
        for (int i = 0; i < 3; i++) {
            answer_row(whole, NULL, "{i}");
            answer_row(a, NULL, "{i}");
            answer_number(whole, "i", i);
            answer_number(a, "i", i);
            answer_row_end(whole);
            answer_row_end(a);
            text_add(&parts, answer_take(a, mem));
        }
        answer_list_end(whole);
        answer_list_end(a);
        text_add(&parts, answer_end(a, mem));
        assert_string_equal(parts.s, answer_end(whole, mem));
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_json),
        cmocka_unit_test(test_rows_are_lines),
        cmocka_unit_test(test_no_value_reaches_a_terminal_as_more_than_text),
        cmocka_unit_test(test_what_was_taken_is_not_told_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
