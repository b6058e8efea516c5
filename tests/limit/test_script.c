/* The scripts in a real Redis against a log that forgets nothing, and the limiter in memory against
 * the same: one set of schedules for both. */
#include "limit/script.h"

#include "core/crypto.h"
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SCHEDULES = 10000, STEPS = 12, SECOND = 1000000, START_TRIES = 500 };

static redisContext *redis;
static pid_t server;
static char folder[] = "/tmp/manus-redis-XXXXXX";

static int start_redis(void **state)
{
    char path[64];

    (void)state;
    crypto_start();
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/socket", folder);
    server = fork();
    if (server == 0) {
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "",
               "--dir", folder, "--logfile", "/dev/null", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < START_TRIES; i++) {
        redis = redisConnectUnix(path);
        if (redis != NULL && redis->err == 0)
            return 0;
        redisFree(redis);
        usleep(20000);
    }
    fputs("redis-server does not start: run scripts/deps test\n", stderr);
    return -1;
}

static int stop_redis(void **state)
{
    char command[64];

    (void)state;
    redisFree(redis);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    snprintf(command, sizeof command, "%s/socket", folder);
    unlink(command);
    return rmdir(folder);
}

static redisReply *send_text(struct text *command)
{
    redisReply *reply = NULL;

    assert_int_equal(redisAppendFormattedCommand(redis, command->s, command->len), REDIS_OK);
    assert_int_equal(redisGetReply(redis, (void **)&reply), REDIS_OK);
    assert_non_null(reply);
    command->len = 0;
    return reply;
}

static struct script_answer ask_times(struct text *command, const char *const *keys,
                                      const uint32_t *times, unsigned count,
                                      const struct rule *rule, int64_t shift_us)
{
    const struct script_clock clock = {shift_us, 0};
    enum script script = script_for(count);
    struct script_answer answer;
    struct script_reply parts;
    redisReply *reply;

    script_put_ask(command, script, true, keys, times, count, rule, &clock);
    reply = send_text(command);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    script_open_reply(reply, &parts);
    script_read_ask(&parts, times, count, rule, &answer);
    freeReplyObject(reply);
    return answer;
}

static struct script_answer ask(struct text *command, const char *const *keys, unsigned count,
                                const struct rule *rule, int64_t shift_us)
{
    return ask_times(command, keys, NULL, count, rule, shift_us);
}

/* A generator of its own, so that a failure comes again. */
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* Every time that was admitted, and nothing else. */
struct log {
    int64_t times[8192];
    uint32_t count;
};

static int64_t wait_of(const struct log *log, const struct rule *rule, int64_t now_us)
{
    int64_t longest_us = 0;

    for (unsigned i = 0; i < rule->count; i++) {
        int64_t window_us = (int64_t)rule->windows[i].seconds * SECOND, wait_us;
        uint32_t limit = rule->windows[i].limit;

        if (log->count < limit)
            continue;
        wait_us = log->times[log->count - limit] + window_us - now_us;
        if (wait_us > longest_us)
            longest_us = wait_us;
    }
    return longest_us;
}

static uint32_t remaining_of(const struct log *log, const struct rule_window *window,
                             int64_t now_us)
{
    uint32_t young = 0;

    while (young < log->count && young < window->limit &&
           now_us - log->times[log->count - 1 - young] < (int64_t)window->seconds * SECOND)
        young++;
    return window->limit - young;
}

static struct rule draw_rule(void *mem)
{
    struct rule rule = {.count = 1 + draw(3)};

    for (unsigned i = 0; i < rule.count; i++) {
        struct rule_window *window = &rule.windows[i];
        uint32_t most = draw(64) == 0 ? 1500 : draw(8) == 0 ? 500 : draw(2) == 0 ? 6 : 70;

        *window = (struct rule_window){1 + draw(most), 1 + draw(120)};
        rule.most = window->limit > rule.most ? window->limit : rule.most;
        rule.longest = window->seconds > rule.longest ? window->seconds : rule.longest;
    }
    script_compile_rule(mem, &rule);
    return rule;
}

