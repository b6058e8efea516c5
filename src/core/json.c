#include "core/json.h"

#include "core/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int hex4(const char *at, const char *end)
{
    int code = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = tolower((unsigned char)at[i]);

        if (!isxdigit(c))
            return -1;
        code = code * 16 + (isdigit(c) ? c - '0' : c - 'a' + 10);
    }
    return code;
}

/* `at` is behind a backslash. The bytes of the escape; 0 for half of a surrogate pair. Escapes that
 * are no JSON are left for the parser to refuse. */
static size_t escape_width(const char *at, const char *end)
{
    int code = at < end && *at == 'u' ? hex4(at + 1, end) : -1;

    if (code < 0xd800 || code > 0xdfff)
        return 1;
    if (code >= 0xdc00 || end - at < 11 || at[5] != '\\' || at[6] != 'u')
        return 0;
    code = hex4(at + 7, end);
    return code >= 0xdc00 && code <= 0xdfff ? 11 : 0;
}

/* What the parser would take or tell apart badly: levels beyond the bound, half surrogate pairs. */
static bool scan(const char *bytes, size_t len, struct json_problem *ret)
{
    const char *end = bytes + len;
    int depth = 0;
    bool in_string = false;

    for (const char *at = bytes; at < end; at++) {
        ret->offset = (size_t)(at - bytes);
        if (*at == '"') {
            in_string = !in_string;
        } else if (in_string && *at == '\\') {
            size_t width = escape_width(at + 1, end);

            if (width == 0) {
                ret->text = "half of a surrogate pair";
                return false;
            }
            at += width;
        } else if (!in_string && (*at == '[' || *at == '{') && ++depth > JSON_DEPTH) {
            ret->text = "nested too deeply";
            return false;
        } else if (!in_string && (*at == ']' || *at == '}')) {
            depth--;
        }
    }
    return true;
}

static void explain(const json_error_t *error, struct json_problem *ret)
{
    static const struct {
        enum json_error_code code;
        enum json_fault fault;
        const char *text;
    } rows[] = {
        {json_error_invalid_utf8, JSON_UNSAFE, "not UTF-8"},
        {json_error_null_character, JSON_UNSAFE, "NUL in a string"},
        {json_error_null_byte_in_key, JSON_UNSAFE, "NUL in a string"},
        {json_error_duplicate_key, JSON_UNSAFE, "a member stands twice"},
        {json_error_numeric_overflow, JSON_UNSAFE, "a number is too large"},
        {json_error_stack_overflow, JSON_UNSAFE, "nested too deeply"},
        {json_error_premature_end_of_input, JSON_SYNTAX, "Unexpected end"},
        {json_error_end_of_input_expected, JSON_SYNTAX, "Extra data"},
    };

    *ret = (struct json_problem){JSON_SYNTAX, error->position < 0 ? 0 : (size_t)error->position,
                                 "Expecting value"};
    for (size_t i = 0; i < count_of(rows); i++) {
        if (rows[i].code == json_error_code(error)) {
            ret->fault = rows[i].fault;
            ret->text = rows[i].text;
        }
    }
}

/* A number that no 64-bit integer reaches, though a double does: readers take it differently. */
static bool has_huge_number(const json_t *json)
{
    const char *name;
    json_t *member;
    size_t i;

    if (json_is_real(json))
        return !(json_real_value(json) < 0x1p63 && json_real_value(json) >= -0x1p63);
    if (json_is_array(json)) {
        json_array_foreach(json, i, member)
        {
            if (has_huge_number(member))
                return true;
        }
    }
    json_object_foreach((json_t *)json, name, member)
    {
        if (has_huge_number(member))
            return true;
    }
    return false;
}

/* Plain JSON: strings of ASCII without escapes, whole numbers of up to 18 digits, no member twice.
 * Most of what comes is that, and is read here several times as fast as by jansson, byte by byte.
 * Of anything else nothing is read, and jansson says what it is. */
struct plain {
    const char *at, *end;
    int depth;
};

static json_t *plain_value(struct plain *p);

