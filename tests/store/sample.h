/* What the store tests are made of: a task for each test, users and sessions to put into a store,
 * comparisons, and threads that begin together. */
#pragma once

#include "store/store.h"

/* The time at which the samples happen: 2025-06-15. */
#define SAMPLE_MS INT64_C(1750000000000)

enum { SAMPLE_DAY_MS = 86400000 };

/* Setup and teardown of a cmocka test: *state is its task. */
int sample_begin(void **state);
int sample_end(void **state);

/* A new empty folder, its name in `mem`; NULL: there is none to be had. */
const char *sample_folder(void *mem);

/* With all that is in it. */
void sample_remove(const char *folder);

/* A new one of each, unlike all others, in `mem`. */
const char *sample_email(void *mem);
struct user sample_user(void *mem);
struct session_record sample_session(void *mem, const char *user_id);
struct chain_link sample_link(void *mem);

/* The first token of a session. */
const char *sample_token(const struct session_record *session);

void assert_same_user(const struct user *a, const struct user *b);
void assert_same_session(const struct session_record *a, const struct session_record *b);
void assert_same_link(const struct chain_link *a, const struct chain_link *b);

/* These expect OK, and the answer that a test without that question takes for granted. */
void sample_create(struct task *task, struct store *store, const struct user *user,
                   const struct session_record *session);
void sample_open(struct task *task, struct store *store, const struct session_record *session);
struct user sample_read_user(struct task *task, struct store *store, const char *id);
struct session_record sample_read_session(struct task *task, struct store *store, const char *id);
bool sample_has_email(struct task *task, struct store *store, const char *email);
bool sample_has_session(struct task *task, struct store *store, const char *id);

/* `run` on `count` threads that begin at the same time, each with its number and a task of its own.
 * It notes what it sees; the caller judges, since assertions belong to the main thread. */
typedef void sample_runner(struct task *task, unsigned number, void *argument);
void sample_race(unsigned count, sample_runner *run, void *argument);
