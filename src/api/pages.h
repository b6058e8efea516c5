/* The pages that the program carries. Made once at the start; then read-only, but for the OpenAPI
 * document, which follows the settings in force. */
#pragma once

#include "core/settings.h"
#include "http/route.h"

struct pages;

struct pages *pages_make(void *mem, const struct settings *settings, const struct route *rows);

/* From now on the document is that of these settings. It lives in `mem`, as long as they. */
void pages_follow(struct pages *pages, void *mem, const struct settings *settings,
                  const struct route *rows);
