/* What an operator can do about what a probe or a call of a peer says: a table, for `manus check`
 * and for the log. Pure; any thread. */
#pragma once

/* `peer`: "redis", "stripe" or "mail"; `wrong`: what it says, or NULL. Static; NULL: nothing is
 * known. */
const char *mend_of(const char *peer, const char *wrong);
