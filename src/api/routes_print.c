#include "api/routes.h"

#include "api/limits.h"
#include "core/text.h"

#include <assert.h>

static const char *access_name(enum access access)
{
    static const char *const names[] = {"anybody", "anybody",      "user",
                                        "admin",   "GATE_PROXIES", "admin, METRICS_TOKEN"};

    assert((size_t)access < count_of(names));
    return names[access];
}

/* "`{plan, return_url?}`": what may be left out has a question mark. */
static void put_body(struct text *out, const struct route *row)
{
    if (row->body == NULL)
        return;
    text_add(out, "`{");
    for (const struct field *f = row->body; f->name != NULL; f++)
        text_printf(out, "%s%s%s", f == row->body ? "" : ", ", f->name,
                    f->optional || row->body_optional ? "?" : "");
    text_add(out, "}`");
}

static void put_query(struct text *out, const struct route *row)
{
    for (const struct query_row *q = row->query; q != NULL && q->name != NULL; q++)
        text_printf(out, "%s%s=", q == row->query ? row->body == NULL ? "`?" : " `?" : "&",
                    q->name);
    if (row->query != NULL)
        text_char(out, '`');
}

char *routes_as_markdown(void *mem)
{
    struct text out = text_open(mem, 4096);

    text_add(&out, "| method | path | for | limits | setting of the limits | what it does | body "
                   "and query |\n|---|---|---|---|---|---|---|\n");
    for (const struct route *row = routes; row->method != NULL; row++) {
        text_printf(&out, "| %s | `%s` | %s | %s | `%s` | %s | ", row->method, row->path,
                    access_name(row->access), row->limits == NULL ? "the default" : row->limits,
                    limits_setting_name(mem, routes, row), row->summary);
        put_body(&out, row);
        put_query(&out, row);
        text_add(&out, " |\n");
    }
    return out.s;
}
