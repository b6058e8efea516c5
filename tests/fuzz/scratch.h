/* Where a target keeps a store: in TMPDIR, which whoever runs it removes. */
#pragma once

#include "core/mem.h"

#include <assert.h>
#include <stdlib.h>

static inline const char *scratch_folder(void *mem)
{
    const char *parent = getenv("TMPDIR");
    char *folder = mem_printf(mem, "%s/fuzz.XXXXXX", parent == NULL ? "/tmp" : parent);

    assert(mkdtemp(folder) != NULL);
    return folder;
}
