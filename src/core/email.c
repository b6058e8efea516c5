#include "core/email.h"

#include "core/unicode.h"

#include <idn2.h>
#include <string.h>

enum { EMAIL_BYTES = 254, LOCAL_BYTES = 64, LABEL_BYTES = 63, SENT_BYTES = 1024 };

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text >= 0x80)
            return false;
    }
    return true;
}

/* Domains */

static bool is_label_byte(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-';
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

/* libidn2 drops in silence what stands in no name, so that two addresses would be one mailbox. */
static bool has_odd_byte(const char *domain)
{
    for (; *domain != '\0'; domain++) {
        unsigned char c = (unsigned char)*domain;

        if (c < 0x80 && c != '.' && !is_label_byte(c) && (c < 'A' || c > 'Z'))
            return true;
    }
    return false;
}

/* For DNS and for a mail server; NULL if it is no domain name. */
static const char *ascii_domain(void *mem, const char *domain)
{
    char *ascii = NULL;
    const char *copy;

    if (has_odd_byte(domain) || has_odd_byte(unicode_nfkc(mem, domain)))
        return NULL;
    if (is_ascii(domain) && strstr(domain, "xn--") == NULL)
        return is_domain(domain) ? domain : NULL;
    if (idn2_to_ascii_8z(domain, &ascii, IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES) !=
        IDN2_OK)
        return NULL;
    copy = mem_string(mem, ascii);
    idn2_free(ascii);
    return is_domain(copy) ? copy : NULL;
}

/* For people: the one spelling of all that lead to the same `ascii`. */
static const char *readable_domain(void *mem, const char *ascii)
{
    char *unicode = NULL;
    const char *copy = ascii;

    if (strstr(ascii, "xn--") == NULL)
        return ascii;
    if (idn2_to_unicode_8z8z(ascii, &unicode, 0) == IDN2_OK)
        copy = unicode_nfc(mem, unicode);
    idn2_free(unicode);
    return copy;
}

/* Addresses */

/* Where the address is split; NULL unless it has one @. */
static const char *find_at(const char *address)
{
    const char *at = strchr(address, '@');

    return at == NULL || strchr(at + 1, '@') != NULL ? NULL : at;
}

static char *join(void *mem, const char *address, const char *at, const char *domain)
{
    return mem_printf(mem, "%s@%s", mem_copy(mem, address, (size_t)(at - address)), domain);
}

/* Nothing in it ends a command, a header's value or an address in them. */
static bool is_plain(const char *address)
{
    return strcspn(address, ",:;<>()[]\"\\") == strlen(address) &&
           !unicode_has_blank_or_invisible(address);
}

static bool is_local(const char *address, const char *at)
{
    size_t len = (size_t)(at - address);
    const char *dots = strstr(address, "..");

    return len >= 1 && len <= LOCAL_BYTES && address[0] != '.' && at[-1] != '.' &&
           (dots == NULL || dots > at);
}

char *email_sent(void *mem, const char *address)
{
    char *trimmed = unicode_trim(mem, address);

    if (strchr(trimmed, '@') == NULL || strlen(trimmed) > SENT_BYTES ||
        unicode_has_control(trimmed))
        return NULL;
    return unicode_lower(mem, trimmed);
}

char *email_key(void *mem, const char *sent)
{
    char *normal = unicode_nfc(mem, sent);
    const char *at = find_at(normal);
    const char *ascii = at == NULL ? NULL : ascii_domain(mem, at + 1);

    return ascii == NULL ? normal : join(mem, normal, at, readable_domain(mem, ascii));
}

char *email_mailbox(void *mem, const char *key)
{
    const char *at = find_at(key);
    /* A + at the beginning separates nothing. */
    const char *plus = at == NULL ? NULL : strchr(key + 1, '+');

    if (plus == NULL || plus > at)
        return mem_string(mem, key);
    return join(mem, key, plus, at + 1);
}

char *email_wire(void *mem, const char *address)
{
    const char *at = find_at(address);
    const char *ascii = at == NULL || at == address || !is_plain(address)
                            ? NULL
                            : ascii_domain(mem, unicode_nfc(mem, at + 1));

    return ascii == NULL ? NULL : join(mem, address, at, ascii);
}

bool email_is_ascii(const char *address)
{
    return is_ascii(address);
}

char *email_normalise(void *mem, const char *address)
{
    char *sent = email_sent(mem, address), *key = sent == NULL ? NULL : email_key(mem, sent);
    const char *at = key == NULL ? NULL : find_at(key);
    const char *wire = at == NULL || !is_local(key, at) ? NULL : email_wire(mem, key);

    return wire != NULL && strlen(key) <= EMAIL_BYTES && strlen(wire) <= EMAIL_BYTES ? key : NULL;
}

size_t email_forms(void *mem, const char *sent, const char *ret[EMAIL_FORMS])
{
    const char *key = email_key(mem, sent), *at = find_at(key);
    const char *ascii = at == NULL ? NULL : ascii_domain(mem, at + 1);
    const char *wire = ascii == NULL ? key : join(mem, key, at, ascii);
    const char *const forms[EMAIL_FORMS] = {sent, key, unicode_nfd(mem, key), wire,
                                            unicode_nfd(mem, wire)};
    size_t count = 0;

    for (size_t i = 0; i < EMAIL_FORMS; i++) {
        bool again = false;

        for (size_t j = 0; j < count; j++)
            again = again || strcmp(ret[j], forms[i]) == 0;
        if (!again)
            ret[count++] = forms[i];
    }
    return count;
}