/* Bursts, waits to the edge of a window and just beside it, and rests. */
static int64_t draw_step(const struct rule *rule, int64_t wait_us)
{
    const struct rule_window *window = &rule->windows[draw(rule->count)];

    switch (draw(6)) {
    case 0:
        return (int64_t)window->seconds * SECOND - 100 + (int64_t)draw(200);
    case 1:
        return wait_us > 0 ? wait_us - 100 + (int64_t)draw(200) : 0;
    case 2:
        return draw(window->seconds * SECOND / window->limit + 1);
    default:
        return 0;
    }
}

static void check(const struct log *log, const struct rule *rule,
                  const struct script_answer *answer)
{
    int64_t wait_us = wait_of(log, rule, answer->now_us);

    assert_int_equal(answer->outcome, wait_us == 0 ? SCRIPT_ADMITTED : SCRIPT_REFUSED);
    if (wait_us > 0)
        assert_int_equal(answer->verdict.wait_us, wait_us);
    for (unsigned i = 0; i < rule->count; i++) {
        uint32_t remaining = remaining_of(log, &rule->windows[i], answer->now_us);

        assert_int_equal(answer->verdict.remaining[i], wait_us == 0 ? remaining - 1 : remaining);
    }
}

static void redis_and_memory_admit_what_the_whole_log_admits_and_nothing_else(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct memory_limiter *limiter = memory_limiter_open(mem, 100000);
    struct log *log = mem_new(mem, struct log);
    struct text command = text_open(mem, 8192);

    (void)state;
    seed = 20261125;
    for (int schedule = 0; schedule < SCHEDULES; schedule++) {
        auto_tree void *own = mem_tree(1024);
        struct rule rule = draw_rule(own);
        const char *key = mem_printf(own, "key%d", schedule);
        struct limit_key limit_key_here = limit_key(1, LIMIT_USER, key);
        unsigned steps = rule.most > 60 && draw(20) == 0 ? rule.most * 3 : STEPS;
        int64_t shift_us = 0, wait_us = 0;

        log->count = 0;
        for (unsigned step = 0; step < steps; step++) {
            struct script_answer answer;
            struct verdict verdict;

            /* Redis' clock goes on by itself, too: what it was is in the answer. */
            shift_us += draw_step(&rule, wait_us);
            answer = ask(&command, &key, 1, &rule, shift_us);
            check(log, &rule, &answer);
            verdict = memory_limiter_ask(limiter, &limit_key_here, 1, &rule, answer.now_us);
            assert_int_equal(verdict.admitted, answer.verdict.admitted);
            assert_memory_equal(verdict.remaining, answer.verdict.remaining,
                                sizeof verdict.remaining);
            wait_us = verdict.wait_us;
            if (verdict.admitted)
                log->times[log->count++] = answer.now_us;
        }
    }
    memory_limiter_close(limiter);
}

static void keys_of_one_call_count_each_by_itself(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 8192);
    const char *keys[] = {"batch a", "batch b", "batch a", "batch a"};
    static const bool admitted[] = {true, true, true, false};
    static const uint32_t held[] = {0, 0, 1, 2};
    const struct script_clock clock = {0, 0};
    struct script_answer answer;
    struct script_reply parts;
    redisReply *reply;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("2/minute", &rule));
    script_compile_rule(mem, &rule);
    script_put_ask(&command, SCRIPT_ONE, true, keys, NULL, 4, &rule, &clock);
    reply = send_text(&command);
    script_open_reply(reply, &parts);
    for (int i = 0; i < 4; i++) {
        script_read_ask(&parts, NULL, 1, &rule, &answer);
        assert_int_equal(answer.outcome, admitted[i] ? SCRIPT_ADMITTED : SCRIPT_REFUSED);
        assert_int_equal(answer.held[0], held[i]);
    }
    script_read_ask(&parts, NULL, 1, &rule, &answer);
    assert_int_equal(answer.outcome, SCRIPT_NONSENSE);
    freeReplyObject(reply);
}

