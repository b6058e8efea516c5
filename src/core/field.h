/* Fields of a request body: rows that say what each must be, and the reader that checks a body
 * against them and reports every problem at once, in the wire's 422 form.
 * Pure; any thread. */
#pragma once

#include "core/mem.h"

enum field_kind {
    FIELD_TEXT,        /* as it is */
    FIELD_NAME,        /* trimmed; no control characters */
    FIELD_EMAIL,       /* in its stored form (core/email.h) */
    FIELD_CODE,        /* six digits; rule_text says so */
    FIELD_CHOICE,      /* one of `choices` */
    FIELD_KNOWN_EMAIL, /* looks somebody up: anything with an @, in its stored form */
};

struct field {
    const char *name; /* NULL ends the rows */
    enum field_kind kind;
    bool secret;                /* never repeated in a reply */
    size_t min, max;            /* code points; max 0: no bound */
    size_t max_bytes;           /* 0: no bound */
    const char *rule;           /* what a client is told when it is too short or malformed */
    const char *rule_max;       /* when it is too long */
    const char *rule_text;      /* when it holds control characters */
    const char *const *choices; /* NULL ends them */
};

/* Checks `body` (NULL: there was none) and fills `values`, one string in `mem` for each row.
 * NULL if all is well; else the reply's body, a new reference. */
json_t *fields_read(void *mem, const struct field *fields, const json_t *body, const char **values);

/* The 422 body for a request whose body as a whole is wrong. `type`, `msg` as the wire has them;
 * offset < 0 leaves the place out, why NULL leaves the context out. */
json_t *fields_body_problem(const char *type, const char *msg, long offset, const char *why);
