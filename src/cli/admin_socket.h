/* How `manus admin`, `mail`, `jobs`, `limits` and `billing` reach the server that has the store: a
 * Unix socket in DATA_DIR that only its owner and root may use. One question and one answer a
 * connection, each a line of JSON:
 * {"command":…,"action":…,"who":…,"fullname":…,"option":…} and
 * {"failed":bool,"text":…}.
 *
 * One thread reads and writes for all callers without waiting for any, and what they ask runs on
 * the lane `operator`, which nothing else uses: a jam of the others' lanes keeps no operator out.
 * Whoever does not finish a question, or does not take an answer, is dropped after some seconds, or
 * when there are too many callers. */
#pragma once

#include "account/admin.h"
#include "api/app.h"

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

/* Asks the server of `folder`. *ret_reached false: none runs there, and nothing was done.
 * ERR_INVALID with what the server said, or ERR_REMOTE. */
must_check enum err admin_socket_ask(struct task *task, const char *folder,
                                     const struct admin_request *request, bool *ret_reached,
                                     const char **ret_text);

/* The process that answers in `folder`; 0: none that this user may ask. */
pid_t admin_socket_server(const char *folder);
