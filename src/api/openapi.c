#include "api/openapi.h"

#include "core/text.h"
#include "schemas_data.h"

#include <assert.h>
#include <string.h>

/* Classes of characters in ECMA-262 patterns: what trimming takes away, control characters and
 * separators of lines, and what an address is written without. */
#define BLANK                                                                                      \
    "\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-"                                  \
    "\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
#define CONTROL "\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029"
#define LOCAL "A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

static const char text_pattern[] = "^[^\\u0000]*$";
static const char email_pattern[] = "^[" LOCAL "](?:[." LOCAL "]{0,62}[" LOCAL "])?@" LABEL
                                    "(?:\\." LABEL "){0,2}$";
static const char known_email_pattern[] = "^[!-~]*@[!-~]*$";
static const char login_email_pattern[] = "^[^" CONTROL "]*@[^" CONTROL "]*$";
static const char code_pattern[] = "^[0-9]{6}$";
static const char duration_pattern[] = "^[1-9][0-9]{0,6}[smhd]$";
static const char id_pattern[] = "^[A-Za-z0-9_-]{1,64}$";
static const char query_pattern[] = "^[^" CONTROL "]*$";

struct document {
    void *mem;
    const struct settings *settings; /* NULL: the defaults */
};

static int provider_of(const struct document *d)
{
    return d->settings == NULL ? PROVIDER_PASSWORD : (int)d->settings->auth_provider;
}

static bool is_offered(const struct document *d, const struct route *row)
{
    bool by_token = row->access == ACCESS_METRICS && d->settings != NULL &&
                    d->settings->metrics_token != NULL;

    if (row->tag == NULL)
        return false;
    if (row->access >= ACCESS_ADMIN && provider_of(d) == PROVIDER_NONE)
        return by_token;
    return row->offered == OFFERED_ALWAYS || provider_of(d) == PROVIDER_PASSWORD ||
           (row->offered == OFFERED_WITH_LOGIN && provider_of(d) == PROVIDER_LOCAL);
}

/* With AUTH_PROVIDER=none everybody is somebody without a token. */
static bool asks_for_token(const struct document *d, const struct route *row)
{
    return row->access > ACCESS_OPTIONAL &&
           (row->access != ACCESS_USER || provider_of(d) != PROVIDER_NONE);
}

static json_t *reference(void *mem, const char *schema)
{
    assert(schema[0] >= 'A' && schema[0] <= 'Z');
    return json_pack("{s:s}", "$ref", mem_printf(mem, "#/components/schemas/%s", schema));
}

/* Requests */

/* Blanks around a name do not count, so its pattern bounds it. */
static const char *name_pattern(void *mem, const struct field *field)
{
    return mem_printf(mem,
                      "^[" BLANK "]*[^" BLANK CONTROL "][^" CONTROL "]{%zu,%zu}[^" BLANK CONTROL
                      "][" BLANK "]*$",
                      field->min - 2, field->max - 2);
}

static const char *pattern_of(void *mem, const struct field *field)
{
    assert(field->name != NULL);
    switch (field->kind) {
    case FIELD_NAME:
        return name_pattern(mem, field);
    case FIELD_EMAIL:
        return email_pattern;
    case FIELD_KNOWN_EMAIL:
        return known_email_pattern;
    case FIELD_LOGIN_EMAIL:
        return login_email_pattern;
    case FIELD_CODE:
        return code_pattern;
    case FIELD_DURATION:
        return duration_pattern;
    default:
        return text_pattern;
    }
}

/* What the pattern does not say already. */
static void bound(const struct document *d, json_t *schema, const struct field *field)
{
    size_t max = field->max != 0 ? field->max : field->max_bytes, min = field->min;

    if (field->chosen && d->settings != NULL && (size_t)d->settings->password_min > min)
        min = (size_t)d->settings->password_min;
    if (field->kind != FIELD_TEXT)
        return;
    if (min > 0)
        json_object_set_new(schema, "minLength", json_integer((json_int_t)min));
    if (max > 0)
        json_object_set_new(schema, "maxLength", json_integer((json_int_t)max));
}

static bool may_be_null(const struct field *field)
{
    return field->optional || field->nullable;
}

static json_t *choices_of(const struct field *field)
{
    json_t *choices = json_array();

    assert(field->choices != NULL);
    for (size_t i = 0; field->choices[i] != NULL; i++)
        json_array_append_new(choices, json_string(field->choices[i]));
    if (may_be_null(field))
        json_array_append_new(choices, json_null());
    return json_pack("{s:o}", "enum", choices);
}

static json_t *field_schema(const struct document *d, const struct field *field)
{
    json_t *schema;

    if (field->kind == FIELD_CHOICE)
        return choices_of(field);
    if (field->kind == FIELD_INTEGER)
        return json_pack("{s:o,s:I,s:I}", "type",
                         may_be_null(field) ? json_pack("[s,s]", "integer", "null")
                                            : json_string("integer"),
                         "minimum", (json_int_t)field->min, "maximum", (json_int_t)field->max);
    if (field->kind == FIELD_FLAG)
        return json_pack("{s:[s,s]}", "type", "boolean", "null");
    schema = json_pack("{s:o,s:s}", "type",
                       may_be_null(field) ? json_pack("[s,s]", "string", "null")
                                          : json_string("string"),
                       "pattern", pattern_of(d->mem, field));
    bound(d, schema, field);
    if (field->secret)
        json_object_set_new(schema, "writeOnly", json_true());
    return schema;
}

