#include "remote/peer.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/loop.h"
#include "core/metrics.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

enum {
    LEAST_MS = 300,   /* less than that is left: not begun */
    BUDGET = 100,     /* tenths of a retry that may be saved up; each call earns one tenth */
    BREAKS_AFTER = 5, /* calls in a row without an answer, */
    SUBJECTS = 3,     /* about so many different ones */
    SUBJECT_BYTES = 64,
    PROBE_MS = 2000,
    FIRST_BREAK_MS = 1000,
    LONGEST_BREAK_MS = 30000,
};

struct peer {
    const struct peer_rules *rules;
    const void *owner;
    pthread_mutex_t lock;
    int budget;
    unsigned failures;                      /* in a row */
    char subjects[SUBJECTS][SUBJECT_BYTES]; /* that they were about, the first `subject_count` */
    size_t subject_count;
    int64_t broken_until_ms, break_ms; /* until then nothing is asked; 0: all is well */
    bool probing;
    unsigned outages; /* that are over */
};

static int close_peer(struct peer *peer)
{
    pthread_mutex_destroy(&peer->lock);
    return 0;
}

struct peer *peer_open(void *mem, const struct peer_rules *rules, const void *owner)
{
    struct peer *peer = mem_new(mem, struct peer);

    assert(rules->tries > 0 && rules->probe != NULL);
    assert(rules->first_wait_ms > 0 && rules->try_ms > 0);
    peer->rules = rules;
    peer->owner = owner;
    peer->budget = BUDGET;
    peer->break_ms = FIRST_BREAK_MS;
    pthread_mutex_init(&peer->lock, NULL);
    talloc_set_destructor(peer, close_peer);
    return peer;
}

unsigned peer_outages(struct peer *peer)
{
    unsigned outages;

    pthread_mutex_lock(&peer->lock);
    outages = peer->outages;
    pthread_mutex_unlock(&peer->lock);
    return outages;
}

/* Breaker and budget */

enum leave { MAY_ASK, MUST_PROBE, BROKEN };

static enum leave leave_to_ask(struct peer *peer)
{
    enum leave leave = MAY_ASK;

    pthread_mutex_lock(&peer->lock);
    if (peer->broken_until_ms != 0)
        leave = peer->probing || clock_mono_ms() < peer->broken_until_ms ? BROKEN : MUST_PROBE;
    if (leave == MUST_PROBE)
        peer->probing = true;
    if (leave == MAY_ASK && peer->budget < BUDGET)
        peer->budget++;
    pthread_mutex_unlock(&peer->lock);
    return leave;
}

static void forget_failures(struct peer *peer)
{
    peer->failures = 0;
    peer->subject_count = 0;
}

static void begin_break(struct peer *peer)
{
    forget_failures(peer);
    peer->broken_until_ms = clock_mono_ms() + peer->break_ms;
    peer->break_ms = peer->break_ms * 2 < LONGEST_BREAK_MS ? peer->break_ms * 2 : LONGEST_BREAK_MS;
}

static int64_t left_ms(const struct task *task)
{
    return task->deadline_ms - clock_mono_ms();
}

static bool is_back(struct task *task, struct peer *peer)
{
    int64_t left = left_ms(task);
    bool answered = left >= LEAST_MS &&
                    peer->rules->probe(task, peer->owner, left < PROBE_MS ? left : PROBE_MS);

    pthread_mutex_lock(&peer->lock);
    assert(peer->probing);
    peer->probing = false;
    if (answered) {
        peer->broken_until_ms = 0;
        peer->outages++;
    } else if (left >= LEAST_MS) {
        begin_break(peer);
    }
    pthread_mutex_unlock(&peer->lock);
    return answered;
}

/* `about` NULL: nobody can be asked about anything, so it counts as one more. */
static void note_subject(struct peer *peer, const char *about)
{
    size_t count = peer->subject_count;

    assert(count <= SUBJECTS);
    if (count == SUBJECTS)
        return;
    for (size_t i = 0; i < count && about != NULL; i++) {
        if (strncmp(peer->subjects[i], about, SUBJECT_BYTES - 1) == 0)
            return;
    }
    snprintf(peer->subjects[count], SUBJECT_BYTES, "%s", about == NULL ? "(all)" : about);
    peer->subject_count++;
}

static void note_answer(struct peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    /* Of few subjects nobody may have needed a break to know that it was away. */
    if (peer->failures >= BREAKS_AFTER)
        peer->outages++;
    forget_failures(peer);
    peer->break_ms = FIRST_BREAK_MS;
    pthread_mutex_unlock(&peer->lock);
}

/* What fails for one is no reason to ask nothing for others. */
static void note_failure(struct peer *peer, const struct peer_call *call)
{
    pthread_mutex_lock(&peer->lock);
    peer->failures++;
    if (call->transfer.is_unconnected)
        note_subject(peer, NULL);
    else
        note_subject(peer, call->about == NULL ? "" : call->about);
    if (peer->failures >= BREAKS_AFTER && peer->subject_count == SUBJECTS)
        begin_break(peer);
    pthread_mutex_unlock(&peer->lock);
}

