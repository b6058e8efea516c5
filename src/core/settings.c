#include "core/settings.h"

#include "core/crypto.h"
#include "core/settings_check.h"
#include "core/settings_doubt.h"
#include "core/settings_parts.h"
#include "core/text.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define LIVE SETTING_LIVE
#define AHEAD SETTING_AHEAD
#define EXAMPLE SETTING_EXAMPLE
#define REQUIRED SETTING_REQUIRED
#define REFUSE_BLANK SETTING_REFUSE_BLANK
#define MAY_BE_NONE SETTING_MAY_BE_NONE
#define TYPE_integer SETTING_INTEGER
#define TYPE_boolean SETTING_BOOLEAN
#define TYPE_rate SETTING_RATE
#define TYPE_text SETTING_TEXT
#define TYPE_choice SETTING_CHOICE
#define TYPE_list SETTING_LIST
#define TYPE_networks SETTING_NETWORKS
#define TYPE_secret SETTING_SECRET
#define TYPE_secrets SETTING_SECRETS

const struct setting_row setting_rows[SETTING_COUNT] = {
#define SETTING(member, type, name, standard, low, high, choices, check, flags, section, help)     \
    {#name,                                                                                        \
     TYPE_##type,                                                                                  \
     standard,                                                                                     \
     low,                                                                                          \
     high,                                                                                         \
     choices,                                                                                      \
     check,                                                                                        \
     (flags),                                                                                      \
     section,                                                                                      \
     help,                                                                                         \
     offsetof(struct settings, member)},
#include "core/settings.def"
#undef SETTING
};

void settings_add_line(void *mem, const char ***lines, size_t *count, const char *line)
{
    *lines = mem_grow(mem, *lines, (*count + 1) * sizeof **lines);
    (*lines)[(*count)++] = line;
}

const struct setting_row *setting_row_of(const char *name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strcasecmp(name, setting_rows[i].name) == 0)
            return &setting_rows[i];
    }
    return NULL;
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n\v\f")] == '\0';
}

/* Chooses between NAME and NAME_FILE: the one given in the stronger place. */
static const struct given *choose(struct loading *l, const struct setting_row *row, bool *ret_file)
{
    const struct given *plain = settings_find(l, row->name), *file = NULL;

    if (setting_is_secret(row))
        file = settings_find(l, mem_printf(l->mem, "%s_FILE", row->name));
    if (file != NULL && *file->value == '\0')
        file = NULL;
    if (plain != NULL && file != NULL && strcmp(plain->origin, "environment") == 0 &&
        strcmp(file->origin, "environment") == 0 && *plain->value != '\0')
        problem(l, "%s: is given twice, also as %s_FILE; remove one of them", row->name, row->name);
    *ret_file = file != NULL && (plain == NULL || *plain->value == '\0' || file > plain);
    return *ret_file ? file : plain;
}

static void set_source(struct loading *l, size_t index, const char *value, const char *origin)
{
    struct setting_source *source = &l->settings->sources[index];

    assert(index < SETTING_COUNT);
    source->origin = origin;
    if (value == NULL)
        return;
    source->shown = setting_is_secret(&setting_rows[index]) ? "(secret)"
                                                            : mem_string(l->mem, value);
    crypto_sha256(source->digest, value, strlen(value));
}

static bool means_none(const struct setting_row *row, const char *value)
{
    return (row->flags & SETTING_MAY_BE_NONE) != 0 &&
           (text_same_ascii(value, "none") || text_same_ascii(value, "no-password"));
}

/* Empty means unset, but for lists, where it means none of them. */
static bool is_left_out(struct loading *l, const struct setting_row *row, const char *value)
{
    if (value == NULL || means_none(row, value))
        return true;
    if (!is_blank(value) || row->type == SETTING_LIST || row->type == SETTING_NETWORKS)
        return false;
    if ((row->flags & (SETTING_REFUSE_BLANK | SETTING_REQUIRED)) != 0 ||
        (*value != '\0' && setting_is_secret(row)))
        problem(l, "%s: is blank; give its value, or remove it", row->name);
    else if (row->default_text != NULL && row->type != SETTING_TEXT)
        problem(l, "%s: is empty; give a value, or remove it", row->name);
    return true;
}

static void use_value(struct loading *l, size_t index, const char *value, const char *origin)
{
    setting_parse(l, &setting_rows[index], value);
    set_source(l, index, value, origin);
}

