#include "cli/order.h"

#include "core/clock.h"
#include "core/thread.h"

enum { TURN_MS = 200 }; /* for a part whose time others have used up */

/* Starting */

static void tell_to_stop(const struct part *rows, size_t count, struct program *p)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].stop_begin != NULL)
            rows[i].stop_begin(p);
    }
}

/* Nothing has been started that would not end at once. */
static void close_again(const struct part *rows, size_t count, struct program *p)
{
    tell_to_stop(rows, count, p);
    for (size_t i = count; i-- > 0;) {
        if (rows[i].stop_wait != NULL)
            rows[i].stop_wait(p, rows[i].stop_ms);
    }
}

bool order_open(const struct part *rows, size_t count, struct program *p, const char **ret_why)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].open != NULL && !rows[i].open(p, ret_why)) {
            close_again(rows, i, p);
            return false;
        }
    }
    return true;
}

void order_start(const struct part *rows, size_t count, struct program *p)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].start != NULL)
            rows[i].start(p);
    }
}

/* Stopping */

void order_stop_early(const struct part *rows, size_t count, struct program *p)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].stops_early)
            rows[i].stop_begin(p);
    }
}

/* The waiting, on a thread of its own, so that the main one can leave it behind. */
struct stopping {
    const struct part *rows;
    struct program *program;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t told_ms; /* monotonic */
    size_t left;     /* as many rows, from the first, are still to be waited for */
    bool has_failed; /* the last of them has not ended in its time: nobody waits any more */
};

static int64_t time_left(const struct stopping *s, const struct part *part)
{
    int64_t left_ms = s->told_ms + part->stop_ms - clock_mono_ms();

    return left_ms < TURN_MS ? TURN_MS : left_ms;
}

static void *wait_for_parts(void *arg)
{
    struct stopping *s = arg;
    bool goes_on = s->left > 0;

    while (goes_on) {
        const struct part *part = &s->rows[s->left - 1];
        bool has_ended = part->stop_wait == NULL || part->stop_wait(s->program, time_left(s, part));

        pthread_mutex_lock(&s->lock);
        if (has_ended)
            s->left--;
        else
            s->has_failed = true;
        goes_on = s->left > 0 && !s->has_failed;
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

/* Until the part whose turn it is has ended. */
static bool has_ended_in_time(struct stopping *s)
{
    size_t turn = s->left;
    struct timespec until = clock_deadline(time_left(s, &s->rows[turn - 1]));
    int wrong = 0;

    while (s->left == turn && !s->has_failed && wrong == 0)
        wrong = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    return s->left < turn;
}

bool order_stop(const struct part *rows, size_t count, struct program *p)
{
    struct stopping *s = mem_new(p->mem, struct stopping);
    bool has_thread, hangs, in_time = true;

    tell_to_stop(rows, count, p);
    s->rows = rows;
    s->program = p;
    s->told_ms = clock_mono_ms();
    s->left = count;
    pthread_mutex_init(&s->lock, NULL);
    clock_condition(&s->changed);
    has_thread = thread_start(&s->thread, wait_for_parts, s) == 0;
    if (!has_thread)
        wait_for_parts(s);
    pthread_mutex_lock(&s->lock);
    while (s->left > 0 && in_time)
        in_time = has_ended_in_time(s);
    hangs = !in_time && !s->has_failed;
    s->has_failed = !in_time;
    if (!in_time)
        log_warning(NULL, "a part does not end: exiting without waiting for it",
                    LOG_S("part", rows[s->left - 1].name));
    pthread_mutex_unlock(&s->lock);
    if (has_thread && hangs)
        pthread_detach(s->thread);
    else if (has_thread)
        pthread_join(s->thread, NULL);
    return in_time;
}