static void two_keys_are_charged_together_or_not_at_all(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 8192);
    const char *both[] = {"{pair}a", "{pair}b"}, *other[] = {"{pair}a", "{pair}c"};
    struct script_answer answer;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("3/minute;5/hour", &rule));
    script_compile_rule(mem, &rule);
    for (int i = 0; i < 3; i++)
        assert_true(ask(&command, both, 2, &rule, 0).verdict.admitted);
    for (int i = 0; i < 3; i++) {
        answer = ask(&command, other, 2, &rule, 0);
        assert_false(answer.verdict.admitted);
        assert_true(answer.refused[0]);
        assert_false(answer.refused[1]);
        assert_int_equal(answer.held[1], 0);
        assert_int_equal(answer.verdict.remaining[0], 0);
    }
    answer = ask(&command, other, 2, &rule, 61 * (int64_t)SECOND);
    assert_true(answer.verdict.admitted);
    assert_int_equal(answer.verdict.remaining[1], 1);
}

static void a_wider_network_holds_its_limit_whatever_the_narrower_ones_have_left(void **state)
{
    static const uint32_t times[] = {1, 4, 16};
    auto_tree void *mem = mem_tree(0);
    struct memory_limiter *limiter = memory_limiter_open(mem, 100000);
    struct text command = text_open(mem, 8192);
    unsigned admitted = 0;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("50/minute;60/hour", &rule));
    script_compile_rule(mem, &rule);
    for (int client = 0; client < 30; client++) {
        const char *keys[] = {mem_printf(mem, "{wide}64:%d", client),
                              mem_printf(mem, "{wide}56:%d", client / 6), "{wide}48"};
        const struct limit_key own[] = {limit_key(1, LIMIT_NET, keys[0]),
                                        limit_key(1, LIMIT_NET56, keys[1]),
                                        limit_key(1, LIMIT_NET48, keys[2])};
        unsigned here = 0;

        for (int i = 0; i < 51; i++) {
            struct script_answer answer = ask_times(&command, keys, times, 3, &rule, 0);
            struct verdict verdict = memory_limiter_ask(limiter, own, 3, &rule, answer.now_us);

            assert_int_not_equal(answer.outcome, SCRIPT_NONSENSE);
            assert_int_equal(verdict.admitted, answer.verdict.admitted);
            assert_memory_equal(verdict.remaining, answer.verdict.remaining,
                                sizeof verdict.remaining);
            here += answer.verdict.admitted;
        }
        admitted += here;
        assert_int_equal(here, client >= 22 || client % 6 >= 4 ? 0 : 50);
    }
    assert_int_equal(admitted, 16 * 50);
    memory_limiter_close(limiter);
}

/* The big-endian ages that a hand-over sends. */
static void put_age(struct text *ages, int64_t us)
{
    for (int i = 0; i < 8; i++)
        text_char(ages, (char)(uint64_t)(us >> (56 - 8 * i)));
}

static void what_is_handed_over_counts_by_its_age(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 8192), ages = text_open(mem, 64);
    const struct script_clock clock = {0, 0};
    const char *key = "handed";
    struct script_answer answer;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("4/minute", &rule));
    script_compile_rule(mem, &rule);
    assert_true(ask(&command, &key, 1, &rule, 0).verdict.admitted);
    put_age(&ages, 50 * (int64_t)SECOND);
    put_age(&ages, 30 * (int64_t)SECOND);
    for (int sent = 0; sent < 2; sent++) {
        script_put_merge(&command, true, key, 1, &rule, &clock,
                         &(struct script_piece){"one", 7, ages.s, ages.len});
        freeReplyObject(send_text(&command));
    }
    assert_int_equal(ask(&command, &key, 1, &rule, 0).verdict.remaining[0], 0);
    answer = ask(&command, &key, 1, &rule, 0);
    assert_false(answer.verdict.admitted);
    assert_in_range(answer.verdict.wait_us, 9 * SECOND, 10 * SECOND);
    assert_true(ask(&command, &key, 1, &rule, 11 * (int64_t)SECOND).verdict.admitted);
}

