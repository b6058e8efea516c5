/* Stripe's API, on libcurl: form-encoded requests of one pinned version, JSON replies.
 *
 * Tries, budget and breaker are those of remote/peer.h, by Stripe's rules: no connection, 409, 429
 * and 5xx are tried again, unless Stripe-Should-Retry says otherwise. Each POST has an idempotency
 * key, so that a repetition does nothing twice. Request ids are logged, keys and contents never.
 * Blocks: a lane's work. Any thread. */
#pragma once

#include "core/settings.h"
#include "core/task.h"
#include "core/text.h"

#define STRIPE_VERSION "2026-08-26.dahlia"

struct stripe;

/* A secret or restricted key is set. */
bool stripe_is_configured(const struct settings *settings);

/* The key is one of live mode. */
bool stripe_is_live(const struct settings *settings);

/* Reads the account's balance, which every key may. NULL if Stripe answers; else what is wrong,
 * static. Blocks for `timeout_ms` at most, but for the name's resolution: a lane's work. */
const char *stripe_probe(const struct settings *settings, int64_t timeout_ms);

/* The same of a price: NULL if Stripe knows it, or if the key may not ask. In `mem`. */
const char *stripe_price_probe(void *mem, const struct settings *settings, const char *price,
                               int64_t timeout_ms);

/* The settings outlive it. */
struct stripe *stripe_open(void *mem, const struct settings *settings);

/* Room for an id of Stripe's. */
enum { STRIPE_ID_SIZE = 256 };

/* One of Stripe's ids, such as sub_1Abc with the prefix "sub_": fit to stand in a path. */
bool stripe_is_id(const char *id, const char *prefix);

/* name=value, encoded, behind what is there. */
void stripe_put(struct text *form, const char *name, const char *value);
void stripe_put_int(struct text *form, const char *name, int64_t value);

struct stripe_call {
    const char *method;
    const char *path; /* with ids that stripe_is_id() knows */
    const char *form; /* of a GET: its query; NULL: none */
    const char *key;  /* of a POST; a DELETE needs none */

    const char *about; /* whom it is about: the customer's id, else what there is; NULL: unknown */

    int status;       /* from here on: the answer. 0: there was none */
    json_t *reply;    /* an object; json_decref() is the caller's */
    const char *type; /* of a refusal, as stripe_said() has it, and so are the next four: Stripe's;
                         each may be empty */
    const char *code, *decline_code, *param, *message; /* with status 0: why the answer cannot be
                                                          read */
    const char *request_id;                            /* may be empty */
    const char *notice;  /* what the cardholder may be told; NULL: nothing */
    bool is_burnt;       /* the key will get this failure for a day: another one is needed */
    bool is_unconnected; /* the last attempt found no connection */
    int64_t date_s;      /* Stripe's clock; 0: unknown */
};

/* OK: 2xx. ERR_STRIPE: Stripe has refused, and `status` and `code` say how. ERR_STRIPE_DOWN: the
 * outcome is unknown. With both, the task's phrase is what people are told (remote/advice.h).
 * ERR_STRIPE_OFF: it is not configured. */
must_check enum err stripe_ask(struct task *task, struct stripe *stripe, struct stripe_call *call);

/* ERR_STRIPE_OFF, where the answer does not depend on what Stripe would say. */
must_check enum err stripe_need(struct task *task, const struct stripe *stripe);

/* A text of Stripe's for logs and operators: at most some 300 bytes, without control characters,
 * addresses, keys and other secrets. Never NULL. */
const char *stripe_said(void *mem, const char *text);

/* How often Stripe has answered again after several failures in a row. */
unsigned stripe_outages(struct stripe *stripe);

/* Stripe itself says that it knows no such object; a 404 of anything else does not. */
bool stripe_is_missing(const struct stripe_call *call);

/* stripe_ask() for a customer. `call` is empty, and its path then that of the customer. */
must_check enum err stripe_ask_customer(struct task *task, struct stripe *stripe,
                                        const char *customer_id, struct stripe_call *call);

/* Cleanup attribute. */
static inline void stripe_call_end(struct stripe_call *call)
{
    json_decref(call->reply);
}
#define auto_call __attribute__((cleanup(stripe_call_end)))

/* Members of a reply: "" and 0 if they are absent or something else. An object that is expanded, or
 * not, has the same id. */
const char *stripe_text(const json_t *object, const char *name);
int64_t stripe_int(const json_t *object, const char *name);

/* The same for a time: in ms, 0 if there is none. */
int64_t stripe_time_ms(const json_t *object, const char *name);
const char *stripe_id_of(const json_t *object, const char *name);
