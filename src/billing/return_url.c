#include "billing/return_url.h"

#include "core/settings_check.h"

#include <string.h>
#include <strings.h>

enum { URL_BYTES = 2000 };

static bool is_given(const char *value)
{
    return value != NULL && *value != '\0';
}

const char *return_url_default(void *mem, const struct settings *settings)
{
    if (is_given(settings->billing_url))
        return settings->billing_url;
    return mem_printf(mem, "%s/settings/subscription",
                      is_given(settings->public_url) ? settings->public_url
                                                     : "http://localhost:3000");
}

static bool has_origin_of(const char *url, const char *other)
{
    size_t len = origin_length(url);

    return is_given(other) && len == origin_length(other) && strncasecmp(url, other, len) == 0;
}

bool return_url_is_allowed(const struct settings *settings, const char *url)
{
    if (strlen(url) > URL_BYTES || check_url(url) != NULL)
        return false;
    for (size_t i = 0; i < settings->cors_origins.count; i++) {
        if (has_origin_of(url, settings->cors_origins.of[i]))
            return true;
    }
    return has_origin_of(url, settings->billing_url) || has_origin_of(url, settings->public_url);
}
