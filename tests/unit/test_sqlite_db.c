#include "store/sqlite_db.h"

#include "unit.h"

static void test_no_allocation_waits_for_a_count_of_memory(void **state)
{
    struct task task = {.mem = *state};
    struct sqlite_db db;

    assert_int_equal(
        sqlite_db_open(&task, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db), OK);
    assert_int_equal(sqlite_db_exec(&task, &db, "CREATE TABLE t (a); INSERT INTO t VALUES (1)"),
                     OK);
    assert_int_equal(sqlite3_memory_used(), 0);
    sqlite_db_close(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_no_allocation_waits_for_a_count_of_memory),
    };

    return RUN_UNITS(tests);
}
