#include "account/token.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/json_writer.h"
#include "core/text.h"

#include <string.h>

/* {"alg":"HS256","typ":"JWT"} */
#define HEADER "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

enum {
    SUBJECT_BYTES = 128,
    ID_BYTES = 64,
    CLOCK_SKEW_S = 5, /* that instances may be apart when one reads what another has just issued */
};

static bool is_signed_with(const struct secret *key, const char *text, size_t len,
                           const uint8_t signature[CRYPTO_HASH_BYTES])
{
    uint8_t expected[CRYPTO_HASH_BYTES];

    crypto_hmac(expected, key->bytes, key->len, text, len);
    return crypto_equal(expected, signature, sizeof expected);
}

static bool is_signed_by_hmac(const struct settings *settings, const char *text, size_t len,
                              const uint8_t signature[CRYPTO_HASH_BYTES])
{
    if (is_signed_with(settings->jwt_secret, text, len, signature))
        return true;
    for (size_t i = 0; i < settings->jwt_previous.count; i++) {
        if (is_signed_with(settings->jwt_previous.of[i], text, len, signature))
            return true;
    }
    return false;
}

/* By that one of our keys whose header the token has, byte for byte. */
static bool is_signed_by_pair(const struct settings *settings, const char *text, size_t len,
                              const uint8_t signature[SIGNATURE_BYTES])
{
    for (size_t i = 0; i < settings->signing_key_count; i++) {
        const struct signing_key *key = settings->signing_keys[i];
        size_t header_len = strlen(key->header);

        if (len > header_len && memcmp(text, key->header, header_len) == 0 &&
            text[header_len] == '.')
            return signing_verify(key, signature, text, len);
    }
    return false;
}

/* *ret_by_pair: as access tokens are where JWT_ALGORITHM is EdDSA. */
static bool is_signed(void *mem, const struct settings *settings, const char *token,
                      size_t signed_len, bool *ret_by_pair)
{
    const char *text = token + signed_len + 1;
    size_t len = 0;
    const uint8_t *signature = text_base64url_decode(mem, text, strlen(text), &len);

    *ret_by_pair = len == SIGNATURE_BYTES && settings->jwt_algorithm == JWT_EDDSA;
    if (signature == NULL)
        return false;
    if (*ret_by_pair)
        return is_signed_by_pair(settings, token, signed_len, signature);
    return len == CRYPTO_HASH_BYTES && is_signed_by_hmac(settings, token, signed_len, signature);
}

static json_t *read_part(void *mem, const char *part, size_t part_len)
{
    struct json_problem problem;
    size_t len;
    const uint8_t *bytes = text_base64url_decode(mem, part, part_len, &len);

    return bytes == NULL ? NULL : json_read((const char *)bytes, len, &problem);
}

static bool says(const json_t *object, const char *name, const char *value)
{
    const json_t *member = json_object_get(object, name);

    return json_is_string(member) && strcmp(json_string_value(member), value) == 0;
}

/* Nothing but alg and typ: no crit, no kid, no key that a token brings along. */
static bool is_our_header(void *mem, const char *header, size_t len)
{
    auto_json json_t *json = NULL;

    if (len == sizeof HEADER - 1 && memcmp(header, HEADER, len) == 0)
        return true;
    json = read_part(mem, header, len);
    return json_is_object(json) && json_object_size(json) == 2 && says(json, "alg", "HS256") &&
           says(json, "typ", "JWT");
}

/* A text of 1 to `max` bytes; NULL if it is anything else. */
static const char *text_claim(void *mem, const json_t *json, const char *name, size_t max)
{
    const json_t *member = json_object_get(json, name);
    size_t len = json_string_length(member);

    return len == 0 || len > max ? NULL : mem_copy(mem, json_string_value(member), len);
}

static bool read_times(const json_t *json, int64_t now_s, struct token_claims *claims)
{
    const json_t *issued = json_object_get(json, "iat"), *expires = json_object_get(json, "exp");
    const json_t *not_before = json_object_get(json, "nbf");

    if (!json_is_integer(issued) || !json_is_integer(expires))
        return false;
    claims->issued_s = json_integer_value(issued);
    claims->expires_s = json_integer_value(expires);
    if (claims->issued_s < 0 || claims->issued_s > now_s + CLOCK_SKEW_S ||
        claims->expires_s <= now_s || claims->expires_s > CLOCK_LAST_S)
        return false;
    return not_before == NULL ||
           (json_is_integer(not_before) && json_integer_value(not_before) <= now_s);
}