static int64_t redis_now_us(void)
{
    redisReply *reply = redisCommand(redis, "TIME");
    int64_t us = strtoll(reply->element[0]->str, NULL, 10) * SECOND +
                 strtoll(reply->element[1]->str, NULL, 10);

    freeReplyObject(reply);
    return us;
}

/* What others were admitted: every second, for as many as the limit. */
static void put_log_of_others(const char *key, uint32_t count, int64_t first_us)
{
    auto_tree void *mem = mem_tree(0);
    struct text log = text_open(mem, 8 * (size_t)count);

    for (uint32_t i = 0; i < count; i++)
        put_age(&log, first_us + (int64_t)i * 10000);
    freeReplyObject(redisCommand(redis, "SET %s %b", key, log.s, log.len));
}

/* So that a busy machine does not count. */
static int64_t redis_cpu_us(void)
{
    redisReply *reply = redisCommand(redis, "INFO cpu");
    const char *user = strstr(reply->str, "used_cpu_user:");
    const char *system = strstr(reply->str, "used_cpu_sys:");
    double seconds = strtod(strchr(user, ':') + 1, NULL) + strtod(strchr(system, ':') + 1, NULL);

    freeReplyObject(reply);
    return (int64_t)(seconds * SECOND);
}

/* How long a piece took Redis in the mean, in us. Every third answer
 * is lost, and its piece sent again. */
static int64_t hand_over(struct memory_limiter *limiter, const char *name,
                         const struct limit_key *key, const struct rule *rule, int64_t now_us)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 16384), ages = text_open(mem, 16384);
    const struct script_clock clock = {0, 0};
    int64_t begun_us = redis_cpu_us();
    struct limit_piece piece;
    bool more = true;
    int sent = 0;

    while (more) {
        redisReply *reply;

        ages.len = 0;
        assert_in_range(memory_limiter_take_apart(limiter, key, rule, now_us, &ages, &piece), 1,
                        LIMIT_PIECE);
        script_put_merge(&command, true, name, 1, rule, &clock,
                         &(struct script_piece){"one", piece.id, ages.s, ages.len});
        reply = send_text(&command);
        assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
        assert_int_equal(reply->element[0]->integer, 0);
        freeReplyObject(reply);
        more = memory_limiter_handed_over(limiter, key, piece.id, ++sent % 3 != 0, now_us);
    }
    return (redis_cpu_us() - begun_us) / sent;
}

static void a_large_log_is_handed_over_in_pieces_that_each_take_little_and_count_once(void **state)
{
    enum { MOST = 100000, OTHERS = 60000, OURS = 70000 };
    auto_tree void *mem = mem_tree(0);
    struct memory_limiter *limiter = memory_limiter_open(mem, 1000);
    struct limit_key key = limit_key(1, LIMIT_USER, "large");
    int64_t now_us = redis_now_us(), first_us = now_us - 700 * (int64_t)SECOND, last_us = 0;
    const char *name = "large";
    redisReply *reply;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("100000/hour", &rule));
    script_compile_rule(mem, &rule);
    put_log_of_others(name, OTHERS, first_us);
    for (int i = 0; i < OURS; i++)
        assert_true(
            memory_limiter_ask_apart(limiter, &key, 1, &rule, first_us + i * 9000).admitted);
    assert_in_range(hand_over(limiter, name, &key, &rule, now_us), 1, 20000);
    reply = redisCommand(redis, "GET %s", name);
    assert_int_equal(reply->len, 8 * (OTHERS + OURS));
    for (size_t at = 0; at < reply->len; at += 8) {
        int64_t stamp_us = 0;

        for (size_t i = 0; i < 8; i++)
            stamp_us = stamp_us << 8 | (uint8_t)reply->str[at + i];
        assert_true(stamp_us >= last_us);
        last_us = stamp_us;
    }
    freeReplyObject(reply);
    memory_limiter_close(limiter);
}

