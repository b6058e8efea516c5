/* What is over is removed from the store, in small writes between which others have their turn. */
#pragma once

#include "core/settings.h"
#include "job/jobs.h"

/* Sessions that have expired, and devices that were known until then. */
must_check enum err sweep_sessions(struct task *task, struct store *store, struct job_run *run);

/* What is left in the files of names that were removed, at most every six hours: store_erase(). */
must_check enum err sweep_names(struct task *task, struct store *store, struct job_run *run);

/* Lines of the audit trail that are older than the settings keep. */
must_check enum err sweep_audit(struct task *task, struct store *store, struct job_run *run);
