/* How the domain's records look on the wire. */
#pragma once

#include "billing/entitlement.h"
#include "core/json_writer.h"
#include "store/store.h"

/* The member "next" of a page. */
void put_next(struct json_writer *w, const char *next);

void put_user(struct json_writer *w, const char *name, const struct user *user);

/* Members of what the wire's user has none for. */
void put_preferences(struct json_writer *w, const struct user *user);

/* Its members. `current_id`: the session that asks; may be NULL. */
void put_session(struct json_writer *w, const struct session_record *session,
                 const char *current_id);

/* As it stands now. */
void put_subscription(struct json_writer *w, const char *name, const struct plans *plans,
                      const struct settings *settings, const struct subscription *subscription);

/* With what administrators see beside it. */
void put_managed_subscription(struct json_writer *w, const char *name, const struct plans *plans,
                              const struct settings *settings,
                              const struct subscription *subscription);

void put_audit(struct json_writer *w, const char *name, const struct audit *audit);
