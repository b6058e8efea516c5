#include "api/pages.h"

#include "api/app.h"
#include "api/build.h"
#include "api/handlers.h"
#include "api/language.h"
#include "api/openapi.h"
#include "core/crypto.h"
#include "core/phrases.h"
#include "http/reply.h"
#include "mail/outbox.h"
#include "pages_data.h"
#include "templates.h"
#include "viewer_data.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define CSP                                                                                        \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " \
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

/* The plain form of a compressed page: made when it is first asked for, and shared by all. */
struct plain {
    pthread_mutex_t lock;
    char *bytes; /* NULL: not yet */
    size_t len;
};

struct page {
    const char *type;
    const char *bytes;
    size_t len;
    struct plain *plain; /* NULL: it is not compressed */
    const char *etag;
};

enum { ASSETS = 9 };

/* What depends on the settings in force; by language. */
struct current {
    struct page home[LANGUAGES], verify[LANGUAGES], missing[LANGUAGES];
    struct page docs, openapi;
};

struct pages {
    _Atomic(const struct current *) current;
    struct asset {
        const char *name;
        struct page page;
    } assets[ASSETS];
};

static const char html[] = "text/html; charset=utf-8";

static struct page make_page_of(void *mem, const char *type, const char *bytes, size_t len)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct page page = {.type = type, .bytes = bytes, .len = len};

    assert(bytes != NULL);
    crypto_sha256(hash, bytes, len);
    page.etag = mem_printf(mem, "\"%s\"", text_base64url(mem, hash, 12));
    return page;
}

static struct page make_page(void *mem, const char *type, const char *text)
{
    return make_page_of(mem, type, text, strlen(text));
}

static int free_plain(struct plain *plain)
{
    free(plain->bytes);
    pthread_mutex_destroy(&plain->lock);
    return 0;
}

static struct page make_gzip(void *mem, const char *type, const char *bytes, size_t len)
{
    struct page page = make_page_of(mem, type, bytes, len);

    page.plain = mem_new(mem, struct plain);
    pthread_mutex_init(&page.plain->lock, NULL);
    talloc_set_destructor(page.plain, free_plain);
    return page;
}

static const char *provider_name(const struct settings *settings)
{
    return settings->auth_provider == PROVIDER_NONE    ? "none"
           : settings->auth_provider == PROVIDER_LOCAL ? "local"
                                                       : "password";
}

static struct page make_home(void *mem, const struct settings *settings, enum language language)
{
    struct text out = text_open(mem, 8192);

    template_home_html(&out, language,
                       &(struct template_home){
                           .source_url = settings->source_url,
                           .provider = provider_name(settings),
                           .confirms = settings->email_verification &&
                                       outbox_is_configured(settings) &&
                                       settings->auth_provider == PROVIDER_PASSWORD,
                           .password_min = settings->password_min,
                       });
    return make_page(mem, html, out.s);
}

static struct page make_verify(void *mem, const struct settings *settings, enum language language)
{
    struct text out = text_open(mem, 8192);

    template_verify_html(&out, language,
                         &(struct template_verify){.password_min = settings->password_min});
    return make_page(mem, html, out.s);
}

static struct page make_missing(void *mem, const struct settings *settings, enum language language)
{
    struct text out = text_open(mem, 2048);

    template_missing_html(&out, language,
                          &(struct template_missing){.source_url = settings->source_url});
    return make_page(mem, html, out.s);
}

static struct page make_docs(void *mem, const struct settings *settings)
{
    struct text out = text_open(mem, 2048);

    template_docs_html(&out, LANGUAGE_ENGLISH,
                       &(struct template_docs){
                           .source_url = settings->source_url,
                           .version = MANUS_VERSION,
                           .commit = build_commit(mem),
                           .committed_at = build_time(mem),
                       });
    return make_page(mem, html, out.s);
}

