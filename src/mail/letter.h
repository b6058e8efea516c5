/* Letters: what is said, in the reader's language, and the message (RFC 5322, MIME) that says it.
 * `to` is a stored address; one that must not
 * stand in a header does not; times are ms since the epoch. Each returns the whole message, with
 * lines that end in CRLF. Nobody's name stands in a letter, since whoever registers chooses it.
 * Pure but for the random parts and the date; any thread. */
#pragma once

#include "core/language.h"
#include "core/settings.h"

/* The address that letters come from; NULL if none is configured. */
const char *letter_sender(void *mem, const struct settings *settings);
bool letter_has_sender(const struct settings *settings);
bool letter_has_server(const struct settings *settings);

/* Without a server, unless this is production: letters are files, written to be read as they are.
 */
bool letter_is_file(const struct settings *settings);

/* A code by which its reader may choose a new password. */
const char *letter_reset_code(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *code, int minutes);

/* A code, and a link unless it is NULL, by which the reader confirms the address. */
const char *letter_verify(void *mem, const struct settings *settings, const char *to,
                          enum language language, const char *code, int minutes, const char *link,
                          int hours);

const char *letter_password_changed(void *mem, const struct settings *settings, const char *to,
                                    enum language language, int64_t at_ms);

const char *letter_new_device(void *mem, const struct settings *settings, const char *to,
                              enum language language, int64_t at_ms, const char *address,
                              const char *agent);

/* A payment has failed: what the reader can do, and for how many days the plan goes on. `url`: the
 * page where the portal is opened. */
const char *letter_payment_failed(void *mem, const struct settings *settings, const char *to,
                                  enum language language, const char *url, int grace_days);

/* To the operator: what was given up at billing, and why; what they can do. */
const char *letter_given_up(void *mem, const struct settings *settings, const char *to,
                            const char *event_id, const char *type, const char *why);

/* The trial ends. `is_bought`: the plan goes on then, and is paid for. */
const char *letter_trial_ends(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *url, int64_t end_ms,
                              bool is_bought);
