/* What manus needs of Unicode, on utf8proc: the rules that addresses and names follow.
 * Pure; callable from any thread. Texts are UTF-8. */
#pragma once

#include "core/mem.h"

/* Bytes of the valid UTF-8 sequence at `bytes`; 0 if there is none (overlong, surrogate, cut). */
size_t unicode_width(const char *bytes, size_t len);

bool unicode_is_valid(const char *bytes, size_t len);

/* Code points of a valid text. */
size_t unicode_length(const char *text);

/* Without white space at either end, as Python's str.strip() sees white space. */
char *unicode_trim(void *mem, const char *text);

/* Lower case as Python's str.lower() does it, which is how the system that manus replaces stored
 * addresses: Unicode's full mapping with its final sigma, no locale. */
char *unicode_lower(void *mem, const char *text);

/* Normalisation forms C, D and KC. */
char *unicode_nfc(void *mem, const char *text);
char *unicode_nfd(void *mem, const char *text);
char *unicode_nfkc(void *mem, const char *text);

/* For searches: lower case, without accents and other marks. */
char *unicode_fold(void *mem, const char *text);

/* Bytes up to the next letter or digit, and of the letters and digits there; 0: none. */
size_t unicode_word_gap(const char *text);
size_t unicode_word_length(const char *text);

/* Holds a control character (Cc) or a line or paragraph separator. */
bool unicode_has_control(const char *text);

/* How many of its characters show something: blanks, what is invisible, and marks on nothing
 * do not count. */
size_t unicode_visible_length(const char *text);

/* What turns the direction of text (UAX 9: embeddings, overrides, isolates) is closed again, each
 * by its own end, so that it turns nothing behind the text. */
bool unicode_directions_are_closed(const char *text);

/* Holds white space, a control or format character, or one that shows nothing. */
bool unicode_has_blank_or_invisible(const char *text);
