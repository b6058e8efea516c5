/* Finding the events that no delivery has brought: Stripe is asked for those since the last that
 * was seen (as far back as it tells, 30 days), and each is put into the inbox, which knows whether
 * it has it. Soon after the start, after Stripe was away, and every hour.
 *
 * The mark, until when all is seen by Stripe's clock, is stored when a run has gone through, and
 * the next run looks ten minutes further back. A store without one begins now. */
#pragma once

#include "billing/inbox.h"

struct catchup;

struct catchup *catchup_open(void *mem, struct billing *billing, struct inbox *inbox);

/* Looks through what is new; nothing without Stripe. */
must_check enum err catchup_run(struct task *task, struct catchup *catchup, struct job_run *run);
