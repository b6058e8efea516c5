/* The scheduler of recurring work, with lanes of its own: alone, and as two processes on one store.
 *
 * The embedded store is one process's, so there the test has it and the instances ask it for leases
 * by a socket each: what a store that several servers share would do. Holders are killed for five
 * seconds, or for as many as MANUS_KILL_SECONDS says. */
#include "job/jobs.h"

#include "core/clock.h"
#include "core/settings.h"
#include "sample.h"
#include "store/implementation.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { LEASE_MS = 600, SOON_MS = 20000, INSTANCES = 2, KILL_SECONDS = 5 };
/* Leases end by the wall clock, and here by a monotonic one, both in whole milliseconds. */
enum { CLOCKS_APART_MS = 2 };

/* One process */

struct counts {
    atomic_int runs, at_once, most_at_once, done;
    atomic_int left, watched;
};

static void rest(int ms)
{
    usleep((useconds_t)ms * 1000);
}

static bool soon(atomic_int *number, int at_least)
{
    int64_t until_ms = clock_mono_ms() + SOON_MS;

    while (atomic_load(number) < at_least && clock_mono_ms() < until_ms)
        rest(2);
    return atomic_load(number) >= at_least;
}

static enum err count_run(struct task *task, struct job_run *run, void *app)
{
    (void)task;
    (void)run;
    atomic_fetch_add(&((struct counts *)app)->runs, 1);
    return OK;
}

/* Takes pieces of work; each waits until as many are under way as can be. */
static enum err work_off(struct task *task, struct job_run *run, void *app)
{
    struct counts *counts = app;

    (void)task;
    while (atomic_fetch_sub(&counts->left, 1) > 0) {
        int now = atomic_fetch_add(&counts->at_once, 1) + 1, most = counts->most_at_once;

        while (now > most && !atomic_compare_exchange_weak(&counts->most_at_once, &most, now)) {
        }
        job_needs_help(run);
        soon(&counts->most_at_once, 3);
        atomic_fetch_sub(&counts->at_once, 1);
        atomic_fetch_add(&counts->done, 1);
    }
    return OK;
}

static enum err fail_then_again(struct task *task, struct job_run *run, void *app)
{
    atomic_fetch_add(&((struct counts *)app)->runs, 1);
    job_again(run, 1);
    return task_fail(task, ERR_STORE, "there is no more of it", __FILE__);
}

static enum err fail_once(struct task *task, struct job_run *run, void *app)
{
    (void)run;
    if (atomic_fetch_add(&((struct counts *)app)->runs, 1) > 0)
        return OK;
    return task_fail(task, ERR_STORE, "the disk is full", __FILE__);
}

static enum err until_told(struct task *task, struct job_run *run, void *app)
{
    struct counts *counts = app;

    (void)task;
    atomic_fetch_add(&counts->runs, 1);
    while (job_goes_on(run))
        rest(1);
    atomic_fetch_add(&counts->done, 1);
    return OK;
}

static unsigned watched(void *app)
{
    return (unsigned)atomic_load(&((struct counts *)app)->watched);
}

struct scene {
    struct task *task;
    char folder[64];
    struct store *store;
    struct lane *lane;
    struct jobs *jobs;
    struct counts counts;
};

static int begin(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct settings settings = {.data_dir = scene->folder};

    *state = scene;
    sample_begin((void **)&scene->task);
    strcpy(scene->folder, "/tmp/manus-jobs-XXXXXX");
    if (mkdtemp(scene->folder) == NULL)
        return -1;
    scene->store = store_open(scene->task, scene->task->mem, &settings);
    return scene->store == NULL ? -1 : 0;
}

static struct jobs *start(struct scene *scene, const struct job_row *rows)
{
    const struct lane_settings lane = {"job", 8, 100, 60000, 0};
    struct jobs_settings settings = {.rows = rows,
                                     .lanes = &scene->lane,
                                     .lease_ms = LEASE_MS,
                                     .store = scene->store,
                                     .app = &scene->counts};
    const char *wrong;

    scene->lane = lane_open(scene->task->mem, &lane);
    scene->jobs = jobs_open(scene->task->mem, &settings, &wrong);
    assert_null(wrong);
    jobs_start(scene->jobs);
    return scene->jobs;
}

