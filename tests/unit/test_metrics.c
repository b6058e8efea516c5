#include "core/metrics.h"

#include "unit.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 20000 };

static const char *page(void *mem)
{
    struct text out = text_open(mem, 4096);

    metrics_print(&out);
    return out.s;
}

static void assert_has(void *mem, const char *line)
{
    const char *text = page(mem);

    if (strstr(text, line) == NULL)
        fail_msg("%s is not in\n%s", line, text);
}

static void *count_much(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(METRIC_runs_consumed, 1);
        metric_observe(METRIC_lane_run_seconds, 1, i % 2 == 0 ? 400 : 90 * 1000 * 1000);
    }
    return arg;
}

static void what_threads_have_counted_is_added_up_also_when_they_have_ended(void **state)
{
    pthread_t threads[THREADS];

    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, count_much, NULL);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    assert_has(*state, "\nmanus_runs_consumed_total 320000\n");
    assert_has(*state, "\nmanus_lane_run_seconds_bucket{lane=\"b\",le=\"0.0005\"} 160000\n");
    assert_has(*state, "\nmanus_lane_run_seconds_bucket{lane=\"b\",le=\"10\"} 160000\n");
    assert_has(*state, "\nmanus_lane_run_seconds_bucket{lane=\"b\",le=\"+Inf\"} 320000\n");
    assert_has(*state, "\nmanus_lane_run_seconds_sum{lane=\"b\"} 14400064\n");
    assert_has(*state, "\nmanus_lane_run_seconds_count{lane=\"b\"} 320000\n");
    assert_null(strstr(page(*state), "manus_lane_run_seconds_count{lane=\"a"));
}

static void a_bound_belongs_to_its_bucket(void **state)
{
    metric_observe(METRIC_limit_redis_seconds, 0, 250);
    metric_observe(METRIC_limit_redis_seconds, 0, 251);
    metric_observe(METRIC_limit_redis_seconds, 0, -5);
    assert_has(*state, "\nmanus_limit_redis_seconds_bucket{le=\"0.0001\"} 1\n"
                       "manus_limit_redis_seconds_bucket{le=\"0.00025\"} 2\n"
                       "manus_limit_redis_seconds_bucket{le=\"0.0005\"} 3\n");
    assert_has(*state, "\nmanus_limit_redis_seconds_sum 0.000501\n"
                       "manus_limit_redis_seconds_count 3\n");
}

static void values_are_escaped_and_those_that_nobody_named_count_nothing(void **state)
{
    metric_add_of(METRIC_requests, 1, STATUS_4XX, 7);
    metric_add_of(METRIC_requests, 2, STATUS_4XX, 100);
    metric_add_of(METRIC_requests, 0, 4, 100);
    metric_observe(METRIC_request_seconds, 2, 100);
    assert_has(*state, "\nmanus_http_requests_total{route=\"q\\\"b\\\\n\\n\",status=\"4xx\"} 7\n"
                       "manus_http_requests_total{route=\"q\\\"b\\\\n\\n\",status=\"5xx\"} 0\n# ");
    assert_null(strstr(page(*state), "manus_http_request_duration_seconds"));
}

static int64_t links(const void *arg, unsigned value)
{
    return value == STATE_UP_NOW ? *(const int64_t *)arg : METRIC_UNKNOWN;
}

static void a_gauge_is_what_it_is_now_and_absent_while_that_is_unknown(void **state)
{
    int64_t up = 3;

    metric_set(METRIC_mails_waiting, 5);
    metric_add(METRIC_waiting_bytes, 100);
    metric_add(METRIC_waiting_bytes, -60);
    metric_read_by(METRIC_limit_redis_links, links, &up);
    assert_has(*state, "\nmanus_mails_waiting 5\n");
    assert_has(*state, "\nmanus_waiting_bytes 40\n");
    assert_has(*state, "\nmanus_limit_redis_links{state=\"up\"} 3\n#");
    metric_set(METRIC_mails_waiting, METRIC_UNKNOWN);
    up = METRIC_UNKNOWN;
    assert_null(strstr(page(*state), "manus_mails_waiting"));
    assert_null(strstr(page(*state), "manus_limit_redis_links"));
    metric_read_by(METRIC_limit_redis_links, NULL, NULL);
}

int main(void)
{
    static const char *const lanes[] = {"a", "b"}, *const routes[] = {"none", "q\"b\\n\n"};
    static const struct CMUnitTest tests[] = {
        UNIT(what_threads_have_counted_is_added_up_also_when_they_have_ended),
        UNIT(a_bound_belongs_to_its_bucket),
        UNIT(values_are_escaped_and_those_that_nobody_named_count_nothing),
        UNIT(a_gauge_is_what_it_is_now_and_absent_while_that_is_unknown),
    };

    metric_name_values(LABEL_lane, lanes, count_of(lanes));
    metric_name_values(LABEL_route, routes, count_of(routes));
    return RUN_UNITS(tests);
}
