/* The gate's question. What it says of a target is compared with readings of that target: nginx's
 * normalisation, and careless applications' behind it. Then a whole question is asked: lines of a
 * method and a target for the request itself, the X-Original- and the X-Forwarded- headers. The
 * first byte says which headers are there, the second which stand twice. */
#include "api/guard.h"

#include "api/handlers.h"
#include "http/request.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int digit(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* Percent signs that begin nothing stay. */
static char *decode(void *mem, const char *from)
{
    char *out = mem_zero(mem, strlen(from) + 1), *to = out;

    for (; *from != '\0'; from++) {
        if (*from == '%' && digit(from[1]) >= 0 && digit(from[2]) >= 0) {
            *to++ = (char)(digit(from[1]) * 16 + digit(from[2]));
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return out;
}

/* Slashes merged, dot segments resolved, as ngx_http_parse_complex_uri() does. NULL: above the
 * root, which nginx refuses. */
static char *resolve(void *mem, const char *path)
{
    char *out = mem_zero(mem, strlen(path) + 2), *to = out;

    *to++ = '/';
    while (*path != '\0') {
        size_t len = strcspn(path, "/");

        if (len == 2 && path[0] == '.' && path[1] == '.') {
            if (to - out < 2)
                return NULL;
            do
                to--;
            while (to[-1] != '/');
        } else if (len > 0 && !(len == 1 && path[0] == '.')) {
            memcpy(to, path, len);
            to += len;
            if (path[len] == '/')
                *to++ = '/';
        }
        path += len + (path[len] == '/');
    }
    *to = '\0';
    return out;
}

static char *nginx_path(void *mem, const char *target)
{
    return resolve(mem, decode(mem, mem_copy(mem, target, strcspn(target, "?#"))));
}

/* As an application may read what nginx hands on: decoded once more, without parameters of
 * segments, with backslashes for slashes, in small letters. */
static char *careless_path(void *mem, const char *path)
{
    char *out = decode(mem, path), *to = out;

    for (const char *at = out; *at != '\0'; at++) {
        if (*at == ';')
            at += strcspn(at, "/");
        if (*at == '\0')
            break;
        *to++ = *at == '\\' ? '/' : (char)tolower((unsigned char)*at);
    }
    *to = '\0';
    return resolve(mem, out);
}

static bool is_at(const char *path, const char *of)
{
    size_t len = strlen(of);

    return strncmp(path, of, len) == 0 && (path[len] == '\0' || strcmp(path + len, "/") == 0);
}

static bool is_metered(const char *method, const char *path)
{
    return (strcasecmp(method, "PUT") == 0 && is_at(path, "/api/v1/sessions")) ||
           (strcasecmp(method, "POST") == 0 && is_at(path, "/api/v1/agent/execute"));
}

static bool is_guarded(const char *path)
{
    static const char *const guarded[] = {"/api/v1/sessions", "/api/v1/agent/execute",
                                          "/api/v1/sandbox"};

    for (size_t i = 0; i < count_of(guarded); i++) {
        size_t len = strlen(guarded[i]);

        if (strncmp(path, guarded[i], len) == 0 && (path[len] == '\0' || path[len] == '/'))
            return true;
    }
    return false;
}

static bool is_plain(const char *target)
{
    return target[0] == '/' && strstr(target, "//") == NULL && strstr(target, "/.") == NULL &&
           target[strspn(target, "abcdefghijklmnopqrstuvwxyz0123456789/._-")] == '\0';
}

static void try_target(void *mem, const char *method, const char *target)
{
    enum guard_path found = guard_classify(method, target);
    char *path = nginx_path(mem, target);

    /* What is plain is never refused, so that nobody is shut out. */
    if (is_plain(target) && strlen(target) < 1000 && strcmp(method, "GET") == 0)
        assert(found == (is_guarded(target) ? GUARD_FREE : GUARD_OUTSIDE));
    if (found == GUARD_UNSAFE)
        return;
    assert(path != NULL);
    assert((found == GUARD_OUTSIDE) == !is_guarded(path));
    assert((found == GUARD_METERED) == is_metered(method, path));
    /* Only what nobody pays for goes on unpaid. */
    if (found == GUARD_FREE)
        assert(!is_metered(method, careless_path(mem, path)));
}

/* The question */

enum { LINES = 6 };

static const enum known_header names[LINES - 2] = {HEADER_ORIGINAL_METHOD, HEADER_ORIGINAL_URI,
                                                   HEADER_FORWARDED_METHOD, HEADER_FORWARDED_URI};

/* Every source that says something says this. */
static void check_agreed(const struct request *req, const char *method, const char *target)
{
    for (size_t i = 0; i < count_of(names); i++) {
        if (req->headers[names[i]].count > 0)
            assert(strcmp(req->headers[names[i]].value, i % 2 == 0 ? method : target) == 0);
    }
}

static void check_answer(const struct request *asked)
{
    const char *method = asked->headers[HEADER_ORIGINAL_METHOD].value;
    const char *target = asked->headers[HEADER_ORIGINAL_URI].value;
    int status = asked->reply.status;

    assert(status == 200 || status == 400 || status == 401 || status == 403);
    if (status == 400 || status == 403)
        return;
    for (size_t i = 0; i < count_of(names); i++)
        assert(asked->headers[names[i]].count <= 1);
    if (asked->headers[HEADER_ORIGINAL_METHOD].count == 0) {
        method = asked->headers[HEADER_FORWARDED_METHOD].value;
        target = asked->headers[HEADER_FORWARDED_URI].value;
    }
    if (asked->headers[HEADER_ORIGINAL_METHOD].count == 0 &&
        asked->headers[HEADER_FORWARDED_METHOD].count == 0) {
        method = asked->method;
        target = asked->target + strlen("/api/v1/gate");
    }
    check_agreed(asked, method, target);
    assert(guard_classify(method, target) >= GUARD_METERED);
    assert((status == 200) == (strcmp(method, "OPTIONS") == 0));
}

/* Of nobody: only a preflight goes through. */
static void ask(void *mem, char *const *lines, unsigned present, unsigned twice)
{
    static struct network network;
    struct settings settings = {.gate_proxies = {&network, 1}};
    struct request *req = mem_new(mem, struct request);

    network_parse("127.0.0.0/8", &network);
    address_parse("127.0.0.1", 9, &req->peer);
    req->task.mem = mem;
    req->settings = &settings;
    req->method = lines[0];
    req->target = lines[1];
    for (size_t i = 0; i < count_of(names); i++) {
        if ((present >> i & 1) == 0)
            continue;
        req->headers[names[i]].value = lines[2 + i];
        req->headers[names[i]].count = 1 + (twice >> i & 1);
    }
    assert(guard_fast(req));
    check_answer(req);
    address_parse("192.0.2.1", 9, &req->peer);
    req->reply.status = 0;
    assert(guard_fast(req) && req->reply.status == 403);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    char *lines[LINES], *at;

    if (len < 2)
        return 0;
    at = mem_copy(mem, (const char *)bytes + 2, len - 2);
    for (int i = 0; i < LINES; i++) {
        lines[i] = at;
        at += strcspn(at, "\n");
        if (*at != '\0')
            *at++ = '\0';
    }
    for (int i = 0; i < LINES; i += 2)
        try_target(mem, lines[i], lines[i + 1]);
    ask(mem, lines, bytes[0], bytes[1]);
    return 0;
}
