/* Event loops: one libuv loop on a thread of its own, per core.
 *
 * Everything of a loop is used on its thread only, but for loop_post(), which any thread may call.
 */
#pragma once

#include "core/mem.h"

#include <assert.h>
#include <uv.h>

struct loop;

/* Work to be run on a loop. The caller owns it; it must stay valid until run() begins, and may be
 * freed or posted again in run(). */
struct post {
    struct post *next;
    void (*run)(struct post *post);
};

/* Starts the thread. `mem` owns the loop; loop_join() must come before it is freed. */
struct loop *loop_start(void *mem, unsigned index);

/* Runs `post` on the loop's thread, in the order of posting. False: the loop has been stopped, and
 * it never runs. */
bool loop_post(struct loop *loop, struct post *post);

/* The same of a list of them, linked by `next`, for one wake-up. */
bool loop_post_all(struct loop *loop, struct post *first);

/* On the loop's own thread: runs `post` behind all that this turn has to do, so that what many
 * requests ask for is handed on together. */
void loop_post_behind(struct loop *loop, struct post *post);

/* Asks the loop to end; its thread ends once every handle of others on it is closed. */
void loop_stop(struct loop *loop);
void loop_join(struct loop *loop);

uv_loop_t *loop_uv(struct loop *loop);
unsigned loop_index(const struct loop *loop);

/* The loop whose thread this is; NULL on other threads. */
struct loop *loop_current(void);

/* At the entry of what belongs to the thread of one loop, to that of any loop, or to none, since it
 * waits. */
#define assert_on_loop(loop) assert(loop_current() == (loop))
#define assert_on_a_loop() assert(loop_current() != NULL)
#define assert_off_loops() assert(loop_current() == NULL)
