/* One HTTP exchange with a service that we depend on, on libcurl: certificates checked, no
 * redirects, a deadline and a bound on the reply. Blocks: a lane's work. Any thread; each keeps its
 * connections for the next exchange. */
#pragma once

#include "core/err.h"
#include "core/secret.h"
#include "core/text.h"

enum { TRANSFER_HEADERS = 8 };

struct transfer {
    const char *method;                    /* NULL: GET */
    const char *url;                       /* https, or http to a server of tests */
    const struct secret *bearer;           /* NULL: none */
    const char *ca_file;                   /* NULL: the system's certificate authorities */
    int64_t timeout_ms;                    /* for all of it */
    size_t max_reply;                      /* bytes */
    const char *body;                      /* NULL: none */
    const char *headers[TRANSFER_HEADERS]; /* "Name: value"; NULL ends them */

    /* Called for each header of the reply; the texts end with the call. NULL: none is wanted. */
    void (*on_header)(struct transfer *transfer, const char *name, const char *value);

    long status; /* from here on: the answer */
    struct text reply;
    const char *problem; /* static; what went wrong when there is no answer */
    bool is_hopeless;    /* it would go wrong again: no such host, wrong certificate */
    bool is_unconnected; /* no connection came about: nobody can have been asked */
};

/* Before the first transfer and before there are threads. */
void transfer_start(void);

/* ERR_REMOTE and `problem` if there is no answer. */
must_check enum err transfer_run(void *mem, struct transfer *transfer);
