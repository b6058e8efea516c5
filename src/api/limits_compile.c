#include "api/limits_parts.h"

#include "account/bound.h"
#include "core/clock.h"
#include "core/metrics.h"
#include "limit/script.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define LOGIN_FAILURES "login_failures"

static const char *path_name(void *mem, const char *path)
{
    struct text name = text_open(mem, 64);

    if (strncmp(path, "/api/v1/", 8) == 0)
        path += 8;
    path += strspn(path, "/.");
    for (; *path != '\0'; path++) {
        if (isalnum((unsigned char)*path))
            text_char(&name, *path);
        else if (strchr("{}*", *path) == NULL)
            text_char(&name, '_');
    }
    return name.len == 0 ? "home" : name.s;
}

static const char *route_name(void *mem, const struct route *rows, const struct route *row)
{
    const char *name = path_name(mem, row->path);
    char *with_method;

    for (; rows < row; rows++) {
        if (strcmp(rows->path, row->path) == 0)
            break;
    }
    if (rows == row)
        return name;
    with_method = mem_printf(mem, "%s_%s", row->method, name);
    for (char *at = with_method; *at != '_'; at++)
        *at = (char)tolower((unsigned char)*at);
    return with_method;
}

const char *limits_setting_name(void *mem, const struct route *rows, const struct route *row)
{
    char *name = mem_printf(mem, "RATE_LIMIT_%s", route_name(mem, rows, row));

    for (char *at = name; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return name;
}

/* "minute", "30s": short, and different for different windows. */
static const char *window_name(void *mem, const struct rule_window *window)
{
    switch (window->seconds) {
    case 1:
        return "second";
    case 60:
        return "minute";
    case 3600:
        return "hour";
    case 86400:
        return "day";
    default:
        return mem_printf(mem, "%us", window->seconds);
    }
}

static void describe(void *mem, struct route_limits *limits)
{
    struct text policy = text_open(mem, 96);

    script_compile_rule(mem, &limits->rule);
    for (unsigned i = 0; i < limits->rule.count; i++) {
        const struct rule_window *window = &limits->rule.windows[i];

        text_printf(&policy, "%s\"%s\";q=%u;w=%u", i == 0 ? "" : ", ", window_name(mem, window),
                    window->limit, window->seconds);
    }
    for (unsigned i = 0; i < limits->rule.count; i++) {
        const struct rule_window *window = &limits->rule.windows[i];

        limits->told[i] = text_open(mem, 128);
        text_printf(&limits->told[i],
                    "RateLimit-Policy: %s\r\nX-RateLimit-Limit: %u\r\nRateLimit: \"%s\";r=",
                    policy.s, window->limit, window_name(mem, window));
    }
}

/* The text that is in force for a row, and the setting that it comes from (NULL: the table). */
static const char *text_for(void *mem, const struct settings *settings, const struct route *rows,
                            const struct route *row, const char **ret_setting)
{
    const char *name = limits_setting_name(mem, rows, row);
    const char *text = row->limits;

    *ret_setting = NULL;
    if (text == NULL) {
        text = settings->rate_limit_default;
        *ret_setting = "RATE_LIMIT_DEFAULT";
    }
    for (size_t i = 0; i < settings->limit_override_count; i++) {
        if (strcasecmp(settings->limit_overrides[i].name, name) == 0) {
            text = settings->limit_overrides[i].value;
            *ret_setting = name;
        }
    }
    return text;
}

/* The first override that no route has; NULL if there is none. */
static const char *unknown_override(void *mem, const struct settings *settings,
                                    const struct route *rows)
{
    for (size_t i = 0; i < settings->limit_override_count; i++) {
        const struct setting_override *given = &settings->limit_overrides[i];
        const struct route *row = rows;

        while (row->method != NULL &&
               strcasecmp(limits_setting_name(mem, rows, row), given->name) != 0)
            row++;
        if (row->method == NULL)
            return mem_printf(mem, "%s (%s): no route has this name; see `manus routes`",
                              given->name, given->origin);
    }
    return NULL;
}

/* What a plan says of a row: of that row itself, or of all that follow RATE_LIMIT_DEFAULT; NULL:
 * nothing. */
static const char *text_of_plan(const struct plan *plan, const char *name, bool follows_default)
{
    const char *otherwise = NULL;

    for (size_t i = 0; i < plan->limit_count; i++) {
        if (strcmp(plan->limits[i].route, name) == 0)
            return plan->limits[i].text;
        if (strcmp(plan->limits[i].route, "default") == 0)
            otherwise = plan->limits[i].text;
    }
    return follows_default ? otherwise : NULL;
}

/* The row that a plan names; NULL if there is none that counts by user. */
static const struct route *row_of_plan(void *mem, const struct route *rows, const char *name)
{
    for (const struct route *row = rows; row->method != NULL; row++) {
        if (row->limited_by == LIMITED_BY_CALLER && row->access > ACCESS_OPTIONAL &&
            strcmp(route_name(mem, rows, row), name) == 0)
            return row;
    }
    return NULL;
}

/* NULL, or what is wrong with what a plan says. */
static const char *check_plan(void *mem, const struct route *rows, const struct plan *plan)
{
    for (size_t i = 0; i < plan->limit_count; i++) {
        const struct plan_limit *limit = &plan->limits[i];
        struct rule rule;
        const char *wrong = rule_parse(limit->text, &rule);

        if (wrong == NULL && strcmp(limit->route, "default") != 0 &&
            row_of_plan(mem, rows, limit->route) == NULL)
            wrong = "no route of this name counts by user; see `manus routes`";
        if (wrong != NULL)
            return mem_printf(mem, "PLANS_FILE: plan \"%s\": limits: %s: %s", plan->name,
                              limit->route, wrong);
    }
    return NULL;
}

static const struct route_limits *compile_for_plan(void *mem, const struct limits *limits,
                                                   size_t row, bool follows_default,
                                                   const struct plan *plan)
{
    const char *text = limits->rows[row].limited_by == LIMITED_BY_CALLER
                           ? text_of_plan(plan, limits->of[row].name, follows_default)
                           : NULL;
    struct route_limits *compiled;

    if (text == NULL)
        return NULL;
    compiled = mem_new(mem, struct route_limits);
    compiled->name = limits->of[row].name;
    compiled->number = limits->of[row].number;
    (void)rule_parse(text, &compiled->rule); /* check_plan() has found it good */
    describe(mem, compiled);
    return compiled;
}

static bool compile_failures(void *mem, const struct settings *settings, struct limits *limits,
                             const char **ret_wrong)
{
    limits->failures.name = LOGIN_FAILURES;
    *ret_wrong = rule_parse(settings->rate_limit_failures, &limits->failures.rule);
    if (*ret_wrong != NULL)
        *ret_wrong = mem_printf(mem, "RATE_LIMIT_LOGIN_FAILURES: %s", *ret_wrong);
    else
        describe(mem, &limits->failures);
    return *ret_wrong == NULL;
}

/* One row, for everybody and for each plan. */
static bool compile_row(void *mem, const struct settings *settings, struct limits *limits, size_t i,
                        const char **ret_wrong)
{
    const struct route *rows = limits->rows;
    const char *setting, *text = text_for(mem, settings, rows, &rows[i], &setting);
    const char *wrong = rule_parse(text, &limits->of[i].rule);
    bool follows_default = setting != NULL && strcmp(setting, "RATE_LIMIT_DEFAULT") == 0;

    if (wrong != NULL) {
        *ret_wrong = mem_printf(mem, "%s: %s", setting == NULL ? rows[i].path : setting, wrong);
        return false;
    }
    limits->of[i].name = route_name(mem, rows, &rows[i]);
    limits->of[i].number = (uint16_t)i;
    describe(mem, &limits->of[i]);
    for (size_t plan = 0; limits->by_plan != NULL && plan < limits->plans->count; plan++)
        limits->by_plan[plan * limits->failures.number + i] = compile_for_plan(
            mem, limits, i, follows_default, &limits->plans->of[plan]);
    return true;
}

const struct limits *limits_compile(void *mem, const struct settings *settings,
                                    const struct route *rows, const struct plans *plans,
                                    const char **ret_wrong)
{
    struct limits *limits;
    size_t count = 0;
    bool plans_say = false;

    *ret_wrong = unknown_override(mem, settings, rows);
    if (*ret_wrong == NULL)
        *ret_wrong = bound_check(mem, settings);
    for (size_t i = 0; *ret_wrong == NULL && i < plans->count; i++) {
        *ret_wrong = check_plan(mem, rows, &plans->of[i]);
        plans_say = plans_say || plans->of[i].limit_count > 0;
    }
    if (*ret_wrong != NULL)
        return NULL;
    while (rows[count].method != NULL)
        count++;
    limits = mem_zero(mem, sizeof *limits + count * sizeof limits->of[0]);
    limits->rows = rows;
    limits->plans = plans;
    limits->failures.number = (uint16_t)count;
    if (plans_say)
        limits->by_plan = mem_array(mem, const struct route_limits *, count * plans->count);
    if (!compile_failures(mem, settings, limits, ret_wrong))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!compile_row(mem, settings, limits, i, ret_wrong))
            return NULL;
    }
    return limits;
}

