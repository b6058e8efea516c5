/* Error codes, one row each in errors.def: HTTP status, whose fault, public text. */
#pragma once

enum err {
    OK = 0,
#define ERROR(code, status, blame, text) code,
#include "core/errors.def"
#undef ERROR
    ERR_COUNT
};

enum blame { BLAME_CALLER, BLAME_REMOTE, BLAME_US };

struct err_info {
    const char *name;
    int status;
    enum blame blame;
    const char *text;
};

/* Never NULL; OK's row is all zero with an empty text. */
const struct err_info *err_info(enum err code);
