#include "core/answer.h"

#include "core/unicode.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

struct cell {
    const char *name;
    const char *text; /* NULL: nothing */
    bool is_flag;
};

struct answer {
    enum answer_form form;
    struct text out;
    struct json_writer w;
    bool in_list;

    void *row_mem; /* of the row that is open; NULL: none */
    const char *layout;
    bool has_bracket; /* the row is an object of its own */
    unsigned count;
    struct cell cells[ANSWER_CELLS];
};

struct answer *answer_open(void *mem, enum answer_form form)
{
    struct answer *a = mem_new(mem, struct answer);

    a->form = form;
    a->out = text_open(a, 1024);
    a->w = json_write(&a->out);
    if (form == ANSWER_JSON)
        put_object(&a->w, NULL);
    return a;
}

void answer_list(struct answer *a, const char *name)
{
    assert(!a->in_list && a->row_mem == NULL);
    a->in_list = true;
    if (a->form == ANSWER_JSON)
        put_list(&a->w, name);
}

void answer_list_end(struct answer *a)
{
    assert(a->in_list && a->row_mem == NULL);
    a->in_list = false;
    if (a->form == ANSWER_JSON)
        put_end(&a->w);
}

void answer_row(struct answer *a, const char *name, const char *layout)
{
    assert(a->row_mem == NULL && (name == NULL || !a->in_list));
    a->row_mem = talloc_new(a);
    a->layout = layout;
    a->count = 0;
    a->has_bracket = a->in_list || name != NULL;
    if (a->form == ANSWER_JSON && a->has_bracket)
        put_object(&a->w, name);
}

static void add_cell(struct answer *a, const char *name, const char *text, bool is_flag)
{
    assert(a->row_mem != NULL && a->count < ANSWER_CELLS);
    a->cells[a->count++] = (struct cell){name, text, is_flag};
}

void answer_string(struct answer *a, const char *name, const char *value)
{
    if (a->form == ANSWER_JSON)
        put_string(&a->w, name, value);
    else
        add_cell(a, name, value == NULL ? NULL : mem_string(a->row_mem, value), false);
}

void answer_number(struct answer *a, const char *name, int64_t value)
{
    if (a->form == ANSWER_JSON)
        put_number(&a->w, name, value);
    else
        add_cell(a, name, mem_printf(a->row_mem, "%lld", (long long)value), false);
}

void answer_flag(struct answer *a, const char *name, bool value)
{
    if (a->form == ANSWER_JSON)
        put_boolean(&a->w, name, value);
    else
        add_cell(a, name, value ? "yes" : "no", true);
}

void answer_time(struct answer *a, const char *name, int64_t ms)
{
    enum { SECOND_LEN = sizeof "2026-03-01T10:00:00" - 1 };
    char text[TEXT_TIME_SIZE];

    if (a->form == ANSWER_JSON) {
        put_time(&a->w, name, ms);
        return;
    }
    text_time(text, ms);
    add_cell(a, name, ms == 0 ? NULL : mem_printf(a->row_mem, "%.*sZ", SECOND_LEN, text), false);
}

/* Lines */

/* Whether a character turns the direction of what follows. */
static bool turns(const unsigned char *at, size_t width)
{
    return width == 3 && at[0] == 0xe2 &&
           ((at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) ||
            (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9));
}

static void put_escaped(struct text *out, const char *value, bool has_lines)
{
    for (size_t width; *value != '\0'; value += width) {
        const unsigned char *at = (const unsigned char *)value;
        bool is_valid;

        width = unicode_width(value, strlen(value));
        is_valid = width > 0;
        if (!is_valid)
            width = 1;
        if (has_lines && (*value == '\n' || *value == '\t'))
            text_char(out, *value);
        else if (!is_valid || unicode_has_control(mem_copy(out->mem, value, width)))
            text_printf(out, "\\x%02x", at[width - 1]);
        else if (turns(at, width))
            text_printf(out, "\\u20%x", 0x20 + (at[1] - 0x80) * 0x40 + at[2] - 0xa0);
        else
            text_put(out, value, width);
    }
}

static bool is_plain(const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value < ' ' || *value > '~')
            return false;
    }
    return true;
}

