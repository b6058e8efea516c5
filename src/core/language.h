/* The languages that people are told things in.
 * Pure; any thread. */
#pragma once

#include <stdint.h>

enum language { LANGUAGE_ENGLISH, LANGUAGE_ARABIC, LANGUAGES };

/* "en", "ar"; NULL behind the last. By position as in enum language. */
extern const char *const language_names[];

/* What a user chose ("ar"), else the other. */
enum language language_of_choice(const char *choice, enum language otherwise);

/* One text in each of them; NULL: as it stands elsewhere. Static. */
struct phrase {
    const char *in[LANGUAGES];
};

/* The forms that words take behind a number, as CLDR names them. */
enum plural {
    PLURAL_ZERO,
    PLURAL_ONE,
    PLURAL_TWO,
    PLURAL_FEW,
    PLURAL_MANY,
    PLURAL_OTHER,
};

/* CLDR's rule for whole numbers; the sign does not count. */
enum plural language_plural(enum language language, int64_t number);
