/* How many mails strangers may cause: whoever knows an address can have codes mailed to it, and who
 * registers one that is not theirs causes notices there as well. They are counted in the store, by
 * mailbox (whatever stands behind + in it) and by domain, under keyed hashes. */
#pragma once

#include "core/settings.h"
#include "store/store.h"

/* NULL, or what is wrong with a setting, in `mem`. */
const char *bound_check(void *mem, const struct settings *settings);

/* Bounds a mail to `email`, of that kind ("code", "notice"): each kind has counts of its own, so
 * that no codes use up what tells of a new device. Mails to nobody are counted as those to somebody
 * are, but apart. */
void bound_mail(struct task *task, const char *kind, const char *email, struct mail *mail);

/* It was withheld: says so to the operator. */
void bound_tell(struct task *task, const char *kind, const struct mail *mail);
