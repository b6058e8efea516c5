/* The statements of billing: a part of SQLITE_STATEMENTS in store/sqlite_db.h. */
#pragma once

#define SQLITE_SUBSCRIPTION_COLUMNS                                                                \
    "subscription_id, user_id, plan, status, stripe_customer_id, stripe_subscription_id,"          \
    " stripe_price_id, current_period_start, current_period_end, canceled_at, past_due_at,"        \
    " cancel_at_period_end, synced_at, customer_generation, is_trial, trial_start, trial_end,"     \
    " gift_plan, gift_runs, gift_until, monthly_agent_runs, usage_period, created_at, updated_at," \
    " revision, billing_anchor, ends_at, unpaid_from, stripe_notes, stripe_anchor,"                \
    " customer_foreign, stripe_item_id, was_canceled"
#define SQLITE_SUBSCRIPTION_SET                                                                    \
    "plan = ?3, status = ?4, stripe_customer_id = ?5,"                                             \
    " stripe_subscription_id = ?6, stripe_price_id = ?7, current_period_start = ?8,"               \
    " current_period_end = ?9, canceled_at = ?10, past_due_at = ?11,"                              \
    " cancel_at_period_end = ?12, synced_at = ?13, customer_generation = ?14, is_trial = ?15,"     \
    " updated_at = ?16, billing_anchor = ?17, ends_at = ?18, unpaid_from = ?19,"                   \
    " stripe_notes = ?20, stripe_anchor = ?21, stripe_item_id = ?22, revision = revision + 1"
#define SQLITE_CHECKOUT_COLUMNS                                                                    \
    "user_id, plan, price_id, success_url, cancel_url, key, session_id, url, created_at,"          \
    " expires_at, leased_until"
#define SQLITE_EVENT_COLUMNS                                                                       \
    "number, event_id, type, customer_id, user_id, state, error, received_at, next_at, done_at,"   \
    " attempts, waits, reason"

/* What is further ahead than it can be was written by a clock that was ahead, and is over, as
 * clock_holds() has it (core/clock.h). The longest are, in ms: of a wait for the next try, of a
 * lease, of a code, which all may be a little longer, since a clock may be set back a little. */
#define SQLITE_LONGEST_WAIT "3600000"
#define SQLITE_LONGEST_LEASE "120000"
#define SQLITE_LONGEST_CODE "3600000"
#define SQLITE_IS_AHEAD "next_at > ?1 + " SQLITE_LONGEST_WAIT

/* What was used so far in the period that begins at ?3; none begins after ?5. */
#define SQLITE_USED "iif(usage_period < ?3 OR usage_period > ?5, 0, monthly_agent_runs)"

/* Whether an event of e's customer is in work at ?1. The first bound is that of the index. */
#define SQLITE_IN_WORK                                                                             \
    "EXISTS (SELECT 1 FROM events AS w WHERE w.customer_id = e.customer_id"                        \
    " AND w.leased_until > 0 AND w.leased_until > ?1"                                              \
    " AND w.leased_until <= ?1 + " SQLITE_LONGEST_LEASE ")"
#define SQLITE_IS_FREE                                                                             \
    "(leased_until <= ?1 OR leased_until > ?1 + " SQLITE_LONGEST_LEASE ")"                         \
    " AND NOT " SQLITE_IN_WORK
#define SQLITE_FREE_FIRST                                                                          \
    "(SELECT number FROM events AS e INDEXED BY events_first"                                      \
    " WHERE state = 'waiting' AND waits = 0 AND " SQLITE_IS_FREE
#define SQLITE_FREE_AGAIN                                                                          \
    "(SELECT number FROM events AS e INDEXED BY events_again"                                      \
    " WHERE state = 'waiting' AND waits > 0 AND " SQLITE_IS_FREE

/* What is known of a trial of the mailbox of user ?1, whoever had it (store.h). */
#define SQLITE_TRIAL_OF_MAILBOX                                                                    \
    "SELECT 1 FROM trials WHERE mailbox = (SELECT mailbox_hash(key, email) FROM users JOIN keys"   \
    " WHERE user_id = ?1 AND name = 'trials')"

