#include "api/shapes.h"

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
