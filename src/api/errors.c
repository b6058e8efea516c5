#include "api/errors.h"

#include "api/routes.h"
#include "core/err.h"
#include "core/phrases.h"
#include "core/text.h"

#include <string.h>

static const char shapes[] =
    "# Errors\n"
    "\n"
    "The HTTP status says what kind of error it is, and the text says which one. The texts are "
    "stable, so a program can compare\n"
    "them. Each reply carries an `X-Request-Id`; the log lines of the request carry the same "
    "value. `manus errors` prints this page.\n"
    "\n"
    "## Four formats\n"
    "\n"
    "Almost every error has this format. `code` is the HTTP status. `data` is null, except where "
    "the user can fix a payment:\n"
    "there it holds `portal_url`.\n"
    "\n"
    "```json\n"
    "{\"code\": 401, \"msg\": \"Invalid email or password\", \"data\": null}\n"
    "```\n"
    "\n"
    "An invalid body gets 422. `detail` lists every problem, `loc` names the field, and `msg` "
    "repeats the first problem:\n"
    "\n"
    "```json\n"
    "{\"detail\": [{\"type\": \"value_error\", \"loc\": [\"body\", \"password\"],\n"
    "             \"msg\": \"Value error, Password must be at least 6 characters long\", \"ctx\": "
    "{\"error\": {}}}],\n"
    " \"code\": 422, \"msg\": \"Password must be at least 6 characters long\"}\n"
    "```\n"
    "\n"
    "A request beyond a rate limit gets 429. `retry_after` is the number of seconds to wait, as in "
    "the header `Retry-After`\n"
    "([rate limits](rate-limits.md)):\n"
    "\n"
    "```json\n"
    "{\"error\": \"Rate limit exceeded\", \"message\": \"Too many requests. Please try again "
    "later.\", \"retry_after\": 42}\n"
    "```\n"
    "\n"
    "The [gate](billing.md#the-gate) in front of an application answers with `detail`. With 402, "
    "`code`, `msg`, `error_code` and\n"
    "`subscription` stand beside it and describe the user's plan:\n"
    "\n"
    "```json\n"
    "{\"detail\": \"Authentication required\"}\n"
    "```\n"
    "\n"
    "## By status\n"
    "\n"
    "The text below applies if the route has no more specific one.\n"
    "\n"
    "| status | text | what to do |\n"
    "|---|---|---|\n";

static const char *const menders[] = {
    [BLAME_CALLER] = "correct the request as the text says",
    [BLAME_REMOTE] = "retry, after `Retry-After` seconds if the reply carries it",
    [BLAME_US] = "report it: this is a defect, and the log of the server describes it",
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
            text_add(out, "| 429 | Too many requests. Please try again later. | wait for "
                          "`Retry-After` seconds, then retry |\n");
    }
}

static const char *meaning(const char *wire)
{
    for (const struct phrase_row *row = phrase_rows; row->wire != NULL; row++) {
        if (strcmp(row->wire, wire) == 0)
            return row->phrase.in[LANGUAGE_ENGLISH] == NULL ? "" : row->phrase.in[LANGUAGE_ENGLISH];
    }
    return "";
}

static void put_routes(struct text *out)
{
    text_add(out,
             "\n## By route\n\nBeyond these, a route that needs a login can answer 401, one for "
             "administrators 403, one with a body 422, one with query\nparameters 400, and "
             "every route 429 and 503. The last column is what the pages of manus show "
             "to people.\n\n| route | status | text | shown as |\n|---|---|---|---|\n");
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
