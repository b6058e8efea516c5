/* Comparing with Stripe what is stored, and mending what differs: once a day for everybody whom
 * Stripe knows, and by `manus billing sync`; and finding who pays for a plan and is linked to
 * nobody. And, every hour, the mails to those whose trial ends
 * within three days. */
#pragma once

#include "billing/sync.h"
#include "core/answer.h"
#include "job/jobs.h"

struct reconcile;

struct reconcile *reconcile_open(void *mem, struct billing *billing);

/* All that are stored, and all that Stripe has; nothing without Stripe. */
must_check enum err reconcile_run(struct task *task, struct reconcile *reconcile,
                                  struct job_run *run);

/* Mails to those whose trial ends soon. */
must_check enum err reconcile_trials(struct task *task, struct reconcile *reconcile,
                                     struct job_run *run);

struct reconcile_counts {
    unsigned compared, different, failed;
};

/* One of them; a row about it goes to `answer` (NULL: none). */
must_check enum err reconcile_one(struct task *task, struct billing *billing,
                                  const struct subscription *subscription, bool dry,
                                  struct answer *answer, struct reconcile_counts *counts);

/* Those below the cursor (NULL: all), some of them; *ret_next NULL: that was the last of them. A
 * failure of one is counted, and ends the page when Stripe is down. */
must_check enum err reconcile_page(struct task *task, struct billing *billing, const char *cursor,
                                   bool dry, struct answer *answer, struct reconcile_counts *counts,
                                   const char **ret_next);

/* Where finding those who pay for a plan and are linked to nobody goes on; zero: at the beginning.
 */
struct find_cursor {
    size_t price; /* counts those of all plans */
    char after[STRIPE_ID_SIZE];
    bool is_done;
};

/* Some of them: each gets an event of ours (INBOX_EVENT_FOUND), and is counted in *found. */
must_check enum err reconcile_find(struct task *task, struct billing *billing,
                                   struct find_cursor *cursor, unsigned *found);
