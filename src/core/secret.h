/* Secrets of the configuration. A type of its own, so that no log line, reply or printed setting
 * takes one by mistake; kept on locked pages that are left out of core dumps, and wiped. */
#pragma once

#include "core/mem.h"

#include <stdint.h>

struct secret {
    uint8_t *bytes; /* NUL-terminated for libraries that want text; the NUL is not counted */
    size_t len;
};

/* Copies. The secret is wiped when `mem` is freed. */
struct secret *secret_new(void *mem, const char *bytes, size_t len);

/* What a deployment tool should have replaced and did not: ${NAME}, $(command), {{ name }}, <name>,
 * %NAME%, @NAME@, __NAME__, $NAME and the like, or where it should have looked: op://…. */
bool secret_is_template(const char *text);

/* Why this text is no good as a signing key, and the mend: "is blank; give …". NULL if it will do.
 */
const char *secret_weakness(const char *text);
