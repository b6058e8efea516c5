#include "core/json_writer.h"

#include <assert.h>

struct json_writer json_write(struct text *out)
{
    return (struct json_writer){.out = out};
}

/* What stands before a value. */
static void begin(struct json_writer *w, const char *name)
{
    uint32_t here = UINT32_C(1) << w->depth;

    assert((name == NULL) == (w->depth == 0 || (w->lists & here) != 0));
    assert(w->depth > 0 || (w->filled & here) == 0);
    if ((w->filled & here) != 0)
        text_char(w->out, ',');
    w->filled |= here;
    if (name == NULL)
        return;
    text_char(w->out, '"');
    text_add(w->out, name);
    text_put(w->out, "\":", 2);
}

static void open_bracket(struct json_writer *w, const char *name, bool is_list)
{
    uint32_t inside;

    begin(w, name);
    assert(w->depth < 31);
    inside = UINT32_C(1) << ++w->depth;
    w->filled &= ~inside;
    w->lists = is_list ? w->lists | inside : w->lists & ~inside;
    text_char(w->out, is_list ? '[' : '{');
}

void put_object(struct json_writer *w, const char *name)
{
    open_bracket(w, name, false);
}

void put_list(struct json_writer *w, const char *name)
{
    open_bracket(w, name, true);
}

void put_end(struct json_writer *w)
{
    assert(w->depth > 0);
    text_char(w->out, (w->lists & UINT32_C(1) << w->depth) != 0 ? ']' : '}');
    w->depth--;
}

void put_string(struct json_writer *w, const char *name, const char *value)
{
    if (value == NULL) {
        put_null(w, name);
        return;
    }
    begin(w, name);
    text_json(w->out, value, strlen(value));
}

void put_number(struct json_writer *w, const char *name, int64_t value)
{
    begin(w, name);
    text_int(w->out, value);
}

void put_json(struct json_writer *w, const char *name, const char *json)
{
    begin(w, name);
    text_add(w->out, json);
}

void put_boolean(struct json_writer *w, const char *name, bool value)
{
    put_json(w, name, value ? "true" : "false");
}

void put_null(struct json_writer *w, const char *name)
{
    put_json(w, name, "null");
}

void put_time(struct json_writer *w, const char *name, int64_t ms)
{
    char text[TEXT_TIME_SIZE];

    if (ms == 0) {
        put_null(w, name);
        return;
    }
    text_time(text, ms);
    begin(w, name);
    text_char(w->out, '"');
    text_put(w->out, text, sizeof text - 1);
    text_char(w->out, '"');
}
