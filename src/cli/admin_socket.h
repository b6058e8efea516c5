/* How `manus admin`, `mail`, `jobs`, `limits` and `billing` reach the server that has the store: a
 * Unix socket in DATA_DIR that only its owner and root may use. One question and one answer a
 * connection, each a line of JSON:
 * {"command":…,"action":…,"who":…,"fullname":…,"option":…} and
 * {"failed":bool,"text":…}. */
#pragma once

#include "account/admin.h"
#include "api/app.h"

struct admin_socket;

/* Answers on a thread of its own until it is closed. Settings are those of the start. NULL if there
 * is no socket to be had: the log says why, and the server runs without. */
struct admin_socket *admin_socket_open(void *mem, struct app *app, const struct settings *settings);

void admin_socket_close(struct admin_socket *socket);

/* Asks the server of `folder`. *ret_reached false: none runs there, and nothing was done.
 * ERR_INVALID with what the server said, or ERR_REMOTE. */
must_check enum err admin_socket_ask(struct task *task, const char *folder,
                                     const struct admin_request *request, bool *ret_reached,
                                     const char **ret_text);

/* The process that answers in `folder`; 0: none that this user may ask. */
pid_t admin_socket_server(const char *folder);