static void skip_blanks(struct plain *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

/* Behind blanks. */
static bool take(struct plain *p, char c)
{
    skip_blanks(p);
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

/* Behind its quote; NULL: not plain. */
static const char *plain_string(struct plain *p, size_t *ret_len)
{
    const char *begin = p->at;

    while (p->at < p->end && text_json_plain[(unsigned char)*p->at])
        p->at++;
    *ret_len = (size_t)(p->at - begin);
    return p->at < p->end && *p->at++ == '"' ? begin : NULL;
}

static bool plain_members(struct plain *p, json_t *object)
{
    size_t count = 0, len;

    if (take(p, '}'))
        return true;
    do {
        const char *name = take(p, '"') ? plain_string(p, &len) : NULL;
        json_t *value = name != NULL && take(p, ':') ? plain_value(p) : NULL;

        if (value == NULL || json_object_setn_new_nocheck(object, name, len, value) != 0 ||
            json_object_size(object) != ++count)
            return false;
    } while (take(p, ','));
    return take(p, '}');
}

static bool plain_elements(struct plain *p, json_t *array)
{
    if (take(p, ']'))
        return true;
    do {
        json_t *value = plain_value(p);

        if (value == NULL || json_array_append_new(array, value) != 0)
            return false;
    } while (take(p, ','));
    return take(p, ']');
}

/* Behind its bracket. */
static json_t *plain_nest(struct plain *p, json_t *nest,
                          bool (*fill)(struct plain *p, json_t *nest))
{
    bool is_plain;

    p->depth++;
    is_plain = nest != NULL && p->depth <= JSON_DEPTH && fill(p, nest);
    assert(p->depth > 0);
    p->depth--;
    if (is_plain)
        return nest;
    json_decref(nest);
    return NULL;
}

static json_t *plain_number(struct plain *p)
{
    enum { DIGITS = 18 };
    bool is_negative = *p->at == '-';
    const char *begin = p->at += is_negative;
    json_int_t number = 0;

    while (p->at < p->end && *p->at >= '0' && *p->at <= '9' && p->at - begin < DIGITS)
        number = number * 10 + (*p->at++ - '0');
    if (p->at == begin || (*begin == '0' && p->at - begin > 1))
        return NULL;
    return json_integer(is_negative ? -number : number);
}

static json_t *plain_word(struct plain *p, const char *word, json_t *value)
{
    size_t len = strlen(word);

    if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
        return NULL;
    p->at += len;
    return value;
}

/* What follows it is looked at by who asked: a number that goes on is none. */
static json_t *plain_value(struct plain *p)
{
    const char *string;
    size_t len;

    skip_blanks(p);
    if (p->at == p->end)
        return NULL;
    switch (*p->at) {
    case '{':
        p->at++;
        return plain_nest(p, json_object(), plain_members);
    case '[':
        p->at++;
        return plain_nest(p, json_array(), plain_elements);
    case '"':
        p->at++;
        string = plain_string(p, &len);
        return string == NULL ? NULL : json_stringn_nocheck(string, len);
    case 't':
        return plain_word(p, "true", json_true());
    case 'f':
        return plain_word(p, "false", json_false());
    case 'n':
        return plain_word(p, "null", json_null());
    default:
        return plain_number(p);
    }
}

static json_t *read_plain(const char *bytes, size_t len)
{
    struct plain plain = {bytes, bytes + len, 0};
    json_t *json = plain_value(&plain);

    skip_blanks(&plain);
    if (plain.at == plain.end)
        return json;
    json_decref(json);
    return NULL;
}

json_t *json_read(const char *bytes, size_t len, struct json_problem *ret)
{
    json_error_t error;
    json_t *json = read_plain(bytes, len);

    *ret = (struct json_problem){.fault = json == NULL ? JSON_UNSAFE : JSON_FINE};
    if (json != NULL)
        return json;
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        ret->text = "begins with a byte order mark";
        return NULL;
    }
    if (!scan(bytes, len, ret))
        return NULL;
    json = json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (json == NULL) {
        explain(&error, ret);
        return NULL;
    }
    if (has_huge_number(json)) {
        json_decref(json);
        ret->text = "a number is too large";
        return NULL;
    }
    ret->fault = JSON_FINE;
    return json;
}

/* In place: what is put there is as long. */
static void mend_escapes(char *bytes, size_t len)
{
    const char *end = bytes + len;

    for (char *at = bytes; at < end; at++) {
        size_t width = *at == '\\' ? escape_width(at + 1, end) : 1;

        if (*at != '\\')
            continue;
        if (width == 0 || (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0))
            memcpy(at, "\\ufffd", 6);
        at += width == 0 ? 1 : width;
    }
}

json_t *json_read_mended(const char *bytes, size_t len, struct json_problem *ret)
{
    json_t *json = read_plain(bytes, len);
    json_error_t error;
    char *mended;

    *ret = (struct json_problem){.fault = JSON_FINE};
    if (json != NULL)
        return json;
    *ret = (struct json_problem){.fault = JSON_UNSAFE, .text = "there is no memory for it"};
    mended = malloc(len + 1);
    if (mended == NULL)
        return NULL;
    memcpy(mended, bytes, len);
    mend_escapes(mended, len);
    if (scan(mended, len, ret)) {
        json = json_loadb(mended, len, JSON_DECODE_ANY, &error);
        if (json == NULL)
            explain(&error, ret);
        else
            ret->fault = JSON_FINE;
    }
    free(mended);
    return json;
}
