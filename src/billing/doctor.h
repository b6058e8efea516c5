/* Whether Stripe is set up as this program needs it: the key, the mode, the prices of the plans,
 * the webhook endpoint, the clock. Waits for Stripe. */
#pragma once

#include "billing/plans.h"
#include "core/answer.h"
#include "core/task.h"

/* What is wrong with the connection, the key or a price that is sold, for the line of a check;
 * NULL: nothing. In `mem`. */
const char *doctor_probe(void *mem, const struct settings *settings, int64_t timeout_ms);

/* The list "findings": a row for each thing looked at; what is wrong with its mend. True: nothing
 * is wrong. */
bool doctor_examine(struct task *task, const struct plans *plans, struct answer *answer);
