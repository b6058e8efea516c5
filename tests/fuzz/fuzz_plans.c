/* What operators write into files: PLANS_FILE, or a .env by its lines. A text that begins with E is
 * a .env. */
#include "billing/plans.h"
#include "core/dotenv.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_plan(const struct plans *plans, const struct plan *plan)
{
    assert(plans_by_name(plans, plan->name) == plan && strlen(plan->name) <= PLAN_NAME_BYTES);
    assert(plan->runs >= PLAN_UNLIMITED && plan->amount >= -1 && strlen(plan->currency) == 3);
    for (size_t i = 0; i < plan->price_ids.count; i++)
        assert(plans_by_price(plans, plan->price_ids.of[i]) == plan);
    for (size_t i = 0; i < plan->limit_count; i++)
        assert(plan->limits[i].route != NULL && plan->limits[i].text != NULL);
}

static void try_plans(void *mem, const char *text, size_t len)
{
    static const char *basic[] = {"price_basic", "price_old"};
    struct settings settings = {.stripe_price_basic = {basic, 2}};
    struct texts problems;
    const struct plans *plans = plans_parse(mem, &settings, "plans.json", text, len, &problems);

    assert((plans == NULL) == (problems.count > 0));
    for (size_t i = 0; i < problems.count; i++)
        assert(strncmp(problems.of[i], "PLANS_FILE: plans.json: ", 24) == 0);
    if (plans == NULL)
        return;
    assert(plans->count >= 1 && plans->count <= PLANS_MOST && plans->trial_days >= 0);
    assert(plans_free(plans) != NULL && plan_price(plans_free(plans)) == NULL);
    for (size_t i = 0; i < plans->count; i++)
        check_plan(plans, &plans->of[i]);
}

struct lines {
    unsigned last, most;
};

static void check_line(void *context, const struct dotenv_line *line)
{
    struct lines *lines = context;

    assert(line->number > lines->last && line->number <= lines->most);
    lines->last = line->number;
    assert((line->name == NULL) == (line->problem != NULL));
    if (line->name == NULL)
        return;
    assert(line->name[strspn(line->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_")] == '\0');
    assert(*line->name != '\0' && strchr("0123456789", *line->name) == NULL);
    assert(line->value != NULL);
}

static void try_env(void *mem, const char *text, size_t len)
{
    struct lines lines = {.most = 1};

    for (size_t i = 0; i < len; i++)
        lines.most += text[i] == '\n';
    dotenv_read(mem, text, len, check_line, &lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);

    if (len == 0)
        return 0;
    if (bytes[0] == 'E')
        try_env(mem, (const char *)bytes + 1, len - 1);
    else
        try_plans(mem, (const char *)bytes, len);
    return 0;
}
