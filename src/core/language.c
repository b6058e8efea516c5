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
