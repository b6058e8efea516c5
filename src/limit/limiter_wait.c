#include "limit/limiter_parts.h"

#include "core/clock.h"

#include <assert.h>
#include <string.h>

/* A thread of a lane asks a loop and waits. It may stop waiting first, so two holders share the
 * ask */

struct waiting_ask {
    struct post post;
    struct limiter *limiter;
    struct limiter_ask ask;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
    unsigned holders;
};

static void let_go(struct waiting_ask *waiting)
{
    bool last;

    pthread_mutex_lock(&waiting->lock);
    assert(waiting->holders > 0);
    last = --waiting->holders == 0;
    pthread_mutex_unlock(&waiting->lock);
    if (!last)
        return;
    pthread_cond_destroy(&waiting->answered);
    pthread_mutex_destroy(&waiting->lock);
    free(waiting);
}

static void on_waited_for(struct limiter_ask *ask)
{
    struct waiting_ask *waiting = container_of(ask, struct waiting_ask, ask);

    pthread_mutex_lock(&waiting->lock);
    assert(!waiting->done);
    waiting->done = true;
    pthread_cond_signal(&waiting->answered);
    pthread_mutex_unlock(&waiting->lock);
    let_go(waiting);
}

static void ask_there(struct post *post)
{
    struct waiting_ask *waiting = container_of(post, struct waiting_ask, post);

    if (limiter_ask(waiting->limiter, &waiting->ask))
        on_waited_for(&waiting->ask);
}

static struct waiting_ask *new_waiting(struct limiter *limiter, const struct limiter_ask *ask)
{
    struct waiting_ask *waiting = mem_malloc(sizeof *waiting);

    memset(waiting, 0, sizeof *waiting);
    waiting->post.run = ask_there;
    waiting->limiter = limiter;
    waiting->ask = *ask;
    waiting->ask.done = on_waited_for;
    waiting->holders = 2;
    pthread_mutex_init(&waiting->lock, NULL);
    clock_condition(&waiting->answered);
    return waiting;
}

/* Waits once. False: the time was up. */
static bool wait_once(struct waiting_ask *waiting, int64_t ms, bool *ret_stood_still)
{
    struct timespec until = clock_deadline(ms);

    while (!waiting->done) {
        if (pthread_cond_timedwait(&waiting->answered, &waiting->lock, &until) != 0)
            break;
    }
    *ret_stood_still = clock_late_ms(&until) >= LIMITER_STILL_MS;
    return waiting->done;
}

/* Waits for the answer. A loop that is stuck answers nobody: after twice the deadline this thread
 * decides by itself. */
static bool wait_for(struct waiting_ask *waiting, int64_t ms)
{
    bool stood_still = true, done = false;

    pthread_mutex_lock(&waiting->lock);
    for (int i = 0; !done && stood_still && i < LIMITER_STOOD_STILL_MOST; i++)
        done = wait_once(waiting, ms, &stood_still);
    pthread_mutex_unlock(&waiting->lock);
    return done;
}

void limiter_ask_waiting(struct limiter *limiter, struct limiter_ask *ask)
{
    static atomic_uint next;
    struct waiting_ask *waiting;

    assert_off_loops();
    if (limiter->settings.target == NULL) {
        ask->verdict = memory_limiter_ask(limiter->memory, ask->keys, ask->count, ask->rule,
                                          clock_mono_us());
        return;
    }
    waiting = new_waiting(limiter, ask);
    if (!loop_post(limiter->links[atomic_fetch_add(&next, 1) % limiter->link_count].loop,
                   &waiting->post)) {
        waiting->holders = 1; /* the loop has ended */
        let_go(waiting);
        limiter_decide_here(limiter, ask);
        return;
    }
    if (wait_for(waiting, 2 * limiter->settings.deadline_ms + LIMITER_SETTLED_MS))
        ask->verdict = waiting->ask.verdict;
    else
        limiter_decide_here(limiter, ask);
    let_go(waiting);
}

/* Taking back what was charged */

struct taking_back {
    struct post post;
    struct limiter_link *link;
    int64_t at_us;
    char key[LIMITER_KEY_BYTES];
};

static void on_taken_back(void *arg, const redisReply *reply)
{
    (void)reply;
    free(arg);
}

static void take_back_there(struct post *post)
{
    struct taking_back *taking = container_of(post, struct taking_back, post);
    char buffer[LIMITER_COMMAND_BYTES * 2];
    struct text command = text_borrow(NULL, buffer, sizeof buffer);

    script_put_forgive(&command, true, taking->key, taking->at_us);
    if (redis_link_is_up(taking->link->redis))
        redis_link_call(taking->link->redis, command.s, command.len, on_taken_back, taking);
    else
        on_taken_back(taking, NULL);
    if (!command.borrowed)
        talloc_free(command.s);
}

void limiter_forgive(struct limiter *limiter, const struct limit_key *key,
                     const struct verdict *verdict)
{
    struct taking_back *taking;
    struct text text;

    if (verdict->at_us != 0)
        memory_limiter_forgive(limiter->memory, key, verdict->at_us);
    if (verdict->shared_us == 0)
        return;
    taking = mem_malloc(sizeof *taking);
    taking->post.run = take_back_there;
    taking->link = &limiter->links[0];
    taking->at_us = verdict->shared_us;
    text = text_borrow(NULL, taking->key, sizeof taking->key);
    limiter_key_text(&text, limiter, key);
    if (!loop_post(taking->link->loop, &taking->post))
        free(taking);
}
