#include "core/settings_print.h"

#include "core/text.h"

#include <assert.h>
#include <string.h>

enum { WIDTH = 98 };

/* Words of `prose`, each line behind "# ". */
static void put_comment(struct text *out, const char *prose)
{
    size_t column = 0;

    for (const char *at = prose; *at != '\0';) {
        size_t len = strcspn(at, " ");

        if (column == 0 || column + 1 + len > WIDTH) {
            text_add(out, column == 0 ? "#" : "\n#");
            column = 1;
        }
        text_char(out, ' ');
        text_put(out, at, len);
        column += 1 + len;
        at += len + strspn(at + len, " ");
    }
    text_char(out, '\n');
}

static const char *type_name(const struct setting_row *row)
{
    static const char *const names[] = {
        [SETTING_INTEGER] = "whole number",
        [SETTING_BOOLEAN] = "true or false",
        [SETTING_RATE] = "rate",
        [SETTING_TEXT] = "text",
        [SETTING_CHOICE] = "choice",
        [SETTING_LIST] = "list",
        [SETTING_NETWORKS] = "networks",
        [SETTING_SECRET] = "secret",
        [SETTING_SECRETS] = "secrets",
    };

    assert((size_t)row->type < count_of(names));
    return names[row->type];
}

static void put_choices(struct text *out, const char *choices)
{
    for (; *choices != '\0'; choices++) {
        if (*choices == '|')
            text_add(out, ", ");
        else
            text_char(out, *choices);
    }
}

static void put_values(struct text *out, const struct setting_row *row)
{
    if (row->type == SETTING_INTEGER)
        text_printf(out, "%lld to %lld", (long long)row->low, (long long)row->high);
    else if (row->type == SETTING_RATE)
        text_add(out, "0 to 1");
    else if (row->choices != NULL)
        put_choices(out, row->choices);
    else
        text_add(out, type_name(row));
}

static bool begins_section(size_t i)
{
    return i == 0 || strcmp(setting_rows[i].section, setting_rows[i - 1].section) != 0;
}

static void put_notes(struct text *prose, const struct setting_row *row)
{
    if (row->type != SETTING_TEXT && !setting_is_secret(row)) {
        text_add(prose, " Values: ");
        put_values(prose, row);
        text_char(prose, '.');
    }
    if (setting_is_secret(row))
        text_printf(prose,
                    " WARNING: a secret; keep it out of version control. %s_FILE can name a "
                    "file that holds it.",
                    row->name);
    if ((row->flags & SETTING_LIVE) != 0)
        text_add(prose, " SIGHUP reloads it.");
    if ((row->flags & SETTING_AHEAD) != 0)
        text_add(prose, " (Checked, but not used by this version yet.)");
}

char *settings_as_env(void *mem)
{
    struct text out = text_open(mem, 16 << 10);

    put_comment(&out, "All settings of manus, printed by `manus settings --env`. Copy what you "
                      "change into .env (chmod 600), or set it in the environment, which "
                      "overrides .env. `manus init` writes a .env with a random key.");
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_row *row = &setting_rows[i];
        struct text prose = text_open(mem, 256);

        if (begins_section(i))
            text_printf(&out, "\n# == %s ==\n", row->section);
        text_add(&prose, row->help);
        put_notes(&prose, row);
        text_char(&out, '\n');
        put_comment(&out, prose.s);
        if ((row->flags & SETTING_EXAMPLE) == 0)
            text_char(&out, '#');
        text_printf(&out, "%s=%s\n", row->name, row->default_text == NULL ? "" : row->default_text);
    }
    return out.s;
}

static void put_cell(struct text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            text_char(out, '\\');
        text_char(out, *text);
    }
}

char *settings_as_markdown(void *mem)
{
    struct text out = text_open(mem, 16 << 10);

    text_add(&out,
             "# Settings\n\n`manus settings --markdown` prints this page. manus takes a setting "
             "from the environment; if it is not there, from `.env` in the working folder "
             "(or `--env-file FILE`); otherwise the default applies. Names are "
             "case-insensitive. For a secret `NAME`, `NAME_FILE` can name a file that holds "
             "it: `JWT_SECRET_KEY_FILE=/run/secrets/jwt`.\n\n`live`: `SIGHUP` reloads the "
             "setting. `ahead`: this version checks the value but does not use it yet.\n");
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_row *row = &setting_rows[i];

        if (begins_section(i))
            text_printf(&out,
                        "\n## %s\n\n| name | default | values | | what it does |\n"
                        "|---|---|---|---|---|\n",
                        row->section);
        text_printf(&out, "| `%s` | ", row->name);
        if (row->default_text != NULL && *row->default_text != '\0')
            text_printf(&out, "`%s`", row->default_text);
        text_add(&out, " | ");
        put_values(&out, row);
        text_printf(&out, " |%s%s%s | ", (row->flags & SETTING_REQUIRED) != 0 ? " required" : "",
                    (row->flags & SETTING_LIVE) != 0 ? " live" : "",
                    (row->flags & SETTING_AHEAD) != 0 ? " ahead" : "");
        put_cell(&out, row->help);
        text_add(&out, " |\n");
    }
    return out.s;
}

static json_t *row_as_json(const struct setting_row *row)
{
    json_t *object = json_pack("{s:s,s:s,s:s?,s:s,s:b,s:b,s:b,s:b,s:s}", "name", row->name, "type",
                               type_name(row), "default", row->default_text, "section",
                               row->section, "required", (row->flags & SETTING_REQUIRED) != 0,
                               "secret", setting_is_secret(row), "live",
                               (row->flags & SETTING_LIVE) != 0, "ahead",
                               (row->flags & SETTING_AHEAD) != 0, "help", row->help);

    if (row->type == SETTING_INTEGER) {
        json_object_set_new(object, "minimum", json_integer(row->low));
        json_object_set_new(object, "maximum", json_integer(row->high));
    }
    if (row->choices != NULL)
        json_object_set_new(object, "choices", json_string(row->choices));
    return object;
}

char *settings_as_json(void *mem, const struct settings *settings)
{
    auto_json json_t *rows = json_array();
    auto_text char *dump = NULL;

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        json_t *object = row_as_json(&setting_rows[i]);

        if (settings != NULL) {
            const struct setting_source *source = &settings->sources[i];

            json_object_set_new(object, "value",
                                source->shown == NULL ? json_null() : json_string(source->shown));
            json_object_set_new(object, "origin",
                                source->origin == NULL ? json_null() : json_string(source->origin));
        }
        json_array_append_new(rows, object);
    }
    dump = json_dumps(rows, JSON_INDENT(2));
    return mem_printf(mem, "%s\n", dump);
}

char *settings_as_values(void *mem, const struct settings *settings)
{
    struct text out = text_open(mem, 4096);

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_source *source = &settings->sources[i];

        if (begins_section(i))
            text_printf(&out, "%s%s\n", i == 0 ? "" : "\n", setting_rows[i].section);
        text_printf(&out, "  %-32s %-40s %s\n", setting_rows[i].name,
                    source->shown == NULL ? "-" : source->shown,
                    source->origin == NULL ? "unset" : source->origin);
    }
    return out.s;
}
