#include "api/pages.h"

#include "api/app.h"
#include "api/build.h"
#include "api/handlers.h"
#include "api/language.h"
#include "core/crypto.h"
#include "http/reply.h"
#include "pages_data.h"

#include <string.h>

#define CSP                                                                                        \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " \
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

struct page {
    const char *type;
    const char *bytes;
    size_t len;
    const char *etag;
};

struct pages {
    struct page home_en, home_ar, docs, style, script;
};

static const char html[] = "text/html; charset=utf-8";

static struct page make_page(void *mem, const char *type, const char *bytes)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct page page = {.type = type, .bytes = bytes, .len = strlen(bytes)};

    crypto_sha256(hash, bytes, page.len);
    page.etag = mem_printf(mem, "\"%s\"", text_base64url(mem, hash, 12));
    return page;
}

static void put_html(struct text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '<')
            text_add(out, "&lt;");
        else if (*text == '&')
            text_add(out, "&amp;");
        else if (*text == '"')
            text_add(out, "&quot;");
        else
            text_char(out, *text);
    }
}

/* A page with the link to the source in the place of {{source}}. */
static const char *fill_in(void *mem, const char *page, const struct settings *settings)
{
    static const char mark[] = "{{source}}";
    const char *source = settings->source_url, *at;
    struct text out = text_open(mem, strlen(page) + 256);

    while ((at = strstr(page, mark)) != NULL) {
        text_put(&out, page, (size_t)(at - page));
        put_html(&out, source == NULL || *source == '\0' ? "/docs#source" : source);
        page = at + sizeof mark - 1;
    }
    text_add(&out, page);
    return out.s;
}

static void put_row(struct text *out, const struct route *row)
{
    static const char *const access[] = {"anybody", "a user", "an administrator"};

    text_printf(out, "<tr><td>%s</td><td><code>%s</code></td><td>%s</td><td>", row->method,
                row->path, access[row->access]);
    for (const struct field *field = row->body; field != NULL && field->name != NULL; field++)
        text_printf(out, "<code>%s</code> ", field->name);
    text_add(out, "</td><td>");
    put_html(out, row->summary);
    text_add(out, "</td></tr>\n");
}

static const char *make_docs(void *mem, const struct route *rows)
{
    struct text out = text_open(mem, 8192);

    text_add(&out, embedded_docs_head_html);
    for (; rows->method != NULL; rows++)
        put_row(&out, rows);
    text_printf(&out,
                "</table><h2 id=\"source\">Source</h2><p>manus %s, commit %s of %s, under the "
                "MIT licence.</p></main></body></html>\n",
                MANUS_VERSION, build_commit(mem), build_time(mem));
    return out.s;
}

struct pages *pages_make(void *mem, const struct settings *settings, const struct route *rows)
{
    struct pages *pages = mem_new(mem, struct pages);

    pages->home_en = make_page(mem, html, fill_in(mem, embedded_home_en_html, settings));
    pages->home_ar = make_page(mem, html, fill_in(mem, embedded_home_ar_html, settings));
    pages->docs = make_page(mem, html, make_docs(mem, rows));
    pages->style = make_page(mem, "text/css; charset=utf-8", embedded_style_css);
    pages->script = make_page(mem, "text/javascript; charset=utf-8", embedded_home_js);
    return pages;
}

static bool has_tag(const char *list, const char *etag)
{
    return list != NULL && (strcmp(list, "*") == 0 || strstr(list, etag) != NULL);
}

static enum err reply_page(struct request *req, const struct page *page)
{
    req->reply.cacheable = req->reply.is_page = true;
    reply_header(req, "Content-Security-Policy", CSP);
    reply_header(req, "Cache-Control", "no-cache");
    reply_header(req, "ETag", page->etag);
    if (has_tag(request_header(req, HEADER_IF_NONE_MATCH), page->etag))
        return reply_empty(req, 304);
    reply_json_text(req, 200, page->bytes, page->len);
    req->reply.content_type = page->type;
    return OK;
}

enum err pages_home(struct request *req)
{
    const struct pages *pages = app_of(req)->pages;

    reply_header(req, "Vary", "Accept-Language");
    return reply_page(req, language_of(req) == LANGUAGE_ARABIC ? &pages->home_ar : &pages->home_en);
}

enum err pages_docs(struct request *req)
{
    return reply_page(req, &app_of(req)->pages->docs);
}

enum err pages_asset(struct request *req)
{
    const struct pages *pages = app_of(req)->pages;
    const char *name = request_param(req, "name");

    if (strcmp(name, "style.css") == 0)
        return reply_page(req, &pages->style);
    if (strcmp(name, "home.js") == 0)
        return reply_page(req, &pages->script);
    return ERR_NOT_FOUND;
}
