#include "limit/memory.h"

#include "core/crypto.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SCHEDULES = 10000, STEPS = 60, SECOND = 1000000 };

/* A generator of its own, so that a failure comes again. */
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* A client by its number. */
static struct limit_key key_of(uint32_t number)
{
    char id[16];

    snprintf(id, sizeof id, "%u", number);
    return limit_key(3, LIMIT_IP, id);
}

static struct verdict ask(struct memory_limiter *limiter, uint32_t number, const struct rule *rule,
                          int64_t now_us)
{
    struct limit_key key = key_of(number);

    return memory_limiter_ask(limiter, &key, 1, rule, now_us);
}

/* Every time that was admitted, and nothing else. */
struct log {
    int64_t times[4096];
    uint32_t count;
};

static bool log_admits(const struct log *log, const struct rule *rule, int64_t now_us,
                       int64_t *ret_wait_us)
{
    *ret_wait_us = 0;
    for (unsigned i = 0; i < rule->count; i++) {
        int64_t window_us = (int64_t)rule->windows[i].seconds * SECOND, wait_us;
        uint32_t limit = rule->windows[i].limit;

        if (log->count < limit)
            continue;
        wait_us = log->times[log->count - limit] + window_us - now_us;
        if (wait_us > *ret_wait_us)
            *ret_wait_us = wait_us;
    }
    return *ret_wait_us == 0;
}

static struct rule draw_rule(void)
{
    struct rule rule = {.count = 1 + draw(3)};

    for (unsigned i = 0; i < rule.count; i++) {
        struct rule_window *window = &rule.windows[i];

        *window = (struct rule_window){1 + draw(draw(4) == 0 ? 500 : 20), 1 + draw(120)};
        rule.most = window->limit > rule.most ? window->limit : rule.most;
        rule.longest = window->seconds > rule.longest ? window->seconds : rule.longest;
    }
    return rule;
}

/* Bursts, waits to the very edge of a window and to a microsecond on either side of it, and rests.
 */
static int64_t draw_step(const struct rule *rule, int64_t wait_us)
{
    const struct rule_window *window = &rule->windows[draw(rule->count)];

    switch (draw(8)) {
    case 0:
        return (int64_t)window->seconds * SECOND;
    case 1:
        return (int64_t)window->seconds * SECOND + (int64_t)draw(3) - 1;
    case 2:
        return wait_us > 0 ? wait_us - 1 + (int64_t)draw(3) : 0;
    case 3:
        return draw(window->seconds * SECOND / window->limit + 1);
    default:
        return draw(1000);
    }
}

static void it_admits_what_the_whole_log_admits_and_nothing_else(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 100000);
    struct log *log = mem_new(*state, struct log);

    seed = 20261124;
    for (int schedule = 0; schedule < SCHEDULES; schedule++) {
        struct rule rule = draw_rule();
        int64_t now_us = draw(1000) * SECOND, wait_us = 0;
        unsigned steps = rule.most > 20 ? 4 * STEPS : STEPS;

        log->count = 0;
        for (unsigned step = 0; step < steps; step++) {
            struct verdict verdict;
            bool admits;

            now_us += draw_step(&rule, wait_us);
            admits = log_admits(log, &rule, now_us, &wait_us);
            verdict = ask(limiter, (uint32_t)schedule, &rule, now_us);
            assert_int_equal(verdict.admitted, admits);
            assert_int_equal(verdict.wait_us, wait_us);
            if (admits)
                log->times[log->count++] = now_us;
        }
    }
    memory_limiter_close(limiter);
}

static void a_refusal_leaves_no_trace_and_tells_what_is_left(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct verdict verdict;
    struct rule rule;

    assert_null(rule_parse("2/10s;3/minute", &rule));
    verdict = ask(limiter, 7, &rule, 100 * SECOND);
    assert_true(verdict.admitted);
    assert_int_equal(verdict.remaining[0], 1);
    assert_int_equal(verdict.remaining[1], 2);
    assert_int_equal(verdict.reset_us[0], 10 * SECOND);
    assert_true(ask(limiter, 7, &rule, 101 * SECOND).admitted);
    for (int i = 0; i < 100; i++) {
        verdict = ask(limiter, 7, &rule, 105 * SECOND);
        assert_false(verdict.admitted);
        assert_int_equal(verdict.wait_us, 5 * SECOND);
    }
    assert_true(ask(limiter, 7, &rule, 110 * SECOND).admitted);
    verdict = ask(limiter, 7, &rule, 130 * SECOND);
    assert_false(verdict.admitted);
    assert_int_equal(verdict.wait_us, 30 * SECOND);
    assert_true(ask(limiter, 7, &rule, 160 * SECOND).admitted);
    memory_limiter_close(limiter);
}

