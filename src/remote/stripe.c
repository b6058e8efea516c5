#include "remote/stripe.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/json.h"
#include "core/log.h"
#include "core/metrics.h"
#include "remote/advice.h"
#include "remote/transfer.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

enum {
    TRIES = 4,
    TRY_MS = 6000,  /* one attempt */
    LEAST_MS = 300, /* less than that is left: not begun */
    FIRST_WAIT_MS = 500,
    LONGEST_WAIT_MS = 5000,
    MAX_REPLY = 8 << 20,
    BUDGET = 100,     /* tenths of a retry that may be saved up; each call earns one tenth */
    BREAKS_AFTER = 5, /* calls in a row without an answer, */
    SUBJECTS = 3,     /* about so many different ones */
    SUBJECT_BYTES = 64,
    PROBE_MS = 2000,
    FIRST_BREAK_MS = 1000,
    LONGEST_BREAK_MS = 30000,
    SAID_BYTES = 300, /* of a message of Stripe's that is kept */
    NAME_BYTES = 100, /* of a code, a parameter's name, … */
};

struct stripe {
    const struct settings *settings;
    pthread_mutex_t lock;
    int budget;
    unsigned failures;                      /* in a row */
    char subjects[SUBJECTS][SUBJECT_BYTES]; /* that they were about, the first `subject_count` */
    size_t subject_count;
    int64_t broken_until_ms, break_ms; /* until then nothing is asked; 0: all is well */
    bool probing;
    unsigned outages; /* that are over */
};

bool stripe_is_configured(const struct settings *settings)
{
    const struct secret *key = settings->stripe_secret;

    return key != NULL && (strncmp((const char *)key->bytes, "sk_", 3) == 0 ||
                           strncmp((const char *)key->bytes, "rk_", 3) == 0);
}

bool stripe_is_live(const struct settings *settings)
{
    return stripe_is_configured(settings) &&
           strncmp((const char *)settings->stripe_secret->bytes + 3, "live_", 5) == 0;
}

static enum err ask_balance(void *mem, const struct settings *settings, int64_t timeout_ms,
                            struct transfer *ret)
{
    *ret = (struct transfer){
        .url = mem_printf(mem, "%s/v1/balance", settings->stripe_api_base),
        .bearer = settings->stripe_secret,
        .ca_file = settings->ca_file,
        .timeout_ms = timeout_ms,
        .max_reply = 64 << 10,
        .headers = {"Stripe-Version: " STRIPE_VERSION},
    };
    return transfer_run(mem, ret);
}

const char *stripe_probe(const struct settings *settings, int64_t timeout_ms)
{
    auto_tree void *mem = mem_tree(0);
    struct transfer transfer;

    if (ask_balance(mem, settings, timeout_ms, &transfer) != OK)
        return transfer.problem;
    if (transfer.status == 401 || transfer.status == 403)
        return "API key refused";
    return transfer.status == 200 ? NULL : "Unexpected answer";
}

static int close_stripe(struct stripe *stripe)
{
    pthread_mutex_destroy(&stripe->lock);
    return 0;
}

struct stripe *stripe_open(void *mem, const struct settings *settings)
{
    struct stripe *stripe = mem_new(mem, struct stripe);

    stripe->settings = settings;
    stripe->budget = BUDGET;
    stripe->break_ms = FIRST_BREAK_MS;
    pthread_mutex_init(&stripe->lock, NULL);
    talloc_set_destructor(stripe, close_stripe);
    return stripe;
}

/* Texts */

bool stripe_is_id(const char *id, const char *prefix)
{
    size_t len = 0;

    if (id == NULL || strncmp(id, prefix, strlen(prefix)) != 0)
        return false;
    while (isalnum((unsigned char)id[len]) || id[len] == '_')
        len++;
    return id[len] == '\0' && len > strlen(prefix) && len < STRIPE_ID_SIZE;
}

static void put_encoded(struct text *form, const char *value)
{
    for (; *value != '\0'; value++) {
        if (isalnum((unsigned char)*value) || strchr("-._~", *value) != NULL)
            text_char(form, *value);
        else
            text_printf(form, "%%%02X", (unsigned char)*value);
    }
}

void stripe_put(struct text *form, const char *name, const char *value)
{
    assert(value != NULL && "a question without its subject means another one to Stripe");
    if (form->len > 0)
        text_char(form, '&');
    put_encoded(form, name);
    text_char(form, '=');
    put_encoded(form, value);
}

