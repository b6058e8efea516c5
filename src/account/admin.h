/* What the commands `manus admin` and `manus mail` do to the store, in this process or, by way of a
 * socket, in the server that has it. The asker is a user of the operating system.
 *
 * Waits for the store and computes hashes. */
#pragma once

#include "account/manage.h"
#include "core/text.h"

struct admin_request {
    const char *command; /* "admin", "mail" */
    const char *action;  /* one of the names in admin_actions */
    const char *who;     /* an address or an id; for list: words to search for; for retry: a mail's
                            number. May be NULL */
    const char *fullname;
    const char *option; /* of `limits ban`: for how many seconds */
    const char *actor;  /* "system:NAME" */
};

struct admin_action {
    const char *command;
    const char *name;
    bool needs_who;
    const char *help;
    enum err (*run)(struct task *task, const struct accounts *accounts,
                    const struct settings *settings, const struct admin_request *request,
                    struct text *out);
};

/* NULL ends them. */
extern const struct admin_action admin_actions[];

/* Writes what it has to say into *out. What was asked wrongly is the caller's failure, with its
 * text. */
must_check enum err admin_run(struct task *task, const struct accounts *accounts,
                              const struct settings *settings, const struct admin_request *request,
                              struct text *out);
