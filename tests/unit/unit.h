/* What every unit test needs: cmocka, and a memory tree for each test. */
#pragma once

#include "core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* *state is the test's memory. */
static inline int unit_begin(void **state)
{
    *state = mem_tree(0);
    return 0;
}

static inline int unit_end(void **state)
{
    talloc_free(*state);
    return 0;
}

#define UNIT(test) cmocka_unit_test_setup_teardown(test, unit_begin, unit_end)
#define RUN_UNITS(tests) cmocka_run_group_tests(tests, NULL, NULL)
