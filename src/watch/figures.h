/* What the store holds, as gauges of core/metrics.def: counted by a job each second, so that who
 * scrapes /metrics waits for no store, and sees the other figures when it is ill. The gauges are
 * left out while the store cannot be asked.
 *
 * figures_tick() is the main thread's. */
#pragma once

#include "core/lane.h"
#include "store/store.h"

struct figures;

/* Close the lane before freeing it. */
struct figures *figures_open(void *mem, struct store *store, struct lane *lane);

/* Begins to count, if it is time. */
void figures_tick(struct figures *figures);