static bool may_retry(struct peer *peer)
{
    bool may;

    pthread_mutex_lock(&peer->lock);
    assert(peer->budget >= 0 && peer->budget <= BUDGET);
    may = peer->budget >= 10;
    if (may)
        peer->budget -= 10;
    pthread_mutex_unlock(&peer->lock);
    return may;
}

/* One try */

/* Seconds, or the moment in one of HTTP's three forms, by the peer's own clock where it is told. */
static int64_t retry_after_of(const struct peer_call *call, const char *value)
{
    char *end;
    long seconds = strtol(value, &end, 10);
    time_t now_s = call->date_s > 0 ? (time_t)call->date_s : (time_t)(clock_wall_ms() / 1000);

    if (end == value || *end != '\0') {
        time_t then_s = curl_getdate(value, NULL);

        seconds = then_s > now_s ? (long)(then_s - now_s) : 0;
    }
    return seconds > 0 ? clock_ms_of(seconds) : 0;
}

static void on_header(struct transfer *transfer, const char *name, const char *value)
{
    struct peer_call *call = container_of(transfer, struct peer_call, transfer);

    if (strcasecmp(name, "Date") == 0) {
        time_t date_s = curl_getdate(value, NULL);

        call->date_s = date_s > 0 ? (int64_t)date_s : 0;
    } else if (strcasecmp(name, "Retry-After") == 0) {
        call->retry_after_ms = retry_after_of(call, value);
    } else if (call->rules->on_header != NULL) {
        call->rules->on_header(call, name, value);
    }
}

static enum peer_verdict judge_by_status(const struct peer_call *call)
{
    long status = call->transfer.status;

    if (status == 0)
        return call->transfer.is_hopeless ? PEER_HOPELESS : PEER_AGAIN;
    if (status >= 500)
        return PEER_AGAIN;
    return status == 408 || status == 429 ? PEER_LATER : PEER_SETTLED;
}

/* False: it could not be begun. */
static bool run_try(struct task *task, const struct peer_rules *rules, struct peer_call *call,
                    enum peer_verdict *ret)
{
    struct transfer *transfer = &call->transfer;
    int64_t started_ms = clock_mono_ms(), left = task->deadline_ms - started_ms;

    if (left < LEAST_MS || (call->prepare != NULL && !call->prepare(call)))
        return false;
    call->rules = rules;
    call->date_s = call->retry_after_ms = 0;
    transfer->timeout_ms = left < rules->try_ms ? left : rules->try_ms;
    transfer->connect_ms = rules->connect_ms;
    transfer->on_header = on_header;
    transfer->status = 0;
    talloc_free(transfer->reply.s);
    (void)!transfer_run(task->mem, transfer);
    call->took_ms = clock_mono_ms() - started_ms;
    metric_observe(METRIC_remote_seconds, rules->name, call->took_ms * 1000);
    *ret = rules->judge == NULL ? judge_by_status(call) : rules->judge(task, call);
    return true;
}

static int64_t wait_before(const struct peer_rules *rules, const struct peer_call *call)
{
    int64_t wait_ms = rules->first_wait_ms << (call->number - 1);
    uint16_t random;

    assert(call->number > 0);
    crypto_random(&random, sizeof random);
    if (call->transfer.status == 429)
        wait_ms *= 2;
    if (wait_ms > rules->longest_wait_ms)
        wait_ms = rules->longest_wait_ms;
    wait_ms = wait_ms / 2 + wait_ms / 2 * random / UINT16_MAX;
    return call->retry_after_ms > wait_ms ? call->retry_after_ms : wait_ms;
}

enum peer_outcome peer_ask(struct task *task, struct peer *peer, struct peer_call *call)
{
    const struct peer_rules *rules = peer->rules;
    enum leave leave = leave_to_ask(peer);
    enum peer_verdict verdict = PEER_HOPELESS;
    int64_t wait_ms;

    assert_off_loops();
    if (leave == BROKEN || (leave == MUST_PROBE && !is_back(task, peer)))
        return PEER_NOT_ASKED;
    for (call->number = 1; run_try(task, rules, call, &verdict); call->number++) {
        wait_ms = wait_before(rules, call);
        if (verdict == PEER_SETTLED || verdict == PEER_HOPELESS || call->number == rules->tries ||
            task->is_repetition || left_ms(task) < wait_ms + LEAST_MS || !may_retry(peer))
            break;
        usleep((useconds_t)(wait_ms * 1000));
    }
    if (verdict == PEER_SETTLED || verdict == PEER_LATER)
        note_answer(peer);
    else
        note_failure(peer, call);
    return verdict == PEER_SETTLED ? PEER_ANSWERED : PEER_UNKNOWN;
}
