/* Operators' operations: one table (operations.def), from which come the commands with their help
 * and completion, what the admin socket serves, and routes under /api/v1/admin.
 *
 * Whoever calls fills a struct operation_call; operation_read() checks fields that are given as
 * text. Runs wait for the store, and some for Stripe or Redis: on a lane. What was asked wrongly is
 * the caller's failure, with a text that says what to do. */
#pragma once

#include "api/app.h"
#include "core/answer.h"
#include "http/route.h"

enum { OPERATION_FIELDS = 8 };

struct operation_call {
    const struct operation *operation;
    struct app *app;
    const char *actor;   /* "system:NAME", "user:ID" */
    const char *address; /* of the client; "local" for a command */
    const char *values[OPERATION_FIELDS];
    struct answer *answer;

    /* Of whoever reads the answer while it grows; NULL: it is read as a whole, and an operation in
     * pages does one of them. `done` of `total` (0: nobody knows) so far. False: nobody waits any
     * more, and the run ends. */
    bool (*progress)(struct operation_call *call, int64_t done, int64_t total);
    void *reader;

    bool has_noted; /* its line of audit is written */
    bool is_bad;    /* the answer says that something is wrong, for the exit status */
};

typedef enum err operation_run(struct task *task, struct operation_call *call);

struct operation {
    const char *name; /* "user.deactivate"; NULL ends the table */
    /* "mail retry [NUMBER]": the command; words in small letters stand for themselves, words in
     * capitals for the fields in their order, and options for the fields of their name, or, like
     * --all, for themselves. What may be left out stands in brackets. */
    const char *usage;
    const char *audit;          /* the action of the line that each success leaves; NULL: none */
    const struct field *fields; /* of the command and, with a body, of the route; NULL: none */
    operation_run *run;

    /* As a command. */
    bool makes_store;  /* there need be none */
    bool needs_server; /* what it works with is in the server's memory */
    bool needs_jobs;
    bool is_here;    /* by the settings of whoever runs the command, not the server's */
    bool has_no_end; /* it works in pieces, each with a deadline of its own */

    struct route route; /* its path is NULL where the routes table has a handler for it */
};

extern const struct operation operations[];

/* NULL: there is none. */
const struct operation *operation_by_name(const char *name);

/* Fills call->values from texts; `text_of` gives that of a field, or NULL. ERR_INVALID with its
 * text. */
must_check enum err operation_read(struct task *task, struct operation_call *call,
                                   const char *(*text_of)(void *arg, const char *name), void *arg);

/* Runs it, and sees to its line in the log and in the audit trail. */
must_check enum err operation_do(struct task *task, struct operation_call *call);

/* For runs */

/* The value of a field of the operation; NULL: it was left out. */
const char *operation_value(const struct operation_call *call, const char *name);
int64_t operation_number(const struct operation_call *call, const char *name, int64_t otherwise);

/* The line of audit, for a change that is written together with it. */
struct audit operation_audit(struct operation_call *call, const char *subject, const char *detail);

/* The line by itself, for all other changes, after them. */
must_check enum err operation_note(struct task *task, struct operation_call *call,
                                   const char *subject, const char *detail);

/* By e-mail address or by id: the field `user`. */
must_check enum err operation_user(struct task *task, const struct operation_call *call,
                                   struct user *ret);

#define UNWRAP(...) __VA_ARGS__

/* The fields and queries that operations.def names. */
extern const struct field fields_new_admin[], fields_user[], fields_some_user[], fields_search[],
    fields_some_mail[], fields_job[], fields_limit_key[], fields_ban[], fields_network[],
    fields_event_state[], fields_event[], fields_sync[], fields_sync_all[], fields_link[],
    fields_status[], fields_gift[];
extern const struct query_row query_user[], query_limit_key[], query_event[];

operation_run user_create, user_promote, user_demote, user_activate, user_deactivate, user_list,
    user_show, user_reset_password, user_end_sessions, audit_list;
operation_run mail_list, mail_retry, job_list, job_run;
operation_run limit_show, limit_top, limit_reset, ban_add, ban_lift, ban_list;
operation_run event_list, event_show, event_replay, event_replay_dead;
operation_run subscription_list, subscription_sync, subscription_sync_all, subscription_link,
    subscription_give, subscription_take, billing_doctor;
