/* The contract of store/store.h as tests: what every implementation must do, also when threads
 * race, when it is closed and opened again, and when its process is killed. cmocka assertions. */
#pragma once

#include "store/store.h"

/* An implementation. */
struct contract_store {
    const char *name;

    /* Opens what is stored under the name of this folder, which is empty to begin with; in the
     * task's memory. NULL: the task's text says why. */
    struct store *(*open)(struct task *task, const char *folder);

    /* Removes what it has stored elsewhere; NULL: nothing. */
    void (*remove)(const char *folder);
};

/* The whole suite. Once for each process at a time; crypto_start() was called. Returns how many
 * tests failed. */
int contract_run(const struct contract_store *tried);

/* The parts of the suite */

/* Each on an empty store. */
struct contract_test {
    const char *name;
    void (*run)(struct store *store);
};

/* NULL ends them. */
extern const struct contract_test contract_tests[];

/* Frees what a test has used on the calling thread. */
void contract_end(void);

/* Users, sessions and their races to the last rule. The store may hold other things, and keeps what
 * these write. Returns how many failed. */
int contract_sessions_run(struct store *store);

/* Codes and mails likewise; no mail may wait in the store, and none does afterwards. */
int contract_mail_run(struct store *store);

/* Subscriptions, usage, checkouts and events likewise; no event or mail may wait. */
int contract_billing_run(struct store *store);
