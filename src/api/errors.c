#include "api/errors.h"

#include "api/routes.h"
#include "core/err.h"
#include "core/text.h"
#include "core/told.h"

#include <string.h>

static const char shapes[] =
    "# Errors\n"
    "\n"
    "The HTTP status says what kind of refusal it is, and the text beside it which one: texts are "
    "stable, compare them as they stand. Each\n"
    "reply has an `X-Request-Id`, by which the log finds it. `manus errors` prints this page.\n"
    "\n"
    "## Four shapes\n"
    "\n"
    "Almost every refusal. `code` is the HTTP status; `data` is null, or what helps "
    "(`portal_url`, where a payment is mended):\n"
    "\n"
    "```json\n"
    "{\"code\": 401, \"msg\": \"Invalid email or password\", \"data\": null}\n"
    "```\n"
    "\n"
    "A body that is not as it must be: 422 with every problem, `msg` being the first. `loc` names "
    "the field:\n"
    "\n"
    "```json\n"
    "{\"detail\": [{\"type\": \"value_error\", \"loc\": [\"body\", \"password\"],\n"
    "             \"msg\": \"Value error, Password must be at least 6 characters long\", \"ctx\": "
    "{\"error\": {}}}],\n"
    " \"code\": 422, \"msg\": \"Password must be at least 6 characters long\"}\n"
    "```\n"
    "\n"
    "Too many requests: 429, with the seconds to wait also in `Retry-After` "
    "([rate limits](rate-limits.md)):\n"
    "\n"
    "```json\n"
    "{\"error\": \"Rate limit exceeded\", \"message\": \"Too many requests. Please try again "
    "later.\", \"retry_after\": 42}\n"
    "```\n"
    "\n"
    "The gate in front of an application ([billing](billing.md)). Where nothing is left to use "
    "(402) it says what there was, as `code`,\n"
    "`msg`, `error_code` and `subscription` beside it:\n"
    "\n"
    "```json\n"
    "{\"detail\": \"Authentication required\"}\n"
    "```\n"
    "\n"
    "## By status\n"
    "\n"
    "| status | text, if there is no closer one | whose to mend |\n"
    "|---|---|---|\n";

static const char *const menders[] = {
    [BLAME_CALLER] = "the caller's: do what the text says",
    [BLAME_REMOTE] = "nobody's here: try again, after `Retry-After` if it is there",
    [BLAME_US] = "the server's: a defect, which its log tells of",
};

/* Of a status with the same text, the first row alone. */
static bool is_told_before(enum err e)
{
    const struct err_info *info = err_info(e);

    for (enum err before = OK + 1; before < e; before++) {
        if (err_info(before)->status == info->status &&
            strcmp(err_info(before)->text, info->text) == 0)
            return true;
    }
    return false;
}

static void put_statuses(struct text *out)
{
    for (enum err e = OK + 1; e < ERR_COUNT; e++) {
        const struct err_info *info = err_info(e);

        /* To who has hung up nothing is said. */
        if (e != ERR_GONE && !is_told_before(e))
            text_printf(out, "| %d | %s | %s |\n", info->status, info->text, menders[info->blame]);
        if (info->status == 422)
            text_add(out, "| 429 | Too many requests. Please try again later. | the caller's: "
                          "wait as long as `Retry-After` says |\n");
    }
}

static const char *meaning(const char *wire)
{
    for (const struct told_row *row = told_rows; row->wire != NULL; row++) {
        if (strcmp(row->wire, wire) == 0)
            return row->phrase.in[LANGUAGE_ENGLISH] == NULL ? "" : row->phrase.in[LANGUAGE_ENGLISH];
    }
    return "";
}

static void put_routes(struct text *out)
{
    text_add(out, "\n## By route\n\nBeside these: 401 and 403 where somebody must be logged in or "
                  "an administrator, 422 where there is a body, 400 for a query\nthat is not as it "
                  "must be, 429 and 503 anywhere. The last column is what the pages say.\n\n"
                  "| route | status | text | that is |\n|---|---|---|---|\n");
    for (const struct route *route = routes; route->method != NULL; route++) {
        for (const struct refusal *r = route->refusals; r != NULL && r->status != 0; r++)
            text_printf(out, "| `%s %s` | %d | %s | %s |\n", route->method, route->path, r->status,
                        r->msg, meaning(r->msg));
    }
}

char *errors_as_markdown(void *mem)
{
    struct text out = text_open(mem, 16384);

    text_add(&out, shapes);
    put_statuses(&out);
    put_routes(&out);
    return out.s;
}