static void a_limit_that_was_changed_works_at_once(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct rule small, large;

    assert_null(rule_parse("3/minute", &small));
    assert_null(rule_parse("5/minute", &large));
    for (int i = 0; i < 3; i++)
        assert_true(ask(limiter, 7, &small, i).admitted);
    assert_false(ask(limiter, 7, &small, 3).admitted);
    assert_true(ask(limiter, 7, &large, 4).admitted);
    assert_true(ask(limiter, 7, &large, 5).admitted);
    assert_false(ask(limiter, 7, &large, 6).admitted);
    assert_false(ask(limiter, 7, &small, 60 * SECOND + 1).admitted);
    assert_true(ask(limiter, 7, &small, 60 * SECOND + 2).admitted);
    memory_limiter_close(limiter);
}

static void a_clock_that_steps_back_opens_nothing(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct rule rule;

    assert_null(rule_parse("2/minute", &rule));
    assert_true(ask(limiter, 7, &rule, 1000 * SECOND).admitted);
    assert_true(ask(limiter, 7, &rule, 500 * SECOND).admitted);
    assert_false(ask(limiter, 7, &rule, 1059 * SECOND).admitted);
    assert_true(ask(limiter, 7, &rule, 1060 * SECOND).admitted);
    memory_limiter_close(limiter);
}

static void when_full_it_forgets_who_is_nearest_to_the_end(void **state)
{
    enum { KEYS = 64 * 100 };
    struct memory_limiter *limiter = memory_limiter_open(*state, KEYS);
    struct rule rule;
    const uint32_t attacker = UINT32_MAX;
    int64_t now_us = 0;

    assert_null(rule_parse("1000/hour", &rule));
    for (uint32_t i = 0; i < 4 * KEYS; i++) {
        now_us += 1000;
        ask(limiter, i, &rule, now_us);
        if (i % 40 == 0 && i / 40 < 1000)
            assert_true(ask(limiter, attacker, &rule, now_us).admitted);
    }
    assert_true(memory_limiter_keys(limiter) <= KEYS + 64);
    assert_true(memory_limiter_keys(limiter) > KEYS / 2);
    memory_limiter_close(limiter);
}

static void when_full_who_hammers_is_not_forgotten_although_its_window_ends_first(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 64 * 10);
    const uint32_t attacker = UINT32_MAX;
    struct rule short_rule, long_rule;
    unsigned admitted = 0;

    assert_null(rule_parse("5/minute", &short_rule));
    assert_null(rule_parse("100/hour", &long_rule));
    for (uint32_t i = 0; i < 20000; i++) {
        admitted += ask(limiter, attacker, &short_rule, i * 1000).admitted;
        ask(limiter, i, &long_rule, i * 1000);
    }
    assert_int_equal(admitted, 5);
    memory_limiter_close(limiter);
}

static void keys_that_are_over_make_room(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000000);
    struct rule rule;

    assert_null(rule_parse("5/minute", &rule));
    for (uint32_t i = 0; i < 100000; i++)
        ask(limiter, i, &rule, i);
    assert_int_equal(memory_limiter_keys(limiter), 100000);
    for (uint32_t i = 100000; i < 200000; i++)
        ask(limiter, i, &rule, 120 * SECOND + i);
    assert_true(memory_limiter_keys(limiter) < 110000);
    memory_limiter_close(limiter);
}

static void a_reset_gives_the_whole_limit_back(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key key = key_of(7);
    struct rule rule;

    assert_null(rule_parse("1/hour", &rule));
    assert_true(ask(limiter, 7, &rule, 1).admitted);
    assert_false(ask(limiter, 7, &rule, 2).admitted);
    assert_true(memory_limiter_reset(limiter, &key));
    assert_false(memory_limiter_reset(limiter, &key));
    assert_true(ask(limiter, 7, &rule, 3).admitted);
    memory_limiter_close(limiter);
}

