/* The configuration: one table (settings.def), read from the environment, then from a .env file,
 * then from the table's defaults. Names are case-insensitive. Every secret NAME may come from the
 * file that NAME_FILE names (Docker, Kubernetes, systemd credentials).
 *
 * Loading reports every problem at once and never prints a secret. A loaded struct does not change;
 * it is freed with its memory. Any thread may read it. */
#pragma once

#include "core/address.h"
#include "core/mem.h"
#include "core/secret.h"
#include "core/signing.h"

#include <stdint.h>

enum setting_flag {
    SETTING_LIVE = 1,
    SETTING_AHEAD = 2,
    SETTING_EXAMPLE = 4,
    SETTING_REQUIRED = 8,
    SETTING_REFUSE_BLANK = 16,
    SETTING_MAY_BE_NONE = 32,
};

enum setting_type {
    SETTING_INTEGER,
    SETTING_BOOLEAN,
    SETTING_RATE,
    SETTING_TEXT,
    SETTING_CHOICE,
    SETTING_LIST,
    SETTING_NETWORKS,
    SETTING_SECRET,
    SETTING_SECRETS,
};

struct texts {
    const char **of;
    size_t count;
};

struct secrets {
    struct secret **of;
    size_t count;
};

/* Positions of the values in the choices column. */
enum { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };
enum { PASSWORD_COMMON_ALLOW, PASSWORD_COMMON_WARN, PASSWORD_COMMON_REFUSE };
enum { PROXY_HEADER_X_FORWARDED_FOR, PROXY_HEADER_FORWARDED };
enum { JWT_HS256, JWT_EDDSA };
enum { JWT_CLAIMS_FULL, JWT_CLAIMS_MINIMAL };
enum { PROVIDER_PASSWORD, PROVIDER_NONE, PROVIDER_LOCAL };
enum { UNVERIFIED_EVERYTHING, UNVERIFIED_ACCOUNT, UNVERIFIED_NOTHING };

#define SETTING_C_integer int64_t
#define SETTING_C_boolean bool
#define SETTING_C_rate double
#define SETTING_C_text const char *
#define SETTING_C_choice int
#define SETTING_C_list struct texts
#define SETTING_C_networks struct networks
#define SETTING_C_secret struct secret *
#define SETTING_C_secrets struct secrets

enum setting_index {
#define SETTING(member, ...) SETTING_INDEX_##member,
#include "core/settings.def"
#undef SETTING
    SETTING_COUNT
};

/* Where a value came from. The digest tells two loads apart without keeping secrets around. */
struct setting_source {
    const char *origin; /* "default", "environment", "FILE line 3"; NULL: unset */
    const char *shown;  /* the value as text; "(secret)" for secrets */
    uint8_t digest[32];
};

struct settings {
#define SETTING(member, type, ...) SETTING_C_##type member;
#include "core/settings.def"
#undef SETTING
    struct setting_source sources[SETTING_COUNT];

    /* Of JWT_SECRET_KEY, then of each of JWT_SECRET_KEY_PREVIOUS. */
    const struct signing_key **signing_keys;
    size_t signing_key_count;

    /* RATE_LIMIT_… names that are no rows: limits of routes, which only their table can check. */
    struct setting_override {
        const char *name, *value, *origin;
    } *limit_overrides;
    size_t limit_override_count;

    size_t warning_count; /* of the report */
};

struct setting_row {
    const char *name;
    enum setting_type type;
    const char *default_text; /* NULL: unset */
    int64_t low, high;
    const char *choices;
    const char *(*check)(const char *value); /* what is wrong and the mend; NULL: all is well */
    unsigned flags;
    const char *section;
    const char *help;
    size_t offset; /* in struct settings */
};

extern const struct setting_row setting_rows[SETTING_COUNT];

static inline bool setting_is_secret(const struct setting_row *row)
{
    return row->type == SETTING_SECRET || row->type == SETTING_SECRETS;
}

/* What is wrong with a configuration: a line each, "NAME: what is wrong; how to mend it". */
struct settings_report {
    const char **problems;
    size_t problem_count;
    const char **warnings;
    size_t warning_count;
};

struct settings_input {
    char **environment;   /* NAME=value, NULL at the end, as environ is */
    const char *env_file; /* NULL: .env in the working folder, which may be missing */
};

/* NULL if there is a problem. The report is in `mem` and is filled in either case. */
struct settings *settings_load(void *mem, const struct settings_input *input,
                               struct settings_report *report);

/* What a running program may take over: loads again, keeps `old` values of settings that are not
 * LIVE and reports a warning for each of them that has changed. `old` must outlive the result. */
struct settings *settings_reload(void *mem, const struct settings_input *input,
                                 const struct settings *old, struct settings_report *report);

/* Where a browser on this machine finds the server, such as http://localhost:8000. */
const char *settings_served_url(void *mem, const struct settings *settings);
