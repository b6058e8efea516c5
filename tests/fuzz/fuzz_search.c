/* Searches for people: lines of the words, an address and a name. Whatever somebody searches for is
 * a query of FTS5 that can be asked, and who is found by it is found by the words too. */
#include "core/unicode.h"
#include "store/search.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static sqlite3_stmt *open_index(void)
{
    static sqlite3_stmt *query;
    sqlite3 *db;

    if (query != NULL)
        return query;
    assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
    assert(sqlite3_exec(db,
                        "CREATE VIRTUAL TABLE words USING fts5(email, fullname,"
                        " tokenize = 'unicode61 remove_diacritics 2')",
                        NULL, NULL, NULL) == SQLITE_OK);
    assert(sqlite3_prepare_v2(db, "SELECT rowid FROM words WHERE words MATCH ?1", -1, &query,
                              NULL) == SQLITE_OK);
    return query;
}

static void check_words(const struct search *search)
{
    assert(search->count <= SEARCH_WORDS);
    for (unsigned i = 0; i < search->count; i++) {
        const char *word = search->words[i];

        assert(*word != '\0' && strpbrk(word, "\"* \t") == NULL);
        assert(unicode_word_gap(word) == 0 && unicode_word_length(word) == strlen(word));
    }
}

static void try_search(void *mem, const char *words, const char *email, const char *fullname)
{
    struct search search = search_parse(mem, words);
    sqlite3_stmt *query = open_index();
    const char *rare = search_rare_words(&search);
    int code;

    check_words(&search);
    assert((rare == NULL) == (search.count == 0)); /* before a row was seen, all are */
    if (rare != NULL) {
        sqlite3_bind_text(query, 1, rare, -1, SQLITE_STATIC);
        code = sqlite3_step(query);
        sqlite3_reset(query);
        assert(code == SQLITE_DONE);
    }
    if (search_matches(&search, email, fullname))
        assert(search.count > 0);
    /* Who has the very words is found. */
    if (search.count > 0)
        assert(search_matches(&search, "", words) || strlen(words) >= 128);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    char *words = mem_copy(mem, (const char *)bytes, len), *email, *fullname;

    if (!unicode_is_valid(words, strlen(words)))
        return 0;
    email = words + strcspn(words, "\n");
    if (*email != '\0')
        *email++ = '\0';
    fullname = email + strcspn(email, "\n");
    if (*fullname != '\0')
        *fullname++ = '\0';
    try_search(mem, words, email, fullname);
    return 0;
}
