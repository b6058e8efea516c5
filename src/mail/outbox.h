/* Delivers the mails that wait in the store: by SMTP, or, where no mail server is configured and
 * this is no production, as files DATA_DIR/outbox/NUMBER.eml.
 *
 * Each is tried until it is taken: after 30 s, then twice as long each time up to an hour, for
 * three days, or until what it says has expired. What can never be delivered (remote/smtp.h) is
 * given up at once, with a line in the log. Several go out at a time. */
#pragma once

#include "core/lane.h"
#include "core/settings.h"
#include "store/store.h"

struct outbox;

/* Mails can be sent, or written to files. Any thread. */
bool outbox_is_configured(const struct settings *settings);

/* `settings` gives those in force. Close the lane before freeing it. */
struct outbox *outbox_open(void *mem, struct store *store, struct lane *lane,
                           const struct settings *(*settings)(void *app), void *app);

/* Delivers what is due, on the lane, unless enough is under way. To be called a few times a second,
 * on one thread. */
void outbox_tick(struct outbox *outbox);

/* No mail is begun any more. Waits two seconds at most for the one under way; false: it goes on,
 * and the store must not be closed under it. After the last outbox_tick(). */
bool outbox_stop(struct outbox *outbox);