static int end(void **state)
{
    struct scene *scene = *state;
    void *task = scene->task;

    if (scene->jobs != NULL && !jobs_stop_wait(scene->jobs, SOON_MS))
        return -1;
    if (scene->lane != NULL)
        lane_close(scene->lane);
    store_close(scene->store);
    if (system(mem_printf(scene->task->mem, "rm -r %s", scene->folder)) != 0)
        return -1;
    sample_end(&task);
    free(scene);
    return 0;
}

static void test_a_job_runs_by_its_interval(void **state)
{
    static const struct job_row rows[] = {
        {"often", .every_ms = 5, .workers = 1, .budget_ms = 1000, .run = count_run}, {0}};
    struct scene *scene = *state;

    start(scene, rows);
    assert_true(soon(&scene->counts.runs, 10));
}

static void test_work_that_is_put_in_wakes_its_job_at_once_and_as_many_as_help(void **state)
{
    static const struct job_row rows[] = {{"work", .every_ms = 3600000, .first_ms = 3600000,
                                           .workers = 3, .budget_ms = 1000, .run = work_off},
                                          {0}};
    struct scene *scene = *state;

    start(scene, rows);
    atomic_store(&scene->counts.left, 5);
    jobs_wake(scene->jobs, "work");
    assert_true(soon(&scene->counts.done, 5));
    assert_int_equal(scene->counts.most_at_once, 3);
}

static void test_a_job_runs_when_what_it_watches_changes(void **state)
{
    static const struct job_row rows[] = {
        {"watcher", .workers = 1, .budget_ms = 1000, .watched = watched, .run = count_run}, {0}};
    struct scene *scene = *state;

    start(scene, rows);
    rest(50);
    assert_int_equal(scene->counts.runs, 0);
    atomic_store(&scene->counts.watched, 1);
    assert_true(soon(&scene->counts.runs, 1));
    rest(50);
    assert_int_equal(scene->counts.runs, 1);
}

static void test_a_job_that_fails_says_when_it_is_tried_again(void **state)
{
    static const struct job_row rows[] = {{"failing", .every_ms = 3600000, .workers = 1,
                                           .once = true, .budget_ms = 1000, .run = fail_then_again},
                                          {0}};
    struct scene *scene = *state;
    struct lease *leases;
    enum job_outcome asked;
    const char *text;
    size_t count;

    start(scene, rows);
    assert_true(soon(&scene->counts.runs, 3));
    scene->task->deadline_ms = clock_mono_ms() + SOON_MS;
    assert_int_equal(jobs_run(scene->task, scene->jobs, "failing", &asked, &text), OK);
    assert_int_equal(asked, JOB_FAILED);
    assert_string_equal(text, "there is no more of it");
    assert_int_equal(jobs_run(scene->task, scene->jobs, "none", &asked, &text), OK);
    assert_int_equal(asked, JOB_UNKNOWN);
    assert_int_equal(store_leases(scene->task, scene->store, &leases, &count), OK);
    assert_int_equal(leases[0].succeeded_ms, 0);
    assert_true(leases[0].fence >= 3);
}

static void test_what_woke_a_job_that_fails_is_not_lost(void **state)
{
    static const struct job_row rows[] = {
        {"woken", .watched = watched, .workers = 1, .budget_ms = 1000, .run = fail_once}, {0}};
    struct scene *scene = *state;

    start(scene, rows);
    atomic_fetch_add(&scene->counts.watched, 1);
    assert_true(soon(&scene->counts.runs, 2));
    rest(LEASE_MS);
    assert_int_equal(scene->counts.runs, 2);
}

static void test_all_are_told_to_stop_before_anyone_is_waited_for(void **state)
{
    static const struct job_row rows[] = {
        {"one", .every_ms = 10, .workers = 2, .budget_ms = 3600000, .run = until_told},
        {"other", .every_ms = 10, .workers = 1, .once = true, .budget_ms = 3600000,
         .run = until_told},
        {0}};
    struct scene *scene = *state;

    start(scene, rows);
    assert_true(soon(&scene->counts.runs, 3));
    jobs_stop_begin(scene->jobs);
    assert_true(soon(&scene->counts.done, 3));
    assert_true(jobs_stop_wait(scene->jobs, SOON_MS));
    jobs_wake(scene->jobs, "one");
    rest(30);
    assert_int_equal(scene->counts.runs, 3);
}