static void what_is_forgiven_counts_no_more(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key key = key_of(7), other = key_of(8);
    struct verdict verdicts[3];
    struct rule rule;

    assert_null(rule_parse("3/minute", &rule));
    for (int i = 0; i < 3; i++)
        verdicts[i] = ask(limiter, 7, &rule, i * SECOND);
    assert_false(ask(limiter, 7, &rule, 4 * SECOND).admitted);
    memory_limiter_forgive(limiter, &key, verdicts[1].at_us);
    memory_limiter_forgive(limiter, &key, 99 * SECOND);
    assert_true(ask(limiter, 7, &rule, 4 * SECOND).admitted);
    assert_false(ask(limiter, 7, &rule, 5 * SECOND).admitted);
    assert_true(ask(limiter, 7, &rule, 60 * SECOND).admitted);
    assert_false(ask(limiter, 7, &rule, 61 * SECOND).admitted);
    assert_true(ask(limiter, 7, &rule, 62 * SECOND).admitted);
    verdicts[0] = ask(limiter, 8, &rule, SECOND);
    memory_limiter_forgive(limiter, &other, verdicts[0].at_us);
    assert_int_equal(memory_limiter_keys(limiter), 1);
    memory_limiter_close(limiter);
}

static void two_keys_are_charged_together_or_not_at_all(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key both[] = {key_of(1), key_of(2)}, other[] = {key_of(1), key_of(3)};
    struct rule rule;

    assert_null(rule_parse("2/minute", &rule));
    assert_true(memory_limiter_ask(limiter, both, 2, &rule, 1).admitted);
    assert_true(memory_limiter_ask(limiter, both, 2, &rule, 2).admitted);
    assert_false(memory_limiter_ask(limiter, other, 2, &rule, 3).admitted);
    assert_int_equal(memory_limiter_look(limiter, &other[1], 1, &rule, 3).remaining[0], 2);
    assert_true(memory_limiter_ask(limiter, other, 2, &rule, 61 * SECOND).admitted);
    assert_int_equal(memory_limiter_look(limiter, &other[1], 1, &rule, 61 * SECOND).remaining[0],
                     1);
    memory_limiter_close(limiter);
}

static void who_asks_most_stands_first(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_talker talkers[3];
    struct rule rule;

    assert_null(rule_parse("3/minute", &rule));
    for (uint32_t client = 1; client <= 9; client++) {
        for (uint32_t i = 0; i < client; i++)
            ask(limiter, client, &rule, 1);
    }
    assert_int_equal(memory_limiter_top(limiter, talkers, 3, 2), 3);
    assert_memory_equal(&talkers[0].key, &(struct limit_key[]){key_of(9)}[0],
                        sizeof(struct limit_key));
    assert_int_equal(talkers[0].admitted, 3);
    assert_int_equal(talkers[0].refused, 6);
    assert_int_equal(talkers[2].refused, 4);
    assert_int_equal(memory_limiter_top(limiter, talkers, 3, 62 * SECOND), 0);
    memory_limiter_close(limiter);
}

static bool refuses(struct memory_limiter *limiter, uint32_t number, const struct rule *rule,
                    int64_t now_us)
{
    struct limit_key key = key_of(number);
    struct verdict verdict;
    bool apart;

    return memory_limiter_refuses(limiter, &key, 1, rule, now_us, &verdict, &apart);
}

static void what_is_under_way_counts_as_if_it_were_admitted(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key key = key_of(7);
    struct verdict verdict;
    struct rule rule;
    bool apart;

    assert_null(rule_parse("3/minute", &rule));
    for (int i = 0; i < 3; i++)
        assert_int_equal(memory_limiter_start(limiter, &key, 1, &rule, i, &verdict, &apart),
                         LIMIT_ASK);
    assert_int_equal(memory_limiter_start(limiter, &key, 1, &rule, 4, &verdict, &apart),
                     LIMIT_BUSY);
    assert_false(verdict.admitted);
    assert_true(verdict.wait_us > 59 * SECOND);
    memory_limiter_answered(limiter, &key, 1);
    assert_int_equal(memory_limiter_start(limiter, &key, 1, &rule, 5, &verdict, &apart), LIMIT_ASK);
    for (int i = 0; i < 3; i++)
        memory_limiter_admitted(limiter, &key, 1, &rule, i, &(uint32_t){(uint32_t)i}, 0);
    assert_int_equal(memory_limiter_start(limiter, &key, 1, &rule, 6, &verdict, &apart),
                     LIMIT_REFUSED);
    assert_int_equal(
        memory_limiter_start(limiter, &key, 1, &rule, 60 * SECOND + 9, &verdict, &apart),
        LIMIT_ASK);
    memory_limiter_close(limiter);
}