void pages_follow(struct pages *pages, void *mem, const struct settings *settings,
                  const struct route *rows)
{
    auto_json json_t *document = openapi_document(mem, settings, rows);
    auto_text char *text = json_dumps(document, JSON_COMPACT);
    struct current *current = mem_new(mem, struct current);

    for (enum language language = 0; language < LANGUAGES; language++) {
        current->home[language] = make_home(mem, settings, language);
        current->verify[language] = make_verify(mem, settings, language);
        current->missing[language] = make_missing(mem, settings, language);
    }
    current->docs = make_docs(mem, settings);
    current->openapi = make_page(mem, "application/json", mem_string(mem, text));
    atomic_store(&pages->current, current);
}

#define GZIP(type, bytes) make_gzip(mem, (type), (bytes), sizeof(bytes) - 1)

struct pages *pages_make(void *mem, const struct settings *settings, const struct route *rows)
{
    static const char plain[] = "text/plain; charset=utf-8";
    static const char css[] = "text/css; charset=utf-8", js[] = "text/javascript; charset=utf-8";
    struct pages *pages = mem_new(mem, struct pages);

    *pages = (struct pages){
        .assets = {{"style.css", make_page(mem, css, embedded_style_css)},
                   {"texts.js", make_page(mem, js,
                                          mem_printf(mem, "\"use strict\";\n\nconst texts = %s;\n",
                                                     phrases_as_json(mem)))},
                   {"common.js", make_page(mem, js, embedded_common_js)},
                   {"home.js", make_page(mem, js, embedded_home_js)},
                   {"verify.js", make_page(mem, js, embedded_verify_js)},
                   {"docs.js", make_page(mem, js, embedded_docs_js)},
                   {"swagger-ui.js", GZIP(js, embedded_swagger_ui_bundle_js)},
                   {"swagger-ui.css", GZIP(css, embedded_swagger_ui_css)},
                   {"swagger-ui.LICENSE", GZIP(plain, embedded_LICENSE)}},
    };
    pages_follow(pages, mem, settings, rows);
    return pages;
}

static bool has_tag(const char *list, const char *etag)
{
    return list != NULL && (strcmp(list, "*") == 0 || strstr(list, etag) != NULL);
}

/* Whether a weight in an element of a list, whose end is `end`, is more than 0; 1 if it has none.
 */
static bool has_weight(const char *element, const char *end)
{
    while ((element = memchr(element, ';', (size_t)(end - element))) != NULL) {
        element += 1 + strspn(element + 1, " \t");
        if (strncasecmp(element, "q=", 2) == 0)
            return strtod(element + 2, NULL) > 0;
    }
    return true;
}

/* RFC 9110 sections 12.5.1 and 12.5.3, as far as clients differ: whether `name` is in the list
 * (NULL: none was sent), and not with q=0. */
static bool takes(const char *accepted, const char *name)
{
    size_t len, name_len = strlen(name);

    for (; accepted != NULL && *accepted != '\0'; accepted += len) {
        accepted += strspn(accepted, ", \t");
        len = strcspn(accepted, ",");
        if (strncasecmp(accepted, name, name_len) == 0 &&
            strchr(",; \t", accepted[name_len]) != NULL)
            return has_weight(accepted, accepted + len);
    }
    return false;
}

static bool takes_gzip(const struct request *req)
{
    return takes(request_header(req, HEADER_ACCEPT_ENCODING), "gzip");
}

/* RFC 1952: the last four bytes are the length of the plain form. */
static size_t plain_len(const struct page *page)
{
    const uint8_t *end = (const uint8_t *)page->bytes + page->len;

    return end[-4] | (size_t)end[-3] << 8 | (size_t)end[-2] << 16 | (size_t)end[-1] << 24;
}

