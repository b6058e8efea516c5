/* The store: what must survive. One contract, several implementations.
 *
 * Every operation is atomic in itself, so that no caller reads, changes and writes back. Each is a
 * row of store/operations.def as well.
 * Outcomes are not failures: a taken address is an outcome, a broken disk a failure.
 * Durability: what returned OK survives kill -9 and power loss. A write that fails with ERR_STORE
 * may have happened all the same; one that fails with ERR_STORE_FULL or ERR_BUSY has not.
 * Deadlines: an operation whose task's deadline has passed is refused with ERR_BUSY, and so is a
 * write that did not begin by then. What tells of things that have happened elsewhere (ALSO_LATE in
 * store/operations.def) has a moment more.
 * Threads: any but an event loop's; every call may wait for a disk or a server, but for those that
 * are named …_later() (store/later.h).
 * Memory: what is read is in the task's memory. Times: ms since the epoch, 0 is "never". */
#pragma once

#include "core/task.h"
#include "store/billing.h"
#include "store/chain.h"
#include "store/lease.h"

struct store;
struct settings;

/* Opens the store that the settings choose; `mem` owns it until store_close(). NULL, and the task's
 * text says what is wrong and how to mend it. */
struct store *store_open(struct task *task, void *mem, const struct settings *settings);

/* Whether opening finds a store and makes none; also if that cannot be seen. */
bool store_is_there(struct task *task, const struct settings *settings);

/* Whoever waits for an inspection is told how it goes on, some times a second, on a thread of its
 * own. `rows`: of this part so far; 0 where they are not counted. */
struct store_progress {
    void (*tell)(void *argument, const char *part, int64_t rows);
    void *argument;
};

struct store_inspection {
    const char *name;   /* as store_name(), whatever is found */
    int version;        /* of its schema; 0: there is no store yet */
    const char *fault;  /* the first one that reading all of it finds; NULL: it is sound */
    const char *notice; /* as store_notice() would be */
    bool in_parts;      /* so much was written meanwhile that it was not read as a whole */
};

/* Looks at the store, which another process may be using, for `manus check`: whether it can be read
 * and written, and is sound. What store_open() refuses is an error. `progress`: NULL: nobody waits.
 */
must_check enum err store_inspect(struct task *task, const struct settings *settings,
                                  const struct store_progress *progress,
                                  struct store_inspection *ret);

struct user {
    const char *id; /* 22 characters */
    const char *fullname;
    const char *email;         /* in its stored form: core/email.h */
    const char *password_hash; /* NULL: none */
    const char *language;      /* "en", "ar"; NULL: none was chosen */
    bool is_admin;
    bool is_active;
    int64_t created_ms, updated_ms, last_login_ms;
    int64_t verified_ms;   /* when the address was proved to be theirs */
    int64_t valid_from_ms; /* tokens without a session that were issued before are void, */
    int64_t spared_s;      /* but for those of this second; 0: none */
};

/* The login that goes on when the others of a user end: its session, or, of tokens without one, the
 * second in which they were issued. */
struct keep {
    const char *session_id; /* NULL: it has none */
    int64_t issued_s;       /* 0: it has a session */
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
    const char *device;  /* the same for two logins that look like one device; empty: of a session
                            whose id may come again, so that it is remembered when it has ended */
    struct chain chain;  /* its refresh tokens */
};

/* A user's live sessions; a login beyond them ends the one that was used longest ago. */
enum { STORE_SESSIONS_PER_USER = 100 };

/* Who did what to whom: nobody changes it, and it goes by its age alone (store_audit_sweep()). A
 * change that takes one happens together with it or not at all, and at its time. */
struct audit {
    int64_t at_ms;
    const char *actor;   /* "user:ID", or "system:NAME" for a user of the operating system */
    const char *action;  /* "user.deactivate" */
    const char *subject; /* a user's id */
    const char *address; /* of the client; "local" for a command; may be empty */
    const char *detail;  /* may be empty */
};

enum user_created { USER_CREATED, USER_EMAIL_TAKEN };

