#include "core/field.h"

#include "core/email.h"
#include "core/text.h"
#include "core/unicode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ECHO_BYTES = 256, CODE_DIGITS = 6 };

struct reading {
    void *mem;
    json_t *detail;
    const char *first; /* the first problem as one sentence */
};

/* What was sent, as far as a reply may repeat it. */
static json_t *echo(const json_t *value)
{
    if (json_is_object(value))
        return json_object();
    if (json_is_array(value))
        return json_array();
    if (json_is_string(value) && json_string_length(value) > ECHO_BYTES)
        return NULL;
    return json_deep_copy(value);
}

static void add(struct reading *r, const struct field *field, const char *type, const char *msg,
                json_t *input)
{
    json_t *entry = json_pack("{s:s,s:[s,s],s:s}", "type", type, "loc", "body", field->name, "msg",
                              msg);

    if (input != NULL)
        json_object_set_new(entry, "input", input);
    json_array_append_new(r->detail, entry);
    if (r->first == NULL)
        r->first = mem_printf(r->mem, "%s: %s", field->name, msg);
}

static void add_value_error(struct reading *r, const struct field *field, const char *rule,
                            const json_t *value)
{
    const char *msg = mem_printf(r->mem, "Value error, %s", rule);

    assert(rule != NULL);
    if (r->first == NULL)
        r->first = rule;
    add(r, field, "value_error", msg, field->secret ? NULL : echo(value));
    json_object_set_new(json_array_get(r->detail, json_array_size(r->detail) - 1), "ctx",
                        json_pack("{s:{}}", "error"));
}

static const char *visible_email(void *mem, const char *text)
{
    const char *sent = email_sent(mem, text);

    return sent == NULL || unicode_has_blank_or_invisible(sent) ? NULL : sent;
}

static const char *normalise(void *mem, const struct field *field, const char *text)
{
    switch (field->kind) {
    case FIELD_NAME:
        return unicode_trim(mem, text);
    case FIELD_EMAIL:
        return email_normalise(mem, text) == NULL ? NULL : email_sent(mem, text);
    case FIELD_KNOWN_EMAIL:
        return visible_email(mem, text);
    case FIELD_LOGIN_EMAIL:
        return email_sent(mem, text);
    default:
        return mem_string(mem, text);
    }
}

static const char *broken_rule(const struct field *field, const char *value)
{
    size_t length;

    if (value == NULL)
        return field->rule;
    length = unicode_length(value);
    if (length < field->min)
        return field->rule;
    if ((field->max != 0 && length > field->max) ||
        (field->max_bytes != 0 && strlen(value) > field->max_bytes))
        return field->rule_max;
    if (field->kind == FIELD_CODE)
        return length == CODE_DIGITS && strspn(value, "0123456789") == CODE_DIGITS
                   ? NULL
                   : field->rule_text;
    if (field->kind != FIELD_NAME)
        return NULL;
    if (unicode_visible_length(value) < field->min)
        return field->rule;
    return unicode_has_control(value) || !unicode_directions_are_closed(value) ? field->rule_text
                                                                               : NULL;
}

/* 'a', 'b' or 'c' */
static const char *listed(void *mem, const char *const *choices)
{
    struct text list = text_open(mem, 64);

    for (size_t i = 0; choices[i] != NULL; i++) {
        if (i > 0)
            text_add(&list, choices[i + 1] == NULL ? " or " : ", ");
        text_printf(&list, "'%s'", choices[i]);
    }
    return list.s;
}

static void add_choice(struct reading *r, const struct field *field, const json_t *member)
{
    const char *expected = listed(r->mem, field->choices);

    add(r, field, "enum", mem_printf(r->mem, "Input should be %s", expected), echo(member));
    json_object_set_new(json_array_get(r->detail, json_array_size(r->detail) - 1), "ctx",
                        json_pack("{s:s}", "expected", expected));
}

static const char *read_choice(struct reading *r, const struct field *field, const json_t *member)
{
    assert(field->choices != NULL);
    for (size_t i = 0; field->choices[i] != NULL && json_is_string(member); i++) {
        if (strcmp(field->choices[i], json_string_value(member)) == 0)
            return field->choices[i];
    }
    add_choice(r, field, member);
    return NULL;
}

static const char *read_integer(struct reading *r, const struct field *field, const json_t *member)
{
    json_int_t number = json_integer_value(member);

    assert(field->rule != NULL && field->max >= field->min);
    if (!json_is_integer(member))
        add(r, field, "int_type", "Input should be a valid integer", echo(member));
    else if (number < (json_int_t)field->min || number > (json_int_t)field->max)
        add_value_error(r, field, field->rule, member);
    else
        return mem_printf(r->mem, "%lld", (long long)number);
    return NULL;
}

/* Seconds; -1: it is none, or of more than a hundred years. */
static int64_t seconds_of(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t digits = strspn(text, "0123456789");

    for (size_t i = 0; digits > 0 && digits < 10 && i < count_of(units); i++) {
        if (text[digits] == units[i].unit && text[digits + 1] == '\0')
            return strtoll(text, NULL, 10) * units[i].seconds;
    }
    return -1;
}

static const char *read_duration(struct reading *r, const struct field *field, const json_t *member)
{
    int64_t seconds = json_is_string(member) ? seconds_of(json_string_value(member)) : -1;

    if (seconds >= (int64_t)field->min && seconds <= (int64_t)field->max)
        return mem_printf(r->mem, "%lld", (long long)seconds);
    add_value_error(r, field, field->rule, member);
    return NULL;
}

static const char *read_flag(struct reading *r, const struct field *field, const json_t *member)
{
    if (!json_is_boolean(member))
        add(r, field, "bool_type", "Input should be a valid boolean", echo(member));
    return json_is_true(member) ? "true" : NULL;
}