static void put_value(struct text *out, const char *value, bool has_lines)
{
    if (is_plain(value)) {
        text_add(out, value);
    } else if (has_lines) {
        put_escaped(out, value, true);
    } else {
        text_add(out, "\u2068");
        put_escaped(out, value, false);
        text_add(out, "\u2069");
    }
}

static const struct cell *find_cell(const struct answer *a, const char *name, size_t len)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (strlen(a->cells[i].name) == len && memcmp(a->cells[i].name, name, len) == 0)
            return &a->cells[i];
    }
    return NULL;
}

/* What stands up to one of `ends`, behind `sign`; NULL without the sign. Moves *at behind it. */
static const char *part(const struct answer *a, const char **at, char sign, const char *ends)
{
    size_t len;
    const char *text;

    if (**at != sign)
        return NULL;
    len = strcspn(*at + 1, ends);
    text = mem_copy(a->row_mem, *at + 1, len);
    *at += 1 + len;
    return text;
}

static void put_filled(struct text *out, const char *value, const char *width)
{
    bool before = width != NULL && *width == '+';
    size_t wanted = width == NULL ? 0 : strtoul(width + before, NULL, 10), len = strlen(value);

    for (size_t i = len; before && i < wanted; i++)
        text_char(out, ' ');
    text_add(out, value);
    for (size_t i = len; !before && i < wanted; i++)
        text_char(out, ' ');
}

/* `at` stands behind the opening brace; returns what stands behind the closing one. */
static const char *put_hole(struct answer *a, const char *at)
{
    struct text value = text_open(a->row_mem, 64);
    size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
    const struct cell *cell = find_cell(a, at, len);
    const char *yes, *no, *otherwise;
    bool has_lines;

    assert(cell != NULL);
    at += len;
    has_lines = *at == '*';
    at += has_lines;
    yes = part(a, &at, '?', "/");
    no = yes == NULL ? NULL : part(a, &at, '/', "|:}");
    otherwise = part(a, &at, '|', ":}");
    if (cell->text == NULL || *cell->text == '\0')
        text_add(&value, otherwise == NULL ? "" : otherwise);
    else if (yes != NULL)
        text_add(&value, *cell->text == 'y' ? yes : no);
    else
        put_value(&value, cell->text, has_lines);
    put_filled(&a->out, value.s == NULL ? "" : value.s, part(a, &at, ':', "}"));
    assert(*at == '}');
    return at + 1;
}

static void put_layout(struct answer *a)
{
    for (const char *at = a->layout; *at != '\0';) {
        if (*at == '{')
            at = put_hole(a, at + 1);
        else
            text_char(&a->out, *at++);
    }
    text_char(&a->out, '\n');
}

static void put_members(struct answer *a)
{
    for (unsigned i = 0; i < a->count; i++) {
        for (const char *c = a->cells[i].name; *c != '\0'; c++)
            text_char(&a->out, *c == '_' ? ' ' : *c);
        text_add(&a->out, ": ");
        put_value(&a->out, a->cells[i].text == NULL ? "-" : a->cells[i].text, false);
        text_char(&a->out, '\n');
    }
}

void answer_row_end(struct answer *a)
{
    assert(a->row_mem != NULL);
    if (a->form == ANSWER_JSON && a->has_bracket)
        put_end(&a->w);
    else if (a->form == ANSWER_LINES && a->layout != NULL)
        put_layout(a);
    else if (a->form == ANSWER_LINES)
        put_members(a);
    talloc_free(a->row_mem);
    a->row_mem = NULL;
}

void answer_say(struct answer *a, const char *format, ...)
{
    va_list arguments;
    char *line;

    if (a->form != ANSWER_LINES)
        return;
    va_start(arguments, format);
    line = talloc_vasprintf(a, format, arguments);
    va_end(arguments);
    text_add(&a->out, line);
    text_char(&a->out, '\n');
    talloc_free(line);
}

char *answer_take(struct answer *a, void *mem)
{
    char *taken = mem_copy(mem, a->out.s == NULL ? "" : a->out.s, a->out.len);

    a->out.len = 0;
    return taken;
}

char *answer_end(struct answer *a, void *mem)
{
    assert(!a->in_list && a->row_mem == NULL);
    if (a->form == ANSWER_JSON)
        put_end(&a->w);
    return answer_take(a, mem);
}
