/* The reader of request bodies: JSON, then the fields of each route that has some. */
#include "api/routes.h"
#include "core/json.h"
#include "http/request.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void read_for(void *mem, const struct field *fields, const json_t *json)
{
    const char *values[HTTP_FIELDS] = {0};
    auto_json json_t *wrong = fields_read(mem, fields, json, values);

    assert(wrong == NULL || json_integer_value(json_object_get(wrong, "code")) == 422);
    for (size_t i = 0; wrong == NULL && fields[i].name != NULL; i++)
        assert(values[i] != NULL || fields[i].optional || fields[i].nullable);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    struct json_problem problem;
    auto_json json_t *json = json_read((const char *)bytes, len, &problem);

    assert(json != NULL || problem.fault != JSON_FINE);
    for (const struct route *row = routes; row->method != NULL; row++) {
        if (row->body != NULL)
            read_for(mem, row->body, json);
    }
    return 0;
}
