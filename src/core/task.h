/* What a unit of work carries through every call below the handler: its memory, its deadline, the
 * settings in force when it began, the fields that its log lines share, and the error that ended
 * it. Nothing of the domain.
 *
 * A request embeds one; jobs without a request make their own. One thread at a time owns a task. */
#pragma once

#include "core/err.h"
#include "core/language.h"
#include "core/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct settings;

struct task {
    void *mem;                       /* talloc tree, freed with the task */
    const struct settings *settings; /* NULL: nothing that it calls asks for any */
    int64_t deadline_ms;             /* monotonic; work that has not begun by then is dropped */
    bool is_repetition;  /* of what is tried again later by itself: nothing remote is tried twice */
    const char *id;      /* the request's; NULL: it is a job */
    const char *job;     /* its name */
    const char *user_id; /* NULL until somebody is known */
    enum err err;
    const char *text;            /* with blame CALLER: for the client; else a detail for the log */
    const char *where;           /* file:line of the failure */
    const struct phrase *phrase; /* what people are told of it in place of that; NULL: nothing */
};

#define TASK_TEXT_(x) #x
#define TASK_TEXT(x) TASK_TEXT_(x)

/* Records why the task failed and returns the code, so that a failure reads
 * `return fail(t, ERR_STORE, "no such table")`. The text is static or in the task's memory;
 * NULL takes the public text of the error's row. Passing a failure up keeps the first record. */
#define fail(task, code, text) task_fail((task), (code), (text), __FILE__ ":" TASK_TEXT(__LINE__))

enum err task_fail(struct task *task, enum err code, const char *text, const char *where);
