#include "cli/admin_socket.h"
#include "cli/cli.h"
#include "core/clock.h"
#include "limit/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RUN_MS = 30000, SECOND_US = 1000000 };

/* Asks the running server, whose memory holds the counts. */
static int ask_server(const struct arguments *arguments, const char *action, const char *what,
                      const char *option)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .job = "limits", .deadline_ms = clock_mono_ms() + RUN_MS};
    const struct settings *settings = cli_load_settings(mem, arguments, false);
    struct admin_request request = {
        .command = "limits", .action = action, .who = what, .option = option};
    const char *text = "";
    bool reached;
    enum err e;

    if (settings == NULL)
        return EX_CONFIG;
    e = admin_socket_ask(&task, settings->data_dir, &request, &reached, &text);
    if (e == OK && reached) {
        fputs(text, stdout);
        return EX_OK;
    }
    fprintf(stderr, "manus limits: %s\n",
            e == OK ? "no server runs on DATA_DIR, and counts live in its memory" : task.text);
    return e != OK && err_info(e)->blame == BLAME_CALLER ? EX_DATAERR : EX_UNAVAILABLE;
}

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

static int replay(struct memory_limiter *limiter, const struct rule *rule, FILE *times)
{
    const struct limit_key key = limit_key(0, LIMIT_IP, "one");
    unsigned admitted = 0, refused = 0;
    char line[128];

    while (fgets(line, sizeof line, times) != NULL) {
        struct verdict verdict;
        int64_t at_us;

        if (!read_time(line, &at_us)) {
            fprintf(stderr, "manus limits: line %u is not a time in seconds\n",
                    admitted + refused + 1);
            return EX_DATAERR;
        }
        verdict = memory_limiter_ask(limiter, &key, 1, rule, at_us);
        if (rule->count == 0 || verdict.admitted)
            admitted++;
        else
            refused++;
        printf("%.6f %s", (double)at_us / SECOND_US, verdict.admitted ? "admitted\n" : "refused");
        if (!verdict.admitted)
            printf(", for %.6f s more\n", (double)verdict.wait_us / SECOND_US);
    }
    printf("%u admitted, %u refused\n", admitted, refused);
    return EX_OK;
}

/* What a rule would have said to requests of one client at these times. */
static int try_rule(const char *text, const char *path)
{
    auto_tree void *mem = mem_tree(0);
    struct rule rule;
    const char *wrong = rule_parse(text, &rule);
    struct memory_limiter *limiter;
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
    status = replay(limiter, &rule, times);
    memory_limiter_close(limiter);
    if (times != stdin)
        fclose(times);
    return status;
}

/* "30m": in seconds, as text in `mem`; NULL if it must be a time of at most a year. */
static const char *read_duration(void *mem, const char *text)
{
    struct rule rule;
    const char *as_rule = mem_printf(mem, "1/%s", text);
    size_t digits = strspn(text, "0123456789");
    long long days = 0;

    if (digits > 0 && strcmp(text + digits, "d") == 0 && digits < 4)
        days = strtoll(text, NULL, 10);
    if (days >= 1 && days <= 366)
        return mem_printf(mem, "%lld", days * 86400);
    if (digits == 0 || rule_parse(as_rule, &rule) != NULL || rule.count != 1)
        return NULL;
    return mem_printf(mem, "%u", rule.windows[0].seconds);
}

static int ban(const struct arguments *arguments, const char *network)
{
    auto_tree void *mem = mem_tree(256);
    const char *given = argument_option(arguments, "for");
    const char *seconds = read_duration(mem, given == NULL ? "1h" : given);

    if (seconds != NULL)
        return ask_server(arguments, "ban", network, seconds);
    fputs("manus limits: --for must be a time of at most a year, such as 30m, 1h or 7d\n", stderr);
    return EX_USAGE;
}

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words != NULL && strcmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

int command_limits(const struct arguments *arguments)
{
    static const char *const plain[] = {"show", "reset", "unban", NULL};
    const char *action = argument_word(arguments, 0), *what = argument_word(arguments, 1);

    if (action != NULL && what != NULL && is_one_of(action, plain))
        return ask_server(arguments, action, what, NULL);
    if (action != NULL && what != NULL && strcmp(action, "ban") == 0)
        return ban(arguments, what);
    if (action != NULL && what != NULL && strcmp(action, "test") == 0)
        return try_rule(what, argument_option(arguments, "times"));
    if (action != NULL && what == NULL && strcmp(action, "bans") == 0)
        return ask_server(arguments, "bans", NULL, NULL);
    if (action != NULL && what == NULL && strcmp(action, "show") == 0 &&
        argument_option(arguments, "top") != NULL)
        return ask_server(arguments, "top", NULL, NULL);
    fputs("manus limits: give an action: show KEY, show --top, reset KEY, ban NETWORK, unban "
          "NETWORK, bans, or test RULE; run: manus help limits\n",
          stderr);
    return EX_USAGE;
}
