/* The command's side of the socket: asks, and waits for the answer. */
#include "cli/admin_socket.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/json_writer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

enum { QUESTION_BYTES = 64 << 10, ANSWER_BYTES = 16 << 20, PIECE_BYTES = 4096, WAIT_MS = 60000 };

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

/* What has come, and was not read yet. */
struct incoming {
    int fd;
    struct text bytes;
};

/* Up to the newline; NULL if none comes in time or within the bound. */
static json_t *receive_line(struct incoming *in)
{
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    struct json_problem problem;
    char piece[PIECE_BYTES], *end = NULL;
    json_t *line;

    while ((end = memchr(in->bytes.s, '\n', in->bytes.len)) == NULL) {
        ssize_t n = in->bytes.len < ANSWER_BYTES && set_deadline(in->fd, until_ms)
                        ? recv(in->fd, piece, sizeof piece, 0)
                        : 0;

        if (n <= 0)
            return NULL;
        text_put(&in->bytes, piece, (size_t)n);
    }
    line = json_read(in->bytes.s, (size_t)(end - in->bytes.s), &problem);
    in->bytes.len -= (size_t)(end + 1 - in->bytes.s);
    memmove(in->bytes.s, end + 1, in->bytes.len);
    return line;
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

static char *question_text(struct task *task, const struct admin_question *question)
{
    const struct field *field = question->operation->fields;
    struct text text = text_open(task->mem, 512);
    struct json_writer w = json_write(&text);

    put_object(&w, NULL);
    put_string(&w, "operation", question->operation->name);
    put_object(&w, "fields");
    for (; field != NULL && field->name != NULL; field++) {
        const char *value = question->text_of(question->arg, field->name);

        if (value != NULL)
            put_string(&w, field->name, value);
    }
    put_end(&w);
    put_boolean(&w, "json", question->json);
    put_boolean(&w, "stream", true);
    put_end(&w);
    return text.s;
}

/* Shows what comes, up to the result. */
static enum err read_answer(struct task *task, struct incoming *in,
                            const struct admin_reader *reader)
{
    for (;;) {
        auto_json json_t *line = receive_line(in);
        const json_t *progress = json_object_get(line, "progress");
        const char *part = json_string_value(json_object_get(line, "part"));
        const char *text = json_string_value(json_object_get(line, "text"));

        if (part != NULL) {
            reader->part(part);
        } else if (progress != NULL) {
            reader->progress(json_integer_value(json_object_get(progress, "done")),
                             json_integer_value(json_object_get(progress, "total")));
        } else if (text == NULL) {
            return fail(task, ERR_REMOTE,
                        "the server does not answer: are you its user, or root, and is it of the "
                        "version of this command?");
        } else if (json_is_true(json_object_get(line, "failed"))) {
            return fail(task, ERR_INVALID, mem_string(task->mem, text));
        } else {
            reader->part(text);
            return OK;
        }
    }
}

enum err admin_socket_ask(struct task *task, const char *folder,
                          const struct admin_question *question, const struct admin_reader *reader,
                          bool *ret_reached)
{
    auto_close int fd = connect_to(folder);
    struct incoming in = {fd, text_open(task->mem, PIECE_BYTES)};
    const char *text;

    *ret_reached = fd >= 0;
    if (fd < 0)
        return OK;
    text = question_text(task, question);
    if (strlen(text) >= QUESTION_BYTES)
        return fail(task, ERR_INVALID, "what is asked is too long");
    /* Whoever was sent away at once may have been told why. */
    send_line(fd, text, strlen(text), clock_mono_ms() + WAIT_MS);
    return read_answer(task, &in, reader);
}

pid_t admin_socket_server(const char *folder)
{
    auto_close int fd = connect_to(folder);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;

    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}
