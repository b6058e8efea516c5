/* Finding the events that no delivery has brought: Stripe is asked for those since the last that
 * was seen (as far back as it tells, 30 days), and each is put into the inbox, which knows whether
 * it has it. Soon after the start, after Stripe was away, and every hour.
 *
 * The mark, until when all is seen by Stripe's clock, is stored when a run has gone through, and
 * the next run looks ten minutes further back. A store without one begins now. */
#pragma once

#include "billing/inbox.h"

struct catchup;

/* `settings` gives those in force. Close the lane before freeing it. */
struct catchup *catchup_open(void *mem, struct billing *billing, struct inbox *inbox,
                             struct lane *lane, const struct settings *(*settings)(void *app),
                             void *app);

/* Begins what is due, on the lane. To be called a few times a second, on one thread. */
void catchup_tick(struct catchup *catchup);

/* Nothing is begun any more; waits some seconds at most. False: it goes on. */
bool catchup_stop(struct catchup *catchup);
