#include "core/escape.h"

#include "templates_sample.h"
#include "unit.h"

#define HOSTILE "\"'><script>\n\xe2\x80\xa8\xff&"

typedef void escape(struct text *out, const char *bytes, size_t len);

static const char *escaped(void *mem, escape *how, const char *bytes, size_t len)
{
    struct text out = text_open(mem, 8);

    how(&out, bytes, len);
    return out.s;
}

static const char *escaped_text(void *mem, escape *how, const char *text)
{
    return escaped(mem, how, text, strlen(text));
}

static void text_and_attributes_are_left_by_no_value(void **state)
{
    assert_string_equal(escaped_text(*state, escape_html, HOSTILE),
                        "&quot;&#39;&gt;&lt;script&gt;\n\xe2\x80\xa8\xef\xbf\xbd&amp;");
    assert_string_equal(escaped_text(*state, escape_lines, "a\nb<"), "a<br>b&lt;");
    assert_string_equal(escaped(*state, escape_html, "a\0b", 3), "a\xef\xbf\xbd"
                                                                 "b");
    assert_string_equal(escaped(*state, escape_html, "\xd9", 1), "\xef\xbf\xbd");
    assert_string_equal(escaped_text(*state, escape_html, "\xc0\xbc \xed\xa0\x80"),
                        "\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(escaped_text(*state, escape_html, "\xd8\xb9\xf0\x9f\x98\x80"),
                        "\xd8\xb9\xf0\x9f\x98\x80");
}

static void a_url_runs_no_script(void **state)
{
    static const char *const refused[] = {
        "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)",
        " javascript:x",       "\x01javascript:x",    "data:text/html,x",
        "vbscript:x",          "https:evil",          "\xffjavascript:x",
    };

    for (size_t i = 0; i < count_of(refused); i++)
        assert_string_equal(escaped_text(*state, escape_url, refused[i]), "#");
    assert_string_equal(escaped(*state, escape_url, "\0javascript:x", 13), "#");
    assert_string_equal(escaped_text(*state, escape_url, "https://a.example/b?c=d&e=f:g%20#h"),
                        "https://a.example/b?c=d&amp;e=f:g%20#h");
    assert_string_equal(escaped_text(*state, escape_url, "mailto:ann@example.com"),
                        "mailto:ann@example.com");
    assert_string_equal(escaped_text(*state, escape_url, "/a:b \"'><script>\n\xff"),
                        "/a:b%20%22%27%3E%3Cscript%3E%0A\xef\xbf\xbd");
    assert_string_equal(escaped_text(*state, escape_url, ""), "");
}

static void a_part_of_a_url_ends_nothing(void **state)
{
    assert_string_equal(escaped_text(*state, escape_url_part, "a-b._~9&c=/?#:@\\\"'<\xd8\xb9\xff"),
                        "a-b._~9%26c%3D%2F%3F%23%3A%40%5C%22%27%3C%D8%B9%EF%BF%BD");
    assert_string_equal(escaped(*state, escape_url_part, "\0", 1), "%EF%BF%BD");
}

static void data_of_a_script_do_not_end_it(void **state)
{
    assert_string_equal(
        escaped_text(*state, escape_json,
                     "</script><!--\"'\\&\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\n\xff"),
        "\"\\u003c/script\\u003e\\u003c!--\\\"\\u0027\\\\\\u0026\\u2028\\u2029\xe2\x80\xaa\\n"
        "\xef\xbf\xbd\"");
    assert_string_equal(escaped(*state, escape_json, "a\0b", 3), "\"a\\u0000b\"");
}

