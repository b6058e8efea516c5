/* The one way in which this program asks another one over HTTP: tries with growing waits, a budget
 * of repetitions, a breaker, and deadlines for all of it. What an answer means is the judgement of
 * whoever asks (struct peer_rules).
 *
 * A try that got no answer, or one that its judgement wants repeated, is repeated within the task's
 * deadline: not sooner than the peer's Retry-After says (RFC 9110 section 10.2.3), at most a tenth
 * as often as is asked in all, and never for what is tried again later by itself
 * (task->is_repetition). After several failures in a row that were about different ones, or for
 * want of a connection, nothing is asked for a while; then a question of its own tells whether the
 * peer is back. Blocks: a lane's work. Any thread. */
#pragma once

#include "core/task.h"
#include "remote/peers.h"
#include "remote/transfer.h"

struct peer;
struct peer_call;

enum peer_verdict {
    PEER_SETTLED,  /* an answer, whatever it says */
    PEER_LATER,    /* it is there, and asks for another try */
    PEER_AGAIN,    /* it has failed, and another try may go better */
    PEER_HOPELESS, /* it has failed, and another try now goes the same way */
};

/* What sets one peer apart from the others. */
struct peer_rules {
    enum peer_name name;                    /* for metrics */
    int tries;                              /* at most, for one call */
    int64_t connect_ms;                     /* until a connection is there */
    int64_t try_ms;                         /* for one try; the task's deadline may come before */
    int64_t first_wait_ms, longest_wait_ms; /* before a repetition: doubled each time, times 0.5 to
                                               1, and once more doubled after a 429 */

    /* After each try, on the thread that asks; it logs what it will. NULL: 408, 429, 5xx and no
     * answer at all may be tried again. */
    enum peer_verdict (*judge)(struct task *task, struct peer_call *call);

    /* For each header of an answer but Date and Retry-After, which are read already. NULL: none. */
    void (*on_header)(struct peer_call *call, const char *name, const char *value);

    /* A question about nobody, within so many ms: whether the peer answers again. */
    bool (*probe)(struct task *task, const void *owner, int64_t timeout_ms);
};

struct peer_call {
    struct transfer transfer; /* what is asked; its deadlines and on_header are the peer's */
    const char *about;        /* whom it is about: an id; NULL: what is known by none */

    /* Before each try: what differs from one to the next, as a date and a signature, or where the
     * body is read from. False: it cannot be tried any more. NULL: nothing differs. */
    bool (*prepare)(struct peer_call *call);

    int number;             /* from here on the peer's: of this try, from 1 */
    int64_t took_ms;        /* this try */
    int64_t date_s;         /* of the answer, by the peer's clock; 0: unknown */
    int64_t retry_after_ms; /* what it asks for; 0: nothing */
    const struct peer_rules *rules;
};

/* `rules` and `owner` (for the probe) outlive it. */
struct peer *peer_open(void *mem, const struct peer_rules *rules, const void *owner);

enum peer_outcome {
    PEER_ANSWERED,
    PEER_UNKNOWN,   /* no answer that stands: nobody knows what it did */
    PEER_NOT_ASKED, /* it has failed several times: it is left alone for a while */
};

/* The transfer's reply is that of the last try, in the task's memory. */
enum peer_outcome peer_ask(struct task *task, struct peer *peer, struct peer_call *call);

/* How often it has answered again after several failures in a row. */
unsigned peer_outages(struct peer *peer);
