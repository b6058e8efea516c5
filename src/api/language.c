#include "api/language.h"

#include "store/store.h"

#include <string.h>
#include <strings.h>

/* The weight in thousandths (RFC 9110 section 12.4.2) of a range; 1000 if it has none. */
static unsigned weight_of(const char *range, size_t len)
{
    const char *end = range + len, *at = memchr(range, ';', len);
    unsigned weight = 0, unit = 1000;

    while (at != NULL && ++at < end && (*at == ' ' || *at == '\t'))
        continue;
    if (at == NULL || end - at < 3 || (*at | 0x20) != 'q' || at[1] != '=')
        return 1000;
    for (at += 2; at < end && unit > 0; at++) {
        if (*at >= '0' && *at <= '9') {
            weight += (unsigned)(*at - '0') * unit;
            unit /= 10;
        } else if (*at != '.') {
            break;
        }
    }
    return weight < 1000 ? weight : 1000;
}

/* Of the two, the one of more weight; of the same, the first. */
static enum language accepted_language(const char *accepted)
{
    enum language best = LANGUAGE_ENGLISH;
    unsigned best_weight = 0;

    for (; accepted != NULL && *accepted != '\0'; accepted += strspn(accepted, ", \t")) {
        size_t len = strcspn(accepted, ","), name = strcspn(accepted, "-;, \t");
        bool arabic = name == 2 && strncasecmp(accepted, "ar", 2) == 0;
        bool english = name == 2 && strncasecmp(accepted, "en", 2) == 0;
        unsigned weight = arabic || english ? weight_of(accepted, len) : 0;

        if (weight > best_weight) {
            best_weight = weight;
            best = arabic ? LANGUAGE_ARABIC : LANGUAGE_ENGLISH;
        }
        accepted += len;
    }
    return best;
}

enum language language_of(const struct request *req)
{
    if (req->query != NULL && strcmp(req->query, "lang=ar") == 0)
        return LANGUAGE_ARABIC;
    if (req->query != NULL && strcmp(req->query, "lang=en") == 0)
        return LANGUAGE_ENGLISH;
    return accepted_language(request_header(req, HEADER_ACCEPT_LANGUAGE));
}

enum language language_of_user(const struct request *req)
{
    return language_of_choice(req->user == NULL ? NULL : req->user->language, language_of(req));
}
