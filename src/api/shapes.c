#include "api/shapes.h"

#include "core/clock.h"

#include <string.h>

void put_string(struct text *out, const char *name, const char *value)
{
    text_char(out, '"');
    text_add(out, name);
    text_add(out, "\":");
    text_json(out, value, strlen(value));
    text_char(out, ',');
}

void put_time(struct text *out, const char *name, int64_t ms)
{
    char text[TEXT_TIME_SIZE];

    if (ms != 0) {
        text_time(text, ms);
        put_string(out, name, text);
    } else {
        text_printf(out, "\"%s\":null,", name);
    }
}

void put_next(struct text *out, int64_t next)
{
    if (next == 0)
        text_add(out, "\"next\":null}");
    else
        text_printf(out, "\"next\":\"%lld\"}", (long long)next);
}

static void end_object(struct text *out)
{
    out->s[out->len - 1] = '}';
}

void put_user(struct text *out, const struct user *user)
{
    text_char(out, '{');
    put_string(out, "id", user->id);
    put_string(out, "fullname", user->fullname);
    put_string(out, "email", user->email);
    put_string(out, "role", user->is_admin ? "admin" : "user");
    text_add(out, user->is_active ? "\"is_active\":true," : "\"is_active\":false,");
    put_time(out, "created_at", user->created_ms);
    put_time(out, "updated_at", user->updated_ms);
    put_time(out, "last_login_at", user->last_login_ms);
    end_object(out);
}

void put_preferences(struct text *out, const struct user *user)
{
    text_add(out,
             user->verified_ms != 0 ? "\"email_verified\":true," : "\"email_verified\":false,");
    if (user->language == NULL)
        text_add(out, "\"language\":null");
    else
        text_printf(out, "\"language\":\"%s\"", user->language);
}

void put_session(struct text *out, const struct session_record *session, const char *current_id)
{
    bool is_current = current_id != NULL && strcmp(session->id, current_id) == 0;

    text_char(out, '{');
    put_string(out, "id", session->id);
    put_string(out, "device", session->agent);
    put_string(out, "address", session->address);
    put_time(out, "created_at", session->created_ms);
    put_time(out, "last_used_at", session->last_used_ms);
    put_time(out, "expires_at", session->expires_ms);
    text_add(out, is_current ? "\"current\":true}" : "\"current\":false}");
}

static void put_string_or_null(struct text *out, const char *name, const char *value)
{
    if (value != NULL)
        put_string(out, name, value);
    else
        text_printf(out, "\"%s\":null,", name);
}

static void put_boolean(struct text *out, const char *name, bool value)
{
    text_printf(out, "\"%s\":%s,", name, value ? "true" : "false");
}

static void put_number(struct text *out, const char *name, int64_t value)
{
    text_printf(out, "\"%s\":%lld,", name, (long long)value);
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

static void put_standing(struct text *out, const struct standing *standing,
                         const struct subscription *subscription)
{
    put_string(out, "id", subscription->id);
    put_string(out, "user_id", subscription->user_id);
    put_string(out, "plan", standing->plan_name);
    put_string(out, "status", standing->status);
    put_number(out, "monthly_agent_runs", standing->used);
    put_number(out, "monthly_agent_runs_limit", standing->limit);
    put_time(out, "current_period_end", standing->is_paid ? shown_period_end_ms(subscription) : 0);
    put_boolean(out, "cancel_at_period_end", subscription->cancel_at_period_end);
    put_time(out, "ends_at", standing->is_paid ? ends_ms(subscription) : 0);
    put_boolean(out, "is_trial", standing->in_trial);
    put_time(out, "trial_end", subscription->trial_end_ms);
    put_string_or_null(out, "stripe_customer_id", subscription->customer_id);
    put_time(out, "created_at", subscription->created_ms);
    put_time(out, "updated_at", subscription->updated_ms);
}

void put_subscription(struct text *out, const struct plans *plans, const struct settings *settings,
                      const struct subscription *subscription)
{
    struct standing standing = standing_of(plans, settings, subscription, clock_wall_ms());

    text_char(out, '{');
    put_standing(out, &standing, subscription);
    end_object(out);
}

void put_managed_subscription(struct text *out, const struct plans *plans,
                              const struct settings *settings,
                              const struct subscription *subscription)
{
    struct standing standing = standing_of(plans, settings, subscription, clock_wall_ms());

    text_char(out, '{');
    put_standing(out, &standing, subscription);
    put_string_or_null(out, "stripe_subscription_id", subscription->stripe_id);
    put_string_or_null(out, "stripe_price_id", subscription->price_id);
    put_string_or_null(out, "given_plan", subscription->gift_plan);
    put_time(out, "given_until", subscription->gift_until_ms);
    put_string_or_null(out, "stripe_notes", subscription->notes);
    put_time(out, "synced_at", subscription->synced_ms);
    end_object(out);
}

void put_audit(struct text *out, const struct audit *audit)
{
    text_char(out, '{');
    put_time(out, "at", audit->at_ms);
    put_string(out, "actor", audit->actor);
    put_string(out, "action", audit->action);
    put_string(out, "subject", audit->subject);
    put_string(out, "address", audit->address);
    put_string(out, "detail", audit->detail);
    end_object(out);
}