/* With the first session and a line of audit (NULL: without), or nothing of it. Addresses are
 * unique. */
must_check enum err store_user_create(struct task *task, struct store *store,
                                      const struct user *user, const struct session_record *session,
                                      const struct audit *audit, enum user_created *ret);

/* *ret_found false: nobody has it, and *ret is untouched. */
must_check enum err store_user_by_email(struct task *task, struct store *store, const char *email,
                                        bool *ret_found, struct user *ret);
must_check enum err store_user_by_id(struct task *task, struct store *store, const char *id,
                                     bool *ret_found, struct user *ret);

enum user_changed {
    USER_CHANGED,
    USER_UNKNOWN,
    USER_VERIFIED,     /* already: nothing was changed */
    USER_EMAIL_IN_USE, /* somebody else's: nothing was changed */
    USER_LAST_ADMIN,   /* the last active administrator: nothing was changed */
    USER_OUTDATED, /* their sessions were ended since valid_from_ms was read: nothing was changed */
};

/* A hash that begins so was made from the settings. Its administrator is not counted as one: may be
 * the last to go, and is nobody's successor. */
#define STORE_SETTINGS_HASH "local:"

/* Ends the user's logins but `keep` (NULL: all), and forgets the codes for their address.
 * `valid_from_ms` is the user's when the old password was checked; NULL: whatever it is. */
must_check enum err store_user_set_password(struct task *task, struct store *store, const char *id,
                                            const char *password_hash, const struct keep *keep,
                                            const int64_t *valid_from_ms, const struct audit *audit,
                                            enum user_changed *ret);

/* The same password in another form: nothing happens unless `old_hash` is still the stored one. */
must_check enum err store_user_rehash(struct task *task, struct store *store, const char *id,
                                      const char *old_hash, const char *new_hash);

must_check enum err store_user_set_fullname(struct task *task, struct store *store, const char *id,
                                            const char *fullname, const struct audit *audit,
                                            enum user_changed *ret);

/* Ends the user's sessions, voids tokens without one, and forgets the codes for the old address.
 * The new one is taken as verified. */
must_check enum err store_user_set_email(struct task *task, struct store *store, const char *id,
                                         const char *email, const struct audit *audit,
                                         enum user_changed *ret);

/* NULL: no choice any more. */
must_check enum err store_user_set_language(struct task *task, struct store *store, const char *id,
                                            const char *language, const struct audit *audit,
                                            enum user_changed *ret);

/* The address is theirs: noted once, and the codes that would prove it are forgotten. */
must_check enum err store_user_verify(struct task *task, struct store *store, const char *id,
                                      const struct audit *audit, enum user_changed *ret);

/* Deactivating ends the user's sessions and voids tokens without one. Either way the codes for
 * their address are forgotten. */
must_check enum err store_user_set_active(struct task *task, struct store *store, const char *id,
                                          bool is_active, const struct audit *audit,
                                          enum user_changed *ret);

/* Ends the user's sessions and voids tokens without one, if the role is another. */
must_check enum err store_user_set_role(struct task *task, struct store *store, const char *id,
                                        bool is_admin, const struct audit *audit,
                                        enum user_changed *ret);

/* With all sessions, the codes for the address and the mails that wait for it, the subscription and
 * what was used, the checkout and the events. Who is a customer of Stripe's leaves an event of type
 * STORE_EVENT_GOODBYE, whose payload names {"customer":…,"subscription":…}, so that it is ended
 * there too. The audit trail stays. `valid_from_ms` as above. */
must_check enum err store_user_delete(struct task *task, struct store *store, const char *id,
                                      const int64_t *valid_from_ms, const struct audit *audit,
                                      enum user_changed *ret);

#define STORE_EVENT_GOODBYE "manus.user.deleted"

/* A page of a list, newest first. A cursor is the store's own text, one word and never "0"; others
 * pass it on as it is, and one that is not the store's is ERR_BAD_REQUEST. */
struct store_page {
    const char *cursor; /* `*ret_next` of the page before; NULL: the first page */
    unsigned limit;     /* at most STORE_PAGE */
};

