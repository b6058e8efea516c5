#include "cli/admin_socket.h"

#include "api/jobs.h"
#include "api/limits.h"
#include "billing/admin.h"
#include "core/clock.h"
#include "core/json.h"
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
#include <sys/un.h>

enum { QUESTION_BYTES = 64 << 10, ANSWER_BYTES = 4 << 20, PIECE_BYTES = 4096 };
enum {
    ROOM_MS = 100 /* that no descriptor is free */,
    TIMEOUT_MS = 5000,
    WAIT_MS = 60000,
    BACKLOG = 4,
    RUN_MS = 30000
};

struct admin_socket {
    struct app *app;
    const struct settings *settings;
    int fd, stop_fd;
    pthread_t thread;
};

/* By way of the folder's descriptor, since a socket's path is short. */
static struct sockaddr_un name_in(int folder)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/admin.sock", folder);
    return name;
}

/* Sends and receives give up at this time; false: it is over. */
static bool set_deadline(int fd, int64_t until_ms)
{
    int64_t left_ms = until_ms - clock_mono_ms();
    struct timeval left = {left_ms / 1000, left_ms % 1000 * 1000};

    return left_ms > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof left) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left) == 0;
}

static bool send_line(int fd, const char *text, size_t len, int64_t until_ms)
{
    while (len > 0 && set_deadline(fd, until_ms)) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return len == 0 && send(fd, "\n", 1, MSG_NOSIGNAL) == 1;
}

/* Up to the newline; NULL if none comes in time or within the bound. */
static json_t *receive_line(void *mem, int fd, size_t max, int64_t until_ms)
{
    struct text line = text_open(mem, PIECE_BYTES);
    struct json_problem problem;
    char piece[PIECE_BYTES];

    while (line.len < max && set_deadline(fd, until_ms)) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);

        if (n <= 0)
            return NULL;
        text_put(&line, piece, (size_t)n);
        if (line.s[line.len - 1] == '\n')
            return json_read(line.s, line.len - 1, &problem);
    }
    return NULL;
}

/* The server's side */

/* "system:NAME" of who connected, if they may: the server's own user, or root. */
static const char *actor_of(void *mem, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    const struct passwd *entry;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid()))
        return NULL;
    entry = getpwuid(peer.uid);
    return entry == NULL ? mem_printf(mem, "system:%u", peer.uid)
                         : mem_printf(mem, "system:%s", entry->pw_name);
}

static enum err run_limits(struct task *task, const struct app *app,
                           const struct admin_request *request, struct text *out)
{
    struct limits_command command = {.action = request->action, .what = request->who};

    if (request->option != NULL)
        command.for_s = strtoll(request->option, NULL, 10);
    return limits_command(task, app, &command, out);
}

static void answer(const struct admin_socket *s, int fd)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .job = "admin", .deadline_ms = clock_mono_ms() + RUN_MS};
    struct text out = text_open(mem, 1024);
    auto_json json_t *question = NULL, *reply = NULL;
    auto_text char *text = NULL;
    struct admin_request request = {.actor = actor_of(mem, fd)};
    int64_t until_ms = clock_mono_ms() + TIMEOUT_MS;
    enum err e;

    if (request.actor == NULL)
        return;
    question = receive_line(mem, fd, QUESTION_BYTES, until_ms);
    request.command = json_string_value(json_object_get(question, "command"));
    request.action = json_string_value(json_object_get(question, "action"));
    request.who = json_string_value(json_object_get(question, "who"));
    request.fullname = json_string_value(json_object_get(question, "fullname"));
    request.option = json_string_value(json_object_get(question, "option"));
    if (request.command == NULL || request.action == NULL)
        return;
    if (strcmp(request.command, "limits") == 0)
        e = run_limits(&task, s->app, &request, &out);
    else if (strcmp(request.command, "jobs") == 0)
        e = app_jobs_command(&task, s->app->jobs, request.action, request.who, &out);
    else if (strcmp(request.command, "billing") == 0)
        e = billing_run(&task, s->app->billing, app_settings(s->app),
                        &(struct billing_request){request.action, request.who, request.actor},
                        &out);
    else
        e = admin_run(&task, &s->app->accounts, app_settings(s->app), &request, &out);
    log_info(&task, "administration", LOG_S("actor", request.actor),
             LOG_S("action", request.action), LOG_S("error", e == OK ? NULL : err_info(e)->name));
    reply = json_pack("{s:b,s:s}", "failed", e != OK, "text",
                      e != OK         ? task.text
                      : out.s == NULL ? ""
                                      : out.s);
    text = json_dumps(reply, JSON_COMPACT);
    send_line(fd, text, strlen(text), clock_mono_ms() + TIMEOUT_MS);
}