static void test_a_run_that_is_long_keeps_its_lease_and_ends_within_its_budget(void **state)
{
    static const struct job_row rows[] = {{"long", .every_ms = 3600000, .workers = 1, .once = true,
                                           .budget_ms = 3 * LEASE_MS, .run = until_told},
                                          {0}};
    struct scene *scene = *state;
    int64_t begun_ms = clock_mono_ms();

    start(scene, rows);
    assert_true(soon(&scene->counts.done, 1));
    assert_true(clock_mono_ms() - begun_ms >= 3 * LEASE_MS);
}

static void test_a_schedule_that_makes_no_sense_is_refused(void **state)
{
    static const struct job_row rows[] = {
        {"odd", .cron = "0 0 30 2 *", .workers = 1, .budget_ms = 1, .run = count_run}, {0}};
    struct scene *scene = *state;
    struct jobs_settings settings = {.rows = rows, .store = scene->store};
    const char *wrong;

    assert_null(jobs_open(scene->task->mem, &settings, &wrong));
    assert_non_null(strstr(wrong, "the job odd"));
    assert_non_null(strstr(wrong, "no such date"));
}

/* Work in the store */

struct told {
    int mails, events;
};

static void note_work(void *arg, enum store_work work)
{
    struct told *told = arg;

    (*(work == STORE_WORK_MAILS ? &told->mails : &told->events))++;
}

static void test_work_that_comes_into_the_store_is_told(void **state)
{
    struct scene *scene = *state;
    struct task *task = scene->task;
    const struct mail mail = {.to = "ann@example.com",
                              .content = "Subject: one\r\n\r\nhello\r\n",
                              .created_ms = SAMPLE_MS};
    struct event event = {.id = "evt_1",
                          .type = "invoice.paid",
                          .customer_id = "cus_1",
                          .payload = "{}",
                          .state = EVENT_WAITING,
                          .received_ms = SAMPLE_MS};
    struct event_kept kept;
    struct told told = {0};
    struct event taken;
    bool found;

    store_tell(scene->store, note_work, &told);
    assert_int_equal(store_mail_put(task, scene->store, &mail, &(bool){false}), OK);
    assert_int_equal(told.mails, 1);
    assert_int_equal(store_event_put(task, scene->store, &event, 0, &kept), OK);
    assert_int_equal(told.events, 1);
    /* Again, and one that whoever puts it in applies: neither is work for others. */
    assert_int_equal(store_event_put(task, scene->store, &event, 0, &kept), OK);
    event.id = "evt_2";
    event.customer_id = "cus_2";
    assert_int_equal(store_event_put(task, scene->store, &event, LEASE_MS, &kept), OK);
    assert_int_equal(store_event_take(task, scene->store, SAMPLE_MS, LEASE_MS, &found, &taken), OK);
    assert_int_equal(told.events, 1);
    /* The next event of its customer may be applied now, and its mail can go. */
    assert_int_equal(
        store_event_done(task, scene->store, "evt_2", EVENT_DONE, 0, NULL, NULL, &mail, SAMPLE_MS),
        OK);
    assert_int_equal(told.events, 2);
    assert_int_equal(told.mails, 2);
    store_tell(scene->store, NULL, NULL);
}

/* Two processes on one store */

struct question {
    enum { TAKE, RENEW, RELEASE } what;
    char name[16], holder[96];
    int64_t lease_ms, known_ms, fence;
    bool succeeded;
};

struct answer {
    enum err e;
    enum lease_taken taken;
    bool held;
    struct lease lease;
    char holder[96];
};

/* A store of which only the leases are there, by a socket. */
struct far_store {
    struct store store;
    int fd;
    pthread_mutex_t lock;
};

static struct answer ask(struct store *store, const struct question *question)
{
    struct far_store *far = (struct far_store *)store;
    struct answer answer = {.e = ERR_STORE};

    pthread_mutex_lock(&far->lock);
    if (send(far->fd, question, sizeof *question, 0) != (ssize_t)sizeof *question ||
        recv(far->fd, &answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer)
        _exit(3);
    pthread_mutex_unlock(&far->lock);
    return answer;
}

static struct question question_of(int what, const char *name)
{
    struct question question = {.what = what};

