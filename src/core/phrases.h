/* What people are told when a request is refused, in their language: by the text that the wire has
 * (phrases.def).
 * Pure; any thread. */
#pragma once

#include "core/language.h"
#include "core/mem.h"

struct phrase_row {
    const char *wire; /* NULL ends the rows */
    struct phrase phrase;
};

extern const struct phrase_row phrase_rows[];

/* As JSON: the wire's text to the texts for people, by the names of the languages. */
char *phrases_as_json(void *mem);
