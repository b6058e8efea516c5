/* Unicode and e-mail addresses: what comes out is UTF-8, doing it twice is doing it once, and every
 * form of an address leads to the same key. */
#include "core/email.h"
#include "core/unicode.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

typedef char *form(void *mem, const char *text);

static void try_form(void *mem, form *make, const char *text)
{
    const char *once = make(mem, text), *twice = make(mem, once);

    assert(unicode_is_valid(once, strlen(once)));
    assert(strcmp(once, twice) == 0);
}

static void try_unicode(void *mem, const char *text)
{
    static form *const forms[] = {unicode_trim, unicode_lower, unicode_nfc,
                                  unicode_nfd,  unicode_nfkc,  unicode_fold};

    for (size_t i = 0; i < count_of(forms); i++)
        try_form(mem, forms[i], text);
    assert(strcmp(unicode_nfc(mem, unicode_nfd(mem, text)), unicode_nfc(mem, text)) == 0);
    assert(unicode_visible_length(text) <= unicode_length(text));
    assert(unicode_length(text) <= strlen(text));
    unicode_directions_are_closed(text);
    for (const char *at = text; *at != '\0';) {
        size_t gap = unicode_word_gap(at), word = unicode_word_length(at + gap);

        assert(gap + word > 0 && gap + word <= strlen(at));
        assert(unicode_is_valid(at, gap) && unicode_is_valid(at + gap, word));
        at += gap + word;
    }
}

/* Of a sequence of UTF-8 as RFC 3629 defines it; 0: it is none. */
static size_t width_of(const uint8_t *at, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t width = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : 4;
    uint32_t code = width == 1 ? at[0] : at[0] & (0x7fU >> width);

    if ((width == 4 && at[0] >> 3 != 30) || width > len)
        return 0;
    for (size_t i = 1; i < width; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    return code < least[width] || code > 0x10ffff || code >> 11 == 0x1b ? 0 : width;
}

static void try_width(const uint8_t *bytes, size_t len)
{
    bool valid = true;

    for (size_t i = 0; i < len; i++)
        assert(unicode_width((const char *)bytes + i, len - i) == width_of(bytes + i, len - i));
    for (size_t i = 0; i < len && valid; i += width_of(bytes + i, len - i))
        valid = width_of(bytes + i, len - i) > 0;
    assert(unicode_is_valid((const char *)bytes, len) == valid);
}

/* Without its tag an address is still one, of the same domain, and has none any more. */
static void try_mailbox(void *mem, const char *address)
{
    const char *mailbox = email_mailbox(mem, address), *at = strchr(mailbox, '@');
    const char *tagged = mem_printf(mem, "%.*s+1%s", (int)strcspn(mailbox, "@"), mailbox, at);

    assert(at != NULL && at > mailbox && strcmp(at, strchr(address, '@')) == 0);
    assert(strncmp(mailbox, address, (size_t)(at - mailbox)) == 0);
    assert(strcmp(email_mailbox(mem, mailbox), mailbox) == 0);
    assert(strcmp(email_mailbox(mem, tagged), mailbox) == 0);
}

static void try_address(void *mem, const char *address)
{
    const char *wire = email_wire(mem, address), *forms[EMAIL_FORMS], *key;
    size_t count = email_forms(mem, email_sent(mem, address), forms);

    assert(strchr(address, '@') != NULL && strchr(address, '@') == strrchr(address, '@'));
    assert(strlen(address) <= 254 && strcspn(address, "@") <= 64 && address[0] != '@');
    assert(unicode_is_valid(address, strlen(address)) && !unicode_has_blank_or_invisible(address));
    assert(strcspn(address, ",:;<>()[]\"\\ \r\n") == strlen(address));
    assert(strcmp(email_normalise(mem, address), address) == 0);
    assert(wire != NULL && strlen(wire) <= 254);
    for (const char *at = strchr(wire, '@'); *at != '\0'; at++)
        assert((unsigned char)*at < 0x80 && *at > ' ');
    assert(strcmp(email_normalise(mem, wire), address) == 0);
    assert(count >= 1 && count <= EMAIL_FORMS);
    for (size_t i = 0; i < count; i++) {
        key = email_key(mem, forms[i]);
        assert(strcmp(key, address) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    const char *text = mem_copy(mem, (const char *)bytes, len), *sent, *address;

    try_width(bytes, len);
    if (!unicode_is_valid(text, strlen(text)))
        return 0;
    try_unicode(mem, text);
    sent = email_sent(mem, text);
    if (sent != NULL) {
        assert(unicode_is_valid(sent, strlen(sent)) && !unicode_has_control(sent));
        assert(strcmp(email_key(mem, email_key(mem, sent)), email_key(mem, sent)) == 0);
    }
    address = email_normalise(mem, text);
    if (address == NULL)
        return 0;
    try_address(mem, address);
    try_mailbox(mem, address);
    return 0;
}