enum { STORE_PAGE = 200 };

/* *ret_next: the cursor of the next page, NULL if this is the last. A page of a search may hold
 * less than its limit, or nobody, and yet have a next one: what is not found quickly is left to
 * that. `search` (NULL: everybody): each of its words must begin a word of the address or the name,
 * ignoring case and accents. */
must_check enum err store_users(struct task *task, struct store *store, const char *search,
                                const struct store_page *page, struct user **ret, size_t *ret_count,
                                const char **ret_next);

/* `subject` NULL: of everybody. */
must_check enum err store_audit_trail(struct task *task, struct store *store, const char *subject,
                                      const struct store_page *page, struct audit **ret,
                                      size_t *ret_count, const char **ret_next);

/* What `actor` did to others, newest first. */
must_check enum err store_audit_by(struct task *task, struct store *store, const char *actor,
                                   const struct store_page *page, struct audit **ret,
                                   size_t *ret_count, const char **ret_next);

/* A line about what this store does not hold itself, or what has been done to it already. What is
 * changed together with its line takes the line as an argument. */
must_check enum err store_audit_append(struct task *task, struct store *store,
                                       const struct audit *audit);

/* How many lines the trail has. Costs the same for any number. */
must_check enum err store_audit_count(struct task *task, struct store *store, int64_t *ret);

/* Removes some of the oldest lines that are from before `before_ms`, in the order in which they
 * came: one that is younger keeps those behind it. What is dated after `ahead_ms` was so by a clock
 * that was ahead: it goes with the older ones behind it. *ret_count: how many. */
must_check enum err store_audit_sweep(struct task *task, struct store *store, int64_t before_ms,
                                      int64_t ahead_ms, unsigned *ret_count);

/* Voids the tokens without a session that the user was issued before `from_ms`. Never goes back. */
must_check enum err store_user_void_tokens(struct task *task, struct store *store, const char *id,
                                           int64_t from_ms);

/* Whether a session of the user of this address was opened on this device (struct session_record).
 * Devices are remembered until the last session on them would expire, the last 200 of a user. */
must_check enum err store_device_known(struct task *task, struct store *store, const char *email,
                                       const char *device, bool *ret);

enum session_opened {
    SESSION_OPENED,
    SESSION_OPENED_ELSEWHERE, /* and no session of the user was opened on this device before, though
                                 some were on others */
    SESSION_EXISTS,           /* there is one of this id, live or ended: nothing was changed */
    SESSION_USER_CHANGED, /* the user is gone, stopped, or has another valid_from_ms than the one
                             given, which was read before the password was checked: look anew */
};

/* Opens a session of a user and notes the login. */
must_check enum err store_session_open(struct task *task, struct store *store,
                                       const struct session_record *session, int64_t valid_from_ms,
                                       enum session_opened *ret);

/* Expired sessions are found until they are swept, of the ended those without a device. The chain
 * is read along. */
must_check enum err store_session_by_id(struct task *task, struct store *store, const char *id,
                                        bool *ret_found, struct session_record *ret);

/* Ending an ended or unknown session changes nothing. `audit` may be NULL. */
must_check enum err store_session_end(struct task *task, struct store *store, const char *id,
                                      int64_t now_ms, const struct audit *audit);

enum session_refreshed {
    SESSION_REFRESHED,
    SESSION_REUSED, /* the token had been replaced: the session is ended by this call */
    SESSION_OVER,   /* ended, expired or unknown */
};

/* What a mail is counted by before it is accepted: no more than so many of the same key in any span
 * of a window, which may be told from the clock by the minute: then a little later, never earlier.
 */
enum { MAIL_WINDOWS = 4 };
struct mail_window {
    uint32_t limit, seconds;
};
struct mail_bound {
    const char *key;
    unsigned window_count;
    struct mail_window windows[MAIL_WINDOWS];
};

/* A mail that is to be sent, durable from when it is accepted. Sent at least once; a second time
 * only if the outcome of the first is unknown, and then with the same Message-ID. */
