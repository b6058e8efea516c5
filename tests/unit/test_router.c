#include "http/router.h"

#include "unit.h"

static enum err answer(struct request *req)
{
    (void)req;
    return OK;
}

static const struct route rows[] = {
    {.method = "GET", .path = "/", .handle = answer},
    {.method = "GET", .path = "/a/b", .handle = answer},
    {.method = "POST", .path = "/a/b", .handle = answer},
    {.method = "DELETE", .path = "/a/{id}", .handle = answer},
    {.method = "GET", .path = "/a/{id}/c/{other}", .handle = answer},
    {0},
};

static void test_each_path_finds_its_row_and_no_other(void **state)
{
    static const struct {
        const char *method, *path;
        int row; /* -1: none */
        const char *allow;
    } table[] = {
        {"GET", "/", 0, "GET, HEAD, OPTIONS"},
        {"HEAD", "/", 0, "GET, HEAD, OPTIONS"},
        {"GET", "/a/b", 1, "GET, HEAD, POST, OPTIONS"},
        {"POST", "/a/b", 2, "GET, HEAD, POST, OPTIONS"},
        {"PUT", "/a/b", -1, "GET, HEAD, POST, OPTIONS"},
        {"DELETE", "/a/b", -1, "GET, HEAD, POST, OPTIONS"},
        {"DELETE", "/a/x", 3, "DELETE, OPTIONS"},
        {"HEAD", "/a/x", -1, "DELETE, OPTIONS"},
        {"GET", "/a/x/c/y", 4, "GET, HEAD, OPTIONS"},
        {"GET", "/a/x/c/", -1, NULL},
        {"GET", "/a/", -1, NULL},
        {"GET", "/a", -1, NULL},
        {"GET", "/a/b/", -1, NULL},
        {"GET", "/A/b", -1, NULL},
        {"GET", "/a/x/d/y", -1, NULL},
    };
    const struct router *router = router_new(*state, rows);

    for (size_t i = 0; i < count_of(table); i++) {
        struct route_match match;

        assert_int_equal(router_find(router, *state, table[i].method, table[i].path, &match), OK);
        assert_ptr_equal(match.route, table[i].row < 0 ? NULL : &rows[table[i].row]);
        if (table[i].allow == NULL)
            assert_null(match.allow);
        else
            assert_string_equal(match.allow, table[i].allow);
    }
}

static void test_parameters_are_decoded_once(void **state)
{
    const struct router *router = router_new(*state, rows);
    struct route_match match;

    assert_int_equal(router_find(router, *state, "GET", "/a/x%20y/c/%2541", &match), OK);
    assert_string_equal(match.params[0].name, "id");
    assert_string_equal(match.params[0].value, "x y");
    assert_string_equal(match.params[1].name, "other");
    assert_string_equal(match.params[1].value, "%41");
}

static void test_undecidable_paths_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",      "a",      "//",    "/a//b",  "/./a",   "/a/.",   "/a/..",     "/..",
        "/%2e",  "/%2E./", "/.%2e", "/a%2fb", "/a%5Cb", "/a\\b",  "/a%00",     "/a%1f",
        "/a%7F", "/a%",    "/a%4",  "/a%zz",  "/a b",   "/a\x7f", "/\xc3\xa9", "/a\x01"};
    const struct router *router = router_new(*state, rows);
    struct route_match match;

    for (size_t i = 0; i < count_of(wrong); i++)
        assert_int_equal(router_find(router, *state, "GET", wrong[i], &match), ERR_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_each_path_finds_its_row_and_no_other),
        UNIT(test_parameters_are_decoded_once),
        UNIT(test_undecidable_paths_are_refused),
    };

    return RUN_UNITS(tests);
}
