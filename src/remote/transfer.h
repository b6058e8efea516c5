/* One HTTP exchange with a service that we depend on, on libcurl: certificates checked, no
 * redirects, a deadline and a bound on the reply. Blocks: a lane's work. Any thread. */
#pragma once

#include "core/err.h"
#include "core/secret.h"
#include "core/text.h"

struct transfer {
    const char *url;             /* https, or http to a server of tests */
    const struct secret *bearer; /* NULL: none */
    const char *ca_file;         /* NULL: the system's certificate authorities */
    int64_t timeout_ms;          /* for all of it */
    size_t max_reply;            /* bytes */

    long status; /* from here on: the answer */
    struct text reply;
    const char *problem; /* static; what went wrong when there is no answer */
};

/* Before the first transfer and before there are threads. */
void transfer_start(void);

/* ERR_REMOTE and `problem` if there is no answer. */
must_check enum err transfer_run(void *mem, struct transfer *transfer);
