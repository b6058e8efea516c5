#include "cli/usage.h"

#include <string.h>

bool usage_is_of(const struct operation *operation, const char *name)
{
    size_t len = strlen(name);

    return strncmp(operation->usage, name, len) == 0 && operation->usage[len] == ' ';
}

/* The next word, without brackets; NULL behind the last. */
static char *next_word(void *mem, const char **at, bool *ret_opens)
{
    size_t len;
    char *word;

    *at += strspn(*at, " ");
    *ret_opens = **at == '[';
    *at += *ret_opens;
    len = strcspn(*at, " ]");
    word = len == 0 ? NULL : mem_copy(mem, *at, len);
    *at += len + ((*at)[len] == ']');
    return word;
}

static bool is_value(const char *at)
{
    at += strspn(at, " ");
    return *at >= 'A' && *at <= 'Z';
}

struct command_usage usage_read(void *mem, const struct operation *operation)
{
    const char *at = operation->usage + strcspn(operation->usage, " ");
    struct command_usage usage = {0};
    unsigned literals = 0, words = 0, options = 0;
    bool opens;
    char *word;

    while ((word = next_word(mem, &at, &opens)) != NULL) {
        if (strncmp(word, "--", 2) == 0) {
            struct usage_option *option = &usage.options[options++];

            option->name = word + 2;
            option->is_optional = opens;
            if (*at != '\0' && at[-1] != ']' && is_value(at))
                option->value = next_word(mem, &at, &opens);
        } else if (*word >= 'a' && *word <= 'z') {
            usage.literals[literals++] = word;
        } else {
            usage.words[words++] = word;
        }
    }
    return usage;
}

bool usage_has_option(const struct command_usage *usage, const char *name)
{
    for (size_t i = 0; usage->options[i].name != NULL; i++) {
        if (strcmp(usage->options[i].name, name) == 0)
            return true;
    }
    return false;
}

char *usage_field_name(void *mem, const char *option)
{
    char *name = mem_string(mem, option);

    for (char *c = name; *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c;
    return name;
}

static const char *option_help(void *mem, const struct operation *operation,
                               const struct command_usage *usage, const char *option)
{
    struct text help = text_open(mem, 80);
    const char *name = usage_field_name(mem, option), *said = operation->route.summary;

    for (const struct field *f = operation->fields; f != NULL && f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0 && f->help != NULL)
            said = f->help;
    }
    text_add(&help, "For");
    for (size_t i = 0; usage->literals[i] != NULL; i++)
        text_printf(&help, " %s", usage->literals[i]);
    text_printf(&help, ": %s", said);
    return help.s;
}

static bool is_known(const struct option_row *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return true;
    }
    return false;
}

static size_t collect(void *mem, const char *name, struct option_row *rows)
{
    size_t count = 0;

    for (const struct operation *operation = operations; operation->name != NULL; operation++) {
        struct command_usage usage;

        if (!usage_is_of(operation, name))
            continue;
        usage = usage_read(mem, operation);
        for (const struct usage_option *o = usage.options; o->name != NULL; o++) {
            if (count < OPTIONS && !is_known(rows, count, o->name))
                rows[count++] = (struct option_row){
                    .name = o->name,
                    .value = o->value,
                    .help = option_help(mem, operation, &usage, o->name),
                    .choice = !o->is_optional};
        }
    }
    return count;
}

const struct option_row *usage_option(const char *name, size_t i)
{
    /* Those of the command that was asked for last, until another one is. */
    static struct collected {
        const char *name;
        struct option_row rows[OPTIONS];
        size_t count;
    } *last;

    if (last == NULL || strcmp(last->name, name) != 0) {
        talloc_free(last);
        last = mem_new(NULL, struct collected);
        last->name = name;
        last->count = collect(last, name, last->rows);
    }
    return i < last->count ? &last->rows[i] : NULL;
}

bool usage_action(void *mem, const char *name, size_t i, struct action_row *ret)
{
    const struct operation *operation = operations;
    const char *shown, *options;

    for (; operation->name != NULL; operation++) {
        if (usage_is_of(operation, name) && i-- == 0)
            break;
    }
    if (operation->name == NULL)
        return false;
    shown = operation->usage + strlen(name) + 1;
    options = strstr(shown, " [--");
    *ret = (struct action_row){
        mem_copy(mem, shown, options == NULL ? strlen(shown) : (size_t)(options - shown)),
        operation->route.summary};
    return true;
}
