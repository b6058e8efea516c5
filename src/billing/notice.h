/* Mails about what people pay: that a payment has failed, that a trial ends. In the language that
 * they chose, else in English. */
#pragma once

#include "billing/billing.h"

/* The mail that goes with a change of what is stored; NULL: none. In the task's memory. */
const struct mail *notice_of_change(struct task *task, struct billing *billing,
                                    const struct subscription *before,
                                    const struct subscription *after);

/* The mail to the operator that an event was given up; NULL: nobody is to be told. In the task's
 * memory. */
const struct mail *notice_for_operator(struct task *task, const struct event *event,
                                       const char *why);

/* The mail that a trial of our own ends; NULL: none. In the task's memory. */
const struct mail *notice_of_trial(struct task *task, struct billing *billing,
                                   const struct subscription *subscription);

/* The mail that a trial of Stripe's ends at `end_ms`; NULL: none. In the task's memory. */
const struct mail *notice_of_bought_trial(struct task *task, struct billing *billing,
                                          const char *user_id, int64_t end_ms);
