#include "cli/cli.h"
#include "core/answer.h"
#include "limit/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SECOND_US = 1000000 };

/* A line with a time in seconds; false at something else. */
static bool read_time(const char *line, int64_t *ret_us)
{
    char *end;
    double seconds = strtod(line, &end);

    if (end == line || end[strspn(end, " \t\r\n")] != '\0' || !(seconds > -1e11 && seconds < 1e11))
        return false;
    *ret_us = (int64_t)(seconds * SECOND_US + (seconds < 0 ? -0.5 : 0.5));
    return true;
}

static void put_request(struct answer *a, void *mem, int64_t at_us, const struct verdict *verdict)
{
    answer_row(a, NULL, verdict->admitted ? "{at} admitted" : "{at} refused, for {wait} s more");
    answer_string(a, "at", mem_printf(mem, "%.6f", (double)at_us / SECOND_US));
    answer_flag(a, "is_admitted", verdict->admitted);
    answer_string(
        a, "wait",
        mem_printf(mem, "%.6f", verdict->admitted ? 0 : (double)verdict->wait_us / SECOND_US));
    answer_row_end(a);
    fputs(answer_take(a, mem), stdout);
}

static int replay(struct memory_limiter *limiter, const struct rule *rule, FILE *times,
                  struct answer *a)
{
    const struct limit_key key = limit_key(0, LIMIT_IP, "one");
    unsigned admitted = 0, refused = 0;
    char line[128];

    answer_list(a, "requests");
    while (fgets(line, sizeof line, times) != NULL) {
        auto_tree void *mem = mem_tree(0);
        struct verdict verdict;
        int64_t at_us;

        if (!read_time(line, &at_us)) {
            fprintf(stderr, "manus limits: line %u is not a time in seconds\n",
                    admitted + refused + 1);
            return EX_DATAERR;
        }
        verdict = memory_limiter_ask(limiter, &key, 1, rule, at_us);
        verdict.admitted = verdict.admitted || rule->count == 0;
        admitted += verdict.admitted;
        refused += !verdict.admitted;
        put_request(a, mem, at_us, &verdict);
    }
    answer_list_end(a);
    answer_row(a, NULL, "{admitted} admitted, {refused} refused");
    answer_number(a, "admitted", admitted);
    answer_number(a, "refused", refused);
    answer_row_end(a);
    return EX_OK;
}

/* What a rule would have said to requests of one client at these times. */
static int try_rule(const char *text, const char *path, enum answer_form form)
{
    auto_tree void *mem = mem_tree(0);
    struct rule rule;
    const char *wrong = rule_parse(text, &rule);
    struct memory_limiter *limiter;
    struct answer *answer;
    FILE *times;
    int status;

    if (wrong != NULL) {
        fprintf(stderr, "manus limits: the rule %s\n", wrong);
        return EX_DATAERR;
    }
    times = path == NULL || strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (times == NULL) {
        fprintf(stderr, "manus limits: cannot read %s: %s\n", path, strerror(errno));
        return EX_NOINPUT;
    }
    limiter = memory_limiter_open(mem, 1000);
    answer = answer_open(mem, form);
    status = replay(limiter, &rule, times, answer);
    if (status == EX_OK)
        printf("%s%s", answer_end(answer, mem), form == ANSWER_JSON ? "\n" : "");
    memory_limiter_close(limiter);
    if (times != stdin)
        fclose(times);
    return status;
}

int command_limits(const struct arguments *arguments)
{
    const char *action = argument_word(arguments, 0), *rule = argument_word(arguments, 1);

    if (action == NULL || rule == NULL || strcmp(action, "test") != 0)
        return command_operate(arguments);
    return try_rule(rule, argument_option(arguments, "times"),
                    argument_option(arguments, "json") != NULL ? ANSWER_JSON : ANSWER_LINES);
}
