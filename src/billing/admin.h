/* What `manus billing` does to the store and at Stripe, in this process or, by way of a socket, in
 * the server that has the store. Waits for both. */
#pragma once

#include "billing/sync.h"
#include "core/text.h"

struct billing_request {
    const char *action; /* one of billing_actions */
    const char *what;   /* an event, a user, a cursor; may be NULL */
    const char *actor;  /* "system:NAME" */
};

struct billing_action {
    const char *name;
    bool needs_what;
    enum err (*run)(struct task *task, struct billing *billing, const struct settings *settings,
                    const struct billing_request *request, struct text *out);
};

/* NULL ends them. */
extern const struct billing_action billing_actions[];

/* Writes what it has to say into *out. What was asked wrongly is the caller's failure, with its
 * text. */
must_check enum err billing_run(struct task *task, struct billing *billing,
                                const struct settings *settings,
                                const struct billing_request *request, struct text *out);

/* Puts an event off no longer: it is applied anew. ERR_NOT_FOUND with its text. */
must_check enum err billing_replay(struct task *task, struct billing *billing,
                                   const char *event_id);