#define SQLITE_BILLING_STATEMENTS(X)                                                               \
    X(SUBSCRIPTION_OF,                                                                             \
      "SELECT " SQLITE_SUBSCRIPTION_COLUMNS " FROM subscriptions WHERE user_id = ?1")              \
    X(SUBSCRIPTION_OF_CUSTOMER,                                                                    \
      "SELECT " SQLITE_SUBSCRIPTION_COLUMNS " FROM subscriptions WHERE stripe_customer_id = ?1")   \
    X(SUBSCRIPTION_INSERT,                                                                         \
      "INSERT INTO subscriptions(subscription_id, user_id, plan, status, created_at, updated_at)"  \
      " SELECT ?2, ?1, 'free', 'active', ?3, ?3 WHERE EXISTS"                                      \
      " (SELECT 1 FROM users WHERE user_id = ?1) ON CONFLICT(user_id) DO NOTHING")                 \
    X(SUBSCRIPTIONS, "SELECT " SQLITE_SUBSCRIPTION_COLUMNS ", number FROM subscriptions"           \
                     " WHERE number < ?1 ORDER BY number DESC LIMIT ?2")                           \
    X(SUBSCRIPTIONS_OF_STATUS, "SELECT " SQLITE_SUBSCRIPTION_COLUMNS ", number FROM subscriptions" \
                               " WHERE status = ?3 AND number < ?1 ORDER BY number DESC LIMIT ?2") \
    X(SUBSCRIPTIONS_SOLD,                                                                          \
      "SELECT " SQLITE_SUBSCRIPTION_COLUMNS ", number FROM subscriptions"                          \
      " INDEXED BY subscriptions_sold WHERE number < ?1 AND stripe_customer_id IS NOT NULL"        \
      " ORDER BY number DESC LIMIT ?2")                                                            \
    X(TRIAL_START, "UPDATE subscriptions SET is_trial = 1, status = 'trialing', trial_start = ?2," \
                   " trial_end = ?3, usage_period = max(usage_period, ?2),"                        \
                   " updated_at = ?2, revision = revision + 1"                                     \
                   " WHERE user_id = ?1 AND trial_start = 0 AND plan = 'free'"                     \
                   " AND (gift_plan IS NULL OR (gift_until <> 0 AND gift_until <= ?2))"            \
                   " AND NOT EXISTS (" SQLITE_TRIAL_OF_MAILBOX ")")                                \
    X(TRIAL_HAD, SQLITE_TRIAL_OF_MAILBOX)                                                          \
    X(TRIAL_NOTE, "INSERT INTO trials(mailbox, began_at) SELECT mailbox_hash(key, email),"         \
                  " trial_start FROM subscriptions JOIN users USING (user_id) JOIN keys"           \
                  " WHERE user_id = ?1 AND trial_start > 0 AND name = 'trials'"                    \
                  " ON CONFLICT(mailbox) DO NOTHING")                                              \
    X(TRIALS_ENDING, "SELECT " SQLITE_SUBSCRIPTION_COLUMNS " FROM subscriptions"                   \
                     " WHERE is_trial AND NOT trial_told AND trial_end > ?1 AND trial_end < ?2"    \
                     " AND plan = 'free'"                                                          \
                     " ORDER BY trial_end LIMIT ?3")                                               \
    X(TRIAL_TOLD, "UPDATE subscriptions SET trial_told = 1"                                        \
                  " WHERE user_id = ?1 AND is_trial AND NOT trial_told")                           \
    X(USAGE_CONSUME, "UPDATE subscriptions SET monthly_agent_runs = " SQLITE_USED " + 1,"          \
                     " usage_period = iif(usage_period > ?5, ?3, max(usage_period, ?3))"           \
                     " WHERE user_id = ?1 AND revision = ?2 AND (?4 < 0 OR " SQLITE_USED " < ?4)"  \
                     " RETURNING monthly_agent_runs")                                              \
    X(USAGE_LOOK, "SELECT revision, " SQLITE_USED " FROM subscriptions WHERE user_id = ?1")        \
    X(USAGE_DAY, "INSERT INTO usage_days(user_id, day, runs) VALUES(?1, ?2, 1)"                    \
                 " ON CONFLICT(user_id, day) DO UPDATE SET runs = runs + 1")                       \
    X(USAGE_DAYS,                                                                                  \
      "SELECT day, runs FROM usage_days WHERE user_id = ?1 ORDER BY day DESC LIMIT ?2")            \
    X(SUBSCRIPTION_APPLY,                                                                          \
      "UPDATE subscriptions SET " SQLITE_SUBSCRIPTION_SET " WHERE user_id = ?1 AND revision = ?2") \
    X(SUBSCRIPTION_STORE,                                                                          \
      "UPDATE OR IGNORE subscriptions SET " SQLITE_SUBSCRIPTION_SET                                \
      ", customer_foreign = ?23, was_canceled = ?24 WHERE user_id = ?1 AND revision = ?2")         \
    X(CUSTOMER_NOTE, "INSERT INTO other_customers(customer_id, user_id, noted_at, own)"            \
                     " SELECT ?1, user_id, ?3, ?4 FROM users WHERE user_id = ?2"                   \
                     " ON CONFLICT(customer_id) DO UPDATE"                                         \
                     " SET own = excluded.own OR (own AND user_id = excluded.user_id),"            \
                     " user_id = excluded.user_id, noted_at = excluded.noted_at")                  \
    X(CUSTOMER_FORGET, "DELETE FROM other_customers WHERE customer_id = ?1")                       \
    X(CUSTOMER_OTHER, "SELECT customer_id, user_id, own FROM other_customers"                      \
                      " WHERE customer_id = ?1")                                                   \
    X(CUSTOMERS_OTHER, "SELECT customer_id, user_id, own FROM other_customers WHERE user_id = ?1"  \
                       " ORDER BY own DESC, noted_at DESC LIMIT ?2")                               \
    X(CUSTOMERS_FORGET, "DELETE FROM other_customers WHERE user_id = ?1")                          \
    X(EVENTS_REVIVE,                                                                               \
      "UPDATE events SET state = 'waiting', next_at = ?2, attempts = 0, error = '', reason = 0,"   \
      " done_at = 0 WHERE customer_id = ?1 AND state = 'dead' AND "                                \
      "event_is_settled_by_link(reason)")                                                          \
    X(SUBSCRIPTION_GIVE, "UPDATE subscriptions SET gift_plan = ?2, gift_runs = ?3,"                \
                         " gift_until = ?4, updated_at = ?5, revision = revision + 1"              \
                         " WHERE user_id = ?1")                                                    \
    X(CHECKOUT_OF, "SELECT " SQLITE_CHECKOUT_COLUMNS " FROM checkouts WHERE user_id = ?1")         \
    X(CHECKOUT_PUT,                                                                                \
      "INSERT INTO checkouts(user_id, plan, price_id, success_url, cancel_url, key, created_at,"   \
      " leased_until) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"                                      \
      " ON CONFLICT(user_id) DO UPDATE SET plan = excluded.plan, price_id = excluded.price_id,"    \
      " success_url = excluded.success_url, cancel_url = excluded.cancel_url,"                     \
      " key = excluded.key, session_id = NULL, url = NULL, created_at = excluded.created_at,"      \
      " expires_at = 0, leased_until = excluded.leased_until")                                     \
    X(CHECKOUT_OPENED,                                                                             \
      "UPDATE checkouts SET session_id = ?2, url = ?3, expires_at = ?4 WHERE key = ?1")            \
    X(CHECKOUT_RELEASE,                                                                            \
      "UPDATE checkouts SET leased_until = 0 WHERE key = ?1 AND session_id IS NULL")               \
    X(CHECKOUT_CLOSE, "DELETE FROM checkouts WHERE key = ?1 OR session_id = ?1")                   \
    X(EVENT_PUT, "INSERT INTO events(event_id, type, customer_id, user_id, payload, state, error," \
                 " received_at, next_at, done_at, attempts, leased_until, reason)"                 \
                 " SELECT ?2, ?3, customer_id, ?5, ?6, ?7, ?8, ?1, ?1 + taken * ?10, ?9, taken,"   \
                 " taken * (?1 + ?10), ?11 FROM (SELECT customer_id,"                              \
                 " ?7 = 'waiting' AND ?10 > 0 AND NOT " SQLITE_IN_WORK " AS taken"                 \
                 " FROM (SELECT ?4 AS customer_id) AS e)"                                          \
                 " WHERE true ON CONFLICT(event_id) DO NOTHING RETURNING attempts")                \
    X(EVENT_TAKE, "UPDATE events SET next_at = ?2, leased_until = ?2, attempts = attempts + 1"     \
                  " WHERE number = coalesce(" SQLITE_FREE_FIRST                                    \
                  " AND next_at <= ?1 ORDER BY next_at LIMIT 1)," SQLITE_FREE_AGAIN                \
                  " AND next_at <= ?1 ORDER BY next_at, attempts LIMIT 1)," SQLITE_FREE_FIRST      \
                  " AND " SQLITE_IS_AHEAD " ORDER BY next_at LIMIT 1)," SQLITE_FREE_AGAIN          \
                  " AND " SQLITE_IS_AHEAD " ORDER BY next_at LIMIT 1))"                            \
                  " RETURNING " SQLITE_EVENT_COLUMNS ", payload")                                  \
    X(EVENT_TAKE_ONE,                                                                              \
      "UPDATE events AS e SET next_at = ?2, leased_until = ?2, attempts = attempts + 1"            \
      " WHERE event_id = ?3 AND state = 'waiting' AND " SQLITE_IS_FREE " RETURNING attempts")      \
    X(EVENT_DONE,                                                                                  \
      "UPDATE events SET state = ?2, user_id = coalesce(?3, user_id), error = ?4,"                 \
      " done_at = ?5, leased_until = 0, reason = ?6 WHERE event_id = ?1 AND state = 'waiting'")    \
    X(EVENT_TOLD, "SELECT 1 FROM events AS other JOIN events AS one USING (customer_id, error)"    \
                  " WHERE one.event_id = ?1 AND one.state = 'dead' AND other.state = 'dead'"       \
                  " AND other.event_id <> ?1")                                                     \
    X(EVENTS_DONE,                                                                                 \
      "UPDATE events SET state = 'done', user_id = ?3, error = '', done_at = ?4, leased_until = 0" \
      " WHERE customer_id = ?1 AND state = 'waiting' AND received_at < ?2"                         \
      " AND event_says_only_change(type)")                                                         \
    X(EVENT_POSTPONE, "UPDATE events SET next_at = event_next_ms(?2, waits), waits = waits + 1,"   \
                      " leased_until = 0, error = ?3 WHERE event_id = ?1 AND state = 'waiting'"    \
                      " RETURNING customer_id, next_at")                                           \
    X(EVENTS_POSTPONE,                                                                             \
      "UPDATE events SET next_at = max(next_at, event_next_ms(?2, waits)),"                        \
      " waits = waits + 1 WHERE customer_id = ?1 AND state = 'waiting' AND next_at < ?3"           \
      " AND (leased_until <= ?2 OR leased_until > ?2 + " SQLITE_LONGEST_LEASE ")")                 \
    X(EVENT_REPLAY, "UPDATE events SET state = 'waiting', next_at = ?2, attempts = 0, error = ''," \
                    " done_at = 0, waits = 0, reason = 0 WHERE event_id = ?1")                     \
    X(EVENT_BY_ID, "SELECT " SQLITE_EVENT_COLUMNS ", payload FROM events WHERE event_id = ?1")     \
    X(EVENTS, "SELECT " SQLITE_EVENT_COLUMNS " FROM events"                                        \
              " WHERE number < ?1 ORDER BY number DESC LIMIT ?2")                                  \
    X(EVENTS_OF_STATE, "SELECT " SQLITE_EVENT_COLUMNS " FROM events"                               \
                       " WHERE state = ?3 AND number < ?1 ORDER BY number DESC LIMIT ?2")          \
    X(EVENT_COUNTS, "SELECT (SELECT count(*) FROM events WHERE state = 'waiting'),"                \
                    " (SELECT count(*) FROM events WHERE state = 'dead')")                         \
    X(EVENTS_HASTEN, "UPDATE events SET next_at = ?1"                                              \
                     " WHERE state = 'waiting' AND waits > 0 AND next_at > ?1")                    \
    X(EVENT_SWEEP, "DELETE FROM events WHERE number IN"                                            \
                   " (SELECT number FROM events INDEXED BY events_done"                            \
                   " WHERE done_at > 0 AND done_at < ?1 AND state IN ('done', 'ignored')"          \
                   " LIMIT 200)")                                                                  \
    X(MARK, "SELECT at FROM marks WHERE name = ?1")                                                \
    X(MARK_SET, "INSERT INTO marks(name, at) VALUES(?1, ?2)"                                       \
                " ON CONFLICT(name) DO UPDATE SET at = excluded.at")                               \
    X(EVENTS_FORGET,                                                                               \
      "DELETE FROM events WHERE user_id = ?1 OR (customer_id = ?2 AND user_id IS NULL) OR"         \
      " (customer_id IN (SELECT customer_id FROM other_customers WHERE user_id = ?1)"              \
      " AND user_id IS NULL)")                                                                     \
    X(MARK_DROP, "DELETE FROM marks WHERE name = ?1")                                              \
    X(EVENT_GOODBYE,                                                                               \
      "INSERT INTO events(event_id, type, customer_id, payload, state, error, received_at,"        \
      " next_at, done_at, attempts) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 0, 0)"                  \
      " ON CONFLICT(event_id) DO NOTHING")