static void *serve(void *argument)
{
    const struct admin_socket *s = argument;
    struct pollfd fds[] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};

    pthread_setname_np(pthread_self(), "admin");
    for (;;) {
        /* A process that was stopped and goes on (SIGCONT) finds its poll interrupted. */
        if (poll(fds, count_of(fds), -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (fds[1].revents != 0)
            break;

        auto_close int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            answer(s, fd);
        /* Who waits stays there, and poll() says so again at once: look later. */
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            poll(&fds[1], 1, ROOM_MS);
    }
    return NULL;
}

static bool listen_in(struct admin_socket *s)
{
    auto_close int folder = open(s->settings->data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un name = name_in(folder);

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
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    return 0;
}

struct admin_socket *admin_socket_open(void *mem, struct app *app, const struct settings *settings)
{
    struct admin_socket *s = mem_new(mem, struct admin_socket);

    s->app = app;
    s->settings = settings;
    s->fd = -1;
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    talloc_set_destructor(s, close_descriptors);
    if (s->stop_fd < 0 || !listen_in(s) || thread_start(&s->thread, serve, s) != 0) {
        log_warning(NULL, "manus admin will not reach this server", LOG_S("error", strerror(errno)),
                    LOG_S("mend", "move DATA_DIR/admin.sock away, and start again"));
        talloc_free(s);
        return NULL;
    }
    return s;
}

void admin_socket_close(struct admin_socket *s)
{
    const uint64_t one = 1;

    if (s == NULL)
        return;
    if (write(s->stop_fd, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(s->thread, NULL);
    talloc_free(s);
}

/* The command's side */

static int connect_to(const char *folder_path)
{
    auto_close int folder = open(folder_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un name = name_in(folder);
    int fd;

    if (folder < 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

enum err admin_socket_ask(struct task *task, const char *folder,
                          const struct admin_request *request, bool *ret_reached,
                          const char **ret_text)
{
    auto_close int fd = connect_to(folder);
    auto_json json_t *question = json_pack(
        "{s:s,s:s,s:s*,s:s*,s:s*}", "command", request->command, "action", request->action, "who",
        request->who, "fullname", request->fullname, "option", request->option);
    auto_json json_t *reply = NULL;
    auto_text char *text = NULL;
    int64_t until_ms = clock_mono_ms() + WAIT_MS;

    *ret_reached = fd >= 0;
    if (fd < 0)
        return OK;
    if (question == NULL)
        return fail(task, ERR_INVALID, "this is not UTF-8");
    text = json_dumps(question, JSON_COMPACT);
    if (strlen(text) >= QUESTION_BYTES)
        return fail(task, ERR_INVALID, "what is asked is too long");
    if (send_line(fd, text, strlen(text), until_ms))
        reply = receive_line(task->mem, fd, ANSWER_BYTES, until_ms);
    if (!json_is_object(reply))
        return fail(task, ERR_REMOTE, "the server does not answer: are you its user, or root?");
    *ret_text = mem_string(task->mem, json_string_value(json_object_get(reply, "text")));
    return json_is_true(json_object_get(reply, "failed")) ? fail(task, ERR_INVALID, *ret_text) : OK;
}

pid_t admin_socket_server(const char *folder)
{
    auto_close int fd = connect_to(folder);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;

    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}
