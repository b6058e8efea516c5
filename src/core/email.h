/* The rules for e-mail addresses.
 * Pure; any thread. */
#pragma once

#include "core/mem.h"

/* As somebody gives it: trimmed, and lower-cased as the replaced system did. NULL if it has no @,
 * is longer than 1,024 bytes or holds a control character. */
char *email_sent(void *mem, const char *address);

/* The stored form of a new address. NULL if it is none: one @ with something on both sides, at most
 * 254 bytes (64 before the @), no blanks, control or invisible characters, none of ,:;<>()[]"\ ; no
 * part is empty; the domain is one by IDNA 2008, in whichever spelling. */
char *email_normalise(void *mem, const char *address);

/* The same for two spellings of one mailbox: NFC, the domain as people read it. What is no address
 * has one too. `sent` is email_sent()'s; so is the next's. */
char *email_key(void *mem, const char *sent);

enum { EMAIL_FORMS = 5 };

/* The spellings under which somebody may be stored, the one that was sent first; how many. */
size_t email_forms(void *mem, const char *sent, const char *ret[EMAIL_FORMS]);

/* Whose mailbox it is that a key names: without what stands behind a + before the @, by which many
 * providers give one mailbox any number of addresses. */
char *email_mailbox(void *mem, const char *key);

/* For a mail server and a header: the domain as DNS has it. NULL if it must not stand there. */
char *email_wire(void *mem, const char *address);

bool email_is_ascii(const char *address);
