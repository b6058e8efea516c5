/* The pages that the program carries. Made once at the start; then read-only. */
#pragma once

#include "core/settings.h"
#include "http/route.h"

struct pages;

struct pages *pages_make(void *mem, const struct settings *settings, const struct route *rows);
