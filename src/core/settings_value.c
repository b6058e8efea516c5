#include "core/settings_parts.h"

#include "core/crypto.h"
#include "core/settings_check.h"
#include "core/text.h"
#include "core/unicode.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum { VALUE_BYTES = 4096 };

const char *settings_shown(void *mem, const char *value)
{
    struct text out = text_open(mem, 96);
    size_t len = strlen(value);

    text_json(&out, value, len > 60 ? 60 : len);
    if (len > 60)
        text_add(&out, "…");
    return out.s;
}

static bool parse_integer(struct loading *l, const struct setting_row *row, const char *value)
{
    int64_t *out = (void *)((char *)l->settings + row->offset);
    char *end;

    errno = 0;
    *out = strtoll(value, &end, 10);
    if (settings_is_service(value))
        problem(l,
                "%s: %s is what Kubernetes sets for a service of that name; set "
                "enableServiceLinks: false in the pod, or %s to a number",
                row->name, settings_shown(l->mem, value), row->name);
    else if (end == value || *end != '\0' || errno != 0 || isspace((unsigned char)*value) ||
             *value == '+' || *out < row->low || *out > row->high)
        problem(l, "%s: %s is not a whole number from %lld to %lld; give one", row->name,
                settings_shown(l->mem, value), (long long)row->low, (long long)row->high);
    else
        return true;
    return false;
}

static bool parse_boolean(struct loading *l, const struct setting_row *row, const char *value)
{
    static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no",
                                                                                "off"};
    bool *out = (void *)((char *)l->settings + row->offset);

    for (size_t i = 0; i < count_of(yes); i++) {
        if (text_same_ascii(value, yes[i]) || text_same_ascii(value, no[i])) {
            *out = text_same_ascii(value, yes[i]);
            return true;
        }
    }
    problem(l, "%s: %s is neither true nor false; give one of them", row->name,
            settings_shown(l->mem, value));
    return false;
}

static bool parse_rate(struct loading *l, const struct setting_row *row, const char *value)
{
    double *out = (void *)((char *)l->settings + row->offset);
    size_t len = strlen(value);
    char *end;

    *out = strtod(value, &end);
    if (len > 0 && len < 32 && strspn(value, "0123456789.") == len && *end == '\0' && *out >= 0 &&
        *out <= 1)
        return true;
    problem(l, "%s: %s is not a rate from 0 to 1; give one such as 0.25", row->name,
            settings_shown(l->mem, value));
    return false;
}

/* The position of `word` among words separated by |, or -1. */
static int position(const char *choices, const char *word)
{
    size_t len = strlen(word);
    int i = 0;

    for (const char *at = choices;; at++, i++) {
        size_t width = strcspn(at, "|");

        if (width == len && strncasecmp(at, word, len) == 0)
            return i;
        at += width;
        if (*at == '\0')
            return -1;
    }
}

static const char *words(void *mem, const char *choices)
{
    struct text out = text_open(mem, 96);

    for (; *choices != '\0'; choices++) {
        if (*choices == '|')
            text_add(&out, ", ");
        else
            text_char(&out, *choices);
    }
    return out.s;
}

#define UNFILLED "is a template that nothing has filled in; give the value itself"

static bool check_value(struct loading *l, const struct setting_row *row, const char *value)
{
    const char *wrong = NULL;

    if (setting_is_secret(row) && secret_is_template(value))
        wrong = UNFILLED;
    else if (row->check != NULL)
        wrong = row->check(value);
    if (wrong == NULL)
        return true;
    if (setting_is_secret(row))
        problem(l, "%s: %s", row->name, wrong);
    else
        problem(l, "%s: %s %s", row->name, settings_shown(l->mem, value), wrong);
    return false;
}

/* Origins without the port that their scheme has anyway, as browsers send them. */
static const char *normal(void *mem, const struct setting_row *row, const char *value)
{
    return mem_copy(mem, value, row->check == check_origin ? origin_length(value) : strlen(value));
}

static bool parse_choice(struct loading *l, const struct setting_row *row, const char *value)
{
    int *out = (void *)((char *)l->settings + row->offset);

    assert(row->choices != NULL);
    *out = position(row->choices, value);
    if (*out < 0)
        problem(l, "%s: %s is not known; give one of %s", row->name, settings_shown(l->mem, value),
                words(l->mem, row->choices));
    return *out >= 0 && check_value(l, row, value);
}

static bool check_size(struct loading *l, const struct setting_row *row, const char *value)
{
    size_t len = strlen(value);
    size_t high = row->high > 0 ? (size_t)row->high : VALUE_BYTES;

    if (len < (size_t)row->low)
        problem(l, "%s: is empty; give a value, or remove the line", row->name);
    else if (len > high)
        problem(l, "%s: is %zu bytes long; give at most %zu", row->name, len, high);
    else if (unicode_has_control(value) || !unicode_is_valid(value, len))
        problem(l, "%s: holds a control character or is not UTF-8; give plain text", row->name);
    else
        return true;
    return false;
}

