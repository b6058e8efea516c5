/* Delivers the mails that wait in the store: by SMTP, or, where no mail server is configured and
 * this is no production, as files DATA_DIR/outbox/NUMBER.eml.
 *
 * Each is tried until it is taken: after 30 s, then twice as long each time up to an hour, for
 * three days. What the server refuses for good is given up at once, with a line in the log. */
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

/* Delivers what is due, on the lane, unless that is under way. To be called a few times a second,
 * on one thread. */
void outbox_tick(struct outbox *outbox);
