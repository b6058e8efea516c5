#include "billing/plans.h"

#include "core/json.h"
#include "core/settings_check.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

enum { FILE_BYTES = 256 << 10, TRIAL_DAYS = 14, TRIAL_RUNS = 50, FEATURES_MOST = 50 };

static const char *built_in_features[][4] = {
    {"10 agent runs a month"},
    {"1,000 agent runs a month"},
    {"5,000 agent runs a month"},
    {"Unlimited agent runs", "Terms by agreement"},
};

static const struct plan built_in[] = {
    {.name = PLAN_FREE, .runs = 10, .amount = 0, .interval = "month", .currency = "usd"},
    {.name = "basic", .runs = 1000, .amount = 1900, .interval = "month", .currency = "usd"},
    {.name = "pro", .runs = 5000, .amount = 4900, .interval = "month", .currency = "usd"},
    {.name = "enterprise",
     .runs = PLAN_UNLIMITED,
     .amount = -1,
     .interval = "month",
     .currency = "usd"},
};

struct loading {
    void *mem;
    const struct settings *settings;
    const char *name; /* of the file */
    struct plans *plans;
    struct texts *problems;
};

static void problem(struct loading *l, const char *format, ...) printf_like(2, 3);

static void problem(struct loading *l, const char *format, ...)
{
    struct texts *lines = l->problems;
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = talloc_vasprintf(l->mem, format, arguments);
    va_end(arguments);
    lines->of = mem_grow(l->mem, lines->of, (lines->count + 1) * sizeof *lines->of);
    lines->of[lines->count++] = mem_printf(l->mem, "PLANS_FILE: %s: %s", l->name, text);
}

static const struct texts *setting_of(const struct settings *settings, const char *name)
{
    if (strcmp(name, "basic") == 0)
        return &settings->stripe_price_basic;
    return strcmp(name, "pro") == 0 ? &settings->stripe_price_pro : NULL;
}

/* Prices that the file does not name come from STRIPE_PRICE_ID_BASIC and _PRO. */
static void take_setting(const struct settings *settings, struct plan *plan)
{
    const struct texts *prices = setting_of(settings, plan->name);

    if (prices != NULL && plan->price_ids.count == 0)
        plan->price_ids = *prices;
}

/* Each price is one plan's. */
static void check_settings(void *mem, const struct plans *plans, struct texts *problems)
{
    for (size_t i = 0; i < plans->count; i++) {
        const struct texts *prices = &plans->of[i].price_ids;

        for (size_t j = 0; j < prices->count; j++) {
            const struct plan *first = plans_by_price(plans, prices->of[j]);

            if (first == &plans->of[i])
                continue;
            problems->of = mem_grow(mem, problems->of,
                                    (problems->count + 1) * sizeof *problems->of);
            problems->of[problems->count++] = mem_printf(
                mem,
                "STRIPE_PRICE_ID_…: %s stands for %s and for %s; each plan has a price of its own",
                prices->of[j], first->name, plans->of[i].name);
        }
    }
}

static const struct plans *load_built_in(void *mem, const struct settings *settings,
                                         struct texts *ret_problems)
{
    struct plans *plans = mem_new(mem, struct plans);

    plans->of = mem_array(plans, struct plan, count_of(built_in));
    plans->count = count_of(built_in);
    plans->trial_days = TRIAL_DAYS;
    plans->trial_runs = TRIAL_RUNS;
    for (size_t i = 0; i < plans->count; i++) {
        struct plan *plan = &plans->of[i];

        *plan = built_in[i];
        plan->features.of = built_in_features[i];
        while (plan->features.count < 4 && built_in_features[i][plan->features.count] != NULL)
            plan->features.count++;
        take_setting(settings, plan);
    }
    check_settings(mem, plans, ret_problems);
    return ret_problems->count == 0 ? plans : NULL;
}

/* PLANS_FILE */

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    return len > 0 && len <= PLAN_NAME_BYTES && name[len] == '\0' && name[0] >= 'a';
}

/* A whole number; `otherwise` if it is absent. */
static int64_t read_number(struct loading *l, const char *where, const json_t *object,
                           const char *name, int64_t low, int64_t otherwise)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL)
        return otherwise;
    if (json_is_integer(value) && json_integer_value(value) >= low)
        return json_integer_value(value);
    problem(l, "%s: %s must be a whole number of at least %lld", where, name, (long long)low);
    return otherwise;
}

