/* Escapes a text for its place in HTML; what scripts/templates compiles calls these. Whatever bytes
 * are put, nothing but text comes out: bytes that are not UTF-8, and NUL, become U+FFFD.
 * Pure; any thread. */
#pragma once

#include "core/text.h"

/* As the text of an element, or the value of an attribute in quotes of either kind. */
void escape_html(struct text *out, const char *bytes, size_t len);

/* As the text of an element; a line break becomes <br>. */
void escape_lines(struct text *out, const char *bytes, size_t len);

/* As a whole URL in an attribute in quotes: http, https, mailto or relative; any other is "#". */
void escape_url(struct text *out, const char *bytes, size_t len);

/* As a part of a URL that can end none (RFC 3986 section 2.3: all but unreserved characters). */
void escape_url_part(struct text *out, const char *bytes, size_t len);

/* As a string of JSON, with its quotes, inside of a <script>, which it cannot end; NUL is \u0000.
 */
void escape_json(struct text *out, const char *bytes, size_t len);
