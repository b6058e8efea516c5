#include "core/language.h"

#include <string.h>

const char *const language_names[] = {"en", "ar", NULL};

enum language language_of_choice(const char *choice, enum language otherwise)
{
    if (choice == NULL)
        return otherwise;
    return strcmp(choice, language_names[LANGUAGE_ARABIC]) == 0 ? LANGUAGE_ARABIC
                                                                : LANGUAGE_ENGLISH;
}

static enum plural arabic_plural(uint64_t number)
{
    static const enum plural small[] = {PLURAL_ZERO, PLURAL_ONE, PLURAL_TWO};
    uint64_t rest = number % 100;

    if (number < 3)
        return small[number];
    return rest < 3 ? PLURAL_OTHER : rest < 11 ? PLURAL_FEW : PLURAL_MANY;
}

enum plural language_plural(enum language language, int64_t number)
{
    uint64_t size = number < 0 ? -(uint64_t)number : (uint64_t)number;

    if (language == LANGUAGE_ARABIC)
        return arabic_plural(size);
    return size == 1 ? PLURAL_ONE : PLURAL_OTHER;
}
