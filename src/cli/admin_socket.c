#include "cli/admin_socket.h"

#include "cli/labels.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/json_writer.h"
#include "core/lane.h"
#include "core/log.h"
#include "core/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
    CALLERS = 32,
    THREADS = 8,
    BACKLOG = 128,
    QUESTION_BYTES = 64 << 10,
    UNSENT_BYTES = 8 << 20, /* that a caller may leave, before its run ends */
    PIECE_BYTES = 4096,
};
enum {
    ROOM_MS = 100, /* that no descriptor is free */
    TICK_MS = 250,
    QUEUED_MS = 5000,   /* for one of the threads */
    QUESTION_MS = 5000, /* for the question to come */
    TAKE_MS = 5000,     /* for the answer to be taken */
    RUN_MS = 30000,
};

static const char too_many[] = "too many commands run at the same time: try again";

enum stage { ASKING, RUNNING, ANSWERING };

struct caller {
    void *mem;
    struct admin_socket *socket;
    int fd;
    uid_t uid;
    enum stage stage;
    int64_t until_ms;     /* when it is dropped, ASKING or ANSWERING */
    struct text question; /* the run's while RUNNING */
    struct job job;

    /* Under the socket's lock: what the run and the socket's thread share. */
    void *answer_mem;
    struct text answer;
    size_t sent;
    bool has_ended; /* the run, which does not look at the caller any more */
};

struct admin_socket {
    struct app *app;
    const struct settings *settings;
    struct lane *lane;
    int fd, wake_fd;
    int64_t room_ms; /* when to look again whether a descriptor is free */
    atomic_bool stopping;
    pthread_t thread;
    pthread_mutex_t lock;

    struct caller *callers[CALLERS]; /* the one that came first, first */
    unsigned count;
};

struct sockaddr_un admin_socket_name(int folder)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/admin.sock", folder);
    return name;
}

static void wake(struct admin_socket *s)
{
    const uint64_t one = 1;

    /* It fails only where the counter is full, and the thread is woken already. */
    if (write(s->wake_fd, &one, sizeof one) < 0)
        return;
}

/* On a thread of the lane */

static void put_result(struct caller *caller, bool failed, const char *text)
{
    struct json_writer w = json_write(&caller->answer);

    pthread_mutex_lock(&caller->socket->lock);
    put_object(&w, NULL);
    put_boolean(&w, "failed", failed);
    put_string(&w, "text", text);
    put_end(&w);
    text_char(&caller->answer, '\n');
    pthread_mutex_unlock(&caller->socket->lock);
}

/* "system:NAME". Whoever keeps the names may take long to answer. */
static const char *actor_of(void *mem, uid_t uid)
{
    char buffer[16384];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) != 0 || found == NULL)
        return mem_printf(mem, "system:%u", uid);
    return mem_printf(mem, "system:%s", found->pw_name);
}

/* What is not understood is refused: a field that is left out may mean all. */
static enum err check_fields(struct task *task, const struct operation *operation, json_t *fields)
{
    const char *name;
    json_t *value;

    if (fields != NULL && !json_is_object(fields))
        return fail(task, ERR_INVALID, "give the fields as an object");
    json_object_foreach(fields, name, value)
    {
        const struct field *field = operation->fields;

        while (field != NULL && field->name != NULL && strcmp(field->name, name) != 0)
            field++;
        if (field == NULL || field->name == NULL)
            return fail(task, ERR_INVALID,
                        mem_printf(task->mem, "%s has no field %s", operation->name, name));
        if (!json_is_string(value))
            return fail(task, ERR_INVALID,
                        mem_printf(task->mem, "give the field %s as a text", name));
    }
    return OK;
}

static const char *text_of(void *fields, const char *name)
{
    return json_string_value(json_object_get(fields, name));
}

/* Whoever does not take what comes is not waited for, and a server that stops waits for nobody. */
static bool show_growth(struct operation_call *call, int64_t done, int64_t total)
{
    auto_tree void *mem = mem_tree(0);
    struct caller *caller = call->reader;
    const char *part = answer_take(call->answer, mem);
    struct json_writer w = json_write(&caller->answer);
    bool is_taken;

    pthread_mutex_lock(&caller->socket->lock);
    if (*part != '\0') {
        put_object(&w, NULL);
        put_string(&w, "part", part);
        put_end(&w);
        text_char(&caller->answer, '\n');
        w = json_write(&caller->answer);
    }
    put_object(&w, NULL);
    put_object(&w, "progress");
    put_number(&w, "done", done);
    put_number(&w, "total", total);
    put_end(&w);
    put_end(&w);
    text_char(&caller->answer, '\n');
    is_taken = caller->answer.len - caller->sent < UNSENT_BYTES;
    pthread_mutex_unlock(&caller->socket->lock);
    wake(caller->socket);
    return is_taken && !atomic_load(&caller->job.gone) && !atomic_load(&caller->socket->stopping);
}

