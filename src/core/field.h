/* Fields of a request body: rows that say what each must be, and the reader that checks a body
 * against them and reports every problem at once, in the wire's 422 form.
 * Pure; any thread. */
#pragma once

#include "core/mem.h"

enum field_kind {
    FIELD_TEXT,        /* as it is */
    FIELD_NAME,        /* trimmed; no control characters */
    FIELD_EMAIL,       /* a new one; as email_sent() (core/email.h), and so are the next two */
    FIELD_CODE,        /* six digits; rule_text says so */
    FIELD_CHOICE,      /* one of `choices` */
    FIELD_INTEGER,     /* a whole number from min to max; its value is its digits */
    FIELD_KNOWN_EMAIL, /* looks somebody up: anything with an @ that shows all of itself */
    FIELD_LOGIN_EMAIL, /* likewise, and what the replaced system took may hide something */
    FIELD_FLAG,        /* a boolean; its value is "true", or NULL for false */
    FIELD_DURATION,    /* "30m", "7d": s, m, h or d; its value is its seconds, from min to max */
};

struct field {
    const char *name; /* NULL ends the rows */
    enum field_kind kind;
    bool secret;                /* never repeated in a reply */
    bool chosen;                /* a new password: PASSWORD_MIN_LENGTH holds too */
    bool optional;              /* absent or null: its value is NULL */
    bool nullable;              /* it must be there; null says something: its value is NULL */
    unsigned alternative;       /* fields of one number go together, and of several numbers one must
                                   be there; 0: it stands by itself */
    size_t min, max;            /* code points; max 0: no bound */
    size_t max_bytes;           /* 0: no bound */
    const char *rule;           /* what a client is told when it is too short or malformed */
    const char *rule_max;       /* when it is too long */
    const char *rule_text;      /* when it holds control characters */
    const char *const *choices; /* NULL ends them */
    const char *help;           /* of an operator's operation: what it is for */
};

/* Checks `body` (NULL: there was none) and fills `values`, one string in `mem` for each row.
 * NULL if all is well; else the reply's body, a new reference. */
json_t *fields_read(void *mem, const struct field *fields, const json_t *body, const char **values);

/* The same for one field that is given as text, on a command line: NULL if all is well; else what
 * is wrong with it, in `mem`. `text` NULL: it was not given. A flag is true if it
 * is empty. */
const char *field_read_text(void *mem, const struct field *field, const char *text,
                            const char **ret);

/* The 422 body that fields_read() makes for a value that is none of the choices, for fields whose
 * choices a row cannot know. */
json_t *fields_choice_problem(void *mem, const char *name, const char *value,
                              const char *const *choices);

/* The 422 body for a request whose body as a whole is wrong. `type`, `msg` as the wire has them;
 * offset < 0 leaves the place out, why NULL leaves the context out. */
json_t *fields_body_problem(const char *type, const char *msg, long offset, const char *why);