static const char *read_field(struct reading *r, const struct field *field, const json_t *body)
{
    const json_t *member = json_object_get(body, field->name);
    const char *value, *broken;

    if (field->optional && (member == NULL || json_is_null(member)))
        return NULL;
    if (field->nullable && json_is_null(member))
        return NULL;
    if (member == NULL) {
        add(r, field, "missing", "Field required", json_object());
        return NULL;
    }
    if (field->kind == FIELD_CHOICE)
        return read_choice(r, field, member);
    if (field->kind == FIELD_INTEGER)
        return read_integer(r, field, member);
    if (field->kind == FIELD_FLAG)
        return read_flag(r, field, member);
    if (field->kind == FIELD_DURATION)
        return read_duration(r, field, member);
    if (!json_is_string(member)) {
        add(r, field, "string_type", "Input should be a valid string",
            field->secret ? NULL : echo(member));
        return NULL;
    }
    value = normalise(r->mem, field, json_string_value(member));
    broken = broken_rule(field, value);
    if (broken == NULL)
        return value;
    add_value_error(r, field, broken, member);
    return NULL;
}

/* Whether every field of the number has a value. */
static bool is_complete(const struct field *fields, const char **values, unsigned alternative)
{
    bool some = false;

    for (size_t i = 0; fields[i].name != NULL; i++) {
        if (fields[i].alternative == alternative) {
            some = true;
            if (values[i] == NULL)
                return false;
        }
    }
    return some;
}

/* "Give token, or email and verification_code" */
static const char *ask_for_one(void *mem, const struct field *fields)
{
    struct text ask = text_open(mem, 96);
    unsigned last = 0;

    for (; fields->name != NULL; fields++) {
        if (fields->alternative == 0)
            continue;
        text_printf(&ask, "%s%s",
                    last == 0                     ? "Give "
                    : last == fields->alternative ? " and "
                                                  : ", or ",
                    fields->name);
        last = fields->alternative;
    }
    assert(last > 0);
    return ask.s;
}

static bool has_an_alternative(const struct field *fields, const char **values)
{
    unsigned last = 0;

    for (size_t i = 0; fields[i].name != NULL; i++)
        last = fields[i].alternative > last ? fields[i].alternative : last;
    for (unsigned number = 1; number <= last; number++) {
        if (is_complete(fields, values, number))
            return true;
    }
    return last == 0;
}

json_t *fields_read(void *mem, const struct field *fields, const json_t *body, const char **values)
{
    struct reading r = {.mem = mem, .detail = json_array()};

    if (body == NULL || json_is_null(body)) {
        json_decref(r.detail);
        return fields_body_problem("missing", "Field required", -1, NULL);
    }
    if (!json_is_object(body)) {
        json_decref(r.detail);
        return fields_body_problem(
            "model_attributes_type",
            "Input should be a valid dictionary or object to extract fields from", -1, NULL);
    }
    for (size_t i = 0; fields[i].name != NULL; i++)
        values[i] = read_field(&r, &fields[i], body);
    if (json_array_size(r.detail) == 0) {
        json_decref(r.detail);
        if (has_an_alternative(fields, values))
            return NULL;
        return fields_body_problem("missing", ask_for_one(mem, fields), -1, NULL);
    }
    return json_pack("{s:o,s:i,s:s}", "detail", r.detail, "code", 422, "msg", r.first);
}

/* As a body would have it; NULL: no body can. */
static json_t *as_json(const struct field *field, const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (field->kind == FIELD_FLAG && strcmp(text, "false") == 0)
        return json_false();
    if (field->kind == FIELD_FLAG)
        return *text == '\0' || strcmp(text, "true") == 0 ? json_true() : NULL;
    if (field->kind != FIELD_INTEGER)
        return json_string(text);
    return digits > 0 && digits < 19 && text[digits] == '\0' ? json_integer(strtoll(text, NULL, 10))
                                                             : NULL;
}

const char *field_read_text(void *mem, const struct field *field, const char *text,
                            const char **ret)
{
    struct reading r = {.mem = mem};
    auto_json json_t *detail = json_array(), *body = json_object();

    *ret = NULL;
    if (text == NULL)
        return field->optional || field->nullable ? NULL : field->rule;
    if (json_object_set_new(body, field->name, as_json(field, text)) != 0)
        return field->kind == FIELD_INTEGER ? field->rule
               : field->kind == FIELD_FLAG  ? mem_printf(mem, "%s: give true or false", field->name)
                                            : mem_printf(mem, "%s: this is not UTF-8", field->name);
    r.detail = detail;
    *ret = read_field(&r, field, body);
    return r.first;
}

json_t *fields_choice_problem(void *mem, const char *name, const char *value,
                              const char *const *choices)
{
    const struct field field = {.name = name, .kind = FIELD_CHOICE, .choices = choices};
    struct reading r = {.mem = mem, .detail = json_array()};
    auto_json json_t *sent = json_string(value);

    assert(choices != NULL);
    add_choice(&r, &field, sent);
    return json_pack("{s:o,s:i,s:s}", "detail", r.detail, "code", 422, "msg", r.first);
}

json_t *fields_body_problem(const char *type, const char *msg, long offset, const char *why)
{
    json_t *entry = json_pack("{s:s,s:[s],s:s,s:{}}", "type", type, "loc", "body", "msg", msg,
                              "input");

    if (offset >= 0)
        json_array_append_new(json_object_get(entry, "loc"), json_integer(offset));
    if (why != NULL)
        json_object_set_new(entry, "ctx", json_pack("{s:s}", "error", why));
    return json_pack("{s:[o],s:i,s:s}", "detail", entry, "code", 422, "msg", msg);
}
