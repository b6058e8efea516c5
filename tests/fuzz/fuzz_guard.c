/* The guard's question, by all who may ask it, and the paths that it judges, held against how
 * proxies and applications read paths. Lines: a byte that says which headers there are, and which
 * of them twice; the method
 * and the target of the request; those of X-Original-…; those of X-Forwarded-…. */
#include "api/guard.h"
#include "api/handlers.h"
#include "core/text.h"
#include "http/request.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { LINES = 7, OWN = 12 /* bytes of /api/v1/gate */ };

static int digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Percent signs that stand before two digits are decoded; others stay. */
static char *decoded(void *mem, const char *path)
{
    char *out = mem_zero(mem, strlen(path) + 1), *to = out;

    for (; *path != '\0'; path++) {
        bool encoded = *path == '%' && digit(path[1]) >= 0 && digit(path[2]) >= 0;

        *to++ = encoded ? (char)(digit(path[1]) * 16 + digit(path[2])) : *path;
        path += encoded ? 2 : 0;
    }
    return out;
}

/* As nginx merges slashes and resolves dots, in what is decoded. */
static char *resolved(void *mem, const char *path)
{
    char *out = mem_zero(mem, strlen(path) + 2), *to = out;

    while (*path != '\0') {
        size_t len;

        path += strspn(path, "/");
        len = strcspn(path, "/");
        if (len == 2 && strncmp(path, "..", 2) == 0) {
            while (to > out && *--to != '/')
                continue;
            *to = '\0';
        } else if (len > 0 && !(len == 1 && *path == '.')) {
            *to++ = '/';
            memcpy(to, path, len);
            to += len;
            *to = '\0';
        }
        if (path[len] == '/' && path[len + strspn(path + len, "/")] == '\0')
            *to++ = '/';
        path += len;
    }
    return out[0] == '\0' ? mem_string(mem, "/") : out;
}

static char *with_slashes(void *mem, const char *path)
{
    char *out = mem_string(mem, path);

    for (char *at = out; *at != '\0'; at++)
        *at = *at == '\\' ? '/' : *at;
    return out;
}

/* Without the parameters of its segments, as servlets read it. */
static char *without_parameters(void *mem, const char *path)
{
    char *out = mem_zero(mem, strlen(path) + 1), *to = out;

    while (*path != '\0') {
        if (*path == ';')
            path += strcspn(path, "/");
        else
            *to++ = *path++;
    }
    return out;
}

/* Is it one of these, or below it? */
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

/* What can be read in one way only is judged, so that nobody is shut out. */
static void try_plain(const char *target)
{
    bool is_plain = target[0] == '/' && strstr(target, "//") == NULL &&
                    strstr(target, "/.") == NULL && strlen(target) < 1000 &&
                    target[strspn(target, "abcdefghijklmnopqrstuvwxyz0123456789/._-")] == '\0';

    if (is_plain)
        assert(guard_classify("GET", target) == (is_guarded(target) ? GUARD_FREE : GUARD_OUTSIDE));
}

/* However it is read, a path that is not unsafe is the same to the guard. */
static void try_path(void *mem, const char *method, const char *target)
{
    enum guard_path found = guard_classify(method, target);
    char *path = mem_copy(mem, target, strcspn(target, "?#")), *once, *twice;

    if (found == GUARD_UNSAFE)
        return;
    once = decoded(mem, path);
    twice = decoded(mem, once);
    assert(guard_classify(method, once) == found);
    assert(guard_classify(method, resolved(mem, once)) == found);
    assert(guard_classify(method, resolved(mem, twice)) == found);
    assert(guard_classify(method, resolved(mem, path)) == found);
    assert(guard_classify(method, resolved(mem, with_slashes(mem, twice))) == found);
    assert(guard_classify(method, resolved(mem, without_parameters(mem, twice))) == found);
    assert(strlen(once) == strcspn(once, "\\;%?#\r\n"));
    /* What begins a run is the path alone, however many slashes stand behind it. */
    assert((found == GUARD_OUTSIDE) == !is_guarded(resolved(mem, twice)));
    if (strcmp(resolved(mem, once), "/api/v1/sessions") == 0)
        assert((found == GUARD_METERED) == (strcasecmp(method, "PUT") == 0));
}

/* The question as the header of guard.h has it: whoever says anything says all, and all say the
 * same. */
struct question {
    const char *method, *target;
    bool is_wrong;
};

static void join(struct question *q, bool has_method, bool has_target, const char *method,
                 const char *target)
{
    if (!has_method && !has_target)
        return;
    if (!has_method || !has_target ||
        (q->method != NULL && (strcmp(q->method, method) != 0 || strcmp(q->target, target) != 0)))
        q->is_wrong = true;
    q->method = method;
    q->target = target;
}

static int expected(const char *const *line, unsigned mask)
{
    struct question q = {0};

    if (line[2][OWN] == '/' && line[2][OWN + 1] != '\0')
        join(&q, true, true, line[1], line[2] + OWN);
    join(&q, mask & 1, mask & 2, line[3], line[4]);
    join(&q, mask & 4, mask & 8, line[5], line[6]);
    /* One that stands twice says nothing. */
    q.is_wrong = q.is_wrong || (mask & mask >> 4 & 15) != 0;
    if (q.is_wrong || q.method == NULL)
        return 400;
    switch (guard_classify(q.method, q.target)) {
    case GUARD_UNSAFE:
        return 400;
    case GUARD_OUTSIDE:
        return 403;
    default:
        return strcmp(q.method, "OPTIONS") == 0 ? 200 : 401;
    }
}

static void ask(void *mem, const char *const *line, unsigned mask)
{
    static const enum known_header names[] = {HEADER_ORIGINAL_METHOD, HEADER_ORIGINAL_URI,
                                              HEADER_FORWARDED_METHOD, HEADER_FORWARDED_URI};
    struct network proxies;
    const struct settings settings = {.gate_proxies = {&proxies, 1}};
    struct request *req = mem_new(mem, struct request);

    network_parse("127.0.0.0/8", &proxies);
    address_parse("127.0.0.1", 9, &req->peer);
    req->task.mem = mem;
    req->task.settings = &settings;
    req->method = line[1];
    req->target = line[2];
    for (unsigned i = 0; i < 4; i++) {
        if (mask >> i & 1) {
            req->headers[names[i]].value = line[3 + i];
            req->headers[names[i]].count = 1 + (mask >> (4 + i) & 1);
        }
    }
    assert(guard_fast(req));
    assert(req->reply.status == expected(line, mask));
    /* Nobody else may ask. */
    req->reply.status = 0;
    address_parse("128.0.0.1", 9, &req->peer);
    assert(guard_fast(req) && req->reply.status == 403);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    char *at = mem_copy(mem, (const char *)bytes, len);
    const char *line[LINES];

    for (int i = 0; i < LINES; i++) {
        line[i] = at;
        at += strcspn(at, "\n");
        if (*at == '\n')
            *at++ = '\0';
    }
    for (int i = 1; i < LINES; i += 2) {
        try_plain(line[i + 1]);
        try_path(mem, line[i], line[i + 1]);
    }
    if (strncmp(line[2], "/api/v1/gate", OWN) == 0 && strchr("/?", line[2][OWN]) != NULL)
        ask(mem, line, (unsigned char)line[0][0]);
    return 0;
}