static void what_redis_refused_is_refused_here_until_just_before_its_end(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    const struct verdict refused = {.wait_us = 60 * SECOND, .reset_us = {60 * SECOND}};
    struct limit_key key = key_of(7);
    struct rule rule;

    assert_null(rule_parse("5/minute", &rule));
    assert_false(refuses(limiter, 7, &rule, 0));
    memory_limiter_refused(limiter, &key, 1, &rule, 1000 * SECOND, &(bool){true}, &refused);
    assert_true(refuses(limiter, 7, &rule, 1059 * SECOND));
    assert_false(refuses(limiter, 7, &rule, 1060 * SECOND));
    memory_limiter_forget_refusals(limiter);
    assert_false(refuses(limiter, 7, &rule, 1001 * SECOND));
    memory_limiter_close(limiter);
}

/* How many times of the key are handed over at that time, and are taken for arrived. */
static uint32_t hand_over(struct memory_limiter *limiter, void *mem, const struct rule *rule,
                          int64_t now_us)
{
    struct limit_key key = key_of(7);
    struct text ages = text_open(mem, 64);
    struct limit_piece piece;
    uint32_t count = memory_limiter_take_apart(limiter, &key, rule, now_us, &ages, &piece);

    assert_int_equal(ages.len, count * 8);
    if (count > 0)
        memory_limiter_handed_over(limiter, &key, piece.id, true, now_us);
    return count;
}

static void what_was_admitted_alone_is_handed_over_once(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key key = key_of(7);
    struct text ages = text_open(*state, 64);
    struct limit_piece piece;
    struct rule rule;
    uint64_t first;

    assert_null(rule_parse("5/minute", &rule));
    memory_limiter_admitted(limiter, &key, 1, &rule, 1 * SECOND, &(uint32_t){0}, 0);
    assert_true(memory_limiter_ask_apart(limiter, &key, 1, &rule, 2 * SECOND).admitted);
    assert_true(memory_limiter_ask_apart(limiter, &key, 1, &rule, 3 * SECOND).admitted);
    assert_int_equal(memory_limiter_take_apart(limiter, &key, &rule, 4 * SECOND, &ages, &piece), 2);
    assert_false(piece.more);
    first = piece.id;
    assert_true(memory_limiter_handed_over(limiter, &key, first, false, 5 * SECOND));
    /* It may have arrived, so it goes again as it was, without what came after it. */
    assert_true(memory_limiter_ask_apart(limiter, &key, 1, &rule, 5 * SECOND).admitted);
    assert_int_equal(memory_limiter_take_apart(limiter, &key, &rule, 5 * SECOND, &ages, &piece), 2);
    assert_int_equal(piece.id, first);
    assert_true(piece.more);
    assert_true(memory_limiter_handed_over(limiter, &key, first, true, 5 * SECOND));
    assert_int_equal(hand_over(limiter, *state, &rule, 6 * SECOND), 1);
    assert_int_equal(hand_over(limiter, *state, &rule, 7 * SECOND), 0);
    memory_limiter_close(limiter);
}

static void what_redis_has_lost_is_handed_over_again_and_nothing_twice(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key key = key_of(7);
    struct rule rule;

    assert_null(rule_parse("20/hour", &rule));
    for (int i = 0; i < 6; i++)
        memory_limiter_admitted(limiter, &key, 1, &rule, i * SECOND, &(uint32_t){(uint32_t)i}, 0);
    /* It held all six. */
    assert_int_equal(
        memory_limiter_admitted(limiter, &key, 1, &rule, 100 * SECOND, &(uint32_t){6}, 99 * SECOND),
        0);
    assert_int_equal(hand_over(limiter, *state, &rule, 100 * SECOND), 0);
    /* It has forgotten them, and heard of one since. */
    assert_int_equal(memory_limiter_admitted(limiter, &key, 1, &rule, 200 * SECOND, &(uint32_t){1},
                                             199 * SECOND),
                     1);
    assert_int_equal(hand_over(limiter, *state, &rule, 200 * SECOND), 0);
    memory_limiter_lost(limiter, &key, 200 * SECOND, 1);
    assert_int_equal(hand_over(limiter, *state, &rule, 201 * SECOND), 6);
    /* That it is said again, of the time before, changes nothing. */
    memory_limiter_lost(limiter, &key, 200 * SECOND, 1);
    assert_int_equal(memory_limiter_admitted(limiter, &key, 1, &rule, 300 * SECOND, &(uint32_t){8},
                                             299 * SECOND),
                     0);
    assert_int_equal(hand_over(limiter, *state, &rule, 301 * SECOND), 0);
    memory_limiter_lost(limiter, &key, INT64_MAX, 0);
    assert_int_equal(hand_over(limiter, *state, &rule, 302 * SECOND), 9);
    memory_limiter_close(limiter);
}

