/* What strangers write for billing: the path that the guard is asked about, Stripe-Signature, and
 * the address to come back to. The first byte chooses. */
#include "api/guard.h"
#include "billing/return_url.h"
#include "billing/signature.h"
#include "core/crypto.h"
#include "core/text.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define NOW_S INT64_C(1800000000)

static int digit(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* What a careless application makes of a target that was found safe. */
static char *decoded(void *mem, const char *target)
{
    char *out = mem_zero(mem, strlen(target) + 1), *to = out;

    for (const char *at = target; *at != '\0' && *at != '?'; at++) {
        *to++ = *at != '%' ? *at : (char)(digit(at[1]) * 16 + digit(at[2]));
        at += *at == '%' ? 2 : 0;
    }
    return out;
}

/* "METHOD target": of what is not unsafe there is one reading. */
static void try_path(void *mem, char *text)
{
    char *target = strchr(text, ' '), *path;
    enum guard_path found;

    if (target == NULL)
        return;
    *target++ = '\0';
    found = guard_classify(text, target);
    if (found == GUARD_UNSAFE)
        return;
    path = decoded(mem, target);
    assert(path[0] == '/' && strstr(path, "//") == NULL && strstr(path, "/../") == NULL);
    assert(strpbrk(path, "\\;%?#") == NULL);
    assert(guard_classify(text, path) == found);
    assert(found == GUARD_OUTSIDE || strncmp(path, "/api/v1/", 8) == 0);
    assert(found != GUARD_METERED || strcasecmp(text, "PUT") == 0 || strcasecmp(text, "POST") == 0);
}

static const char *signature_of(void *mem, const struct secret *secret, const char *body)
{
    char payload[64];
    uint8_t mac[CRYPTO_HASH_BYTES];
    char *hex = mem_zero(mem, 2 * sizeof mac + 1);

    snprintf(payload, sizeof payload, "%lld.%s", (long long)NOW_S, body);
    crypto_hmac(mac, secret->bytes, secret->len, payload, strlen(payload));
    for (size_t i = 0; i < sizeof mac; i++)
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    return hex;
}

/* No header passes that does not hold the one right signature; whatever stands beside that. */
static void try_signature(void *mem, const char *header)
{
    static const char body[] = "{\"id\":\"evt_1\"}";
    static struct secret *secret;
    struct secrets secrets = {&secret, 1};
    const char *right;

    if (secret == NULL) {
        crypto_start();
        secret = secret_new(NULL, "whsec_fuzz", 10);
    }
    right = signature_of(mem, secret, body);
    if (signature_is_right(&secrets, header, body, strlen(body), NOW_S))
        assert(strstr(header, right) != NULL && strstr(header, "t=1800000000") != NULL);
    header = mem_printf(mem, "t=1800000000,v1=%s,%s", right, header);
    if (signature_is_right(&secrets, header, body, strlen(body), NOW_S))
        assert(!signature_is_right(&secrets, header, body, strlen(body) - 1, NOW_S));
}

static void try_return_url(const char *url)
{
    static const char origin[] = "https://app.example.com", port[] = ":443";
    const struct settings settings = {.public_url = (char *)origin};
    const char *rest = url + strlen(origin);

    if (!return_url_is_allowed(&settings, url))
        return;
    assert(strncasecmp(url, origin, strlen(origin)) == 0);
    rest += strncmp(rest, port, strlen(port)) == 0 ? strlen(port) : 0;
    assert(strchr("/?#", *rest) != NULL);
    for (const char *at = url; *at != '\0'; at++)
        assert((unsigned char)*at > ' ' && *at != '\\' && *at != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    char *text = len == 0 ? mem_string(mem, "") : mem_copy(mem, (const char *)bytes + 1, len - 1);

    if (len > 0 && bytes[0] % 4 == 0)
        try_signature(mem, text);
    else if (len > 0 && bytes[0] % 4 == 1)
        try_return_url(text);
    else
        try_path(mem, text);
    return 0;
}
