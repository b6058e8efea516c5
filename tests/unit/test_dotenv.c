#include "core/dotenv.h"
#include "core/text.h"

#include "unit.h"

static void put_line(void *context, const struct dotenv_line *line)
{
    struct text *out = context;

    if (line->name == NULL)
        text_printf(out, "%u!", line->number);
    else
        text_printf(out, "%u:%s=[%s]", line->number, line->name, line->value);
}

static void test_lines_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text, *read;
    } rows[] = {
        {"A=b", "1:A=[b]"},
        {"A=b\nC=d\n", "1:A=[b]2:C=[d]"},
        {"A=b\r\nC=d\r\n", "1:A=[b]2:C=[d]"},
        {"\n# no\n  # no\nA=b", "4:A=[b]"},
        {"export A=b", "1:A=[b]"},
        {"  A = b ", "1:A=[b]"},
        {"A=", "1:A=[]"},
        {"A=b # c", "1:A=[b]"},
        {"A=b#c", "1:A=[b#c]"},
        {"A=#b", "1:A=[#b]"},
        {"A= #b", "1:A=[]"},
        {"A=\t# b", "1:A=[]"},
        {"A=b=c", "1:A=[b=c]"},
        {"A='it\\'s a\\\\b'", "1:A=[it's a\\b]"},
        {"A='b # $c\\n'", "1:A=[b # $c\\n]"},
        {"A=\"b\\n\\t\\\"\\\\\\$\"", "1:A=[b\n\t\"\\$]"},
        {"A=\"b\" # c", "1:A=[b]"},
        {"A=$HOME `id`", "1:A=[$HOME `id`]"},
        {"A='b", "1!"},
        {"A=\"b", "1!"},
        {"A='b' c", "1!"},
        {"no line", "1!"},
        {"=b", "1!"},
        {"A B=c", "1!"},
        {"1A=b", "1!"},
        {"A=\xff", "1!"},
        {"\xef\xbb\xbf"
         "A=b",
         "1:A=[b]"},
    };

    for (size_t i = 0; i < count_of(rows); i++) {
        struct text out = text_open(*state, 64);

        text_add(&out, "");
        dotenv_read(*state, rows[i].text, strlen(rows[i].text), put_line, &out);
        assert_string_equal(out.s == NULL ? "" : out.s, rows[i].read);
    }
}

static void test_a_nul_is_told(void **state)
{
    struct text out = text_open(*state, 64);

    dotenv_read(*state, "A=b\0c\nD=e", 9, put_line, &out);
    assert_string_equal(out.s, "1!2:D=[e]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_lines_are_read_as_people_write_them),
        UNIT(test_a_nul_is_told),
    };

    return RUN_UNITS(tests);
}
