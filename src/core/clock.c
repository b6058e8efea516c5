#include "core/clock.h"

#include <stdatomic.h>

static _Atomic int64_t wall_shift_ms;

static int64_t now_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000 +
           atomic_load_explicit(&wall_shift_ms, memory_order_relaxed);
}

int64_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

/* 0: not asked yet. */
static __thread struct {
    bool is_loop;
    int64_t wall_ms, mono_us;
} turn;

void clock_turn_begin(void)
{
    turn.is_loop = true;
    turn.wall_ms = turn.mono_us = 0;
}

int64_t clock_turn_wall_ms(void)
{
    if (!turn.is_loop)
        return clock_wall_ms();
    if (turn.wall_ms == 0)
        turn.wall_ms = clock_wall_ms();
    return turn.wall_ms;
}

int64_t clock_turn_mono_us(void)
{
    if (!turn.is_loop)
        return clock_mono_us();
    if (turn.mono_us == 0)
        turn.mono_us = clock_mono_us();
    return turn.mono_us;
}

void clock_shift_wall_ms(int64_t shift)
{
    atomic_store(&wall_shift_ms, shift);
}

int64_t clock_ms_of(int64_t said_s)
{
    if (said_s < 0)
        return 0;
    return (said_s > CLOCK_LAST_S ? CLOCK_LAST_S : said_s) * 1000;
}

void clock_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct timespec clock_deadline(int64_t in_ms)
{
    int64_t at_us = clock_mono_us() + in_ms * 1000;

    return (struct timespec){at_us / 1000000, at_us % 1000000 * 1000};
}

int64_t clock_late_ms(const struct timespec *deadline)
{
    return clock_mono_ms() - ((int64_t)deadline->tv_sec * 1000 + deadline->tv_nsec / 1000000);
}
