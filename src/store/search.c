#include "store/search.h"

#include "core/unicode.h"

#include <string.h>

enum { SEARCH_BYTES = 256, RARE = 100 /* of so many rows one at most has a rare word */ };

struct search search_parse(void *mem, const char *text)
{
    struct search search = {.mem = mem};
    char *folded = unicode_fold(mem, mem_copy(mem, text, strnlen(text, SEARCH_BYTES)));

    while (search.count < SEARCH_WORDS) {
        size_t len;

        folded += unicode_word_gap(folded);
        len = unicode_word_length(folded);
        if (len == 0)
            break;
        search.words[search.count++] = mem_copy(mem, folded, len);
        folded += len;
    }
    return search;
}

/* Which of the words begin a word of the text; a bit for each. */
static unsigned find_words(const struct search *search, const char *text)
{
    bool is_ascii = true;
    char *folded = NULL;
    unsigned found = 0;

    for (const char *at = text; *at != '\0' && is_ascii; at++)
        is_ascii = (unsigned char)*at < 0x80;
    if (!is_ascii)
        text = folded = unicode_fold(search->mem, text);
    for (text += unicode_word_gap(text); *text != '\0'; text += unicode_word_gap(text)) {
        for (unsigned i = 0; i < search->count; i++) {
            const char *word = search->words[i], *at = text;

            while (*word != '\0' && *word == (*at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at))
                word++, at++;
            if (*word == '\0')
                found |= 1U << i;
        }
        text += unicode_word_length(text);
    }
    talloc_free(folded);
    return found;
}

bool search_matches(struct search *search, const char *email, const char *fullname)
{
    unsigned found = find_words(search, email) | find_words(search, fullname);

    search->seen++;
    for (unsigned i = 0; i < search->count; i++)
        search->hits[i] += found >> i & 1;
    return search->count > 0 && found == (1U << search->count) - 1;
}

const char *search_rare_words(const struct search *search)
{
    struct text match = text_open(search->mem, 128);

    for (unsigned i = 0; i < search->count; i++) {
        if ((uint64_t)search->hits[i] * RARE <= search->seen)
            text_printf(&match, "\"%s\" * ", search->words[i]);
    }
    return match.len == 0 ? NULL : match.s;
}
