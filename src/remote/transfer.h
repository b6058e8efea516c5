/* One HTTP exchange with a service that we depend on, on libcurl: certificates checked, no
 * redirects, deadlines and a bound on the reply. Bodies are any bytes, from memory or piece by
 * piece, and so are replies. HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the environment are
 * obeyed as libcurl reads them. Blocks: a lane's work. Any thread; each keeps its connections for
 * the next exchange. */
#pragma once

#include "core/address.h"
#include "core/err.h"
#include "core/secret.h"
#include "core/text.h"

enum { TRANSFER_HEADERS = 8 };

struct transfer {
    const char *method;                    /* NULL: GET */
    const char *url;                       /* https, or http to a server of tests */
    const struct secret *bearer;           /* NULL: none */
    const char *ca_file;                   /* NULL: the system's certificate authorities */
    const struct networks *allowed;        /* the only ones that it may connect to; NULL: all */
    int64_t connect_ms;                    /* until it is connected; 0: as for all of it */
    int64_t timeout_ms;                    /* for all of it */
    size_t max_reply;                      /* bytes */
    const char *body;                      /* NULL: none, or by read() */
    size_t body_len;                       /* bytes, also of what read() gives */
    const char *headers[TRANSFER_HEADERS]; /* "Name: value"; NULL ends them */

    /* Fills `room` bytes at most of what is sent: how many; 0: the end came too soon, or a failure,
     * and nothing is sent any more. */
    size_t (*read)(struct transfer *transfer, char *to, size_t room);

    /* Takes a piece of a reply with a status of 2xx in place of `reply`. False: a failure, and the
     * exchange ends. */
    bool (*write)(struct transfer *transfer, const char *piece, size_t len);

    /* Called for each header of the reply; the texts end with the call. NULL: none is wanted. */
    void (*on_header)(struct transfer *transfer, const char *name, const char *value);

    long status; /* from here on: the answer */
    struct text reply;
    size_t reply_len;    /* with what write() took */
    const char *problem; /* static; what went wrong when there is no answer */
    bool is_hopeless;    /* it would go wrong again: no such host, wrong certificate */
    bool is_unconnected; /* no connection came about: nobody can have been asked */
};

/* Before the first transfer and before there are threads. */
void transfer_start(void);

/* ERR_REMOTE and `problem` if there is no answer. */
must_check enum err transfer_run(void *mem, struct transfer *transfer);
