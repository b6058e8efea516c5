/* Strict JSON of strangers (RFC 8259), on jansson. Pure; any thread.
 *
 * Refused beyond the grammar: duplicate members, NUL in a string, half surrogate pairs, a byte
 * order mark, numbers beyond 64-bit integers, more than 32 levels. */
#pragma once

#include "core/mem.h"

enum { JSON_DEPTH = 32 };

enum json_fault {
    JSON_FINE,
    JSON_SYNTAX, /* not JSON */
    JSON_UNSAFE, /* something that two readers could understand differently, or too deep */
};

struct json_problem {
    enum json_fault fault;
    size_t offset;    /* bytes before the fault */
    const char *text; /* static; never a part of the input */
};

/* A new reference; NULL and the problem if it is refused. */
json_t *json_read(const char *bytes, size_t len, struct json_problem *ret);

/* The same of somebody whom we trust, and who repeats what others have typed: escapes of NUL and of
 * half a surrogate pair are read as U+FFFD, and of a member that stands twice the last one counts.
 * One odd text does not make all that stands beside it unreadable. */
json_t *json_read_mended(const char *bytes, size_t len, struct json_problem *ret);