static void load_row(struct loading *l, size_t index)
{
    const struct setting_row *row = &setting_rows[index];
    bool from_file;
    const struct given *given = choose(l, row, &from_file);
    const char *value = given == NULL ? NULL : given->value;
    size_t problems = l->report->problem_count;

    if (value != NULL && from_file)
        value = settings_read_secret(l, row, settings_place(l, given->origin, value));
    if (given != NULL && value == NULL)
        return; /* the file's problem is told */

    if (given != NULL && !setting_is_secret(row) && strcmp(given->origin, "environment") == 0 &&
        setting_is_template(value))
        warning(l, "%s: %s is a template that nothing has filled in; give the value itself",
                row->name, settings_shown(l->mem, value));
    if (!is_left_out(l, row, value))
        use_value(l, index, value, given->origin);
    else if (row->default_text != NULL)
        use_value(l, index, row->default_text, "default");
    else if ((row->flags & SETTING_REQUIRED) != 0 && l->report->problem_count == problems)
        problem(l,
                "%s: is not set; run `manus init`, or set it to a random text: openssl rand "
                "-base64 48",
                row->name);
    if (from_file && value != NULL)
        crypto_wipe((char *)value, strlen(value));
}

static void tell_doubt(void *context, bool is_problem, const char *text)
{
    struct loading *l = context;

    if (is_problem)
        problem(l, "%s", text);
    else
        warning(l, "%s", text);
}

static void derive_keys(void *mem, struct settings *s)
{
    assert(s->jwt_secret != NULL);
    s->signing_key_count = 1 + s->jwt_previous.count;
    s->signing_keys = mem_array(mem, const struct signing_key *, s->signing_key_count);
    s->signing_keys[0] = signing_key_of(mem, s->jwt_secret);
    for (size_t i = 0; i < s->jwt_previous.count; i++)
        s->signing_keys[i + 1] = signing_key_of(mem, s->jwt_previous.of[i]);
}

struct settings *settings_load(void *mem, const struct settings_input *input,
                               struct settings_report *report)
{
    struct loading l = {.mem = mem, .report = report, .settings = mem_new(mem, struct settings)};

    *report = (struct settings_report){0};
    settings_give_file(&l, input->env_file);
    settings_give_environment(&l, input->environment);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        load_row(&l, i);
    settings_place_paths(&l);
    settings_check_together(&l);
    settings_doubt(mem, l.settings, tell_doubt, &l);
    settings_warn_of_unknown(&l);
    settings_wipe_given(&l);
    if (report->problem_count > 0)
        return NULL;
    derive_keys(mem, l.settings);
    l.settings->warning_count = report->warning_count;
    return l.settings;
}

static size_t value_size(enum setting_type type)
{
    static const size_t sizes[] = {
#define SIZE(upper, lower) [SETTING_##upper] = sizeof(SETTING_C_##lower)
        SIZE(INTEGER, integer), SIZE(BOOLEAN, boolean),   SIZE(RATE, rate),
        SIZE(TEXT, text),       SIZE(CHOICE, choice),     SIZE(LIST, list),
        SIZE(SECRET, secret),   SIZE(NETWORKS, networks), SIZE(SECRETS, secrets),
#undef SIZE
    };

    assert((size_t)type < count_of(sizes) && sizes[type] > 0);
    return sizes[type];
}

struct settings *settings_reload(void *mem, const struct settings_input *input,
                                 const struct settings *old, struct settings_report *report)
{
    struct settings *new = settings_load(mem, input, report);

    assert(old != NULL);
    if (new == NULL)
        return NULL;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_row *row = &setting_rows[i];

        if ((row->flags & SETTING_LIVE) != 0 ||
            memcmp(new->sources[i].digest, old->sources[i].digest, 32) == 0)
            continue;
        settings_add_line(
            mem, &report->warnings, &report->warning_count,
            mem_printf(mem, "%s: has changed, and takes effect at the next start", row->name));
        memcpy((char *)new + row->offset, (const char *)old + row->offset, value_size(row->type));
        new->sources[i] = old->sources[i];
    }
    return new;
}

const char *settings_served_url(void *mem, const struct settings *settings)
{
    static const char *const here[] = {"127.0.0.1", "0.0.0.0", "::", "::1", "localhost"};
    const char *host = settings->host;

    for (size_t i = 0; i < count_of(here); i++) {
        if (strcmp(host, here[i]) == 0)
            host = "localhost";
    }
    return mem_printf(mem, strchr(host, ':') == NULL ? "http://%s:%d" : "http://[%s]:%d", host,
                      (int)settings->port);
}
