#include "http/request.h"

#include <assert.h>
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