/* The items between commas, trimmed; empty ones are passed over. */
static struct texts split(void *mem, const char *value)
{
    struct texts items = {0};

    for (const char *at = value; *at != '\0';) {
        size_t len = strcspn(at, ",");
        char *item = unicode_trim(mem, mem_copy(mem, at, len));

        if (*item != '\0')
            settings_add_line(mem, &items.of, &items.count, item);
        at += len + (at[len] == ',');
    }
    return items;
}

static size_t count_items(const char *value)
{
    size_t count = 1;

    for (; *value != '\0'; value++)
        count += *value == ',';
    return count;
}

static bool parse_list(struct loading *l, const struct setting_row *row, const char *value)
{
    struct texts *out = (void *)((char *)l->settings + row->offset);
    bool fine = true;

    *out = split(l->mem, value);
    for (size_t i = 0; i < out->count; i++) {
        if (row->choices != NULL && position(row->choices, out->of[i]) < 0) {
            problem(l, "%s: %s is not known; give some of %s", row->name,
                    settings_shown(l->mem, out->of[i]), words(l->mem, row->choices));
            fine = false;
        }
        fine = check_value(l, row, out->of[i]) && fine;
        out->of[i] = normal(l->mem, row, out->of[i]);
    }
    return fine;
}

static bool parse_networks(struct loading *l, const struct setting_row *row, const char *value)
{
    struct networks *out = (void *)((char *)l->settings + row->offset);
    struct texts items = split(l->mem, value);
    bool fine = true;

    out->of = mem_array(l->mem, struct network, items.count + 1);
    for (size_t i = 0; i < items.count; i++) {
        if (!network_parse(items.of[i], &out->of[out->count++])) {
            problem(l,
                    "%s: %s is not a network; give one such as 10.0.0.0/8 (host bits zero) or an "
                    "address",
                    row->name, settings_shown(l->mem, items.of[i]));
            fine = false;
        }
    }
    return fine;
}

static bool parse_secret(struct loading *l, const struct setting_row *row, const char *value)
{
    struct secret **out = (void *)((char *)l->settings + row->offset);

    if (!check_value(l, row, value))
        return false;
    *out = secret_new(l->mem, value, strlen(value));
    return true;
}

static bool parse_secrets(struct loading *l, const struct setting_row *row, const char *value)
{
    struct secrets *out = (void *)((char *)l->settings + row->offset);
    struct texts items = split(l->mem, value);

    /* A template may have commas of its own. */
    if (secret_is_template(value)) {
        problem(l, "%s: " UNFILLED, row->name);
        return false;
    }
    if ((row->flags & SETTING_REFUSE_BLANK) != 0 && items.count != count_items(value)) {
        problem(l, "%s: one of its values is blank; remove its comma", row->name);
        return false;
    }
    out->of = mem_array(l->mem, struct secret *, items.count + 1);
    for (size_t i = 0; i < items.count; i++) {
        if (!check_value(l, row, items.of[i]))
            return false;
        out->of[out->count++] = secret_new(l->mem, items.of[i], strlen(items.of[i]));
        crypto_wipe((char *)items.of[i], strlen(items.of[i]));
    }
    return true;
}

static bool parse_text(struct loading *l, const struct setting_row *row, const char *value)
{
    const char **out = (void *)((char *)l->settings + row->offset);

    *out = normal(l->mem, row, value);
    return check_value(l, row, value);
}

bool setting_parse(struct loading *l, const struct setting_row *row, const char *value)
{
    bool (*const parsers[])(struct loading *, const struct setting_row *, const char *) = {
        [SETTING_INTEGER] = parse_integer,   [SETTING_BOOLEAN] = parse_boolean,
        [SETTING_RATE] = parse_rate,         [SETTING_TEXT] = parse_text,
        [SETTING_CHOICE] = parse_choice,     [SETTING_LIST] = parse_list,
        [SETTING_NETWORKS] = parse_networks, [SETTING_SECRET] = parse_secret,
        [SETTING_SECRETS] = parse_secrets,
    };
    const char *hidden = check_visible(value);

    assert((size_t)row->type < count_of(parsers));
    /* Settings are looked at together even if one of them is wrong. */
    if (row->type == SETTING_TEXT)
        *(const char **)((char *)l->settings + row->offset) = row->default_text;
    if (hidden != NULL)
        problem(l, "%s: %s", row->name, hidden);
    else if (row->type == SETTING_INTEGER || check_size(l, row, value))
        return parsers[row->type](l, row, value);
    return false;
}