static struct texts read_texts(struct loading *l, const char *where, const json_t *object,
                               const char *name)
{
    const json_t *list = json_object_get(object, name);
    struct texts texts = {0};
    const json_t *item;
    size_t i;

    if (list == NULL)
        return texts;
    if (!json_is_array(list) || json_array_size(list) > FEATURES_MOST) {
        problem(l, "%s: %s must be a list of %d texts at most", where, name, FEATURES_MOST);
        return texts;
    }
    texts.of = mem_array(l->mem, const char *, json_array_size(list) + 1);
    json_array_foreach(list, i, item)
    {
        if (json_string_length(item) > 0)
            texts.of[texts.count++] = mem_string(l->mem, json_string_value(item));
        else
            problem(l, "%s: %s must hold texts that are not empty", where, name);
    }
    return texts;
}

static void check_members(struct loading *l, const char *where, const json_t *object,
                          const char *const *known)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        size_t i = 0;

        while (known[i] != NULL && strcmp(known[i], name) != 0)
            i++;
        if (known[i] == NULL)
            problem(l, "%s: there is no member \"%s\"; remove it", where, name);
    }
}

static void check_prices(struct loading *l, const char *where, const struct plan *plan)
{
    for (size_t i = 0; i < plan->price_ids.count; i++) {
        const char *wrong = check_price(plan->price_ids.of[i]);
        const struct plan *other = plans_by_price(l->plans, plan->price_ids.of[i]);

        if (wrong != NULL)
            problem(l, "%s: a price %s", where, wrong);
        else if (other != NULL)
            problem(l, "%s: its price %s is that of the plan %s too; each plan has its own", where,
                    plan->price_ids.of[i], other->name);
    }
    if (plan->price_ids.count > 0 && strcmp(plan->name, PLAN_FREE) == 0)
        problem(l, "%s: the plan \"free\" has no price; remove it", where);
}

static void read_currency(struct loading *l, const char *where, const json_t *object,
                          struct plan *plan)
{
    const json_t *value = json_object_get(object, "currency");
    const char *text = value == NULL ? "usd" : json_string_value(value);

    plan->currency = "usd";
    if (text == NULL || strlen(text) != 3 || strspn(text, "abcdefghijklmnopqrstuvwxyz") != 3)
        problem(l, "%s: currency must be three small letters, such as usd", where);
    else
        plan->currency = mem_string(l->mem, text);
}

static void read_interval(struct loading *l, const char *where, const json_t *object,
                          struct plan *plan)
{
    static const char *const intervals[] = {"day", "week", "month", "year"};
    const json_t *value = json_object_get(object, "interval");
    const char *text = value == NULL ? "month" : json_string_value(value);

    for (size_t i = 0; i < count_of(intervals) && text != NULL; i++) {
        if (strcmp(text, intervals[i]) == 0)
            plan->interval = intervals[i];
    }
    if (plan->interval == NULL)
        problem(l, "%s: interval must be day, week, month or year", where);
}

/* Which routes there are, and what a limit may say, the rate limits know. */
static void read_limits(struct loading *l, const char *where, const json_t *object,
                        struct plan *plan)
{
    const json_t *limits = json_object_get(object, "limits");
    struct plan_limit *list;
    const char *route;
    json_t *text;

    if (limits == NULL)
        return;
    if (!json_is_object(limits)) {
        problem(l, "%s: limits must be an object, such as {\"default\": \"300/minute\"}", where);
        return;
    }
    list = mem_array(l->plans, struct plan_limit, json_object_size(limits) + 1);
    json_object_foreach((json_t *)limits, route, text)
    {
        if (json_is_string(text))
            list[plan->limit_count++] = (struct plan_limit){
                mem_string(l->plans, route), mem_string(l->plans, json_string_value(text))};
        else
            problem(l, "%s: limits: %s must be a text, such as \"300/minute\"", where, route);
    }
    plan->limits = list;
}

static void read_plan(struct loading *l, const json_t *object, size_t index)
{
    static const char *const members[] = {"name",          "runs",     "amount",
                                          "interval",      "currency", "features",
                                          "stripe_prices", "limits",   NULL};
    const char *where = mem_printf(l->mem, "plan %zu", index + 1);
    const char *name = json_string_value(json_object_get(object, "name"));
    struct plan plan = {0};

    if (name == NULL || !is_name(name)) {
        problem(l, "%s: name must be 1 to %d small letters, digits, - and _", where,
                PLAN_NAME_BYTES);
        return;
    }
    where = mem_printf(l->mem, "plan \"%s\"", name);
    if (plans_by_name(l->plans, name) != NULL)
        problem(l, "%s: stands twice; give each plan a name of its own", where);
    plan.name = mem_string(l->mem, name);
    check_members(l, where, object, members);
    if (json_object_get(object, "runs") == NULL)
        problem(l, "%s: runs is missing; give how many a month, -1 for unlimited", where);
    plan.runs = read_number(l, where, object, "runs", PLAN_UNLIMITED, 0);
    plan.amount = read_number(l, where, object, "amount", -1, -1);
    read_interval(l, where, object, &plan);
    read_currency(l, where, object, &plan);
    plan.features = read_texts(l, where, object, "features");
    plan.price_ids = read_texts(l, where, object, "stripe_prices");
    read_limits(l, where, object, &plan);
    take_setting(l->settings, &plan);
    check_prices(l, where, &plan);
    l->plans->of[l->plans->count++] = plan;
}

