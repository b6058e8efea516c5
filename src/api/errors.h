/* Every refusal that a caller may get, for people to look up: made from errors.def, the routes and
 * phrases.def. */
#pragma once

#include "core/mem.h"

/* What docs/errors.md holds and `manus errors` prints. */
char *errors_as_markdown(void *mem);