static void answer(struct caller *caller)
{
    auto_tree void *mem = mem_tree(0);
    struct app *app = caller->socket->app;
    struct task task = {.mem = mem,
                        .settings = app_settings(app),
                        .job = "operator",
                        .deadline_ms = clock_mono_ms() + RUN_MS};
    struct json_problem problem;
    auto_json json_t *question = json_read(caller->question.s, caller->question.len, &problem);
    const char *name = json_string_value(json_object_get(question, "operation"));
    bool json = json_is_true(json_object_get(question, "json"));
    struct operation_call call = {
        .operation = name == NULL ? NULL : operation_by_name(name),
        .app = app,
        .actor = actor_of(mem, caller->uid),
        .address = "local",
        .answer = answer_open(mem, json ? ANSWER_JSON : ANSWER_LINES),
        .reader = caller,
    };
    enum err e;

    if (call.operation == NULL) {
        put_result(caller, true, "there is no such operation: ask as the server's version does");
        return;
    }
    if (call.operation->has_no_end && json_is_true(json_object_get(question, "stream")))
        call.progress = show_growth;
    e = check_fields(&task, call.operation, json_object_get(question, "fields"));
    if (e == OK)
        e = operation_read(&task, &call, text_of, json_object_get(question, "fields"));
    if (e == OK)
        e = operation_do(&task, &call);
    put_result(caller, e != OK, e != OK ? task.text : answer_end(call.answer, mem));
}

static void run_job(struct job *job)
{
    answer(container_of(job, struct caller, job));
}

static void finish_job(struct job *job, enum err outcome)
{
    struct caller *caller = container_of(job, struct caller, job);
    struct admin_socket *s = caller->socket;

    if (outcome != OK)
        put_result(caller, true, too_many);
    pthread_mutex_lock(&s->lock);
    caller->has_ended = true;
    pthread_mutex_unlock(&s->lock);
    wake(s);
}

/* On the socket's thread */

