#include "core/loop.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

enum { LAG_EVERY_MS = 250 };

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t before_poll; /* a turn begins: see clock_turn_begin() */
    uv_check_t after_poll;    /* hands over together what one turn has gathered */
    uv_idle_t hurry;          /* while `behind` waits, so that the poll does not */
    uv_timer_t lag;           /* how late it runs tells how long others wait */
    int64_t lag_due_ms;       /* by the loop's clock */
    struct post *behind, **behind_last;
    pthread_t thread;
    unsigned index;

    pthread_mutex_t lock;
    struct post *first, **last;
    bool stopping, ended;
};

static __thread struct loop *current;

static void run_list(struct post *post)
{
    for (struct post *next; post != NULL; post = next) {
        next = post->next;
        post->run(post);
    }
}

static void run_behind(struct loop *loop)
{
    struct post *first = loop->behind;

    assert(current == loop);
    if (first == NULL)
        return;
    loop->behind = NULL;
    loop->behind_last = &loop->behind;
    uv_idle_stop(&loop->hurry);
    run_list(first);
}

/* uv_async_send() coalesces, so the queue under the lock is the truth. */
static void run_posts(uv_async_t *wake)
{
    struct loop *loop = wake->data;
    struct post *first;
    bool stopping;

    assert(current == loop);
    pthread_mutex_lock(&loop->lock);
    first = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    stopping = loop->stopping;
    loop->ended = stopping;
    pthread_mutex_unlock(&loop->lock);

    run_list(first);
    if (stopping && !uv_is_closing((uv_handle_t *)wake)) {
        run_behind(loop);
        uv_close((uv_handle_t *)wake, NULL);
        uv_close((uv_handle_t *)&loop->before_poll, NULL);
        uv_close((uv_handle_t *)&loop->after_poll, NULL);
        uv_close((uv_handle_t *)&loop->lag, NULL);
        uv_close((uv_handle_t *)&loop->hurry, NULL);
    }
}

static void begin_turn(uv_prepare_t *prepare)
{
    (void)prepare;
    clock_turn_begin();
}

/* Timers may run before the next turn begins: theirs is another time. */
static void hand_over(uv_check_t *check)
{
    assert(current == check->data);
    run_behind(check->data);
    log_hand_over();
    clock_turn_begin();
}

static void measure_lag(uv_timer_t *lag)
{
    struct loop *loop = lag->data;

    assert(current == loop);
    metric_observe(METRIC_loop_lag_seconds, loop->index, clock_mono_us() - loop->lag_due_ms * 1000);
    loop->lag_due_ms = (int64_t)uv_now(&loop->uv) + LAG_EVERY_MS;
    uv_timer_start(lag, measure_lag, LAG_EVERY_MS, 0);
}

static void begin_lag(struct loop *loop)
{
    loop->lag.data = loop;
    loop->lag_due_ms = (int64_t)uv_now(&loop->uv) + LAG_EVERY_MS;
    uv_timer_init(&loop->uv, &loop->lag);
    uv_timer_start(&loop->lag, measure_lag, LAG_EVERY_MS, 0);
}

static void keep_turning(uv_idle_t *hurry)
{
    (void)hurry;
}

static void *run(void *arg)
{
    struct loop *loop = arg;
    char name[16];

    snprintf(name, sizeof name, "loop %u", loop->index);
    pthread_setname_np(pthread_self(), name);
    current = loop;
    log_gather();
    begin_lag(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    log_gather_end();
    return NULL;
}

/* A lane may still post to a loop that has ended, and is told that nothing runs there any more. */
static int free_loop(struct loop *loop)
{
    pthread_mutex_destroy(&loop->lock);
    return 0;
}

struct loop *loop_start(void *mem, unsigned index)
{
    struct loop *loop = mem_new(mem, struct loop);

    assert(current == NULL);
    loop->index = index;
    loop->last = &loop->first;
    loop->behind_last = &loop->behind;
    loop->wake.data = loop->after_poll.data = loop;
    pthread_mutex_init(&loop->lock, NULL);
    talloc_set_destructor(loop, free_loop);
    if (uv_loop_init(&loop->uv) != 0 || uv_async_init(&loop->uv, &loop->wake, run_posts) != 0 ||
        uv_prepare_init(&loop->uv, &loop->before_poll) != 0 ||
        uv_prepare_start(&loop->before_poll, begin_turn) != 0 ||
        uv_check_init(&loop->uv, &loop->after_poll) != 0 ||
        uv_check_start(&loop->after_poll, hand_over) != 0 ||
        uv_idle_init(&loop->uv, &loop->hurry) != 0 || thread_start(&loop->thread, run, loop) != 0) {
        fputs("manus: cannot start an event loop: raise the limits of open files and of threads "
              "(ulimit -n, ulimit -u)\n",
              stderr);
        abort();
    }
    return loop;
}

bool loop_post_all(struct loop *loop, struct post *first)
{
    struct post *last = first;
    bool runs;

    assert(first != NULL && first->run != NULL);
    while (last->next != NULL)
        last = last->next;
    pthread_mutex_lock(&loop->lock);
    runs = !loop->ended;
    if (runs) {
        *loop->last = first;
        loop->last = &last->next;
        uv_async_send(&loop->wake);
    }
    pthread_mutex_unlock(&loop->lock);
    return runs;
}

bool loop_post(struct loop *loop, struct post *post)
{
    post->next = NULL;
    return loop_post_all(loop, post);
}

void loop_post_behind(struct loop *loop, struct post *post)
{
    assert(current == loop && post->run != NULL);
    post->next = NULL;
    *loop->behind_last = post;
    loop->behind_last = &post->next;
    uv_idle_start(&loop->hurry, keep_turning);
}

void loop_stop(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
}

void loop_join(struct loop *loop)
{
    assert(current != loop);
    pthread_join(loop->thread, NULL);
    uv_loop_close(&loop->uv);
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

unsigned loop_index(const struct loop *loop)
{
    return loop->index;
}

struct loop *loop_current(void)
{
    return current;
}