static void a_template_escapes_each_hole_for_its_place(void **state)
{
    struct text out = text_open(*state, 8);

    template_sample_html(&out, LANGUAGE_ENGLISH,
                         &(struct template_sample){.who = "\"'></title><script>",
                                                   .story = "a\n<b>",
                                                   .url = "javascript:alert(1)",
                                                   .runs = 2,
                                                   .is_paid = true});
    assert_string_equal(
        out.s, "<html lang=\"en\">\n"
               "<title>&quot;&#39;&gt;&lt;/title&gt;&lt;script&gt;</title>\n"
               "<p title=\"&quot;&#39;&gt;&lt;/title&gt;&lt;script&gt;\" data-paid='true'>"
               "a<br>&lt;b&gt;</p>\n"
               "<a href=\"#\">&quot;&#39;&gt;&lt;/title&gt;&lt;script&gt;</a>\n"
               "<a href=\"/?lang=en&amp;who=%22%27%3E%3C%2Ftitle%3E%3Cscript%3E#2\">"
               "&lt;&quot;&#39;&gt;&lt;/title&gt;&lt;script&gt;&gt; has 2 runs &amp; more</a>\n"
               "<b>2 runs</b>\n"
               "<script type=\"application/json\">"
               "{\"who\": \"\\\"\\u0027\\u003e\\u003c/title\\u003e\\u003cscript\\u003e\", "
               "\"paid\": true, \"runs\": 2}</script>\n"
               "</html>\n");
}

static void a_template_leaves_out_what_there_is_not(void **state)
{
    struct template_sample values = {.who = "x<"};
    struct text page = text_open(*state, 8), letter = text_open(*state, 8);

    template_sample_html(&page, LANGUAGE_ARABIC, &values);
    assert_non_null(strstr(page.s, "<i class=\"a\">none</i>\n<script"));
    assert_non_null(strstr(page.s, "lang=\"ar\""));
    template_sample_txt(&letter, LANGUAGE_ENGLISH, &values);
    assert_string_equal(letter.s, "<x<> has 0 runs & more\n\n");
    values = (struct template_sample){.who = "y", .story = "s", .url = "/u", .runs = 1};
    letter.len = 0;
    template_sample_txt(&letter, LANGUAGE_ENGLISH, &values);
    assert_string_equal(letter.s, "<y> has 1 run & more\n\n/u false 1\ns\n");
}

static void words_have_the_plural_form_of_their_number(void **state)
{
    static const struct {
        int64_t number;
        const char *english, *arabic;
    } rows[] = {
        {0, "Wait 0 runs, x\nand \"go on\"", "zero 0 x"},
        {1, "Wait 1 run, x\nand \"go on\"", "one x"},
        {2, "Wait 2 runs, x\nand \"go on\"", "two x"},
        {3, "Wait 3 runs, x\nand \"go on\"", "few 3 x"},
        {10, "Wait 10 runs, x\nand \"go on\"", "few 10 x"},
        {11, "Wait 11 runs, x\nand \"go on\"", "many 11 x"},
        {99, "Wait 99 runs, x\nand \"go on\"", "many 99 x"},
        {100, "Wait 100 runs, x\nand \"go on\"", "other 100 x"},
        {102, "Wait 102 runs, x\nand \"go on\"", "other 102 x"},
        {103, "Wait 103 runs, x\nand \"go on\"", "few 103 x"},
        {-1, "Wait -1 run, x\nand \"go on\"", "one x"},
    };

    for (size_t i = 0; i < count_of(rows); i++) {
        const char *arabic = words_sample_waits(*state, LANGUAGE_ARABIC, .runs = rows[i].number,
                                                .who = "x");

        assert_string_equal(
            words_sample_waits(*state, LANGUAGE_ENGLISH, .runs = rows[i].number, .who = "x"),
            rows[i].english);
        assert_string_equal(strchr(arabic, ' ') + 1, rows[i].arabic);
    }
    assert_string_equal(words_sample_bare(LANGUAGE_ENGLISH), "Bare");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(text_and_attributes_are_left_by_no_value),
        UNIT(a_url_runs_no_script),
        UNIT(a_part_of_a_url_ends_nothing),
        UNIT(data_of_a_script_do_not_end_it),
        UNIT(a_template_escapes_each_hole_for_its_place),
        UNIT(a_template_leaves_out_what_there_is_not),
        UNIT(words_have_the_plural_form_of_their_number),
    };

    return RUN_UNITS(tests);
}
