/* Reads HTTP/1.x requests (RFC 9112) from bytes as they come, on llhttp, and refuses what the
 * parser leaves to its user. Knows no socket. The one module that includes llhttp.h.
 *
 * Feeding stops at the end of each head (so that the gate speaks before the body is read) and at
 * the end of each message (so that replies keep their order). One thread at a time. */
#pragma once

#include "http/request.h"

#include <llhttp.h>

enum message_event {
    MESSAGE_MORE,    /* all bytes are used up */
    MESSAGE_HEAD,    /* the head is there and is sound */
    MESSAGE_END,     /* the message is whole; the next bytes are the next one's */
    MESSAGE_REFUSED, /* `refused` says why; what follows on this connection cannot be told apart */
};

struct message {
    llhttp_t parser;
    struct request *req; /* filled; set by the owner before the first byte of each message */
    enum err refused;

    /* While a head is read. */
    struct text text; /* target, name, value, name, value …, each NUL-terminated */
    size_t value_at;  /* where the value being read begins in it */
    size_t field_count;
    size_t raw_head_bytes;

    /* While a body is read. */
    size_t max_body; /* set by the owner at MESSAGE_HEAD */
    bool discard_body;
    size_t overhead; /* chunk extensions and trailers, which are ignored */
    bool in_body, has_target;
    enum message_event event;
};

void message_open(struct message *message);

/* *ret_used is how many bytes were taken. */
enum message_event message_feed(struct message *message, const char *bytes, size_t len,
                                size_t *ret_used);