struct mail {
    const char *id;      /* given by the store */
    const char *to;      /* an address; empty: nobody, it is only to be dropped */
    const char *content; /* the whole message (RFC 5322), with its Message-ID */
    int64_t created_ms, next_ms;
    unsigned attempts;
    const char *error;  /* of the last attempt; may be empty */
    int64_t expires_ms; /* nobody needs it after that; 0: never */
    /* When it is accepted, all of them are charged; if one is used up none is, and it goes to
     * nobody. Not stored. */
    const struct mail_bound *bounds;
    size_t bound_count;
};

enum { STORE_MAILS = 100000 }; /* that wait at most */

/* What a code is good for. */
#define CODE_RESET "reset"
#define CODE_VERIFY "verify"

/* A one-time code for an address, known or not: a newer one replaces it. */
struct code {
    const char *purpose;
    const char *email;
    uint8_t hash[CRYPTO_HASH_BYTES]; /* keyed */
    int64_t created_ms, expires_ms;
};

enum { CODE_TRIES = 5 };

/* What the right code does, in the write that uses it up. */
struct code_action {
    bool only_look; /* nothing is done; the code stays, and the try is not counted */
    const char *user_id;
    const char *password_hash;    /* as store_user_set_password(), every session ending; NULL: no */
    const struct audit *password; /* NULL without a hash */
    const struct audit *verified; /* as store_user_verify() */
};

enum code_issued { CODE_ISSUED, CODE_WITHHELD, CODE_TOO_SOON };

/* With its mail (NULL: none), or neither. CODE_WITHHELD: issued, but the mail goes to nobody since
 * a bound of it is used up. CODE_TOO_SOON if the address was given a code of this
 * purpose less than `wait_ms` ago: *ret_left_ms is what is left of it. ERR_BUSY when too many mails
 * wait. */
must_check enum err store_code_issue(struct task *task, struct store *store,
                                     const struct code *code, int64_t wait_ms,
                                     const struct mail *mail, enum code_issued *ret,
                                     int64_t *ret_left_ms);

/* Counts the try. *ret_right: the hash is the code's, which is used up by that, and the action
 * (NULL: none) is done. */
must_check enum err store_code_try(struct task *task, struct store *store, const char *purpose,
                                   const char *email, const uint8_t hash[CRYPTO_HASH_BYTES],
                                   int64_t now_ms, const struct code_action *action,
                                   bool *ret_right);

/* Takes the mail that is due longest; nobody else gets it for `lease_ms`. */
must_check enum err store_mail_take(struct task *task, struct store *store, int64_t now_ms,
                                    int64_t lease_ms, bool *ret_found, struct mail *ret);

/* It was sent, or given up: it is forgotten. */
must_check enum err store_mail_done(struct task *task, struct store *store, const char *id);

/* It was not sent: it is due again at `next_ms`. */
must_check enum err store_mail_postpone(struct task *task, struct store *store, const char *id,
                                        int64_t next_ms, const char *error);

/* Accepts a mail. *ret_withheld: it goes to nobody, since a bound of it is used up. ERR_BUSY when
 * too many wait. */
must_check enum err store_mail_put(struct task *task, struct store *store, const struct mail *mail,
                                   bool *ret_withheld);

/* Those that wait are due at `now_ms`; with an id, that one alone. *ret_count: how many. */
must_check enum err store_mail_retry(struct task *task, struct store *store, const char *id,
                                     int64_t now_ms, unsigned *ret_count);

/* A device that is known, and until when. */
struct device_known {
    const char *device;
    int64_t until_ms;
};

/* What is stored about a person beside the user and the audit trail. */
struct user_data {
    struct session_record *sessions; /* live and expired, and the ended that are remembered */
    struct device_known *devices;    /* on which sessions were opened */
    struct mail *mails;              /* that wait for the address, without their content */
    struct code *codes;              /* for the address */
    size_t session_count, device_count, mail_count, code_count;
};

enum { STORE_HOLDINGS = 10000 }; /* of each kind at most */