static void what_redis_has_told_is_forgotten_and_what_it_does_not_know_is_not(void **state)
{
    struct memory_limiter *limiter = memory_limiter_open(*state, 1000);
    struct limit_key key = key_of(7), refused = key_of(8);
    struct verdict verdict = {.wait_us = 1000 * SECOND, .reset_us = {1000 * SECOND}};
    struct rule rule;
    bool apart;

    assert_null(rule_parse("6/hour", &rule));
    for (int i = 0; i < 6; i++) {
        if (i % 3 == 0)
            memory_limiter_ask_apart(limiter, &key, 1, &rule, i * SECOND);
        else
            memory_limiter_admitted(limiter, &key, 1, &rule, i * SECOND, &(uint32_t){0}, 0);
    }
    memory_limiter_refused(limiter, &refused, 1, &rule, 0, &(bool){true}, &verdict);
    assert_true(memory_limiter_refuses(limiter, &key, 1, &rule, 10 * SECOND, &verdict, &apart));
    assert_true(memory_limiter_refuses(limiter, &refused, 1, &rule, 10 * SECOND, &verdict, &apart));
    memory_limiter_forget_told(limiter);
    assert_false(memory_limiter_refuses(limiter, &key, 1, &rule, 10 * SECOND, &verdict, &apart));
    assert_false(
        memory_limiter_refuses(limiter, &refused, 1, &rule, 10 * SECOND, &verdict, &apart));
    assert_int_equal(ask(limiter, 7, &rule, 10 * SECOND).remaining[0], 3);
    /* Redis holds none of them, and did not lose them. */
    assert_int_equal(
        memory_limiter_admitted(limiter, &key, 1, &rule, 11 * SECOND, &(uint32_t){0}, 9 * SECOND),
        0);
    assert_int_equal(hand_over(limiter, *state, &rule, 12 * SECOND), 2);
    memory_limiter_close(limiter);
}

struct race {
    struct memory_limiter *limiter;
    struct rule rule;
    atomic_int admitted;
};

static void *ask_much(void *argument)
{
    struct race *race = argument;

    for (int i = 0; i < 10000; i++) {
        struct verdict verdict = ask(race->limiter, 7, &race->rule, 5);

        atomic_fetch_add(&race->admitted, verdict.admitted);
        ask(race->limiter, 100 + (uint32_t)i, &race->rule, 5);
    }
    return NULL;
}

static void many_threads_are_admitted_the_limit_together(void **state)
{
    struct race race = {.limiter = memory_limiter_open(*state, 1000000)};
    pthread_t threads[4];

    assert_null(rule_parse("100/minute;1000/hour", &race.rule));
    for (size_t i = 0; i < count_of(threads); i++)
        pthread_create(&threads[i], NULL, ask_much, &race);
    for (size_t i = 0; i < count_of(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race.admitted, 100);
    memory_limiter_close(race.limiter);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(it_admits_what_the_whole_log_admits_and_nothing_else),
        UNIT(a_refusal_leaves_no_trace_and_tells_what_is_left),
        UNIT(a_limit_that_was_changed_works_at_once),
        UNIT(a_clock_that_steps_back_opens_nothing),
        UNIT(when_full_it_forgets_who_is_nearest_to_the_end),
        UNIT(when_full_who_hammers_is_not_forgotten_although_its_window_ends_first),
        UNIT(keys_that_are_over_make_room),
        UNIT(a_reset_gives_the_whole_limit_back),
        UNIT(what_is_forgiven_counts_no_more),
        UNIT(two_keys_are_charged_together_or_not_at_all),
        UNIT(who_asks_most_stands_first),
        UNIT(what_redis_refused_is_refused_here_until_just_before_its_end),
        UNIT(what_is_under_way_counts_as_if_it_were_admitted),
        UNIT(what_was_admitted_alone_is_handed_over_once),
        UNIT(what_redis_has_lost_is_handed_over_again_and_nothing_twice),
        UNIT(what_redis_has_told_is_forgotten_and_what_it_does_not_know_is_not),
        UNIT(many_threads_are_admitted_the_limit_together),
    };

    crypto_start();
    return RUN_UNITS(tests);
}
