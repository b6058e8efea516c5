/* Searches for people by words: each must begin a word of the address or the name, ignoring case
 * and accents. Pure; one thread at a time uses a search. */
#pragma once

#include "core/text.h"

enum { SEARCH_WORDS = 8 };

struct search {
    void *mem;
    const char *words[SEARCH_WORDS];   /* folded */
    unsigned count;                    /* 0: nothing to search for, and nobody is found */
    unsigned seen, hits[SEARCH_WORDS]; /* of the rows that search_matches() looked at */
};

struct search search_parse(void *mem, const char *text);

bool search_matches(struct search *search, const char *email, const char *fullname);

/* The words that few of the rows seen had, in the query language of FTS5; NULL if there is none. */
const char *search_rare_words(const struct search *search);