void stripe_put_int(struct text *form, const char *name, int64_t value)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%lld", (long long)value);
    stripe_put(form, name, digits);
}

const char *stripe_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

int64_t stripe_int(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

int64_t stripe_time_ms(const json_t *object, const char *name)
{
    return clock_ms_of(stripe_int(object, name));
}

const char *stripe_id_of(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);

    return json_is_object(member) ? stripe_text(member, "id") : stripe_text(object, name);
}

bool stripe_is_missing(const struct stripe_call *call)
{
    return (call->status == 404 || call->status == 400) &&
           strcmp(call->code, "resource_missing") == 0;
}

enum err stripe_ask_customer(struct task *task, struct stripe *stripe, const char *customer_id,
                             struct stripe_call *call)
{
    call->method = "GET";
    call->path = mem_printf(task->mem, "/v1/customers/%s", customer_id);
    call->about = customer_id;
    return stripe_ask(task, stripe, call);
}

/* Budget and breaker */

enum leave { MAY_ASK, MUST_PROBE, BROKEN };

static enum leave leave_to_ask(struct stripe *stripe)
{
    enum leave leave = MAY_ASK;

    pthread_mutex_lock(&stripe->lock);
    if (stripe->broken_until_ms != 0)
        leave = stripe->probing || clock_mono_ms() < stripe->broken_until_ms ? BROKEN : MUST_PROBE;
    if (leave == MUST_PROBE)
        stripe->probing = true;
    if (leave == MAY_ASK && stripe->budget < BUDGET)
        stripe->budget++;
    pthread_mutex_unlock(&stripe->lock);
    return leave;
}

static void forget_failures(struct stripe *stripe)
{
    stripe->failures = 0;
    stripe->subject_count = 0;
}

static void begin_break(struct stripe *stripe)
{
    forget_failures(stripe);
    stripe->broken_until_ms = clock_mono_ms() + stripe->break_ms;
    stripe->break_ms = stripe->break_ms * 2 < LONGEST_BREAK_MS ? stripe->break_ms * 2
                                                               : LONGEST_BREAK_MS;
}

/* A question of its own, which is about nobody: whether Stripe is there again. Even that the key is
 * refused is an answer. */
static bool is_back(struct task *task, struct stripe *stripe)
{
    int64_t left_ms = task->deadline_ms - clock_mono_ms();
    struct transfer transfer = {0};
    bool answered = left_ms >= LEAST_MS &&
                    ask_balance(task->mem, stripe->settings,
                                left_ms < PROBE_MS ? left_ms : PROBE_MS, &transfer) == OK &&
                    transfer.status < 500;

    talloc_free(transfer.reply.s);
    pthread_mutex_lock(&stripe->lock);
    stripe->probing = false;
    if (answered) {
        stripe->broken_until_ms = 0;
        stripe->outages++;
    } else if (left_ms >= LEAST_MS) {
        begin_break(stripe);
    }
    pthread_mutex_unlock(&stripe->lock);
    log_info(task, answered ? "stripe answers again" : "stripe does not answer yet",
             LOG_I("status", transfer.status), LOG_S("problem", transfer.problem));
    return answered;
}

unsigned stripe_outages(struct stripe *stripe)
{
    unsigned outages;

    pthread_mutex_lock(&stripe->lock);
    outages = stripe->outages;
    pthread_mutex_unlock(&stripe->lock);
    return outages;
}

/* `about` NULL: nobody can be asked about anything, so it counts as one more. */
static void note_subject(struct stripe *stripe, const char *about)
{
    size_t count = stripe->subject_count;

    if (count == SUBJECTS)
        return;
    for (size_t i = 0; i < count && about != NULL; i++) {
        if (strncmp(stripe->subjects[i], about, SUBJECT_BYTES - 1) == 0)
            return;
    }
    snprintf(stripe->subjects[count], SUBJECT_BYTES, "%s", about == NULL ? "(all)" : about);
    stripe->subject_count++;
}

static void note_answer(struct stripe *stripe)
{
    pthread_mutex_lock(&stripe->lock);
    /* Of few customers nobody may have needed a break to know that it was away. */
    if (stripe->failures >= BREAKS_AFTER)
        stripe->outages++;
    forget_failures(stripe);
    stripe->break_ms = FIRST_BREAK_MS;
    pthread_mutex_unlock(&stripe->lock);
}

