/* How commands of operators (api/operations.h) reach the server that has the store: a
 * Unix socket in DATA_DIR that only its owner and root may use. One question a connection, a line
 * of JSON: {"operation":"user.deactivate","fields":{"user":"ann@example.com"},"json":bool,
 * "stream":bool}, the fields as texts, as on a command line. The answer are lines too: any number
 * of {"part":TEXT} and {"progress":{"done":N,"total":N}} (total 0: nobody knows), none of them
 * unless "stream" is true; then {"failed":bool,"text":TEXT}. What was asked for is all parts and
 * the last text, one behind the other.
 *
 * One thread reads and writes for all callers without waiting for any, and what they ask runs on
 * the lane `operator`, which nothing else uses: a jam of the others' lanes keeps no operator out.
 * Whoever does not finish a question, or does not take an answer, is dropped after some seconds, or
 * when there are too many callers. */
#pragma once

#include "api/operations.h"

#include <sys/un.h>

struct admin_socket;

/* Answers until it is closed, which waits for those that run. Settings are those of the start. NULL
 * if there is no socket to be had: the log says why, and the server runs without. */
struct admin_socket *admin_socket_open(void *mem, struct app *app, const struct settings *settings);

/* Takes no more questions; waits for nobody. NULL: there is none, here and below. */
void admin_socket_stop(struct admin_socket *socket);

/* Behind admin_socket_stop(): waits for the answer under way. */
void admin_socket_close(struct admin_socket *socket);

/* By way of the descriptor of DATA_DIR, since a socket's path is short. */
struct sockaddr_un admin_socket_name(int folder);

struct admin_question {
    const struct operation *operation;
    const char *(*text_of)(void *arg, const char *name); /* of a field; NULL: it was not given */
    void *arg;
    bool json;
};

/* Who is shown what comes. */
struct admin_reader {
    void (*part)(const char *text);
    void (*progress)(int64_t done, int64_t total);
};

/* Asks the server of `folder`. *ret_reached false: none runs there, and nothing was done.
 * ERR_INVALID with what the server said, or ERR_REMOTE. */
must_check enum err admin_socket_ask(struct task *task, const char *folder,
                                     const struct admin_question *question,
                                     const struct admin_reader *reader, bool *ret_reached);

/* The process that answers in `folder`; 0: none that this user may ask. */
pid_t admin_socket_server(const char *folder);
