#include "api/guard.h"

#include "unit.h"

struct row {
    const char *method, *target;
    enum guard_path is;
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum guard_path is = guard_classify(rows[i].method, rows[i].target);

        if (is != rows[i].is)
            fail_msg("%s %s: %d", rows[i].method, rows[i].target, (int)is);
    }
}

static void test_what_begins_a_run_is_metered(void **state)
{
    static const struct row rows[] = {
        {"PUT", "/api/v1/sessions", GUARD_METERED},
        {"PUT", "/api/v1/sessions?a=b", GUARD_METERED},
        {"PUT", "/api/v1/sessions/", GUARD_METERED},
        {"put", "/api/v1/sessions", GUARD_METERED},
        {"PUT", "/api/v1/%73essions", GUARD_METERED},
        {"PUT", "/%61pi/v1/sessions", GUARD_METERED},
        {"POST", "/api/v1/agent/execute", GUARD_METERED},
        {"POST", "/api/v1/agent/execute/?x", GUARD_METERED},
    };

    (void)state;
    check(rows, count_of(rows));
}

static void test_what_stands_below_or_only_reads_is_free(void **state)
{
    static const struct row rows[] = {
        {"GET", "/api/v1/sessions", GUARD_FREE},
        {"POST", "/api/v1/sessions", GUARD_FREE},
        {"PUT", "/api/v1/sessions/1f3a", GUARD_FREE},
        {"POST", "/api/v1/sessions/1f3a/chat", GUARD_FREE},
        {"DELETE", "/api/v1/sessions/1f3a", GUARD_FREE},
        {"PUT", "/api/v1/agent/execute", GUARD_FREE},
        {"GET", "/api/v1/sandbox/x/vnc?a=%2f..;//", GUARD_FREE},
        {"OPTIONS", "/api/v1/sessions", GUARD_FREE},
    };

    (void)state;
    check(rows, count_of(rows));
}

static void test_what_is_not_guarded_is_outside(void **state)
{
    static const struct row rows[] = {
        {"PUT", "/api/v1/sessionsx", GUARD_OUTSIDE},
        {"GET", "/api/v1/auth/me", GUARD_OUTSIDE},
        {"GET", "/", GUARD_OUTSIDE},
        {"POST", "/api/v1/agent", GUARD_OUTSIDE},
        {"PUT", "/API/v1/sessions", GUARD_OUTSIDE},
        {"GET", "/api/v1/agent/executes", GUARD_OUTSIDE},
    };

    (void)state;
    check(rows, count_of(rows));
}

static void test_what_two_readers_could_take_for_different_things_is_unsafe(void **state)
{
    static const struct row rows[] = {
        {"PUT", "/api/v1//sessions", GUARD_UNSAFE},
        {"PUT", "//api/v1/sessions", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions//", GUARD_UNSAFE},
        {"PUT", "/api/v1/x/../sessions", GUARD_UNSAFE},
        {"PUT", "/api/v1/./sessions", GUARD_UNSAFE},
        {"PUT", "/api/v1/%2e%2e/sessions", GUARD_UNSAFE},
        {"PUT", "/api/v1/x/.%2E/sessions", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions/..", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions;a=b", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%3ba", GUARD_UNSAFE},
        {"PUT", "/api/v1%2fsessions", GUARD_UNSAFE},
        {"PUT", "/api/v1%2Fsessions", GUARD_UNSAFE},
        {"PUT", "/api/v1%5csessions", GUARD_UNSAFE},
        {"PUT", "/api/v1\\sessions", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%00", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%0a", GUARD_UNSAFE},
        {"PUT", "/api/v1/%2573essions", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%4", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%zz", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%23", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions%3fa", GUARD_UNSAFE},
        {"PUT", "/api/v1/sessions#a", GUARD_UNSAFE},
        {"PUT", "/api/v1/sess\xc3\xa9", GUARD_UNSAFE},
        {"PUT", "/api/v1/sess%c3%a9", GUARD_UNSAFE},
        {"PUT", "http://a/api/v1/sessions", GUARD_UNSAFE},
        {"PUT", "*", GUARD_UNSAFE},
        {"PUT", "", GUARD_UNSAFE},
        {"", "/api/v1/sessions", GUARD_UNSAFE},
        {"PU T", "/api/v1/sessions", GUARD_UNSAFE},
    };

    (void)state;
    check(rows, count_of(rows));
}

static void test_a_path_longer_than_any_is_unsafe(void **state)
{
    char *path = mem_zero(*state, 5000);

    memset(path, 'a', 4999);
    path[0] = '/';
    assert_int_equal(guard_classify("GET", path), GUARD_UNSAFE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(test_what_begins_a_run_is_metered),
        UNIT(test_what_stands_below_or_only_reads_is_free),
        UNIT(test_what_is_not_guarded_is_outside),
        UNIT(test_what_two_readers_could_take_for_different_things_is_unsafe),
        UNIT(test_a_path_longer_than_any_is_unsafe),
    };

    return RUN_UNITS(tests);
}