    snprintf(question.name, sizeof question.name, "%s", name);
    return question;
}

static enum err far_take(struct task *task, struct store *store, const char *name,
                         const char *holder, int64_t lease_ms, int64_t known_ms,
                         enum lease_taken *ret, struct lease *ret_lease)
{
    struct question question = question_of(TAKE, name);
    struct answer answer;

    snprintf(question.holder, sizeof question.holder, "%s", holder);
    question.lease_ms = lease_ms;
    question.known_ms = known_ms;
    answer = ask(store, &question);
    *ret = answer.taken;
    *ret_lease = answer.lease;
    ret_lease->holder = mem_string(task->mem, answer.holder);
    return answer.e;
}

static enum err far_renew(struct task *task, struct store *store, const char *name, int64_t fence,
                          int64_t lease_ms, bool *ret_held)
{
    struct question question = question_of(RENEW, name);
    struct answer answer;

    (void)task;
    question.fence = fence;
    question.lease_ms = lease_ms;
    answer = ask(store, &question);
    *ret_held = answer.held;
    return answer.e;
}

static enum err far_release(struct task *task, struct store *store, const char *name, int64_t fence,
                            bool succeeded)
{
    struct question question = question_of(RELEASE, name);

    (void)task;
    question.fence = fence;
    question.succeeded = succeeded;
    return ask(store, &question).e;
}

struct stage {
    struct store *store;
    pid_t pids[INSTANCES];
    int sockets[INSTANCES], steps[2];
    int64_t fence[2]; /* with which jobs a and b were last taken */
    int taker[2];     /* by whom */
    int64_t taken_ms[2];
    int holder[2];      /* of them, by what was last written; -1: nobody */
    int64_t last_ms[2]; /* when that was */
    int begun[2];       /* how often */
    int handed_over[2]; /* how often another instance went on */
    int64_t longest_ms;
};

static void judge_taking(struct stage *stage, int i, const char *name, int64_t fence,
                         int64_t now_ms)
{
    int job = *name - 'a';

    assert_true(fence > stage->fence[job]);
    stage->fence[job] = fence;
    stage->taker[job] = i;
    stage->taken_ms[job] = now_ms;
}

static void serve_lease(struct stage *stage, int i)
{
    struct store *store = stage->store;
    int fd = stage->sockets[i];
    int64_t now_ms;
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .deadline_ms = clock_mono_ms() + SOON_MS};
    struct question q;
    struct answer a = {0};

    if (recv(fd, &q, sizeof q, MSG_WAITALL) != (ssize_t)sizeof q)
        return;
    now_ms = clock_mono_ms();
    if (q.what == TAKE) {
        a.e = store_lease_take(&task, store, q.name, q.holder, q.lease_ms, q.known_ms, &a.taken,
                               &a.lease);
        if (a.e == OK)
            snprintf(a.holder, sizeof a.holder, "%s", a.lease.holder);
        if (a.e == OK && a.taken == LEASE_TAKEN)
            judge_taking(stage, i, q.name, a.lease.fence, now_ms);
    } else if (q.what == RENEW) {
        a.e = store_lease_renew(&task, store, q.name, q.fence, q.lease_ms, &a.held);
    } else {
        a.e = store_lease_release(&task, store, q.name, q.fence, q.succeeded);
    }
    (void)!send(fd, &a, sizeof a, MSG_NOSIGNAL);
}

/* What an instance does is written to a pipe. */
struct step {
    int instance;
    char job[8];
    char what;         /* begins, works, ends */
    int64_t looked_ms; /* when the job asked whether it goes on */
};

struct instance {
    int number, steps;
};

static void write_step(const struct instance *instance, const char *job, char what,
                       int64_t looked_ms)
{
    struct step step = {.instance = instance->number, .what = what, .looked_ms = looked_ms};

    snprintf(step.job, sizeof step.job, "%s", job);
    if (write(instance->steps, &step, sizeof step) != (ssize_t)sizeof step)
        _exit(4);
}

/* For longer than a lease; the parent kills it meanwhile. */
static enum err work_in_steps(const struct instance *instance, struct job_run *run, const char *job)
{
    int64_t looked_ms = 0;

    write_step(instance, job, 'b', 0);
    for (int i = 0; i < 3 * LEASE_MS / 10; i++) {
        looked_ms = clock_mono_ms();
        if (!job_goes_on(run))
            break;
        write_step(instance, job, 'w', looked_ms);
        rest(10);
    }
    write_step(instance, job, 'e', looked_ms);
    return OK;
}

