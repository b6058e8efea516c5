#include "core/crypto.h"

#include "unit.h"

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[2 * CRYPTO_HASH_BYTES + 1];

    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(text, hex);
}

static void test_sha256_of_fips_180(void **state)
{
    uint8_t hash[CRYPTO_HASH_BYTES];

    (void)state;
    crypto_sha256(hash, "abc", 3);
    assert_hex(hash, sizeof hash,
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_hmac_of_rfc_4231(void **state)
{
    uint8_t hash[CRYPTO_HASH_BYTES], key[131];

    (void)state;
    crypto_hmac(hash, "Jefe", 4, "what do ya want for nothing?", 28);
    assert_hex(hash, sizeof hash,
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    crypto_hmac(hash, key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First",
                54);
    assert_hex(hash, sizeof hash,
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_ids_differ_and_have_their_length(void **state)
{
    const char *one = crypto_id(*state), *two = crypto_id(*state);

    assert_int_equal(strlen(one), CRYPTO_ID_LEN);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_sha256_of_fips_180),
        UNIT(test_hmac_of_rfc_4231),
        UNIT(test_ids_differ_and_have_their_length),
    };

    crypto_start();
    return RUN_UNITS(tests);
}
