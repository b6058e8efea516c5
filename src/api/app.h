/* What the handlers share: the parts that main() has put together. Read-only for them, but for what
 * the parts themselves allow. */
#pragma once

#include "account/account.h"
#include "billing/billing.h"
#include "http/server.h"
#include "watch/ready.h"

struct catchup;
struct inbox;
struct jobs;
struct outbox;
struct reconcile;
struct pages;
struct limits;
struct limiter;

struct app {
    _Atomic(const struct settings *)
        settings; /* in force; replaced on SIGHUP, never freed before the end */
    _Atomic(const struct limits *) limits; /* of these settings; lives as long as they */
    struct limiter *limiter;
    struct store *store;
    struct accounts accounts;
    struct billing *billing;
    struct outbox *outbox;
    struct inbox *inbox;
    struct reconcile *reconcile;
    struct catchup *catchup;
    struct jobs *jobs;
    struct ready *ready;
    struct pages *pages;
    struct server *server; /* set before the first request */
    const char *version;   /* the reply of /version: JSON */
    int64_t started_ms;    /* monotonic */
};

static inline struct app *app_of(const struct request *req)
{
    return req->app;
}

/* For the server: the settings in force. */
const struct settings *app_settings(void *app);

/* Prepares what never changes while the program runs. */
void app_prepare(struct app *app, void *mem);
