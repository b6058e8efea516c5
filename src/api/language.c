#include "api/language.h"

#include <string.h>
#include <strings.h>

enum language language_of(const struct request *req)
{
    const char *accepted = request_header(req, HEADER_ACCEPT_LANGUAGE);

    if (req->query != NULL && strcmp(req->query, "lang=ar") == 0)
        return LANGUAGE_ARABIC;
    if (req->query != NULL && strcmp(req->query, "lang=en") == 0)
        return LANGUAGE_ENGLISH;
    for (; accepted != NULL && *accepted != '\0'; accepted += strspn(accepted, ", ")) {
        size_t len = strcspn(accepted, "-;, ");

        if (len == 2 && strncasecmp(accepted, "ar", 2) == 0)
            return LANGUAGE_ARABIC;
        if (len == 2 && strncasecmp(accepted, "en", 2) == 0)
            return LANGUAGE_ENGLISH;
        accepted += strcspn(accepted, ",");
    }
    return LANGUAGE_ENGLISH;
}
