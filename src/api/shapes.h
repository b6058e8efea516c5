/* How the domain's records look on the wire. */
#pragma once

#include "billing/standing.h"
#include "core/text.h"
#include "store/store.h"

/* "name":"value", with the comma. */
void put_string(struct text *out, const char *name, const char *value);

/* "name":"2026-03-01T10:00:00.123Z", with the comma; 0 is null. */
void put_time(struct text *out, const char *name, int64_t ms);

/* The member "next" that ends a page, and the bracket. */
void put_next(struct text *out, int64_t next);

void put_user(struct text *out, const struct user *user);

/* What the wire's user has no member for, without brackets. */
void put_preferences(struct text *out, const struct user *user);

/* `current_id`: the session that asks; may be NULL. */
void put_session(struct text *out, const struct session_record *session, const char *current_id);

/* As it stands now. */
void put_subscription(struct text *out, const struct plans *plans, const struct settings *settings,
                      const struct subscription *subscription);

/* With what administrators see beside it. */
void put_managed_subscription(struct text *out, const struct plans *plans,
                              const struct settings *settings,
                              const struct subscription *subscription);

void put_audit(struct text *out, const struct audit *audit);