/* One object for each number that the fields have: all of that number, and none of them null. */
static json_t *alternatives_of(const struct field *fields)
{
    json_t *any = json_array();

    for (unsigned number = 1;; number++) {
        json_t *required = json_array(), *properties = json_object();

        for (const struct field *field = fields; field->name != NULL; field++) {
            if (field->alternative != number)
                continue;
            json_array_append_new(required, json_string(field->name));
            json_object_set_new(properties, field->name, json_pack("{s:s}", "type", "string"));
        }
        if (json_array_size(required) == 0) {
            json_decref(required);
            json_decref(properties);
            return any;
        }
        json_array_append_new(
            any, json_pack("{s:o,s:o}", "required", required, "properties", properties));
    }
}

static json_t *body_schema(const struct document *d, const struct field *fields)
{
    json_t *required = json_array(), *properties = json_object();
    json_t *alternatives = alternatives_of(fields);
    json_t *schema = json_pack("{s:s,s:o,s:o,s:{s:s},s:o}", "type", "object", "required", required,
                               "properties", properties, "propertyNames", "pattern", text_pattern,
                               "additionalProperties", reference(d->mem, "Ignored"));

    for (; fields->name != NULL; fields++) {
        json_object_set_new(properties, fields->name, field_schema(d, fields));
        if (!fields->optional)
            json_array_append_new(required, json_string(fields->name));
    }
    if (json_array_size(alternatives) > 0)
        json_object_set(schema, "anyOf", alternatives);
    json_decref(alternatives);
    return schema;
}

static json_t *path_parameters(void *mem, const char *path)
{
    json_t *parameters = json_array();
    const char *at = path;

    while ((at = strchr(at, '{')) != NULL) {
        size_t len = strcspn(++at, "}");

        json_array_append_new(parameters,
                              json_pack("{s:s,s:s,s:b,s:{s:s,s:s}}", "name", mem_copy(mem, at, len),
                                        "in", "path", "required", true, "schema", "type", "string",
                                        "pattern", id_pattern));
    }
    return parameters;
}

static json_t *query_schema(const struct query_row *row)
{
    if (row->high == 0)
        return json_pack("{s:s,s:i,s:s}", "type", "string", "minLength", 1, "pattern",
                         query_pattern);
    return json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum", (json_int_t)row->low, "maximum",
                     (json_int_t)row->high);
}

static json_t *parameters_of(void *mem, const struct route *row)
{
    json_t *parameters = path_parameters(mem, row->path);

    for (const struct query_row *query = row->query; query != NULL && query->name != NULL; query++)
        json_array_append_new(parameters,
                              json_pack("{s:s,s:s,s:s,s:b,s:o}", "name", query->name, "in", "query",
                                        "description", query->help, "required", query->required,
                                        "schema", query_schema(query)));
    return parameters;
}

/* Replies */

static json_t *content(const char *media, json_t *schema)
{
    return json_pack("{s:{s:o}}", media, "schema", schema);
}

static json_t *success_schema(void *mem, const struct route *row)
{
    json_t *schema = reference(mem, row->reply);

    if (row->bare)
        return schema;
    return json_pack("{s:s,s:[s,s,s],s:b,s:{s:{s:i},s:{s:s},s:o}}", "type", "object", "required",
                     "code", "msg", "data", "additionalProperties", false, "properties", "code",
                     "const", 0, "msg", "const", "success", "data", schema);
}

static json_t *success(void *mem, const struct route *row)
{
    json_t *said = row->media != NULL ? content(row->media, json_pack("{s:s}", "type", "string"))
                                      : content("application/json", success_schema(mem, row));

    return json_pack("{s:s,s:o}", "description", "Success", "content", said);
}

/* Several refusals of one status are one response, with their texts one after the other. */
static void add_refusal(void *mem, json_t *responses, int status, const char *msg,
                        const char *reply)
{
    const char *key = mem_printf(mem, "%d", status);
    json_t *response = json_object_get(responses, key);
    const char *before = json_string_value(json_object_get(response, "description"));

    assert(status >= 400);
    if (before != NULL) {
        json_object_set_new(response, "description",
                            json_string(mem_printf(mem, "%s · %s", before, msg)));
        return;
    }
    json_object_set_new(
        responses, key,
        json_pack("{s:s,s:o}", "description", msg, "content",
                  content("application/json", reference(mem, reply == NULL ? "Error" : reply))));
}

static void allow_problems(void *mem, json_t *responses)
{
    json_t *schema = json_pack("{s:[o,o]}", "anyOf", reference(mem, "Invalid"),
                               reference(mem, "Error"));

    add_refusal(mem, responses, 422, "A field of the body is wrong", NULL);
    json_object_set_new(json_object_get(responses, "422"), "content",
                        content("application/json", schema));
}