static void read_trial(struct loading *l, const json_t *trial)
{
    static const char *const members[] = {"days", "runs", NULL};

    if (trial == NULL || json_is_null(trial))
        return;
    if (!json_is_object(trial)) {
        problem(l, "trial: must be {\"days\": 14, \"runs\": 50}, or null for none");
        return;
    }
    check_members(l, "trial", trial, members);
    l->plans->trial_days = read_number(l, "trial", trial, "days", 1, TRIAL_DAYS);
    l->plans->trial_runs = read_number(l, "trial", trial, "runs", PLAN_UNLIMITED, TRIAL_RUNS);
}

static void read_document(struct loading *l, const json_t *document)
{
    static const char *const members[] = {"plans", "trial", NULL};
    const json_t *list = json_object_get(document, "plans"), *item;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > PLANS_MOST) {
        problem(l, "must be {\"plans\": [...]} with 1 to %d plans", PLANS_MOST);
        return;
    }
    check_members(l, "the file", document, members);
    l->plans->of = mem_array(l->plans, struct plan, json_array_size(list));
    json_array_foreach(list, i, item) read_plan(l, item, i);
    read_trial(l, json_object_get(document, "trial"));
    if (plans_by_name(l->plans, PLAN_FREE) == NULL)
        problem(l, "there is no plan \"free\", which everybody has who bought nothing; add it");
}

const struct plans *plans_parse(void *mem, const struct settings *settings, const char *name,
                                const char *text, size_t len, struct texts *ret_problems)
{
    struct loading l = {mem, settings, name, mem_new(mem, struct plans), ret_problems};
    struct json_problem wrong;
    auto_json json_t *document = json_read(text, len, &wrong);

    *ret_problems = (struct texts){0};
    if (document == NULL)
        problem(&l, "is not JSON (byte %zu: %s)", wrong.offset, wrong.text);
    else
        read_document(&l, document);
    return ret_problems->count == 0 ? l.plans : NULL;
}

static const struct plans *load_file(void *mem, const struct settings *settings,
                                     struct texts *ret_problems)
{
    const char *path = settings->plans_file;
    struct loading l = {mem, settings, path, NULL, ret_problems};
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = mem_zero(mem, FILE_BYTES + 1);
    size_t len = 0;
    ssize_t n = 0;

    while (fd >= 0 && len < FILE_BYTES && (n = read(fd, text + len, FILE_BYTES - len)) > 0)
        len += (size_t)n;
    if (fd >= 0 && n >= 0 && len < FILE_BYTES)
        return plans_parse(mem, settings, path, text, len, ret_problems);
    problem(&l, "%s", fd < 0 || n < 0 ? strerror(errno) : "is longer than 256 KiB");
    return NULL;
}

const struct plans *plans_load(void *mem, const struct settings *settings,
                               struct texts *ret_problems)
{
    *ret_problems = (struct texts){0};
    if (settings->plans_file != NULL && *settings->plans_file != '\0')
        return load_file(mem, settings, ret_problems);
    return load_built_in(mem, settings, ret_problems);
}

/* Finding */

const struct plan *plans_by_name(const struct plans *plans, const char *name)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (strcasecmp(plans->of[i].name, name) == 0)
            return &plans->of[i];
    }
    return NULL;
}

const struct plan *plans_by_price(const struct plans *plans, const char *price_id)
{
    for (size_t i = 0; i < plans->count; i++) {
        const struct texts *prices = &plans->of[i].price_ids;

        for (size_t j = 0; j < prices->count; j++) {
            if (strcmp(prices->of[j], price_id) == 0)
                return &plans->of[i];
        }
    }
    return NULL;
}

const struct plan *plans_free(const struct plans *plans)
{
    assert(plans->count > 0);
    return plans_by_name(plans, PLAN_FREE);
}

size_t plan_rank(const struct plans *plans, const struct plan *plan)
{
    assert(plan != NULL);
    return (size_t)(plan - plans->of);
}
