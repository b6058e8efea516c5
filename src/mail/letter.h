/* Letters: what is said, in the reader's language, and the message (RFC 5322, MIME) that says it.
 * Pure but for the random parts and the date; any thread. */
#pragma once

#include "core/settings.h"

enum language { LANGUAGE_ENGLISH, LANGUAGE_ARABIC };

/* The address that letters come from; NULL if none is configured. */
const char *letter_sender(const struct settings *settings);

/* A code by which its reader may choose a new password. `to` is in its stored form. The whole
 * message, with lines that end in CRLF. */
const char *letter_reset_code(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *code, int minutes);
