#include "cli/admin_socket.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"

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

enum { LINE_BYTES = 64 << 10, TIMEOUT_S = 5, WAIT_S = 60, BACKLOG = 4, RUN_MS = 30000 };

struct admin_socket {
    const struct accounts *accounts;
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

static void set_timeouts(int fd, int seconds)
{
    const struct timeval timeout = {seconds, 0};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

static bool send_line(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return send(fd, "\n", 1, MSG_NOSIGNAL) == 1;
}

/* Up to the newline; NULL if none comes in time or within the bound. */
static json_t *receive_line(void *mem, int fd)
{
    char *line = mem_zero(mem, LINE_BYTES);
    struct json_problem problem;
    size_t len = 0;

    while (len < LINE_BYTES) {
        ssize_t n = recv(fd, line + len, LINE_BYTES - len, 0);

        if (n <= 0)
            return NULL;
        len += (size_t)n;
        if (line[len - 1] == '\n')
            return json_read(line, len - 1, &problem);
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

static void answer(const struct admin_socket *s, int fd)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .id = "admin", .deadline_ms = clock_mono_ms() + RUN_MS};
    struct text out = text_open(mem, 1024);
    auto_json json_t *question = NULL, *reply = NULL;
    auto_text char *text = NULL;
    struct admin_request request = {.actor = actor_of(mem, fd)};
    enum err e;

    if (request.actor == NULL)
        return;
    question = receive_line(mem, fd);
    request.action = json_string_value(json_object_get(question, "action"));
    request.who = json_string_value(json_object_get(question, "who"));
    request.fullname = json_string_value(json_object_get(question, "fullname"));
    if (request.action == NULL)
        return;
    e = admin_run(&task, s->accounts, s->settings, &request, &out);
    log_info(&task, "administration", LOG_S("actor", request.actor),
             LOG_S("action", request.action), LOG_S("error", e == OK ? NULL : err_info(e)->name));
    reply = json_pack("{s:b,s:s}", "failed", e != OK, "text",
                      e != OK         ? task.text
                      : out.s == NULL ? ""
                                      : out.s);
    text = json_dumps(reply, JSON_COMPACT);
    send_line(fd, text, strlen(text));
}

static void *serve(void *argument)
{
    const struct admin_socket *s = argument;
    struct pollfd fds[] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};

    pthread_setname_np(pthread_self(), "admin");
    for (;;) {
        if (poll(fds, count_of(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents != 0)
            break;

        auto_close int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            continue;
        set_timeouts(fd, TIMEOUT_S);
        answer(s, fd);
    }
    return NULL;
}

static bool listen_in(struct admin_socket *s)
{
    auto_close int folder = open(s->settings->data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un name = name_in(folder);

    if (folder < 0)
        return false;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
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

struct admin_socket *admin_socket_open(void *mem, const struct accounts *accounts,
                                       const struct settings *settings)
{
    struct admin_socket *s = mem_new(mem, struct admin_socket);

    s->accounts = accounts;
    s->settings = settings;
    s->fd = -1;
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    talloc_set_destructor(s, close_descriptors);
    if (s->stop_fd < 0 || !listen_in(s) || pthread_create(&s->thread, NULL, serve, s) != 0) {
        log_warning(NULL, "manus admin will not reach this server",
                    LOG_S("error", strerror(errno)));
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
    auto_json json_t *question = json_pack("{s:s,s:s*,s:s*}", "action", request->action, "who",
                                           request->who, "fullname", request->fullname);
    auto_json json_t *reply = NULL;
    auto_text char *text = NULL;

    *ret_reached = fd >= 0;
    if (fd < 0)
        return OK;
    if (question == NULL)
        return fail(task, ERR_INVALID, "this is not UTF-8");
    text = json_dumps(question, JSON_COMPACT);
    set_timeouts(fd, WAIT_S);
    if (send_line(fd, text, strlen(text)))
        reply = receive_line(task->mem, fd);
    if (!json_is_object(reply))
        return fail(task, ERR_REMOTE, "the server does not answer: are you its user, or root?");
    *ret_text = mem_string(task->mem, json_string_value(json_object_get(reply, "text")));
    return json_is_true(json_object_get(reply, "failed")) ? fail(task, ERR_INVALID, *ret_text) : OK;
}
