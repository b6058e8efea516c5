#include "http/request.h"

#include "core/text.h"
#include "core/unicode.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const char *request_header(const struct request *req, enum known_header name)
{
    return req->headers[name].count == 1 ? req->headers[name].value : NULL;
}

const char *request_listed_origin(const struct request *req)
{
    const char *origin = request_header(req, HEADER_ORIGIN);
    const struct texts *listed = &req->task.settings->cors_origins;

    for (size_t i = 0; origin != NULL && i < listed->count; i++) {
        if (strcmp(listed->of[i], origin) == 0)
            return origin;
    }
    return NULL;
}

const char *request_str(const struct request *req, const char *name)
{
    const struct field *fields = req->match.route->body;

    for (size_t i = 0; fields[i].name != NULL; i++) {
        if (strcmp(fields[i].name, name) == 0)
            return req->values[i];
    }
    assert(false && "a handler asks for a field that its row does not have");
    return NULL;
}

const char *request_param(const struct request *req, const char *name)
{
    for (size_t i = 0; i < ROUTER_PARAMS && req->match.params[i].name != NULL; i++) {
        if (strcmp(req->match.params[i].name, name) == 0)
            return req->match.params[i].value;
    }
    assert(false && "a handler asks for a parameter that its path does not have");
    return NULL;
}

/* The byte that the two hexadecimal digits stand for, or -1. */
static int hex_byte(const char *at, const char *end)
{
    static const char digits[] = "0123456789abcdef";

    if (end - at < 2 || !isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]))
        return -1;
    return (int)((strchr(digits, tolower((unsigned char)at[0])) - digits) * 16 +
                 (strchr(digits, tolower((unsigned char)at[1])) - digits));
}

/* Form encoding: + is a blank. */
static const char *decode_value(void *mem, const char *at, size_t len)
{
    const char *end = at + len;
    char *value = mem_zero(mem, len + 1), *to = value;

    for (; at < end; at++) {
        int byte = *at == '+' ? ' ' : (unsigned char)*at;

        if (*at == '%') {
            byte = hex_byte(at + 1, end);
            at += 2;
        }
        if (byte <= 0)
            return NULL;
        *to++ = (char)byte;
    }
    return unicode_is_valid(value, (size_t)(to - value)) && !unicode_has_control(value) ? value
                                                                                        : NULL;
}

/* The encoded value of the first such member from `at` on, and its length; NULL if there is none.
 */
static const char *find_member(const char *at, const char *name, size_t *ret_len)
{
    size_t name_len = strlen(name);

    for (; at != NULL && *at != '\0'; at += *at == '&') {
        size_t len = strcspn(at, "&");

        if (len > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0) {
            *ret_len = len - name_len - 1;
            return at + name_len + 1;
        }
        at += len;
    }
    return NULL;
}

static const char *find_query(const struct request *req, const char *name, size_t *ret_len)
{
    return find_member(req->query, name, ret_len);
}

const char *request_query(struct request *req, const char *name)
{
    size_t len;
    const char *value = find_query(req, name, &len);

    return value == NULL ? NULL : decode_value(req->task.mem, value, len);
}

/* Digits only, up to the 18 that always fit. */
static bool read_number(const char *text, int64_t *ret)
{
    size_t len = strspn(text, "0123456789");

    *ret = strtoll(text, NULL, 10);
    return len > 0 && len <= 18 && text[len] == '\0';
}

int64_t request_query_number(struct request *req, const char *name, int64_t otherwise)
{
    const char *value = request_query(req, name);
    int64_t number;

    return value != NULL && read_number(value, &number) ? number : otherwise;
}

static enum err check_member(struct request *req, const struct query_row *row, const char *value)
{
    int64_t number;

    if (row->high == 0)
        return value != NULL
                   ? OK
                   : fail(&req->task, ERR_BAD_REQUEST,
                          mem_printf(req->task.mem, "%s must be text without control characters",
                                     row->name));
    if (value != NULL && read_number(value, &number) && number >= row->low && number <= row->high)
        return OK;
    return fail(&req->task, ERR_BAD_REQUEST,
                mem_printf(req->task.mem, "%s must be a number from %lld to %lld", row->name,
                           (long long)row->low, (long long)row->high));
}

static bool has_row(const struct query_row *row, const char *name, size_t len)
{
    for (; row->name != NULL; row++) {
        if (strlen(row->name) == len && memcmp(row->name, name, len) == 0)
            return true;
    }
    return false;
}

/* What is asked of a list and not understood would give another list than was meant. */
static enum err check_names(struct request *req, const struct query_row *rows)
{
    struct text known = text_open(req->task.mem, 64);

    for (const char *at = req->query; at != NULL && *at != '\0'; at += *at == '&') {
        size_t len = strcspn(at, "&"), name_len = strcspn(at, "&=");

        if (len > 0 && !has_row(rows, at, name_len)) {
            for (const struct query_row *row = rows; row->name != NULL; row++)
                text_printf(&known, "%s%s", known.len == 0 ? "" : ", ", row->name);
            return fail(
                &req->task, ERR_BAD_REQUEST,
                mem_printf(req->task.mem, "Unknown query parameter; known are: %s", known.s));
        }
        at += len;
    }
    return OK;
}

enum err request_check_query(struct request *req)
{
    bool is_list = req->match.route->query != NULL && strcmp(req->match.route->method, "GET") == 0;
    size_t len;
    enum err e = is_list ? check_names(req, req->match.route->query) : OK;

    for (const struct query_row *row = req->match.route->query;
         e == OK && row != NULL && row->name != NULL; row++) {
        const char *value = find_query(req, row->name, &len);

        if (value == NULL)
            continue;
        if (len == 0)
            return fail(&req->task, ERR_BAD_REQUEST,
                        mem_printf(req->task.mem, "%s must not be empty", row->name));
        if (find_member(value + len + (value[len] == '&'), row->name, &len) != NULL)
            return fail(&req->task, ERR_BAD_REQUEST,
                        mem_printf(req->task.mem, "%s must be given once", row->name));
        e = check_member(req, row, request_query(req, row->name));
    }
    return e;
}