static json_t *responses_of(const struct document *d, const struct route *row)
{
    void *mem = d->mem;
    json_t *responses = json_pack("{s:o}", "200", success(mem, row));

    add_refusal(mem, responses, 400, "Bad Request", NULL);
    if (asks_for_token(d, row)) {
        add_refusal(mem, responses, 401, "Authentication required", NULL);
        add_refusal(mem, responses, 401, "Authentication failed", NULL);
    }
    if (provider_of(d) == PROVIDER_NONE)
        add_refusal(mem, responses, 403, "The Host or the Origin is not allowed", NULL);
    if (row->access >= ACCESS_ADMIN)
        add_refusal(mem, responses, 403, "Admin access required", NULL);
    if (row->access > ACCESS_OPTIONAL && row->unverified != UNVERIFIED_ALWAYS)
        add_refusal(mem, responses, 403, "Email is not verified", NULL);
    if (row->body != NULL)
        allow_problems(mem, responses);
    for (const struct refusal *refusal = row->refusals; refusal != NULL && refusal->status != 0;
         refusal++)
        add_refusal(mem, responses, refusal->status, refusal->msg, refusal->reply);
    add_refusal(mem, responses, 429, "Rate limit exceeded", "Limited");
    json_object_set_new(responses, "default",
                        json_pack("{s:s,s:o}", "description", "Any other error, such as 413 or 503",
                                  "content", content("application/json", reference(mem, "Error"))));
    return responses;
}

/* The document */

/* "post_auth_login" */
static const char *operation_id(void *mem, const struct route *row)
{
    const char *path = row->path +
                       (strncmp(row->path, "/api/v1/", 8) == 0 ? 8 : strspn(row->path, "/."));
    struct text id = text_open(mem, 64);

    for (const char *at = row->method; *at != '\0'; at++)
        text_char(&id, (char)(*at | 0x20));
    text_char(&id, '_');
    for (; *path != '\0'; path++) {
        if (*path != '{' && *path != '}')
            text_char(&id, strchr("/-.", *path) != NULL ? '_' : *path);
    }
    return id.s;
}

static json_t *operation(const struct document *d, const struct route *row)
{
    void *mem = d->mem;
    json_t *parameters = parameters_of(mem, row);
    json_t *op = json_pack("{s:[s],s:s,s:s,s:s,s:o}", "tags", row->tag, "summary", row->summary,
                           "operationId", operation_id(mem, row), "x-rate-limit",
                           row->limits == NULL ? ROUTE_DEFAULT_LIMITS : row->limits, "responses",
                           responses_of(d, row));

    if (json_array_size(parameters) > 0)
        json_object_set(op, "parameters", parameters);
    json_decref(parameters);
    if (asks_for_token(d, row))
        json_object_set_new(op, "security", json_pack("[{s:[]}]", "bearer"));
    else if (row->access == ACCESS_OPTIONAL)
        json_object_set_new(op, "security", json_pack("[{},{s:[]}]", "bearer"));
    if (row->body != NULL)
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b,s:o}", "required", !row->body_optional, "content",
                                      content("application/json", body_schema(d, row->body))));
    return op;
}

static json_t *paths_of(const struct document *d, const struct route *rows, const json_t *schemas)
{
    void *mem = d->mem;
    json_t *paths = json_object();

    for (const struct route *row = rows; row->method != NULL; row++) {
        const char *method = mem_printf(mem, "%s", row->method);
        json_t *path;

        if (!is_offered(d, row))
            continue;
        assert(row->media != NULL || json_object_get(schemas, row->reply) != NULL);
        path = json_object_get(paths, row->path);
        if (path == NULL) {
            path = json_object();
            json_object_set_new(paths, row->path, path);
        }
        for (char *at = (char *)method; *at != '\0'; at++)
            *at = (char)(*at | 0x20);
        json_object_set_new(path, method, operation(d, row));
    }
    return paths;
}

json_t *openapi_document(void *mem, const struct settings *settings, const struct route *rows)
{
    const struct document document = {mem, settings};
    json_t *schemas = json_loads(embedded_schemas_json, JSON_REJECT_DUPLICATES, NULL);

    assert(schemas != NULL);
    return json_pack(
        "{s:s,s:{s:s,s:s,s:s,s:{s:s,s:s}},s:[{s:s}],s:o,s:{s:{s:{s:s,s:s,s:s}},s:o}}", "openapi",
        "3.1.0", "info", "title", "manus", "version", MANUS_VERSION, "description",
        "Accounts, mail, rate limits and billing for your application. Most routes wrap a result "
        "in {\"code\":0,\"msg\":\"success\",\"data\":...}; those of Operations and Billing "
        "return it bare. An error has its HTTP status as the code.",
        "license", "name", "MIT", "identifier", "MIT", "servers", "url", "/", "paths",
        paths_of(&document, rows, schemas), "components", "securitySchemes", "bearer", "type",
        "http", "scheme", "bearer", "description",
        "The access token from login, register or refresh.", "schemas", schemas);
}