const struct route_limits *limits_of_plan(const struct limits *limits,
                                          const struct settings *settings,
                                          const struct subscription *subscription,
                                          const struct route_limits *row)
{
    struct entitlement entitlement = entitlement_of(limits->plans, settings, subscription,
                                                    clock_wall_ms());
    size_t plan = plan_rank(limits->plans, entitlement.plan);
    const struct route_limits *own = limits->by_plan[plan * limits->failures.number + row->number];

    return own == NULL ? row : own;
}

const char *const *limits_names(void *mem, const struct route *rows, size_t *ret_count)
{
    const char **names;
    size_t count = 0;

    while (rows[count].method != NULL)
        count++;
    names = mem_array(mem, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        names[i] = route_name(mem, rows, &rows[i]);
        if (rows[i].limited_by == LIMITED_BY_CLIENT_AND_EMAIL)
            names[i] = mem_printf(mem, "{%s}", names[i]);
    }
    names[count] = LOGIN_FAILURES;
    *ret_count = count + 1;
    return names;
}

void limits_name_metrics(void *mem, const struct route *rows)
{
    const char **names;
    unsigned count = 0;

    while (rows[count].method != NULL)
        count++;
    names = mem_array(mem, const char *, count + 2);
    names[0] = "none";
    for (unsigned i = 0; i < count; i++)
        names[i + 1] = route_name(mem, rows, &rows[i]);
    names[count + 1] = LOGIN_FAILURES;
    metric_name_values(LABEL_route, names, count + 1);
    metric_name_values(LABEL_limit, names + 1, count + 1);
}
