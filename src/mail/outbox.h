/* Delivers the mails that wait in the store: by SMTP, or, where no mail server is configured and
 * this is no production, as files DATA_DIR/outbox/NUMBER.eml.
 *
 * Each is tried until it is taken: after 30 s, then twice as long each time up to an hour, for
 * three days, or until what it says has expired. What can never be delivered (remote/smtp.h) is
 * given up at once, with a line in the log. Several go out at a time. */
#pragma once

#include "core/settings.h"
#include "job/jobs.h"

struct outbox;

/* Mails can be sent, or written to files. Any thread. */
bool outbox_is_configured(const struct settings *settings);

struct outbox *outbox_open(void *mem, struct store *store);

/* Delivers what is due. Any number of runs at a time; each that finds something calls for help, so
 * that one hanging delivery keeps no mail waiting. */
must_check enum err outbox_run(struct task *task, struct outbox *outbox, struct job_run *run);
