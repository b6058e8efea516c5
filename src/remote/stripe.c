#include "remote/stripe.h"

#include "remote/transfer.h"

#include <string.h>

bool stripe_is_configured(const struct settings *settings)
{
    const struct secret *key = settings->stripe_secret;

    return key != NULL && (strncmp((const char *)key->bytes, "sk_", 3) == 0 ||
                           strncmp((const char *)key->bytes, "rk_", 3) == 0);
}

const char *stripe_probe(const struct settings *settings, int64_t timeout_ms)
{
    auto_tree void *mem = mem_tree(0);
    struct transfer transfer = {
        .url = mem_printf(mem, "%s/v1/balance", settings->stripe_api_base),
        .bearer = settings->stripe_secret,
        .ca_file = settings->ca_file,
        .timeout_ms = timeout_ms,
        .max_reply = 64 << 10,
    };

    if (transfer_run(mem, &transfer) != OK)
        return transfer.problem;
    if (transfer.status == 401 || transfer.status == 403)
        return "API key refused";
    return transfer.status == 200 ? NULL : "Unexpected answer";
}
