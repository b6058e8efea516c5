/* The contract of store/store.h as tests: what every implementation must do, also when threads
 * race. cmocka assertions; the store is empty at the beginning of each. */
#pragma once

#include "store/store.h"

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
