#include "api/shapes.h"

#include "core/clock.h"

#include <string.h>

void put_next(struct json_writer *w, const char *next)
{
    put_string(w, "next", next);
}

void put_user(struct json_writer *w, const char *name, const struct user *user)
{
    put_object(w, name);
    put_string(w, "id", user->id);
    put_string(w, "fullname", user->fullname);
    put_string(w, "email", user->email);
    put_string(w, "role", user->is_admin ? "admin" : "user");
    put_boolean(w, "is_active", user->is_active);
    put_time(w, "created_at", user->created_ms);
    put_time(w, "updated_at", user->updated_ms);
    put_time(w, "last_login_at", user->last_login_ms);
    put_end(w);
}

void put_preferences(struct json_writer *w, const struct user *user)
{
    put_boolean(w, "email_verified", user->verified_ms != 0);
    put_string(w, "language", user->language);
}

void put_session(struct json_writer *w, const struct session_record *session,
                 const char *current_id)
{
    put_string(w, "id", session->id);
    put_string(w, "device", session->agent);
    put_string(w, "address", session->address);
    put_time(w, "created_at", session->created_ms);
    put_time(w, "last_used_at", session->last_used_ms);
    put_time(w, "expires_at", session->expires_ms);
    put_boolean(w, "current", current_id != NULL && strcmp(session->id, current_id) == 0);
}

/* When access ends by what was asked for; 0: it goes on. */
static int64_t ends_ms(const struct subscription *subscription)
{
    if (subscription->ends_ms != 0)
        return subscription->ends_ms;
    return subscription->cancel_at_period_end ? subscription->period_end_ms : 0;
}

/* Those who show the period's end as the plan's are right too if it ends before. */
static int64_t shown_period_end_ms(const struct subscription *subscription)
{
    int64_t end_ms = ends_ms(subscription);

    return end_ms != 0 && end_ms < subscription->period_end_ms ? end_ms
                                                               : subscription->period_end_ms;
}

static void put_entitlement(struct json_writer *w, const struct entitlement *entitlement,
                            const struct subscription *subscription)
{
    put_string(w, "id", subscription->id);
    put_string(w, "user_id", subscription->user_id);
    put_string(w, "plan", entitlement->plan_name);
    put_string(w, "status", entitlement->status);
    put_number(w, "monthly_agent_runs", entitlement->used);
    put_number(w, "monthly_agent_runs_limit", entitlement->limit);
    put_time(w, "current_period_end", entitlement->is_paid ? shown_period_end_ms(subscription) : 0);
    put_boolean(w, "cancel_at_period_end", subscription->cancel_at_period_end);
    put_time(w, "ends_at", entitlement->is_paid ? ends_ms(subscription) : 0);
    put_boolean(w, "is_trial", entitlement->in_trial);
    put_time(w, "trial_end", subscription->trial_end_ms);
    put_string(w, "stripe_customer_id", subscription->customer_id);
    put_time(w, "created_at", subscription->created_ms);
    put_time(w, "updated_at", subscription->updated_ms);
}

void put_subscription(struct json_writer *w, const char *name, const struct plans *plans,
                      const struct settings *settings, const struct subscription *subscription)
{
    struct entitlement entitlement = entitlement_of(plans, settings, subscription, clock_wall_ms());

    put_object(w, name);
    put_entitlement(w, &entitlement, subscription);
    put_end(w);
}

void put_managed_subscription(struct json_writer *w, const char *name, const struct plans *plans,
                              const struct settings *settings,
                              const struct subscription *subscription)
{
    struct entitlement entitlement = entitlement_of(plans, settings, subscription, clock_wall_ms());

    put_object(w, name);
    put_entitlement(w, &entitlement, subscription);
    put_string(w, "stripe_subscription_id", subscription->stripe_id);
    put_string(w, "stripe_price_id", subscription->price_id);
    put_string(w, "given_plan", subscription->gift_plan);
    put_time(w, "given_until", subscription->gift_until_ms);
    put_string(w, "stripe_notes", subscription->notes);
    put_time(w, "synced_at", subscription->synced_ms);
    put_end(w);
}

void put_audit(struct json_writer *w, const char *name, const struct audit *audit)
{
    put_object(w, name);
    put_time(w, "at", audit->at_ms);
    put_string(w, "actor", audit->actor);
    put_string(w, "action", audit->action);
    put_string(w, "subject", audit->subject);
    put_string(w, "address", audit->address);
    put_string(w, "detail", audit->detail);
    put_end(w);
}