static char *inflate_page(const struct page *page)
{
    size_t len = plain_len(page);
    char *bytes = mem_malloc(len + 1);
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)page->bytes,
                       .avail_in = (uInt)page->len,
                       .next_out = (Bytef *)bytes,
                       .avail_out = (uInt)len + 1};
    bool done = inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK &&
                inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.total_out == len;

    inflateEnd(&stream);
    if (done)
        return bytes;
    free(bytes);
    return NULL;
}

static enum err reply_plain(struct request *req, const struct page *page)
{
    struct plain *plain = page->plain;

    pthread_mutex_lock(&plain->lock);
    if (plain->bytes == NULL) {
        plain->bytes = inflate_page(page);
        plain->len = plain_len(page);
    }
    pthread_mutex_unlock(&plain->lock);
    if (plain->bytes == NULL)
        return fail(&req->task, ERR_INTERNAL, "an embedded file cannot be inflated");
    return reply_json_text(req, 200, plain->bytes, plain->len);
}

static enum err reply_page(struct request *req, const struct page *page)
{
    enum err e;

    req->reply.cacheable = req->reply.is_page = true;
    reply_header(req, "Content-Security-Policy", CSP);
    reply_header(req, "Cache-Control", "no-cache");
    reply_header(req, "ETag", page->etag);
    if (page->plain != NULL)
        reply_header(req, "Vary", "Accept-Encoding");
    if (has_tag(request_header(req, HEADER_IF_NONE_MATCH), page->etag))
        return reply_empty(req, 304);
    if (page->plain != NULL && !takes_gzip(req)) {
        e = reply_plain(req, page);
    } else {
        if (page->plain != NULL)
            reply_header(req, "Content-Encoding", "gzip");
        e = reply_json_text(req, 200, page->bytes, page->len);
    }
    req->reply.content_type = page->type;
    return e;
}

static enum err reply_translated(struct request *req, const struct page pages[LANGUAGES])
{
    reply_header(req, "Vary", "Accept-Language");
    return reply_page(req, &pages[language_of(req)]);
}

static const struct current *current_of(const struct request *req)
{
    return atomic_load(&app_of(req)->pages->current);
}

enum err pages_home(struct request *req)
{
    return reply_translated(req, current_of(req)->home);
}

enum err pages_verify(struct request *req)
{
    return reply_translated(req, current_of(req)->verify);
}

enum err pages_docs(struct request *req)
{
    return reply_page(req, &current_of(req)->docs);
}

enum err pages_openapi(struct request *req)
{
    return reply_page(req, &current_of(req)->openapi);
}

/* A browser that shows what comes, and nothing of the API. */
static bool is_for_a_reader(const struct request *req)
{
    return (strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0) &&
           strncmp(req->path, "/api/", 5) != 0 &&
           takes(request_header(req, HEADER_ACCEPT), "text/html");
}

bool pages_missing(struct request *req)
{
    const struct page *page = &current_of(req)->missing[language_of(req)];

    if (!is_for_a_reader(req))
        return false;
    req->reply.is_page = true;
    reply_header(req, "Content-Security-Policy", CSP);
    reply_header(req, "Vary", "Accept, Accept-Language");
    reply_json_text(req, 404, page->bytes, page->len);
    req->reply.content_type = page->type;
    return true;
}

static const struct page *find_asset(const struct request *req)
{
    const struct pages *pages = app_of(req)->pages;
    const char *name = request_param(req, "name");

    assert(req->match.route != NULL);
    for (size_t i = 0; i < ASSETS; i++) {
        if (strcmp(name, pages->assets[i].name) == 0)
            return &pages->assets[i].page;
    }
    return NULL;
}

enum err pages_asset(struct request *req)
{
    const struct page *page = find_asset(req);

    return page == NULL ? ERR_NOT_FOUND : reply_page(req, page);
}

/* Inflating would hold up the loop. */
bool pages_asset_fast(struct request *req)
{
    const struct page *page = find_asset(req);

    return page != NULL && (page->plain == NULL || takes_gzip(req)) && reply_page(req, page) == OK;
}