must_check enum err store_user_data(struct task *task, struct store *store, const struct user *user,
                                    struct user_data *ret);

/* How many wait. */
must_check enum err store_mail_count(struct task *task, struct store *store, int64_t *ret);

/* Those that wait, due longest first; STORE_PAGE at most. */
must_check enum err store_mails(struct task *task, struct store *store, struct mail **ret,
                                size_t *ret_count);

/* The live sessions of a user, last used first. */
must_check enum err store_sessions_of(struct task *task, struct store *store, const char *user_id,
                                      int64_t now_ms, struct session_record **ret,
                                      size_t *ret_count);

/* Ends those but `keep` (NULL: all), and voids tokens without one. */
must_check enum err store_sessions_end(struct task *task, struct store *store, const char *user_id,
                                       const struct keep *keep, const struct audit *audit,
                                       unsigned *ret_count);

/* Uses a refresh token of a session by the rule of store/chain.h. */
must_check enum err store_session_refresh(struct task *task, struct store *store, const char *id,
                                          const char *token_id, const struct chain_link *fresh,
                                          int64_t now_ms, enum session_refreshed *ret,
                                          struct chain_link *ret_successor);

/* Removes some of the sessions that expired before `before_ms`, and of the devices that were known
 * until then. *ret_count: how many of both. */
must_check enum err store_session_sweep(struct task *task, struct store *store, int64_t before_ms,
                                        unsigned *ret_count);

/* A step of the work by which names and addresses that were removed or replaced leave the files
 * too, if there were any and the last such work began before `before_ms`. *ret_count: 0 when there
 * is nothing to do, or nothing now. */
must_check enum err store_erase(struct task *task, struct store *store, int64_t before_ms,
                                unsigned *ret_count);

/* Takes the lease of this name for `lease_ms`, unless somebody has it, or it was taken after
 * `known_ms` (0: ever) by who gave it back. `holder` names this process. *ret_lease: as it is now,
 * whoever has it. */
must_check enum err store_lease_take(struct task *task, struct store *store, const char *name,
                                     const char *holder, int64_t lease_ms, int64_t known_ms,
                                     enum lease_taken *ret, struct lease *ret_lease);

/* It lasts for `lease_ms` from now. *ret_held false: it was over, or is another's; whoever had it
 * must not go on. */
must_check enum err store_lease_renew(struct task *task, struct store *store, const char *name,
                                      int64_t fence, int64_t lease_ms, bool *ret_held);

/* Gives it back. Changes nothing if it is another's by now. */
must_check enum err store_lease_release(struct task *task, struct store *store, const char *name,
                                        int64_t fence, bool succeeded);

enum { STORE_LEASES = 100 };

/* All that were ever taken, by name; STORE_LEASES at most. */
must_check enum err store_leases(struct task *task, struct store *store, struct lease **ret,
                                 size_t *ret_count);

/* Can it be read and written? It is written to, unless a write of the last seconds has shown it. */
must_check enum err store_ping(struct task *task, struct store *store);

/* Reads everything. *ret_fault: NULL if it is sound, else the first fault. */
must_check enum err store_check(struct task *task, struct store *store, const char **ret_fault);

/* Work that was put in, or that may be done now. */
enum store_work { STORE_WORK_MAILS, STORE_WORK_EVENTS };

/* `tell` is called behind every operation of this process that has put some in: on its thread, and
 * must not wait. NULL: nobody is told. Before others use the store. */
void store_tell(struct store *store, void (*tell)(void *arg, enum store_work work), void *arg);

/* The name of the implementation for people: "SQLite in /srv/manus". */
const char *store_name(const struct store *store);

/* What whoever runs it should know of how it was opened; NULL: nothing. */
const char *store_notice(const struct store *store);

/* Ends the writes of store/later.h whose time is over although the store came to none. To be called
 * a few times a second. */
void store_expire(struct store *store);

/* Names the operations for metrics, before anything is counted. */
void store_name_metrics(void);

/* Waits for the writes under way. */
void store_close(struct store *store);
