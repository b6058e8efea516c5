#include "billing/signature.h"

#include "core/crypto.h"
#include "unit.h"

#include <stdio.h>

#define NOW INT64_C(1793614272)

static const char body[] = "{\"id\":\"evt_1\"}";

static struct secrets secrets_of(void *mem, const char *one, const char *two)
{
    struct secrets secrets = {mem_array(mem, struct secret *, 2), 0};

    secrets.of[secrets.count++] = secret_new(mem, one, strlen(one));
    if (two != NULL)
        secrets.of[secrets.count++] = secret_new(mem, two, strlen(two));
    return secrets;
}

static const char *hex_of(void *mem, const char *secret, const char *time, const char *text)
{
    const char *payload = mem_printf(mem, "%s.%s", time, text);
    char *hex = mem_zero(mem, 65);
    uint8_t mac[CRYPTO_HASH_BYTES];

    crypto_hmac(mac, secret, strlen(secret), payload, strlen(payload));
    for (size_t i = 0; i < sizeof mac; i++)
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    return hex;
}

static bool is_right(void *mem, const char *header)
{
    struct secrets secrets = secrets_of(mem, "whsec_test_x", "whsec_old");

    return signature_is_right(&secrets, header, body, strlen(body), NOW);
}

static const char *signed_at(void *mem, int64_t at_s)
{
    const char *time = mem_printf(mem, "%lld", (long long)at_s);

    return mem_printf(mem, "t=%s,v1=%s", time, hex_of(mem, "whsec_test_x", time, body));
}

static void test_the_hmac_is_the_one_that_others_compute(void **state)
{
    /* printf '1.{}' | openssl dgst -sha256 -hmac whsec_test_x */
    struct secrets secrets = secrets_of(*state, "whsec_test_x", NULL);

    assert_true(signature_is_right(
        &secrets, "t=1,v1=9d72933c25a2245e8c796d039a646d0a22d929fe7e662a2e2b52afcc83b4c3dc", "{}",
        2, 1));
}

static void test_a_right_signature_of_any_secret_is_taken(void **state)
{
    const char *time = "1793614272", *zeros = mem_printf(*state, "%064d", 0);

    assert_true(is_right(*state, signed_at(*state, NOW)));
    assert_true(is_right(
        *state, mem_printf(*state, "t=%s,v1=%s", time, hex_of(*state, "whsec_old", time, body))));
    assert_true(is_right(*state, mem_printf(*state, "t=%s,v1=%s,v1=%s,v0=%s", time, zeros,
                                            hex_of(*state, "whsec_old", time, body), zeros)));
    assert_true(is_right(*state, mem_printf(*state, "v9=x,%s,", signed_at(*state, NOW))));
}

static void test_the_time_may_be_off_by_the_tolerance(void **state)
{
    assert_true(is_right(*state, signed_at(*state, NOW - 300)));
    assert_true(is_right(*state, signed_at(*state, NOW + 300)));
    assert_false(is_right(*state, signed_at(*state, NOW - 301)));
    assert_false(is_right(*state, signed_at(*state, NOW + 301)));
    assert_false(is_right(*state, signed_at(*state, 0)));
}

static void test_anything_else_is_wrong(void **state)
{
    const char *time = "1793614272", *right = hex_of(*state, "whsec_test_x", time, body);
    char *upper = mem_string(*state, right), *many = mem_zero(*state, 10001);

    for (char *at = upper; *at != '\0'; at++)
        *at = (char)(*at >= 'a' ? *at - 32 : *at);
    memset(many, 'a', 10000);
    assert_false(is_right(*state, ""));
    assert_false(is_right(*state, "t=1793614272"));
    assert_false(is_right(*state, mem_printf(*state, "v1=%s", right)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s,v0=%s", time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s,v1=%s", time, upper)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s, v1=%s", time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s,t=%s,v1=%s", time, time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=x%s,v1=%s", time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=,v1=%s", right)));
    assert_false(is_right(*state, mem_printf(*state, "t=-%s,v1=%s", time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s,v1=%.62s", time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s,v1=%sff", time, right)));
    assert_false(is_right(*state, mem_printf(*state, "t=%s,v1=%s,%s", time, right, many)));
    assert_false(is_right(
        *state, mem_printf(*state, "t=%s,v1=%s", time, hex_of(*state, "whsec_other", time, body))));
    assert_false(
        is_right(*state, mem_printf(*state, "t=%s,v1=%s", time, hex_of(*state, "", time, body))));
}

static void test_no_secret_believes_nobody(void **state)
{
    struct secrets none = {0};

    assert_false(signature_is_right(&none, signed_at(*state, NOW), body, strlen(body), NOW));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(test_the_hmac_is_the_one_that_others_compute),
        UNIT(test_a_right_signature_of_any_secret_is_taken),
        UNIT(test_the_time_may_be_off_by_the_tolerance),
        UNIT(test_anything_else_is_wrong),
        UNIT(test_no_secret_believes_nobody),
    };

    crypto_start();
    return RUN_UNITS(tests);
}
