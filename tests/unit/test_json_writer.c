#include "core/json_writer.h"

#include "unit.h"

static void what_is_written_is_json_with_its_commas_and_brackets(void **state)
{
    struct text out = text_open(*state, 8);
    struct json_writer w = json_write(&out);

    put_object(&w, NULL);
    put_list(&w, "empty");
    put_end(&w);
    put_string(&w, "text", "a\"b\n\xff");
    put_string(&w, "none", NULL);
    put_list(&w, "list");
    put_number(&w, NULL, INT64_MIN);
    put_object(&w, NULL);
    put_boolean(&w, "yes", true);
    put_boolean(&w, "no", false);
    put_end(&w);
    put_object(&w, NULL);
    put_end(&w);
    put_end(&w);
    put_time(&w, "at", 86400123);
    put_time(&w, "never", 0);
    put_json(&w, "json", "[1,2]");
    put_end(&w);
    assert_int_equal(w.depth, 0);
    assert_string_equal(out.s,
                        "{\"empty\":[],\"text\":\"a\\\"b\\n\xef\xbf\xbd\",\"none\":null,"
                        "\"list\":[-9223372036854775808,{\"yes\":true,\"no\":false},{}],"
                        "\"at\":\"1970-01-02T00:00:00.123Z\",\"never\":null,\"json\":[1,2]}");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(what_is_written_is_json_with_its_commas_and_brackets),
    };

    return RUN_UNITS(tests);
}
