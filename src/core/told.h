/* What people are told when a request is refused, in their language: by the text that the wire has
 * (told.def).
 * Pure; any thread. */
#pragma once

#include "core/language.h"
#include "core/mem.h"

struct told_row {
    const char *wire; /* NULL ends the rows */
    struct phrase phrase;
};

extern const struct told_row told_rows[];

/* As JSON: the wire's text to the texts for people, by the names of the languages. */
char *told_as_json(void *mem);
