#include "core/email.h"

#include "core/unicode.h"

#include <string.h>

enum { EMAIL_BYTES = 254, LOCAL_BYTES = 64, LABEL_BYTES = 63 };

static bool is_label_byte(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c >= 0x80;
}

static bool is_label(const char *label, size_t len)
{
    if (len == 0 || len > LABEL_BYTES || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_label_byte((unsigned char)label[i]))
            return false;
    }
    return true;
}

static bool is_domain(const char *domain)
{
    for (const char *label = domain;;) {
        size_t len = strcspn(label, ".");

        if (!is_label(label, len))
            return false;
        if (label[len] == '\0')
            return true;
        label += len + 1;
    }
}

static bool is_address(const char *address)
{
    const char *at = strchr(address, '@');
    size_t local = at == NULL ? 0 : (size_t)(at - address);

    return at != NULL && strchr(at + 1, '@') == NULL && strlen(address) <= EMAIL_BYTES &&
           local >= 1 && local <= LOCAL_BYTES && address[0] != '.' && at[-1] != '.' &&
           strcspn(address, ",:;<>()[]\"\\") == strlen(address) &&
           !unicode_has_blank_or_invisible(address) && is_domain(at + 1);
}

char *email_normalise(void *mem, const char *address)
{
    char *trimmed = unicode_trim(mem, address);
    char *normal;

    /* Lower-casing and composing never shorten a text to a fraction, so this bounds their work. */
    if (strlen(trimmed) > 4 * EMAIL_BYTES)
        return NULL;
    normal = unicode_nfc(mem, unicode_lower(mem, trimmed));
    return is_address(normal) ? normal : NULL;
}
