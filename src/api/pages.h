/* The pages that the program carries. Made once at the start; then read-only, but for what follows
 * the settings in force. */
#pragma once

#include "core/settings.h"
#include "http/route.h"

struct pages;

struct pages *pages_make(void *mem, const struct settings *settings, const struct route *rows);

/* From now on pages and document are those of these settings. They live in `mem`, as long as they.
 */
void pages_follow(struct pages *pages, void *mem, const struct settings *settings,
                  const struct route *rows);

/* Answers a browser whose path nobody has by a page; false: this is no browser's reader. */
bool pages_missing(struct request *req);
