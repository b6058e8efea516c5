/* The reader of settings: the bytes as a .env file, whose assignments then are the environment. */
#include "core/crypto.h"
#include "core/dotenv.h"
#include "core/settings.h"
#include "core/settings_print.h"
#include "core/text.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { LINES = 24 }; /* each that is no setting is compared with all */

struct environment {
    void *mem;
    char *lines[LINES + 1];
    size_t count;
};

static void add_line(void *context, const struct dotenv_line *line)
{
    struct environment *environment = context;

    assert((line->name == NULL) == (line->problem != NULL));
    /* Names of files to read would lead out of here. */
    if (line->name == NULL || environment->count == LINES ||
        strcasestr(line->name, "_FILE") != NULL)
        return;
    environment->lines[environment->count++] = mem_printf(environment->mem, "%s=%s", line->name,
                                                          line->value);
}

/* A text that is quoted as the header of dotenv.h says is read as itself, or refused. */

static void compare(void *context, const struct dotenv_line *line)
{
    assert(line->number >= 1 && (line->name == NULL || strcmp(line->name, "A") == 0));
    assert(line->name == NULL || strcmp(line->value, context) == 0);
}

static void try_quoted(void *mem, const char *text)
{
    struct text quoted = text_open(mem, 2 * strlen(text) + 8);

    text_add(&quoted, "export A=\"");
    for (const char *at = text; *at != '\0'; at++) {
        if (strchr("\"\\$\n", *at) != NULL)
            text_char(&quoted, '\\');
        text_char(&quoted, *at == '\n' ? 'n' : *at);
    }
    text_add(&quoted, "\" # A=b");
    dotenv_read(mem, quoted.s, quoted.len, compare, (void *)text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    struct environment environment = {.mem = mem};
    struct settings_input input = {environment.lines, "/dev/null"};
    struct settings_report report = {0};
    const struct settings *settings;

    crypto_start();
    try_quoted(mem, mem_copy(mem, (const char *)bytes, len));
    dotenv_read(mem, (const char *)bytes, len, add_line, &environment);
    settings = settings_load(mem, &input, &report);
    assert((settings == NULL) == (report.problem_count > 0));
    for (size_t i = 0; i < report.problem_count; i++)
        assert(strchr(report.problems[i], ':') != NULL);
    if (settings != NULL)
        assert(settings_as_json(mem, settings) != NULL);
    return 0;
}