/* Whether who connected may ask: the server's own user, and root. */
static bool may_ask(int fd, uid_t *ret_uid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    *ret_uid = peer.uid;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void drop(struct admin_socket *s, unsigned at)
{
    struct caller *caller = s->callers[at];

    s->count--;
    memmove(&s->callers[at], &s->callers[at + 1], (s->count - at) * sizeof *s->callers);
    close(caller->fd);
    talloc_free(caller->answer_mem);
    talloc_free(caller->mem);
}

static void start(struct caller *caller)
{
    caller->stage = RUNNING;
    caller->job.run = run_job;
    caller->job.done = finish_job;
    if (lane_submit(caller->socket->lane, &caller->job) != OK)
        finish_job(&caller->job, ERR_BUSY);
}

/* What has come of a question. False: there will be none. */
static bool receive(struct caller *caller)
{
    char piece[PIECE_BYTES], *end;
    ssize_t n = recv(caller->fd, piece, sizeof piece, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0 || caller->question.len + (size_t)n > QUESTION_BYTES)
        return false;
    end = memchr(piece, '\n', (size_t)n);
    text_put(&caller->question, piece, end == NULL ? (size_t)n : (size_t)(end - piece));
    if (end != NULL)
        start(caller);
    return true;
}

/* False: nobody takes it. */
static bool send_some(struct caller *caller)
{
    ssize_t n = 0;

    pthread_mutex_lock(&caller->socket->lock);
    if (caller->answer.len > caller->sent)
        n = send(caller->fd, caller->answer.s + caller->sent, caller->answer.len - caller->sent,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        caller->sent += (size_t)n;
    /* What was taken takes no room any more. */
    if (caller->sent == caller->answer.len)
        caller->sent = caller->answer.len = 0;
    pthread_mutex_unlock(&caller->socket->lock);
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static bool has_unsent(struct caller *caller, bool *ret_ended)
{
    bool has;

    pthread_mutex_lock(&caller->socket->lock);
    has = caller->sent < caller->answer.len;
    *ret_ended = caller->has_ended;
    pthread_mutex_unlock(&caller->socket->lock);
    return has;
}

/* False: it is to be dropped. */
static bool go_on(struct caller *caller, short events, int64_t now_ms)
{
    bool ended, unsent, taken = true;

    if (caller->stage == ASKING)
        return (events == 0 || receive(caller)) && now_ms < caller->until_ms;
    unsent = has_unsent(caller, &ended);
    if (unsent)
        taken = send_some(caller);
    if ((events & (POLLHUP | POLLERR)) != 0 || !taken)
        atomic_store(&caller->job.gone, true);
    if (caller->stage == RUNNING && ended) {
        caller->stage = ANSWERING;
        caller->until_ms = now_ms + TAKE_MS;
    }
    if (caller->stage == RUNNING)
        return true;
    return has_unsent(caller, &ended) && now_ms < caller->until_ms &&
           !atomic_load(&caller->job.gone);
}

/* Whoever has not asked yet makes room for one who may. False: all of them run. */
static bool make_room(struct admin_socket *s)
{
    for (unsigned i = 0; i < s->count && s->count == CALLERS; i++) {
        if (s->callers[i]->stage == ASKING)
            drop(s, i);
    }
    return s->count < CALLERS;
}

static void take_caller(struct admin_socket *s, int64_t now_ms)
{
    struct caller *caller;
    void *mem;
    int fd;

    if (!make_room(s))
        return;
    fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        /* Who waits stays there, and poll() would say so again at once. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            s->room_ms = now_ms + ROOM_MS;
        return;
    }
    s->room_ms = 0;
    mem = mem_tree(0);
    caller = mem_new(mem, struct caller);
    caller->mem = mem;
    caller->socket = s;
    caller->fd = fd;
    caller->until_ms = now_ms + QUESTION_MS;
    caller->question = text_open(mem, PIECE_BYTES);
    caller->answer_mem = mem_tree(0);
    caller->answer = text_open(caller->answer_mem, PIECE_BYTES);
    s->callers[s->count++] = caller;
    if (!may_ask(fd, &caller->uid))
        drop(s, s->count - 1);
}

static struct pollfd watched(struct caller *caller)
{
    struct pollfd fd = {.fd = caller->fd};
    bool ended;

    if (caller->stage == ASKING)
        fd.events = POLLIN;
    else if (has_unsent(caller, &ended))
        fd.events = POLLOUT;
    /* Whoever has gone stays so, and would be told of each time. */
    if (atomic_load(&caller->job.gone))
        fd.fd = -1;
    return fd;
}

static bool all_run(const struct admin_socket *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (s->callers[i]->stage == ASKING)
            return false;
    }
    return s->count == CALLERS;
}

/* Returns how many there are to poll: the socket and its wake first, then the callers. */
static nfds_t watch(struct admin_socket *s, struct pollfd *fds, bool stopping, int64_t now_ms)
{
    bool listens = !stopping && now_ms >= s->room_ms && !all_run(s);

    fds[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = listens ? s->fd : -1, .events = POLLIN};
    for (unsigned i = 0; i < s->count; i++)
        fds[2 + i] = watched(s->callers[i]);
    return 2 + s->count;
}

static void heed(struct admin_socket *s, const struct pollfd *fds, bool stopping)
{
    int64_t now_ms = clock_mono_ms();
    uint64_t woken;

    if (fds[0].revents != 0 && read(s->wake_fd, &woken, sizeof woken) < 0)
        log_warning(NULL, "the admin socket was woken by nobody");
    /* From the last on, so that those before keep their places. */
    for (unsigned i = s->count; i-- > 0;) {
        if ((stopping && s->callers[i]->stage == ASKING) ||
            !go_on(s->callers[i], fds[2 + i].revents, now_ms))
            drop(s, i);
    }
    lane_expire(s->lane);
    if (fds[1].revents != 0)
        take_caller(s, now_ms);
}

/* Until it is told to stop, and those that run have ended. */
static void *serve(void *argument)
{
    struct admin_socket *s = argument;
    struct pollfd fds[2 + CALLERS];

    pthread_setname_np(pthread_self(), "admin");
    for (;;) {
        bool stopping = atomic_load(&s->stopping);
        nfds_t watching = watch(s, fds, stopping, clock_mono_ms());

        if (stopping && s->count == 0)
            return NULL;
        /* A process that was stopped and goes on (SIGCONT) finds its poll interrupted. */
        if (poll(fds, watching, s->count == 0 && s->room_ms == 0 ? -1 : TICK_MS) >= 0)
            heed(s, fds, stopping);
    }
}

static bool listen_in(struct admin_socket *s)
{
    auto_close int folder = open(s->settings->data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un name = admin_socket_name(folder);

    if (folder < 0)
        return false;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Whoever has the folder's lock may remove what an earlier server left. */
    unlinkat(folder, "admin.sock", 0);
    return s->fd >= 0 && bind(s->fd, (struct sockaddr *)&name, sizeof name) == 0 &&
           fchmodat(folder, "admin.sock", 0600, 0) == 0 && listen(s->fd, BACKLOG) == 0;
}

static int close_descriptors(struct admin_socket *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    return 0;
}

struct admin_socket *admin_socket_open(void *mem, struct app *app, const struct settings *settings)
{
    const struct lane_settings lane = {.name = lane_names[LANE_OPERATOR],
                                       .threads = THREADS,
                                       .max_queued = CALLERS,
                                       .max_wait_ms = QUEUED_MS,
                                       .label = LANE_LABEL(LANE_OPERATOR)};
    struct admin_socket *s = mem_new(mem, struct admin_socket);

    s->app = app;
    s->settings = settings;
    s->fd = -1;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    talloc_set_destructor(s, close_descriptors);
    pthread_mutex_init(&s->lock, NULL);
    s->lane = lane_open(s, &lane);
    if (s->wake_fd < 0 || !listen_in(s) || thread_start(&s->thread, serve, s) != 0) {
        log_warning(NULL, "manus admin will not reach this server", LOG_S("error", strerror(errno)),
                    LOG_S("mend", "move DATA_DIR/admin.sock away, and start again"));
        lane_close(s->lane);
        talloc_free(s);
        return NULL;
    }
    return s;
}

void admin_socket_stop(struct admin_socket *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->stopping, true);
    wake(s);
}

void admin_socket_close(struct admin_socket *s)
{
    if (s == NULL)
        return;
    pthread_join(s->thread, NULL);
    lane_close(s->lane);
    talloc_free(s);
}
