#include "http/router.h"

#include "core/unicode.h"

#include "core/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { BUCKETS = 256 };

/* A path of the table with the rows of its methods. */
struct place {
    struct place *next; /* in its bucket, or among those with parameters */
    const char *path;
    const struct route *rows[ROUTER_METHODS];
    size_t row_count;
    const char *allow;
};

struct router {
    const struct route *rows;
    struct place *literal[BUCKETS]; /* by hash of the whole path */
    struct place *with_params;
};

static size_t bucket_of(const char *path)
{
    size_t hash = 5381;

    for (; *path != '\0'; path++)
        hash = hash * 33 ^ (unsigned char)*path;
    return hash % BUCKETS;
}

static struct place **list_of(struct router *router, const char *path)
{
    return strchr(path, '{') == NULL ? &router->literal[bucket_of(path)] : &router->with_params;
}

static struct place *place_of(struct router *router, const char *path)
{
    struct place **list = list_of(router, path), *place;

    for (place = *list; place != NULL; place = place->next) {
        if (strcmp(place->path, path) == 0)
            return place;
    }
    place = mem_new(router, struct place);
    place->path = path;
    place->next = *list;
    *list = place;
    return place;
}

static void add_row(struct router *router, const struct route *row)
{
    struct place *place = place_of(router, row->path);

    assert(row->path[0] == '/' && row->handle != NULL);
    for (size_t i = 0; i < place->row_count; i++) {
        if (strcmp(place->rows[i]->method, row->method) == 0) {
            fprintf(stderr, "manus: two rows for %s %s\n", row->method, row->path);
            abort();
        }
    }
    if (place->row_count == ROUTER_METHODS)
        abort();
    place->rows[place->row_count++] = row;
}

static void write_allow(struct router *router, struct place *place)
{
    struct text allow = text_open(router, 32);

    assert(place->row_count > 0);
    for (size_t i = 0; i < place->row_count; i++) {
        const char *method = place->rows[i]->method;

        if (strcmp(method, "*") == 0)
            method = "GET, HEAD, POST, PUT, PATCH, DELETE";
        text_add(&allow, method);
        text_add(&allow, ", ");
        if (strcmp(method, "GET") == 0)
            text_add(&allow, "HEAD, ");
    }
    text_add(&allow, "OPTIONS");
    place->allow = allow.s;
}

struct router *router_new(void *mem, const struct route *rows)
{
    struct router *router = mem_new(mem, struct router);

    router->rows = rows;
    for (const struct route *row = rows; row->method != NULL; row++)
        add_row(router, row);
    for (const struct route *row = rows; row->method != NULL; row++) {
        struct place *place = place_of(router, row->path);

        if (place->allow == NULL)
            write_allow(router, place);
    }
    return router;
}

const struct route *router_rows(const struct router *router)
{
    return router->rows;
}

static int hex_value(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* The byte that %XY stands for, or -1. */
static int decoded(const char *at)
{
    int high = hex_value(at[1]), low = high < 0 ? -1 : hex_value(at[2]);

    return low < 0 ? -1 : high * 16 + low;
}

static bool is_dots(const char *segment, size_t len)
{
    size_t dots = 0;

    for (size_t i = 0; i < len; dots++) {
        if (segment[i] == '.')
            i++;
        else if (segment[i] == '%' && decoded(segment + i) == '.')
            i += 3;
        else
            return false;
    }
    return dots == 1 || dots == 2;
}

/* Every reader understands this path alike. */
static bool is_plain(const char *path)
{
    const char *segment = path + 1;

    if (path[0] != '/')
        return false;
    for (const char *at = segment;; at++) {
        if (*at == '/' || *at == '\0') {
            if (is_dots(segment, (size_t)(at - segment)) || (*at == '/' && at == segment))
                return false;
            if (*at == '\0')
                return true;
            segment = at + 1;
        } else if (*at == '%') {
            int byte = decoded(at);

            if (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\')
                return false;
        } else if (*at == '\\' || (unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f) {
            return false;
        }
    }
}

static char *decode(void *mem, const char *from, size_t len)
{
    char *out = mem_zero(mem, len + 1), *end = out;

    for (size_t i = 0; i < len; i++) {
        if (from[i] == '%') {
            *end++ = (char)decoded(from + i);
            i += 2;
        } else {
            *end++ = from[i];
        }
    }
    return out;
}

static bool matches(const struct place *place, void *mem, const char *path, struct route_match *ret)
{
    const char *pattern = place->path;
    size_t params = 0;

    while (*pattern != '\0') {
        if (*pattern == '{') {
            size_t name = strcspn(pattern, "}"), len = strcspn(path, "/");

            if (pattern[name - 1] == '*')
                len = strlen(path);

            if (len == 0 || params == ROUTER_PARAMS)
                return false;
            ret->params[params].name = mem_copy(mem, pattern + 1, strcspn(pattern + 1, "*}"));
            ret->params[params++].value = decode(mem, path, len);
            pattern += name + 1;
            path += len;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static const struct place *find_place(const struct router *router, void *mem, const char *path,
                                      struct route_match *ret)
{
    for (const struct place *p = router->literal[bucket_of(path)]; p != NULL; p = p->next) {
        if (strcmp(p->path, path) == 0)
            return p;
    }
    for (const struct place *p = router->with_params; p != NULL; p = p->next) {
        if (matches(p, mem, path, ret))
            return p;
    }
    return NULL;
}

/* What handlers get of it is UTF-8. */
static bool is_text(void *mem, const char *path)
{
    const char *decoded_path;

    if (strchr(path, '%') == NULL)
        return true;
    decoded_path = decode(mem, path, strlen(path));
    return unicode_is_valid(decoded_path, strlen(decoded_path)) &&
           !unicode_has_control(decoded_path);
}

enum err router_find(const struct router *router, void *mem, const char *method, const char *path,
                     struct route_match *ret)
{
    const struct place *place;
    bool is_head;

    *ret = (struct route_match){0};
    if (!is_plain(path) || !is_text(mem, path))
        return ERR_BAD_REQUEST;
    place = find_place(router, mem, path, ret);
    if (place == NULL)
        return OK;
    ret->allow = place->allow;
    ret->path = place->path;
    is_head = strcmp(method, "HEAD") == 0;
    for (size_t i = 0; i < place->row_count; i++) {
        const char *own = place->rows[i]->method;

        if (strcmp(own, method) == 0 || strcmp(own, "*") == 0 ||
            (is_head && strcmp(own, "GET") == 0))
            ret->route = place->rows[i];
    }
    return OK;
}