/* What fails for one is no reason to ask nothing for others. */
static void note_failure(struct stripe *stripe, const struct stripe_call *call)
{
    pthread_mutex_lock(&stripe->lock);
    stripe->failures++;
    if (call->is_unconnected)
        note_subject(stripe, NULL);
    else
        note_subject(stripe, call->about == NULL ? "" : call->about);
    if (stripe->failures >= BREAKS_AFTER && stripe->subject_count == SUBJECTS)
        begin_break(stripe);
    pthread_mutex_unlock(&stripe->lock);
}

static bool may_retry(struct stripe *stripe)
{
    bool may;

    pthread_mutex_lock(&stripe->lock);
    may = stripe->budget >= 10;
    if (may)
        stripe->budget -= 10;
    pthread_mutex_unlock(&stripe->lock);
    return may;
}

/* One attempt */

struct attempt {
    struct transfer transfer;
    char request_id[64];
    int should_retry; /* -1: not said */
    int64_t retry_after_s;
    bool replayed;
    int64_t date_s;
};

static void on_header(struct transfer *transfer, const char *name, const char *value)
{
    struct attempt *a = container_of(transfer, struct attempt, transfer);

    if (strcasecmp(name, "Request-Id") == 0)
        snprintf(a->request_id, sizeof a->request_id, "%s", value);
    else if (strcasecmp(name, "Stripe-Should-Retry") == 0)
        a->should_retry = strcmp(value, "true") == 0;
    else if (strcasecmp(name, "Retry-After") == 0)
        a->retry_after_s = clock_ms_of(strtol(value, NULL, 10)) / 1000;
    else if (strcasecmp(name, "Idempotent-Replayed") == 0)
        a->replayed = strcmp(value, "true") == 0;
    else if (strcasecmp(name, "Date") == 0)
        a->date_s = (int64_t)curl_getdate(value, NULL);
}

static void prepare(struct task *task, const struct stripe *stripe, const struct stripe_call *call,
                    struct attempt *a, int64_t timeout_ms)
{
    const struct settings *settings = stripe->settings;
    bool in_query = strcmp(call->method, "GET") == 0;
    size_t headers = 0;

    *a = (struct attempt){.should_retry = -1};
    a->transfer = (struct transfer){.method = call->method,
                                    .bearer = settings->stripe_secret,
                                    .ca_file = settings->ca_file,
                                    .timeout_ms = timeout_ms,
                                    .max_reply = MAX_REPLY,
                                    .on_header = on_header};
    a->transfer.url = mem_printf(task->mem, "%s%s%s%s", settings->stripe_api_base, call->path,
                                 in_query && call->form != NULL ? "?" : "",
                                 in_query && call->form != NULL ? call->form : "");
    a->transfer.headers[headers++] = "Stripe-Version: " STRIPE_VERSION;
    if (in_query || (call->form == NULL && strcmp(call->method, "DELETE") == 0))
        return;
    a->transfer.body = call->form == NULL ? "" : call->form;
    a->transfer.headers[headers++] = "Content-Type: application/x-www-form-urlencoded";
    a->transfer.headers[headers++] = "Expect:";
    if (call->key != NULL)
        a->transfer.headers[headers++] = mem_printf(task->mem, "Idempotency-Key: %s", call->key);
}

/* What Stripe says of a refusal */

/* Bytes of the word's beginning that may be shown of what could be a key or a secret; the length of
 * the word if it is neither. */
static size_t shown_of(const char *word, size_t len)
{
    static const char *const keys[] = {"sk_", "rk_", "pk_", "whsec_"};
    static const char *const secrets[] = {"_secret_", "/pay/", "/session/"};

    for (size_t at = 0; at < len; at++) {
        bool begins = at == 0 || !(isalnum((unsigned char)word[at - 1]) || word[at - 1] == '_');

        for (size_t i = 0; i < count_of(keys); i++) {
            size_t size = strlen(keys[i]);

            if (begins && len - at >= size && strncasecmp(word + at, keys[i], size) == 0)
                return at + size;
        }
        for (size_t i = 0; i < count_of(secrets); i++) {
            size_t size = strlen(secrets[i]);

            if (len - at >= size && strncasecmp(word + at, secrets[i], size) == 0)
                return at + size;
        }
    }
    return len;
}

