#include "killed.h"

#include "sample.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

struct child {
    struct store *store;
    int pipe;
};

/* Registers again and again, and refreshes every session once. */
static void run_child(struct task *task, unsigned number, void *argument)
{
    const struct child *child = argument;

    (void)number;
    for (;;) {
        auto_tree void *mem = mem_tree(4096);
        struct task own = {.mem = mem, .id = task->id};
        struct user user = sample_user(mem);
        struct session_record session = sample_session(mem, user.id);
        struct chain_link fresh = sample_link(mem), successor;
        struct acknowledged a = {0};
        enum user_created created;
        enum session_refreshed refreshed;

        if (store_user_create(&own, child->store, &user, &session, NULL, &created) != OK ||
            store_session_refresh(&own, child->store, session.id, sample_token(&session), &fresh,
                                  SAMPLE_MS, &refreshed, &successor) != OK)
            _exit(1);
        snprintf(a.email, sizeof a.email, "%s", user.email);
        snprintf(a.session_id, sizeof a.session_id, "%s", session.id);
        snprintf(a.token, sizeof a.token, "%s", successor.id);
        if (write(child->pipe, &a, sizeof a) != sizeof a)
            _exit(1);
    }
}

pid_t killed_start(struct task *task, struct store *(*open)(struct task *, const char *),
                   const char *folder, int *ret_pipe)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct child child = {.pipe = ends[1]};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        child.store = open(task, folder);
        if (child.store == NULL)
            _exit(1);
        sample_race(KILLED_WRITERS, run_child, &child);
        _exit(1);
    }
    close(ends[1]);
    *ret_pipe = ends[0];
    return pid;
}

void killed_end(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

struct acknowledged *killed_read(void *mem, int fd, struct acknowledged *list, size_t *count,
                                 size_t least)
{
    struct acknowledged a;

    while (*count < least && read(fd, &a, sizeof a) == sizeof a) {
        list = mem_grow(mem, list, (*count + 1) * sizeof a);
        list[(*count)++] = a;
    }
    return list;
}

void assert_kept(struct task *task, struct store *store, const struct acknowledged *a)
{
    struct session_record session;

    assert_true(sample_has_email(task, store, a->email));
    session = sample_read_session(task, store, a->session_id);
    assert_int_equal(session.chain.count, 2);
    assert_string_equal(session.chain.links[1].id, a->token);
}
