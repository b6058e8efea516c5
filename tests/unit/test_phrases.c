/* Whatever a route refuses has a text for people in both languages. */
#include "core/phrases.h"

#include "api/handlers.h"
#include "api/routes.h"
#include "unit.h"

#include <ctype.h>
#include <string.h>

/* With N in the place of each number, as the table has it. */
static const char *without_numbers(void *mem, const char *text)
{
    char *plain = mem_string(mem, text), *to = plain;

    for (const char *at = text; *at != '\0';) {
        bool digit = isdigit((unsigned char)*at);

        *to++ = digit ? 'N' : *at;
        for (at++; digit && isdigit((unsigned char)*at); at++)
            continue;
    }
    *to = '\0';
    return plain;
}

static const struct phrase_row *row_of(const char *wire)
{
    for (const struct phrase_row *row = phrase_rows; row->wire != NULL; row++) {
        if (strcmp(row->wire, wire) == 0)
            return row;
    }
    return NULL;
}

static void expect(void *mem, const char *wire)
{
    if (wire != NULL && row_of(wire) == NULL && row_of(without_numbers(mem, wire)) == NULL)
        fail_msg("phrases.def has no row for: %s", wire);
}

static void test_every_refusal_of_a_route_is_told(void **state)
{
    auto_tree void *mem = mem_tree(0);

    (void)state;
    for (const struct route *route = routes; route->method != NULL; route++) {
        const struct refusal *refusal = route->refusals;

        /* With a shape of its own it tells people by itself. */
        for (; refusal != NULL && refusal->status != 0; refusal++) {
            if (refusal->reply == NULL)
                expect(mem, refusal->msg);
        }
        /* What operators send is told to operators, by the text itself. */
        if (route->handle == operate)
            continue;
        for (const struct field *f = route->body; f != NULL && f->name != NULL; f++) {
            expect(mem, f->rule);
            expect(mem, f->rule_max);
            expect(mem, f->rule_text);
        }
    }
}

static void test_every_error_is_told(void **state)
{
    auto_tree void *mem = mem_tree(0);

    (void)state;
    for (int e = OK + 1; e < ERR_COUNT; e++) {
        if (e != ERR_GONE)
            expect(mem, err_info((enum err)e)->text);
    }
}

static void test_every_row_speaks_both_languages_once(void **state)
{
    (void)state;
    for (const struct phrase_row *row = phrase_rows; row->wire != NULL; row++) {
        assert_ptr_equal(row_of(row->wire), row);
        assert_non_null(row->phrase.in[LANGUAGE_ARABIC]);
        assert_true(*row->phrase.in[LANGUAGE_ARABIC] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_refusal_of_a_route_is_told),
        cmocka_unit_test(test_every_error_is_told),
        cmocka_unit_test(test_every_row_speaks_both_languages_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
