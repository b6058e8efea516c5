#include "core/phrases.h"

#include "core/text.h"

#include <assert.h>
#include <string.h>

const struct phrase_row phrase_rows[] = {
#define PHRASE(wire, english, arabic) {wire, {{english, arabic}}},
#include "core/phrases.def"
#undef PHRASE
    {0}};

static void put_member(struct text *out, const char *name, const char *value)
{
    text_json(out, name, strlen(name));
    text_char(out, ':');
    text_json(out, value, strlen(value));
}

char *phrases_as_json(void *mem)
{
    struct text out = text_open(mem, 16384);

    text_char(&out, '{');
    for (const struct phrase_row *row = phrase_rows; row->wire != NULL; row++) {
        const char *english = row->phrase.in[LANGUAGE_ENGLISH];

        assert(row->phrase.in[LANGUAGE_ARABIC] != NULL);
        if (row != phrase_rows)
            text_add(&out, ",\n");
        text_json(&out, row->wire, strlen(row->wire));
        text_add(&out, ":{");
        put_member(&out, language_names[LANGUAGE_ENGLISH], english == NULL ? row->wire : english);
        text_char(&out, ',');
        put_member(&out, language_names[LANGUAGE_ARABIC], row->phrase.in[LANGUAGE_ARABIC]);
        text_char(&out, '}');
    }
    text_add(&out, "}");
    return out.s;
}
