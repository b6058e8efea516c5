/* The table of routes: everything that the server answers. */
#pragma once

#include "http/route.h"

extern const struct route routes[];

/* What docs/routes.md holds and `manus routes` prints. */
char *routes_as_markdown(void *mem);
