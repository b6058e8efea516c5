#include "limit/rule.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name, *letter;
    uint32_t seconds;
} units[] = {{"second", "s", 1}, {"minute", "m", 60}, {"hour", "h", 3600}, {"day", "d", 86400}};

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* A whole number of at most nine digits; false if there is none. */
static bool read_number(const char **at, uint32_t *ret)
{
    size_t len = strspn(*at, "0123456789");

    if (len == 0 || len > 9)
        return false;
    *ret = (uint32_t)strtoul(*at, NULL, 10);
    *at += len;
    return true;
}

/* Its seconds; 0 if there is no such unit. */
static uint32_t read_unit(const char **at)
{
    size_t len = strcspn(*at, " \t;");

    for (size_t i = 0; i < count_of(units); i++) {
        size_t name = strlen(units[i].name);
        bool plural = len == name + 1 && ((*at)[name] | 0x20) == 's';

        if ((len == 1 && strncasecmp(*at, units[i].letter, 1) == 0) ||
            ((len == name || plural) && strncasecmp(*at, units[i].name, name) == 0)) {
            *at += len;
            return units[i].seconds;
        }
    }
    return 0;
}

static const char *read_window(const char **at, struct rule_window *ret)
{
    uint32_t many = 1, unit;

    *at = skip_blanks(*at);
    if (!read_number(at, &ret->limit))
        return "has no count; write such as 5/minute;20/hour, or unlimited";
    *at = skip_blanks(*at);
    if (**at != '/')
        return "has no / behind a count; write such as 5/minute;20/hour, or unlimited";
    *at = skip_blanks(*at + 1);
    if (**at >= '0' && **at <= '9' && !read_number(at, &many))
        return "has a window that is too long; 30 days are the most";
    *at = skip_blanks(*at);
    unit = read_unit(at);
    if (unit == 0)
        return "has a unit that is not second, minute, hour or day";
    if (ret->limit < 1 || ret->limit > RULE_COUNT_MAX)
        return "has a count that is not 1 to 100000";
    if (many < 1 || many > RULE_SECONDS_MAX / unit)
        return "has a window that is not 1 second to 30 days";
    ret->seconds = many * unit;
    return NULL;
}

/* False if it is none of the words. */
static bool read_fallback(const char *at, enum fallback *ret)
{
    static const char *const names[] = {"local", "open", "closed"};
    size_t len = strcspn(at, " \t");

    for (size_t i = 0; i < count_of(names); i++) {
        if (strlen(names[i]) == len && strncasecmp(at, names[i], len) == 0 &&
            *skip_blanks(at + len) == '\0') {
            *ret = (enum fallback)i;
            return true;
        }
    }
    return false;
}

const char *rule_parse(const char *text, struct rule *ret)
{
    const char *at = skip_blanks(text);

    *ret = (struct rule){.fallback = FALLBACK_UNSAID};
    if (strncasecmp(at, "unlimited", 9) == 0 && *skip_blanks(at + 9) == '\0')
        return NULL;
    for (;;) {
        struct rule_window *window = &ret->windows[ret->count];
        const char *wrong;

        if (ret->count == RULE_WINDOWS)
            return "has more than four windows";
        wrong = read_window(&at, window);
        if (wrong != NULL)
            return wrong;
        ret->count++;
        ret->most = window->limit > ret->most ? window->limit : ret->most;
        ret->longest = window->seconds > ret->longest ? window->seconds : ret->longest;
        at = skip_blanks(at);
        if (*at == '\0')
            return NULL;
        if (*at++ != ';')
            return "has something behind a unit; separate windows by semicolons";
        if (read_fallback(skip_blanks(at), &ret->fallback))
            return NULL;
    }
}

struct rule rule_times(const struct rule *rule, uint32_t times)
{
    struct rule wide = *rule;

    assert(times > 0);
    wide.most *= times;
    for (unsigned i = 0; i < rule->count; i++)
        wide.windows[i].limit *= times;
    return wide;
}

const char *rule_window_text(void *mem, const struct rule_window *window)
{
    size_t unit = count_of(units);

    while (--unit > 0 && window->seconds % units[unit].seconds != 0)
        ;
    if (window->seconds == units[unit].seconds)
        return mem_printf(mem, "%u per %s", window->limit, units[unit].name);
    return mem_printf(mem, "%u per %u %ss", window->limit, window->seconds / units[unit].seconds,
                      units[unit].name);
}
