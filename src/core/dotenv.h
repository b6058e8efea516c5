/* Reads the text of a .env file: NAME=value a line, # comments, optional `export`, values bare or
 * in single or double quotes (single ones know \' \\; double ones \n \t \" \\ \$). Nothing is
 * expanded or run. Pure; any thread. */
#pragma once

#include "core/mem.h"

struct dotenv_line {
    unsigned number;     /* of the line, from 1 */
    const char *name;    /* NULL: the line is wrong */
    const char *value;   /* in the memory given */
    bool is_odd;         /* bare, and begins with #, which many take for a comment */
    const char *problem; /* static; says what is wrong and how to mend it */
};

/* Calls `each` for every assignment and every wrong line, in order. */
void dotenv_read(void *mem, const char *text, size_t len,
                 void (*each)(void *context, const struct dotenv_line *line), void *context);
