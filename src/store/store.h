/* The store: what must survive. One contract, several implementations.
 *
 * Every operation is atomic in itself, so that no caller reads, changes and writes back.
 * Outcomes are not failures: a taken address is an outcome, a broken disk a failure.
 * Durability: what returned OK survives kill -9 and power loss. A write that fails with ERR_STORE
 * may have happened all the same; one that fails with ERR_STORE_FULL has not.
 * Threads: any but an event loop's; every call may wait for a disk or a server.
 * Memory: what is read is in the task's memory. Times: ms since the epoch, 0 is "never". */
#pragma once

#include "core/task.h"
#include "store/chain.h"

struct store;

struct user {
    const char *id; /* 22 characters */
    const char *fullname;
    const char *email;         /* in its stored form: core/email.h */
    const char *password_hash; /* NULL: none */
    bool is_admin;
    bool is_active;
    int64_t created_ms, updated_ms, last_login_ms;
    int64_t valid_from_ms; /* tokens without a session that were issued before are void */
};

/* One login on one device. */
struct session_record {
    const char *id; /* 22 characters */
    const char *user_id;
    int64_t created_ms, last_used_ms;
    int64_t expires_ms; /* whatever happens */
    int64_t ended_ms;
    const char *address; /* of the client that logged in */
    const char *agent;   /* its User-Agent, cut; may be empty */
    struct chain chain;  /* its refresh tokens */
};

/* A user's live sessions; a login beyond them ends the one that was used longest ago. */
enum { STORE_SESSIONS_PER_USER = 100 };

enum user_created { USER_CREATED, USER_EMAIL_TAKEN };

/* With the first session, or neither. Addresses are unique. */
must_check enum err store_user_create(struct task *task, struct store *store,
                                      const struct user *user, const struct session_record *session,
                                      enum user_created *ret);

/* *ret_found false: nobody has it, and *ret is untouched. */
must_check enum err store_user_by_email(struct task *task, struct store *store, const char *email,
                                        bool *ret_found, struct user *ret);
must_check enum err store_user_by_id(struct task *task, struct store *store, const char *id,
                                     bool *ret_found, struct user *ret);

/* Voids the tokens without a session that the user was issued before `from_ms`. Never goes back. */
must_check enum err store_user_void_tokens(struct task *task, struct store *store, const char *id,
                                           int64_t from_ms);

/* Opens a session and notes the login. *ret_opened false: there is one of this id already, live or
 * ended, and nothing was changed. */
must_check enum err store_session_open(struct task *task, struct store *store,
                                       const struct session_record *session, bool *ret_opened);

/* Ended and expired sessions are found too, until they are swept. The chain is read along. */
must_check enum err store_session_by_id(struct task *task, struct store *store, const char *id,
                                        bool *ret_found, struct session_record *ret);

/* Ending an ended or unknown session changes nothing. */
must_check enum err store_session_end(struct task *task, struct store *store, const char *id,
                                      int64_t now_ms);

enum session_refreshed {
    SESSION_REFRESHED,
    SESSION_REUSED, /* the token had been replaced: the session is ended by this call */
    SESSION_OVER,   /* ended, expired or unknown */
};

/* Uses a refresh token of a session by the rule of store/chain.h. */
must_check enum err store_session_refresh(struct task *task, struct store *store, const char *id,
                                          const char *token_id, const struct chain_link *fresh,
                                          int64_t now_ms, enum session_refreshed *ret,
                                          struct chain_link *ret_successor);

/* Removes some of the sessions that expired before `before_ms`. *ret_count: how many. */
must_check enum err store_session_sweep(struct task *task, struct store *store, int64_t before_ms,
                                        unsigned *ret_count);

/* Can it be read, and written where the last write failed? */
must_check enum err store_ping(struct task *task, struct store *store);

/* Reads everything. *ret_fault: NULL if it is sound, else the first fault. */
must_check enum err store_check(struct task *task, struct store *store, const char **ret_fault);

/* The name of the implementation for people: "SQLite in /srv/manus". */
const char *store_name(const struct store *store);

/* Waits for the writes under way. */
void store_close(struct store *store);

/* The implementations' side. */
struct store_operations {
    enum err (*user_create)(struct task *, struct store *, const struct user *,
                            const struct session_record *, enum user_created *);
    enum err (*user_by_email)(struct task *, struct store *, const char *, bool *, struct user *);
    enum err (*user_by_id)(struct task *, struct store *, const char *, bool *, struct user *);
    enum err (*user_void_tokens)(struct task *, struct store *, const char *, int64_t);
    enum err (*session_open)(struct task *, struct store *, const struct session_record *, bool *);
    enum err (*session_by_id)(struct task *, struct store *, const char *, bool *,
                              struct session_record *);
    enum err (*session_end)(struct task *, struct store *, const char *, int64_t);
    enum err (*session_refresh)(struct task *, struct store *, const char *, const char *,
                                const struct chain_link *, int64_t, enum session_refreshed *,
                                struct chain_link *);
    enum err (*session_sweep)(struct task *, struct store *, int64_t, unsigned *);
    enum err (*ping)(struct task *, struct store *);
    enum err (*check)(struct task *, struct store *, const char **);
    void (*close)(struct store *);
};

/* First member of every implementation's struct. */
struct store {
    const struct store_operations *operations;
    const char *name;
};
