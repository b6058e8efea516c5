#include "core/clock.h"
#include "core/lane.h"

#include "unit.h"

#include <pthread.h>
#include <semaphore.h>

struct counted {
    struct job job;
    struct gate *gate;
    int order; /* in which it ran; 0: it did not */
    enum err outcome;
    struct loop *ended_on;
};

/* Holds jobs back until it is opened, and counts those that end. */
struct gate {
    sem_t open, ended;
    atomic_int ran;
};

static void run_counted(struct job *job)
{
    struct counted *counted = container_of(job, struct counted, job);

    sem_wait(&counted->gate->open);
    counted->order = atomic_fetch_add(&counted->gate->ran, 1) + 1;
}

static void end_counted(struct job *job, enum err outcome)
{
    struct counted *counted = container_of(job, struct counted, job);

    counted->outcome = outcome;
    counted->ended_on = loop_current();
    sem_post(&counted->gate->ended);
}

static void prepare(struct counted *jobs, size_t count, struct gate *gate)
{
    sem_init(&gate->open, 0, 0);
    sem_init(&gate->ended, 0, 0);
    atomic_init(&gate->ran, 0);
    for (size_t i = 0; i < count; i++)
        jobs[i] = (struct counted){.job = {.run = run_counted, .done = end_counted}, .gate = gate};
}

static void open_gate(struct gate *gate, int count)
{
    for (int i = 0; i < count; i++)
        sem_post(&gate->open);
}

static void wait_for(struct gate *gate, int count)
{
    for (int i = 0; i < count; i++)
        sem_wait(&gate->ended);
}

/* Until the first job has left the queue for the thread. */
static void wait_until_taken(struct lane *lane, unsigned load)
{
    struct timespec nap = {0, 1000000};

    assert_int_equal(lane_load(lane), load);
    nanosleep(&nap, NULL);
}

static void test_jobs_run_in_their_order(void **state)
{
    const struct lane_settings settings = {"test", 1, 100, 10000, 0};
    struct lane *lane = lane_open(*state, &settings);
    struct counted jobs[50];
    struct gate gate;

    prepare(jobs, 50, &gate);
    for (int i = 0; i < 50; i++)
        assert_int_equal(lane_submit(lane, &jobs[i].job), OK);
    open_gate(&gate, 50);
    wait_for(&gate, 50);
    for (int i = 0; i < 50; i++)
        assert_int_equal(jobs[i].order, i + 1);
    lane_close(lane);
}

static void test_a_full_lane_refuses_at_once(void **state)
{
    const struct lane_settings settings = {"test", 1, 2, 10000, 0};
    struct lane *lane = lane_open(*state, &settings);
    struct counted jobs[5];
    struct gate gate;
    int taken = 0;

    prepare(jobs, 5, &gate);
    assert_int_equal(lane_submit(lane, &jobs[0].job), OK);
    while (taken < 2) {
        wait_until_taken(lane, (unsigned)(1 + taken));
        if (lane_submit(lane, &jobs[1 + taken].job) == OK)
            taken++;
    }
    assert_int_equal(lane_submit(lane, &jobs[4].job), ERR_BUSY);
    open_gate(&gate, 3);
    wait_for(&gate, 3);
    lane_close(lane);
    assert_int_equal(jobs[4].order, 0);
}

static void test_a_job_whose_client_has_gone_is_not_run(void **state)
{
    const struct lane_settings settings = {"test", 1, 10, 10000, 0};
    struct lane *lane = lane_open(*state, &settings);
    struct counted jobs[2];
    struct gate gate;

    prepare(jobs, 2, &gate);
    assert_int_equal(lane_submit(lane, &jobs[0].job), OK);
    assert_int_equal(lane_submit(lane, &jobs[1].job), OK);
    atomic_store(&jobs[1].job.gone, true);
    open_gate(&gate, 2);
    wait_for(&gate, 2);
    lane_close(lane);
    assert_int_equal(jobs[0].outcome, OK);
    assert_int_equal(jobs[1].outcome, ERR_GONE);
    assert_int_equal(jobs[1].order, 0);
}

static void test_a_job_that_waited_too_long_ends_unrun_although_no_thread_came_free(void **state)
{
    const struct lane_settings settings = {"test", 1, 10, 20, 0};
    struct lane *lane = lane_open(*state, &settings);
    struct counted jobs[3];
    struct gate gate;
    struct timespec nap = {0, 60000000};

    prepare(jobs, 3, &gate);
    assert_int_equal(lane_submit(lane, &jobs[0].job), OK);
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    assert_int_equal(lane_submit(lane, &jobs[1].job), OK);
    nanosleep(&nap, NULL);
    assert_int_equal(lane_submit(lane, &jobs[2].job), ERR_BUSY);
    lane_expire(lane);
    wait_for(&gate, 1);
    assert_int_equal(jobs[1].outcome, ERR_EXPIRED);
    open_gate(&gate, 1);
    wait_for(&gate, 1);
    lane_close(lane);
    assert_int_equal(jobs[0].outcome, OK);
    assert_int_equal(jobs[1].order, 0);
}

struct posted {
    struct post post;
    struct lane *lane;
    struct counted *job;
};

static void submit_here(struct post *post)
{
    struct posted *posted = container_of(post, struct posted, post);

    assert_int_equal(lane_submit(posted->lane, &posted->job->job), OK);
}

static void test_a_job_ends_on_the_loop_that_submitted_it(void **state)
{
    const struct lane_settings settings = {"test", 2, 10, 10000, 0};
    struct loop *loop = loop_start(*state, 0);
    struct lane *lane = lane_open(*state, &settings);
    struct counted job;
    struct gate gate;
    struct posted posted = {.post = {.run = submit_here}, .lane = lane, .job = &job};

    prepare(&job, 1, &gate);
    open_gate(&gate, 1);
    loop_post(loop, &posted.post);
    wait_for(&gate, 1);
    assert_ptr_equal(job.ended_on, loop);
    lane_close(lane);
    loop_stop(loop);
    loop_join(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_jobs_run_in_their_order),
        UNIT(test_a_full_lane_refuses_at_once),
        UNIT(test_a_job_whose_client_has_gone_is_not_run),
        UNIT(test_a_job_that_waited_too_long_ends_unrun_although_no_thread_came_free),
        UNIT(test_a_job_ends_on_the_loop_that_submitted_it),
    };

    return RUN_UNITS(tests);
}
