/* The one rule for e-mail addresses. */
#pragma once

#include "core/mem.h"

/* The stored form of an address: trimmed, lower-cased (full Unicode), NFC. NULL if it is no
 * address: one @ with something on both sides, at most 254 bytes (64 before the @), no blanks,
 * control or invisible characters, none of ,:;<>()[]"\ ; no part begins or ends with a dot; the
 * domain's labels are letters, digits and inner hyphens, 1 to 63 bytes each. */
char *email_normalise(void *mem, const char *address);
