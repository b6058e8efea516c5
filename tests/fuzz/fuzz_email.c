/* The rules for addresses and names. A stored address is one by its own rules, whichever of its
 * spellings comes in; what Unicode's forms make stays what it is. */
#include "core/email.h"

#include "core/text.h"
#include "core/unicode.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* UTF-8 by its definition: RFC 3629, 4. */
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

static void try_bytes(const uint8_t *bytes, size_t len)
{
    bool valid = true;

    for (size_t at = 0; at < len && valid;) {
        size_t width = width_of(bytes + at, len - at);

        assert(unicode_width((const char *)bytes + at, len - at) == width);
        valid = width > 0;
        at += width;
    }
    assert(unicode_is_valid((const char *)bytes, len) == valid);
}

/* What the function makes of a text is valid, and the same when it is made again. */
static const char *settle(void *mem, char *(*make)(void *mem, const char *text), const char *text)
{
    const char *once = make(mem, text);

    assert(unicode_is_valid(once, strlen(once)));
    assert(strcmp(make(mem, once), once) == 0);
    return once;
}

static void try_unicode(void *mem, const char *text)
{
    const char *folded = settle(mem, unicode_fold, text);
    size_t words = 0;

    settle(mem, unicode_trim, text);
    settle(mem, unicode_lower, text);
    settle(mem, unicode_nfc, text);
    settle(mem, unicode_nfd, text);
    settle(mem, unicode_nfkc, text);
    assert(strcmp(unicode_nfc(mem, unicode_nfd(mem, text)), unicode_nfc(mem, text)) == 0);
    assert(unicode_length(text) <= strlen(text));
    assert(unicode_visible_length(text) <= unicode_length(text));
    unicode_directions_are_closed(text);
    while (*folded != '\0') {
        size_t gap = unicode_word_gap(folded), word = unicode_word_length(folded + gap);

        assert(gap + word > 0 && gap + word <= strlen(folded));
        assert(word > 0 || folded[gap] == '\0');
        folded += gap + word;
        words++;
    }
    assert(words <= strlen(text) * 18 + 1);
}

static bool is_among(const char *one, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], one) == 0)
            return true;
    }
    return false;
}

/* Whatever is sent has a key, by which who was stored is found again. */
static void try_sent(void *mem, const char *sent)
{
    const char *key = email_key(mem, sent), *forms[EMAIL_FORMS];
    size_t count = email_forms(mem, sent, forms);

    assert(strcmp(email_sent(mem, sent), sent) == 0);
    assert(strcmp(email_key(mem, key), key) == 0);
    assert(count >= 1 && count <= EMAIL_FORMS && strcmp(forms[0], sent) == 0);
    assert(is_among(key, forms, count));
}

static void try_stored(void *mem, const char *stored)
{
    const char *at = strchr(stored, '@'), *wire = email_wire(mem, stored);
    const char *mailbox = email_mailbox(mem, stored), *sent;

    assert(at != NULL && at > stored && at[1] != '\0' && strchr(at + 1, '@') == NULL);
    assert(strlen(stored) <= 254 && !unicode_has_blank_or_invisible(stored));
    assert(strpbrk(stored, ",:;<>()[]\"\\") == NULL);
    assert(strcmp(email_normalise(mem, stored), stored) == 0);
    assert(wire != NULL && email_is_ascii(strchr(wire, '@')));
    sent = email_sent(mem, wire);
    assert(sent != NULL && strcmp(email_key(mem, sent), stored) == 0);
    assert(strcmp(email_normalise(mem, wire), stored) == 0);
    assert(strcmp(email_mailbox(mem, mailbox), mailbox) == 0);
    assert(strcmp(strchr(mailbox, '@'), at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    char *text = mem_copy(mem, (const char *)bytes, len), *sent, *stored;

    try_bytes(bytes, len);
    if (!unicode_is_valid(text, strlen(text)))
        return 0;
    try_unicode(mem, text);
    sent = email_sent(mem, text);
    if (sent != NULL)
        try_sent(mem, sent);
    stored = email_normalise(mem, text);
    assert(stored == NULL || sent != NULL);
    if (stored != NULL)
        try_stored(mem, stored);
    return 0;
}
