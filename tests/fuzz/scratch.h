/* What targets with a store share: where it is kept (in TMPDIR, which whoever runs the target
 * removes), and the first session of a user. */
#pragma once

#include "core/crypto.h"
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

static inline const char *scratch_folder(void *mem)
{
    const char *parent = getenv("TMPDIR");
    char *folder = mem_printf(mem, "%s/fuzz.XXXXXX", parent == NULL ? "/tmp" : parent);

    assert(mkdtemp(folder) != NULL);
    return folder;
}

/* With which the user is made: their first, that lasts. */
static inline struct session_record scratch_session(void *mem, const char *user_id)
{
    return (struct session_record){.id = crypto_id(mem),
                                   .user_id = user_id,
                                   .created_ms = 1,
                                   .last_used_ms = 1,
                                   .expires_ms = INT64_C(1) << 50,
                                   .address = "::1",
                                   .agent = "",
                                   .chain = chain_begin(crypto_id(mem), 1, INT64_C(1) << 40)};
}