static enum err run_a(struct task *task, struct job_run *run, void *app)
{
    (void)task;
    return work_in_steps(app, run, "a");
}

static enum err run_b(struct task *task, struct job_run *run, void *app)
{
    (void)task;
    return work_in_steps(app, run, "b");
}

static void live(int number, int socket, int steps)
{
    static const struct store_leases_operations leases = {
        .lease_take = far_take, .lease_renew = far_renew, .lease_release = far_release};
    static const struct store_operations operations = {.leases = &leases};
    static const struct job_row rows[] = {
        {"a", .every_ms = 10, .workers = 1, .once = true, .budget_ms = 3600000, .run = run_a},
        {"b", .every_ms = 10, .workers = 1, .once = true, .budget_ms = 3600000, .run = run_b},
        {0}};
    struct far_store far = {.store.operations = &operations, .fd = socket};
    struct instance instance = {number, steps};
    const struct lane_settings lane = {"job", 4, 100, 60000, 0};
    struct lane *lanes[] = {lane_open(NULL, &lane)};
    struct jobs_settings settings = {
        .rows = rows, .lanes = lanes, .lease_ms = LEASE_MS, .store = &far.store, .app = &instance};
    const char *wrong;
    struct jobs *jobs = jobs_open(NULL, &settings, &wrong);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_mutex_init(&far.lock, NULL);
    jobs_start(jobs);
    for (;;)
        pause();
}

/* This program again: a fork of one with threads may not use what they have locked
 * (signal-safety(7)). */
static void spawn(struct stage *stage, int i)
{
    char number[12], socket[12], steps[12];
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(number, sizeof number, "%d", i);
    snprintf(socket, sizeof socket, "%d", pair[1]);
    snprintf(steps, sizeof steps, "%d", stage->steps[1]);
    stage->pids[i] = fork();
    if (stage->pids[i] == 0) {
        close(pair[0]);
        execl("/proc/self/exe", "test_jobs", number, socket, steps, (char *)NULL);
        _exit(5);
    }
    close(pair[1]);
    stage->sockets[i] = pair[0];
}

static void end_instance(struct stage *stage, int i)
{
    kill(stage->pids[i], SIGKILL);
    waitpid(stage->pids[i], NULL, 0);
    close(stage->sockets[i]);
}

static void judge_step(struct stage *stage, const struct step *step)
{
    int job = step->job[0] - 'a';
    int64_t now_ms = clock_mono_ms();

    if (step->what == 'e') {
        if (stage->holder[job] == step->instance)
            stage->holder[job] = -1;
        return;
    }
    /* Who is stopped between looking and doing ends that step, however late, and no other. */
    if (step->what == 'w' && stage->taker[job] != step->instance &&
        step->looked_ms > stage->taken_ms[job] + CLOCKS_APART_MS)
        fail_msg("instance %d works on %s, which %d had taken %lld ms before", step->instance,
                 step->job, stage->taker[job], (long long)(step->looked_ms - stage->taken_ms[job]));
    if (step->what == 'w' && stage->holder[job] != step->instance)
        return;
    if (step->what == 'b') {
        if (stage->holder[job] >= 0 && now_ms - stage->last_ms[job] > stage->longest_ms)
            stage->longest_ms = now_ms - stage->last_ms[job];
        stage->begun[job]++;
        stage->handed_over[job] += stage->holder[job] >= 0;
        stage->holder[job] = step->instance;
    }
    stage->last_ms[job] = now_ms;
}

/* Serves leases and reads what is done until it is time, or *count has come to `most`. */
static void watch(struct stage *stage, int64_t for_ms, const int *count, int most)
{
    int64_t until_ms = clock_mono_ms() + for_ms;

    while (clock_mono_ms() < until_ms && *count < most) {
        struct pollfd fds[INSTANCES + 1] = {{stage->steps[0], POLLIN, 0},
                                            {stage->sockets[0], POLLIN, 0},
                                            {stage->sockets[1], POLLIN, 0}};
        struct step step;

        poll(fds, INSTANCES + 1, 10);
        if ((fds[0].revents & POLLIN) != 0 &&
            read(stage->steps[0], &step, sizeof step) == (ssize_t)sizeof step) {
            judge_step(stage, &step);
            continue; /* what was done before it is asked for more */
        }
        for (int i = 0; i < INSTANCES; i++) {
            if ((fds[i + 1].revents & POLLIN) != 0)
                serve_lease(stage, i);
        }
    }
}