static bool read_ids(void *mem, const json_t *json, struct token_claims *claims)
{
    claims->id = text_claim(mem, json, "jti", ID_BYTES);
    claims->session_id = text_claim(mem, json, "sid", ID_BYTES);
    if (claims->id == NULL && claims->session_id == NULL)
        return json_object_get(json, "jti") == NULL && json_object_get(json, "sid") == NULL;
    return claims->id != NULL && claims->session_id != NULL;
}

static bool read_claims(void *mem, const json_t *json, int64_t now_s, struct token_claims *claims)
{
    const char *fullname = json_string_value(json_object_get(json, "fullname"));

    /* Made for somebody else by somebody with the same key. */
    if (json_object_get(json, "iss") != NULL || json_object_get(json, "aud") != NULL)
        return false;
    if (says(json, "type", "access"))
        claims->type = TOKEN_ACCESS;
    else if (says(json, "type", "refresh"))
        claims->type = TOKEN_REFRESH;
    else
        return false;
    claims->user_id = text_claim(mem, json, "sub", SUBJECT_BYTES);
    claims->fullname = mem_string(mem, fullname == NULL ? "" : fullname);
    return claims->user_id != NULL && read_times(json, now_s, claims) &&
           read_ids(mem, json, claims);
}

static bool is_for_others(const struct settings *settings, enum token_type type)
{
    return type == TOKEN_ACCESS && settings->jwt_algorithm == JWT_EDDSA;
}

struct token_claims *token_verify(void *mem, const struct settings *settings, const char *token,
                                  int64_t now_s)
{
    size_t len = strnlen(token, TOKEN_BYTES + 1);
    const char *payload = len > TOKEN_BYTES ? NULL : strchr(token, '.');
    const char *signature = payload == NULL ? NULL : strchr(payload + 1, '.');
    struct token_claims *claims;
    auto_json json_t *json = NULL;
    bool by_pair;

    if (signature == NULL ||
        !is_signed(mem, settings, token, (size_t)(signature - token), &by_pair) ||
        (!by_pair && !is_our_header(mem, token, (size_t)(payload - token))))
        return NULL;
    payload++;
    json = read_part(mem, payload, (size_t)(signature - payload));
    claims = mem_new(mem, struct token_claims);
    if (!json_is_object(json) || !read_claims(mem, json, now_s, claims))
        return NULL;
    return by_pair == is_for_others(settings, claims->type) ? claims : NULL;
}

static const char *payload_of(void *mem, const struct settings *settings,
                              const struct token_claims *claims, const struct user *user)
{
    bool full = settings->jwt_claims == JWT_CLAIMS_FULL;
    struct text payload = text_open(mem, 512);
    struct json_writer w = json_write(&payload);

    put_object(&w, NULL);
    put_string(&w, "sub", claims->user_id);
    if (full)
        put_string(&w, "fullname", claims->fullname);
    if (claims->type == TOKEN_ACCESS) {
        if (full)
            put_string(&w, "email", user->email);
        put_string(&w, "role", user->is_admin ? "admin" : "user");
        put_boolean(&w, "is_active", user->is_active);
    }
    put_number(&w, "iat", claims->issued_s);
    put_number(&w, "exp", claims->expires_s);
    put_string(&w, "type", claims->type == TOKEN_ACCESS ? "access" : "refresh");
    put_string(&w, "jti", claims->id);
    put_string(&w, "sid", claims->session_id);
    put_end(&w);
    return text_base64url(mem, payload.s, payload.len);
}

char *token_sign(void *mem, const struct settings *settings, const struct token_claims *claims,
                 const struct user *user)
{
    bool for_others = is_for_others(settings, claims->type);
    struct text token = text_open(mem, 768);
    uint8_t signature[SIGNATURE_BYTES];

    text_add(&token, for_others ? settings->signing_keys[0]->header : HEADER);
    text_char(&token, '.');
    text_add(&token, payload_of(mem, settings, claims, user));
    if (for_others)
        signing_sign(signature, settings->signing_keys[0], token.s, token.len);
    else
        crypto_hmac(signature, settings->jwt_secret->bytes, settings->jwt_secret->len, token.s,
                    token.len);
    text_char(&token, '.');
    text_add(&token,
             text_base64url(mem, signature, for_others ? SIGNATURE_BYTES : CRYPTO_HASH_BYTES));
    return token.s;
}
