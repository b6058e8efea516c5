#include "http/request.h"

#include "core/unicode.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

const char *request_header(const struct request *req, enum known_header name)
{
    return req->headers[name].count == 1 ? req->headers[name].value : NULL;
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

const char *request_query(struct request *req, const char *name)
{
    size_t name_len = strlen(name);

    for (const char *at = req->query; at != NULL && *at != '\0'; at += *at == '&') {
        size_t len = strcspn(at, "&");

        if (len > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0)
            return decode_value(req->task.mem, at + name_len + 1, len - name_len - 1);
        at += len;
    }
    return NULL;
}