static void what_is_taken_back_counts_no_more(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 8192);
    const char *key = "forgiven";
    struct script_answer first;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("2/minute", &rule));
    script_compile_rule(mem, &rule);
    first = ask(&command, &key, 1, &rule, 0);
    assert_true(ask(&command, &key, 1, &rule, 0).verdict.admitted);
    script_put_forgive(&command, true, key, first.verdict.shared_us);
    freeReplyObject(send_text(&command));
    script_put_forgive(&command, true, key, first.verdict.shared_us);
    freeReplyObject(send_text(&command));
    assert_true(ask(&command, &key, 1, &rule, 0).verdict.admitted);
    assert_false(ask(&command, &key, 1, &rule, 0).verdict.admitted);
}

static long long ttl_of(const char *key)
{
    redisReply *reply = redisCommand(redis, "PTTL %s", key);
    long long ms = reply->integer;

    freeReplyObject(reply);
    return ms;
}

static void assert_kept(const char *key, long long window_s)
{
    long long ms = (window_s + SCRIPT_KEPT_S) * 1000;

    assert_in_range(ttl_of(key), ms - 5000, ms);
}

static void a_log_is_kept_as_long_as_the_rule_in_force_needs_it(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 8192);
    const char *const keys[] = {"{grown}one", "{grown}other"};
    struct rule minute, hour, full;

    (void)state;
    assert_null(rule_parse("100/minute", &minute));
    assert_null(rule_parse("100/hour", &hour));
    assert_null(rule_parse("40/day", &full));
    script_compile_rule(mem, &minute);
    script_compile_rule(mem, &hour);
    script_compile_rule(mem, &full);
    for (unsigned count = 1; count <= 2; count++) {
        for (int i = 0; i < 40; i++)
            assert_true(ask(&command, keys, count, &minute, 0).verdict.admitted);
        assert_kept(keys[count - 1], 60);
        assert_true(ask(&command, keys, count, &hour, 0).verdict.admitted);
        assert_kept(keys[count - 1], 3600);
        assert_false(ask(&command, keys, count, &full, 0).verdict.admitted);
        assert_kept(keys[count - 1], 86400);
        freeReplyObject(redisCommand(redis, "DEL %s", keys[0]));
    }
}

static void an_unexpected_time_charges_nothing(void **state)
{
    auto_tree void *mem = mem_tree(0);
    struct text command = text_open(mem, 8192);
    const struct script_clock early = {0, 1000000 * (int64_t)SECOND};
    const char *key = "unexpected";
    redisReply *reply;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("1/minute", &rule));
    script_compile_rule(mem, &rule);
    script_put_ask(&command, SCRIPT_ONE, true, &key, NULL, 1, &rule, &early);
    reply = send_text(&command);
    assert_true(script_says_clock_is_off(reply));
    freeReplyObject(reply);
    assert_true(ask(&command, &key, 1, &rule, 0).verdict.admitted);
}

static struct script_answer read_numbers(const struct rule *rule, size_t count,
                                         const int64_t *numbers)
{
    struct script_answer answer;
    struct script_reply parts;
    char bytes[96];

    for (size_t i = 0; i < count * 8; i++)
        bytes[i] = (char)((uint64_t)numbers[i / 8] >> (56 - i % 8 * 8));
    parts = (struct script_reply){bytes, count * 8};
    script_read_ask(&parts, NULL, 1, rule, &answer);
    return answer;
}

#define READ(...)                                                                                  \
    read_numbers(&rule, sizeof(int64_t[]){__VA_ARGS__} / 8, (const int64_t[]){__VA_ARGS__}).outcome

