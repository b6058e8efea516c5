/* The rules for e-mail addresses.
 * Pure; any thread. */
#pragma once

#include "core/mem.h"

/* The address as a person enters it: trimmed, and in lower case as the replaced system did it. NULL
 * if it has no @, is longer than 1,024 bytes or holds a control character. */
char *email_sent(void *mem, const char *address);

/* The form in which a new address is stored; NULL if it is not valid. Valid is: one @ with
 * something on both sides, at most 254 bytes (64 before the @), no blanks, control or invisible
 * characters, none of ,:;<>()[]"\ , no empty part, and a domain that is valid by IDNA 2008, in
 * either spelling. */
char *email_normalise(void *mem, const char *address);

/* The key of an address: two spellings of one mailbox have the same key (NFC, the domain in
 * Unicode). Text that is no valid address has a key too. `sent` comes from email_sent(), here and
 * in email_forms(). */
char *email_key(void *mem, const char *sent);

enum { EMAIL_FORMS = 5 };

/* All spellings under which the address may be stored, the one that was sent first. Returns how
 * many there are. */
size_t email_forms(void *mem, const char *sent, const char *ret[EMAIL_FORMS]);

/* The mailbox that a key belongs to: the key without the part from + to @. Many providers deliver
 * any number of such addresses to one mailbox. */
char *email_mailbox(void *mem, const char *key);

/* The address for a mail server and a mail's header, with the domain as in DNS. NULL if it must not
 * be written there. */
char *email_wire(void *mem, const char *address);

bool email_is_ascii(const char *address);
