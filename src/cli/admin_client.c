/* The command's side of the socket: asks, and waits for the answer. */
#include "cli/admin_socket.h"

#include "core/clock.h"
#include "core/json.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

enum { QUESTION_BYTES = 64 << 10, ANSWER_BYTES = 4 << 20, PIECE_BYTES = 4096, WAIT_MS = 60000 };

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

static int connect_to(const char *folder_path)
{
    auto_close int folder = open(folder_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un name = admin_socket_name(folder);
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
