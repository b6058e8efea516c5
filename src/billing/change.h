/* Changing a plan that runs at Stripe: switching, cancelling and resuming, with refusals that have
 * their texts. Each change has a new key at Stripe: setting the same value twice changes nothing.
 * Waits for Stripe: the remote lane's work. */
#pragma once

#include "billing/sync.h"

/* What switching to the plan would cost: Stripe's preview; json_decref() is the caller's.
 * *ret_date_s: when it was worked out; change_switch() with it costs the same. */
must_check enum err change_preview(struct task *task, struct billing *billing, const char *user_id,
                                   const char *plan, int64_t *ret_date_s, json_t **ret);

/* Switches at once; the difference is paid, or credited, but for what was used already or is not
 * paid. Not paid: ERR_PAYMENT, and nothing has changed. `date_s` 0: now. */
must_check enum err change_switch(struct task *task, struct billing *billing, const char *user_id,
                                  const char *plan, int64_t date_s, struct subscription *ret);

/* At the end of the period; and back. */
must_check enum err change_cancel(struct task *task, struct billing *billing, const char *user_id,
                                  struct subscription *ret);
must_check enum err change_resume(struct task *task, struct billing *billing, const char *user_id,
                                  struct subscription *ret);
