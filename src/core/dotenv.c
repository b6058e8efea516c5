#include "core/dotenv.h"

#include "core/text.h"
#include "core/unicode.h"

#include <ctype.h>
#include <string.h>

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

static const char *skip_name(const char *at, const char *end)
{
    while (at < end && (isalnum((unsigned char)*at) || *at == '_'))
        at++;
    return at;
}

/* Nothing, or a comment that a blank sets apart. */
static bool is_rest_empty(const char *at, const char *end)
{
    const char *rest = skip_blanks(at, end);

    return rest == end || (*rest == '#' && rest > at);
}

static const char *read_quoted(const char *at, const char *end, struct text *value)
{
    char quote = *at++;

    for (; at < end && *at != quote; at++) {
        if (quote == '\'' && *at == '\\' && at + 1 < end && (at[1] == '\'' || at[1] == '\\')) {
            text_char(value, *++at);
        } else if (quote == '"' && *at == '\\' && at + 1 < end) {
            at++;
            if (*at == 'n' || *at == 't')
                text_char(value, *at == 'n' ? '\n' : '\t');
            else if (*at == '"' || *at == '\\' || *at == '$')
                text_char(value, *at);
            else
                text_put(value, at - 1, 2);
        } else {
            text_char(value, *at);
        }
    }
    if (at == end)
        return "the quote is not closed on this line; close it";
    return is_rest_empty(at + 1, end) ? NULL : "something follows the closing quote; remove it";
}

/* There is a byte in front of `at`: the = or a blank. */
static void read_bare(const char *at, const char *end, struct text *value)
{
    const char *stop = at;

    while (stop < end && !(*stop == '#' && (stop[-1] == ' ' || stop[-1] == '\t')))
        stop++;
    while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    text_put(value, at, (size_t)(stop - at));
}

static const char *read_assignment(void *mem, const char *at, const char *end,
                                   struct dotenv_line *line)
{
    struct text value = text_open(mem, 64);
    const char *name_end, *problem = NULL;

    if (end - at > 7 && memcmp(at, "export", 6) == 0 && (at[6] == ' ' || at[6] == '\t'))
        at = skip_blanks(at + 6, end);
    name_end = skip_name(at, end);
    if (name_end == at || isdigit((unsigned char)*at))
        return "this line is not an assignment; write NAME=value, or put # in front of a comment";
    line->name = mem_copy(mem, at, (size_t)(name_end - at));
    at = skip_blanks(name_end, end);
    if (at == end || *at != '=')
        return "there is no = after the name; write NAME=value";
    at = skip_blanks(at + 1, end);
    if (at < end && (*at == '"' || *at == '\''))
        problem = read_quoted(at, end, &value);
    else
        read_bare(at, end, &value);
    line->is_odd = at < end && *at == '#' && value.len > 0;
    line->value = value.s;
    return problem;
}

static void read_line(void *mem, const char *at, const char *end, struct dotenv_line *line)
{
    if (memchr(at, '\0', (size_t)(end - at)) != NULL)
        line->problem = "there is a NUL byte in this line; remove it";
    else if (!unicode_is_valid(at, (size_t)(end - at)))
        line->problem = "this line is not UTF-8; save the file as UTF-8";
    else
        line->problem = read_assignment(mem, at, end, line);
    if (line->problem != NULL)
        line->name = NULL;
}

void dotenv_read(void *mem, const char *text, size_t len,
                 void (*each)(void *context, const struct dotenv_line *line), void *context)
{
    const char *at = text, *end = text + len;

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    /* As some editors save a text by themselves: every line would be wrong. */
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        each(context,
             &(struct dotenv_line){.number = 1, .problem = "the file is UTF-16; save it as UTF-8"});
        return;
    }
    for (unsigned number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop == NULL ? end : stop + 1;
        struct dotenv_line line = {.number = number};

        if (stop == NULL)
            stop = end;
        if (stop > at && stop[-1] == '\r')
            stop--;
        at = skip_blanks(at, stop);
        if (at < stop && *at != '#') {
            read_line(mem, at, stop, &line);
            each(context, &line);
        }
        at = next;
    }
}