static const char *said(void *mem, const char *text, size_t most)
{
    struct text out = text_open(mem, 64);
    size_t end;

    text_add(&out, "");
    while (*text != '\0' && out.len < most) {
        size_t len = 0, shown;

        while ((unsigned char)text[len] > ' ' && text[len] != 0x7f)
            len++;
        shown = memchr(text, '@', len) != NULL ? 0 : shown_of(text, len);
        text_put(&out, text, shown);
        if (shown < len)
            text_add(&out, "…");
        text += len;
        if (*text != '\0')
            text_char(&out, ' ');
        while (*text != '\0' && ((unsigned char)*text <= ' ' || *text == 0x7f))
            text++;
    }
    if (out.len <= most)
        return out.s;
    for (end = most; end > 0 && ((unsigned char)out.s[end] & 0xc0) == 0x80;)
        end--;
    out.s[end] = '\0';
    return mem_printf(mem, "%s…", out.s);
}

const char *stripe_said(void *mem, const char *text)
{
    return said(mem, text, SAID_BYTES);
}

static void forget_refusal(struct stripe_call *call)
{
    call->type = call->code = call->decline_code = call->param = call->message = "";
    call->request_id = "";
}

/* In the task's memory. */
static void read_refusal(struct task *task, struct stripe_call *call)
{
    const json_t *error = json_object_get(call->reply, "error");

    call->type = said(task->mem, stripe_text(error, "type"), NAME_BYTES);
    call->code = said(task->mem, stripe_text(error, "code"), NAME_BYTES);
    call->decline_code = said(task->mem, stripe_text(error, "decline_code"), NAME_BYTES);
    call->param = said(task->mem, stripe_text(error, "param"), NAME_BYTES);
    call->message = stripe_said(task->mem, stripe_text(error, "message"));
}

/* Whether this is an answer that stands; else it may be asked again. */
static bool is_settled(struct task *task, struct stripe_call *call, const struct attempt *a)
{
    struct json_problem problem;

    call->status = (int)a->transfer.status;
    call->date_s = a->date_s;
    call->is_burnt = a->replayed && call->status >= 500;
    forget_refusal(call);
    call->request_id = said(task->mem, a->request_id, NAME_BYTES);
    call->is_unconnected = a->transfer.is_unconnected;
    if (call->status == 0)
        return false;
    json_decref(call->reply);
    call->reply = json_read_mended(a->transfer.reply.s == NULL ? "" : a->transfer.reply.s,
                                   a->transfer.reply.len, &problem);
    if (!json_is_object(call->reply)) {
        call->message = call->reply == NULL ? problem.text : "no object";
        call->status = 0; /* nobody knows what it did */
        return false;
    }
    if (call->status >= 200 && call->status < 300)
        return true;
    read_refusal(task, call);
    if (a->should_retry >= 0)
        return a->should_retry == 0 && call->status < 500;
    return call->status < 500 && call->status != 409 && call->status != 429;
}

static bool is_worth_retrying(const struct stripe_call *call, const struct attempt *a)
{
    return !a->transfer.is_hopeless && !call->is_burnt && a->should_retry != 0;
}

/* NULL leaves a field of a log line out. */
static const char *text_or_null(const char *text)
{
    return *text == '\0' ? NULL : text;
}

static void log_attempt(struct task *task, const struct stripe_call *call, const struct attempt *a,
                        int number, int64_t started_ms)
{
    log_info(task, "stripe", LOG_S("method", call->method), LOG_S("path", call->path),
             LOG_I("status", call->status), LOG_S("problem", a->transfer.problem),
             LOG_S("type", text_or_null(call->type)), LOG_S("code", text_or_null(call->code)),
             LOG_S("decline_code", text_or_null(call->decline_code)),
             LOG_S("param", text_or_null(call->param)), LOG_S("said", text_or_null(call->message)),
             LOG_S("stripe_request", text_or_null(call->request_id)), LOG_I("attempt", number),
             LOG_I("duration_ms", clock_mono_ms() - started_ms));
}

/* "402, type card_error, code card_declined, request req_1: Your card was declined." */
static const char *describe(struct task *task, const struct stripe_call *call)
{
    const struct {
        const char *name, *value;
    } parts[] = {{"type", call->type},
                 {"code", call->code},
                 {"decline_code", call->decline_code},
                 {"param", call->param},
                 {"request", call->request_id}};
    struct text out = text_open(task->mem, 256);

    text_int(&out, call->status);
    for (size_t i = 0; i < count_of(parts); i++) {
        if (*parts[i].value != '\0')
            text_printf(&out, ", %s %s", parts[i].name, parts[i].value);
    }
    if (*call->message != '\0')
        text_printf(&out, ": %s", call->message);
    return out.s;
}