static void numbers_that_no_clock_says_make_no_sense(void **state)
{
    const int64_t now = INT64_C(1700000000) * SECOND;
    struct rule rule;

    (void)state;
    assert_null(rule_parse("2/minute", &rule));
    assert_int_equal(READ(0, now, 0, 0), SCRIPT_ADMITTED);
    assert_int_equal(READ(1, now, 2, 2, now - SECOND, now), SCRIPT_REFUSED);
    assert_int_equal(READ(1, now, 2, 2, now + 2 * SECOND, now + 2 * SECOND), SCRIPT_NONSENSE);
    assert_int_equal(READ(1, now, 2, 2, INT64_MAX, INT64_MAX), SCRIPT_NONSENSE);
    assert_int_equal(READ(1, now, 2, 2, INT64_MIN, INT64_MIN), SCRIPT_NONSENSE);
    assert_int_equal(READ(1, now, 3, 1, now, 2, INT64_MAX), SCRIPT_NONSENSE);
    assert_int_equal(READ(0, now, UINT32_MAX, 0, INT64_MAX, INT64_MAX), SCRIPT_NONSENSE);
    assert_int_equal(READ(0, 0, 0, 0), SCRIPT_NONSENSE);
    assert_int_equal(READ(0, -5, 0, 0), SCRIPT_NONSENSE);
    assert_int_equal(READ(0, INT64_MAX, 0, 0), SCRIPT_NONSENSE);
}

static int64_t draw_number(int64_t now_us)
{
    static const int64_t odd[] = {0,         1,         2,         3,           -1,
                                  8,         511,       513,       UINT32_MAX,  (int64_t)1 << 32,
                                  INT64_MAX, INT64_MIN, 1LL << 60, -(1LL << 60)};

    return draw(3) == 0 ? now_us - 90 * (int64_t)SECOND + (int64_t)draw(100) * SECOND
                        : odd[draw(count_of(odd))];
}

static void whatever_numbers_an_answer_has_its_verdict_is_one_of_the_rule(void **state)
{
    const int64_t now = INT64_C(1700000000) * SECOND;
    const uint32_t times[] = {1, 4, 16};
    struct rule rule;

    (void)state;
    seed = 7;
    assert_null(rule_parse("2/minute;600/hour", &rule));
    for (int i = 0; i < 200000; i++) {
        char bytes[200];
        size_t len = draw(sizeof bytes);
        struct script_reply parts = {bytes, len};
        struct script_answer answer;

        for (size_t at = 0; at < len; at++)
            bytes[at] = (char)draw(256);
        for (size_t at = 0; at + 8 <= len; at += 8) {
            uint64_t number = (uint64_t)(at == 8 && draw(4) > 0 ? now : draw_number(now));

            for (size_t byte = 0; byte < 8; byte++)
                bytes[at + byte] = (char)(number >> (56 - byte * 8));
        }
        script_read_ask(&parts, times, 1 + draw(3), &rule, &answer);
        if (answer.outcome == SCRIPT_NONSENSE)
            continue;
        assert_true(script_is_time(answer.now_us));
        assert_in_range(answer.verdict.wait_us, 0, 3601 * (int64_t)SECOND);
        for (unsigned window = 0; window < rule.count; window++) {
            assert_in_range(answer.verdict.remaining[window], 0, 16 * rule.windows[window].limit);
            assert_in_range(answer.verdict.reset_us[window], 0, 3601 * (int64_t)SECOND);
        }
    }
}

static void the_hash_is_the_one_that_redis_knows(void **state)
{
    (void)state;
    for (int script = 0; script < SCRIPTS; script++) {
        redisReply *reply = redisCommand(redis, "SCRIPT LOAD %s", script_text((enum script)script));

        assert_string_equal(reply->str, script_hash((enum script)script));
        freeReplyObject(reply);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(redis_and_memory_admit_what_the_whole_log_admits_and_nothing_else),
        UNIT(keys_of_one_call_count_each_by_itself),
        UNIT(two_keys_are_charged_together_or_not_at_all),
        UNIT(a_wider_network_holds_its_limit_whatever_the_narrower_ones_have_left),
        UNIT(what_is_handed_over_counts_by_its_age),
        UNIT(a_large_log_is_handed_over_in_pieces_that_each_take_little_and_count_once),
        UNIT(what_is_taken_back_counts_no_more),
        UNIT(a_log_is_kept_as_long_as_the_rule_in_force_needs_it),
        UNIT(an_unexpected_time_charges_nothing),
        UNIT(numbers_that_no_clock_says_make_no_sense),
        UNIT(whatever_numbers_an_answer_has_its_verdict_is_one_of_the_rule),
        UNIT(the_hash_is_the_one_that_redis_knows),
    };

    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
