#include "core/err.h"

#include <assert.h>

static const struct err_info rows[ERR_COUNT] = {
    [OK] = {"OK", 0, BLAME_CALLER, ""},
#define ERROR(code, status, blame, text) [code] = {#code, status, BLAME_##blame, text},
#include "core/errors.def"
#undef ERROR
};

const struct err_info *err_info(enum err code)
{
    assert(code >= OK && code < ERR_COUNT);
    return &rows[code];
}