/* Stripe's libraries wait min(5, 0.5 * 2^n) s, times 0.5 to 1; what is too often waits longer. */
static int64_t wait_before(int number, const struct stripe_call *call, const struct attempt *a)
{
    int64_t wait_ms = (int64_t)FIRST_WAIT_MS << (number - 1);
    uint16_t random;

    crypto_random(&random, sizeof random);
    if (call->status == 429)
        wait_ms *= 2;
    if (wait_ms > LONGEST_WAIT_MS)
        wait_ms = LONGEST_WAIT_MS;
    wait_ms = wait_ms / 2 + wait_ms / 2 * random / UINT16_MAX;
    return a->retry_after_s > 0 && a->retry_after_s * 1000 > wait_ms ? a->retry_after_s * 1000
                                                                     : wait_ms;
}

static int64_t left_ms(const struct task *task)
{
    return task->deadline_ms - clock_mono_ms();
}

/* True: it is settled. */
static bool try_on(struct task *task, struct stripe *stripe, struct stripe_call *call)
{
    for (int number = 1;; number++) {
        int64_t started_ms = clock_mono_ms(), left = left_ms(task), wait_ms;
        struct attempt a;
        bool settled;

        if (left < LEAST_MS)
            return false;
        prepare(task, stripe, call, &a, left < TRY_MS ? left : TRY_MS);
        (void)!transfer_run(task->mem, &a.transfer);
        settled = is_settled(task, call, &a);
        talloc_free(a.transfer.reply.s);
        log_attempt(task, call, &a, number, started_ms);
        metric_add(METRIC_stripe_requests, 1);
        if (settled)
            return true;
        metric_add(METRIC_stripe_failures, 1);
        wait_ms = wait_before(number, call, &a);
        if (number == TRIES || task->is_repetition || !is_worth_retrying(call, &a) ||
            left_ms(task) < wait_ms + LEAST_MS || !may_retry(stripe))
            return false;
        usleep((useconds_t)(wait_ms * 1000));
    }
}

static enum err fail_advised(struct task *task, enum err e, const struct stripe_call *call,
                             const char *text)
{
    (void)fail(task, e, text);
    task->phrase = advice_for(call);
    return e;
}

enum err stripe_need(struct task *task, const struct stripe *stripe)
{
    if (stripe_is_configured(stripe->settings))
        return OK;
    return fail(task, ERR_STRIPE_OFF, "Billing is not configured");
}

enum err stripe_ask(struct task *task, struct stripe *stripe, struct stripe_call *call)
{
    enum leave leave;
    bool settled;
    enum err e = stripe_need(task, stripe);

    forget_refusal(call);
    if (e != OK)
        return e;
    leave = leave_to_ask(stripe);
    if (leave == BROKEN || (leave == MUST_PROBE && !is_back(task, stripe)))
        return fail_advised(task, ERR_STRIPE_DOWN, call,
                            "Stripe has failed several times: not asked");
    settled = try_on(task, stripe, call);
    if (settled || (call->status >= 400 && call->status < 500))
        note_answer(stripe);
    else
        note_failure(stripe, call);
    if (!settled && call->status == 0 && *call->message != '\0')
        return fail_advised(
            task, ERR_STRIPE_DOWN, call,
            mem_printf(task->mem, "Stripe's answer cannot be read: %s", call->message));
    if (!settled && call->status == 0)
        return fail_advised(task, ERR_STRIPE_DOWN, call, "Stripe does not answer");
    if (!settled)
        return fail_advised(task, ERR_STRIPE_DOWN, call,
                            mem_printf(task->mem, "Stripe does not answer, or fails: %s %s: %s",
                                       call->method, call->path, describe(task, call)));
    if (call->status < 300)
        return OK;
    if (call->status == 401)
        return fail_advised(task, ERR_STRIPE, call,
                            mem_printf(task->mem,
                                       "Stripe refuses the key (%s): set STRIPE_SECRET_KEY to one "
                                       "that Stripe's dashboard shows, and start manus again",
                                       describe(task, call)));
    return fail_advised(task, ERR_STRIPE, call,
                        mem_printf(task->mem, "Stripe refuses %s %s: %s", call->method, call->path,
                                   describe(task, call)));
}