static void open_stage(struct stage *stage, struct store *store)
{
    *stage = (struct stage){.store = store, .holder = {-1, -1}};
    assert_int_equal(pipe(stage->steps), 0);
    for (int i = 0; i < INSTANCES; i++)
        spawn(stage, i);
}

static void close_stage(struct stage *stage)
{
    for (int i = 0; i < INSTANCES; i++)
        end_instance(stage, i);
    close(stage->steps[0]);
    close(stage->steps[1]);
}

static void watch_for(struct stage *stage, int64_t for_ms)
{
    static const int never = 0;

    watch(stage, for_ms, &never, 1);
}

static void wait_for_a_holder(struct stage *stage)
{
    int64_t until_ms = clock_mono_ms() + SOON_MS;

    while (stage->holder[0] < 0 && clock_mono_ms() < until_ms)
        watch_for(stage, 10);
    assert_true(stage->holder[0] >= 0);
}

static void test_holders_that_are_killed_are_followed_by_others_one_at_a_time(void **state)
{
    struct scene *scene = *state;
    const char *seconds = getenv("MANUS_KILL_SECONDS");
    int64_t for_ms = 1000 * (seconds == NULL ? KILL_SECONDS : strtoll(seconds, NULL, 10));
    int64_t until_ms = clock_mono_ms() + for_ms;
    struct stage stage;
    int kills = 0;

    open_stage(&stage, scene->store);
    for (; clock_mono_ms() < until_ms || stage.handed_over[0] == 0; kills++) {
        int killed, begun;

        watch_for(&stage, kills * 97 % LEASE_MS); /* at any moment of a run */
        wait_for_a_holder(&stage);
        killed = stage.holder[0];
        begun = stage.begun[0];
        end_instance(&stage, killed);
        stage.last_ms[0] = clock_mono_ms();
        spawn(&stage, killed);
        watch(&stage, SOON_MS, &stage.begun[0], begun + 1);
        assert_true(stage.begun[0] > begun);
    }
    close_stage(&stage);
    print_message("%d kills; handed over %d times, after %lld ms at most; a lease is %d ms\n",
                  kills, stage.handed_over[0], (long long)stage.longest_ms, LEASE_MS);
    /* Twice a lease, and what a machine under load takes besides. */
    assert_true(stage.longest_ms < 2 * LEASE_MS + SOON_MS / 2);
}

static void test_a_holder_that_was_stopped_past_its_lease_does_not_go_on(void **state)
{
    struct scene *scene = *state;
    struct stage stage;
    int stopped;

    open_stage(&stage, scene->store);
    wait_for_a_holder(&stage);
    stopped = stage.holder[0];
    kill(stage.pids[stopped], SIGSTOP);
    watch(&stage, SOON_MS, &stage.handed_over[0], 1);
    assert_int_equal(stage.handed_over[0], 1);
    kill(stage.pids[stopped], SIGCONT);
    watch_for(&stage, 2 * LEASE_MS); /* each step is judged */
    close_stage(&stage);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_a_job_runs_by_its_interval),
        SCENE(test_work_that_is_put_in_wakes_its_job_at_once_and_as_many_as_help),
        SCENE(test_a_job_runs_when_what_it_watches_changes),
        SCENE(test_a_job_that_fails_says_when_it_is_tried_again),
        SCENE(test_what_woke_a_job_that_fails_is_not_lost),
        SCENE(test_all_are_told_to_stop_before_anyone_is_waited_for),
        SCENE(test_a_run_that_is_long_keeps_its_lease_and_ends_within_its_budget),
        SCENE(test_a_schedule_that_makes_no_sense_is_refused),
        SCENE(test_work_that_comes_into_the_store_is_told),
        SCENE(test_holders_that_are_killed_are_followed_by_others_one_at_a_time),
        SCENE(test_a_holder_that_was_stopped_past_its_lease_does_not_go_on),
    };

    if (argc == 4) /* an instance, see spawn() */
        live(atoi(argv[1]), atoi(argv[2]), atoi(argv[3]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
