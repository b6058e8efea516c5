#include "remote/stripe.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "remote/advice.h"
#include "remote/peer.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    MAX_REPLY = 8 << 20,
    SAID_BYTES = 300, /* of a message of Stripe's that is kept */
    NAME_BYTES = 100, /* of a code, a parameter's name, … */
};

struct stripe {
    const struct settings *settings;
    struct peer *peer;
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

static enum err ask_for(void *mem, const struct settings *settings, const char *path,
                        int64_t timeout_ms, struct transfer *ret)
{
    *ret = (struct transfer){
        .url = mem_printf(mem, "%s%s", settings->stripe_api_base, path),
        .bearer = settings->stripe_secret,
        .ca_file = settings->ca_file,
        .allowed = &settings->outbound_networks,
        .timeout_ms = timeout_ms,
        .max_reply = 64 << 10,
        .headers = {"Stripe-Version: " STRIPE_VERSION},
    };
    return transfer_run(mem, ret);
}

/* Anything may answer 200, such as the login page of a network. */
static bool is_balance(const struct transfer *transfer)
{
    struct json_problem problem;
    auto_json json_t *reply = json_read_mended(transfer->reply.s == NULL ? "" : transfer->reply.s,
                                               transfer->reply_len, &problem);
    const char *object = json_string_value(json_object_get(reply, "object"));

    return object != NULL && strcmp(object, "balance") == 0;
}

const char *stripe_probe(const struct settings *settings, int64_t timeout_ms)
{
    auto_tree void *mem = mem_tree(0);
    struct transfer transfer;

    assert_off_loops();
    if (ask_for(mem, settings, "/v1/balance", timeout_ms, &transfer) != OK)
        return transfer.problem;
    if (transfer.status == 401)
        return "API key refused";
    if (transfer.status == 403)
        return "API key lacks a permission";
    if (transfer.status == 429)
        return "Too many requests";
    if (transfer.status != 200)
        return "Unexpected answer";
    return is_balance(&transfer) ? NULL : "Is not Stripe";
}

const char *stripe_price_probe(void *mem, const struct settings *settings, const char *price,
                               int64_t timeout_ms)
{
    struct transfer transfer;

    if (ask_for(mem, settings, mem_printf(mem, "/v1/prices/%s", price), timeout_ms, &transfer) !=
        OK)
        return transfer.problem;
    return transfer.status != 404 ? NULL : mem_printf(mem, "Knows no price %s", price);
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

/* One call */

struct attempt {
    struct peer_call peer;
    struct stripe_call *call;
    char request_id[64]; /* from here on of this try */
    int should_retry;    /* -1: not said */
    bool replayed;
};

static void on_header(struct peer_call *peer, const char *name, const char *value)
{
    struct attempt *a = container_of(peer, struct attempt, peer);

    if (strcasecmp(name, "Request-Id") == 0)
        snprintf(a->request_id, sizeof a->request_id, "%s", value);
    else if (strcasecmp(name, "Stripe-Should-Retry") == 0)
        a->should_retry = strcmp(value, "true") == 0;
    else if (strcasecmp(name, "Idempotent-Replayed") == 0)
        a->replayed = strcmp(value, "true") == 0;
}

static bool prepare_try(struct peer_call *peer)
{
    struct attempt *a = container_of(peer, struct attempt, peer);

    a->request_id[0] = '\0';
    a->should_retry = -1;
    a->replayed = false;
    return true;
}

static void prepare(struct task *task, const struct settings *settings, struct stripe_call *call,
                    struct attempt *ret)
{
    bool in_query = strcmp(call->method, "GET") == 0;
    struct transfer *transfer = &ret->peer.transfer;
    size_t headers = 0;

    *ret = (struct attempt){.peer = {.about = call->about, .prepare = prepare_try}, .call = call};
    *transfer = (struct transfer){.method = call->method,
                                  .bearer = settings->stripe_secret,
                                  .ca_file = settings->ca_file,
                                  .allowed = &settings->outbound_networks,
                                  .max_reply = MAX_REPLY};
    transfer->url = mem_printf(task->mem, "%s%s%s%s", settings->stripe_api_base, call->path,
                               in_query && call->form != NULL ? "?" : "",
                               in_query && call->form != NULL ? call->form : "");
    transfer->headers[headers++] = "Stripe-Version: " STRIPE_VERSION;
    if (in_query || (call->form == NULL && strcmp(call->method, "DELETE") == 0))
        return;
    transfer->body = call->form == NULL ? "" : call->form;
    transfer->body_len = strlen(transfer->body);
    transfer->headers[headers++] = "Content-Type: application/x-www-form-urlencoded";
    transfer->headers[headers++] = "Expect:";
    if (call->key != NULL)
        transfer->headers[headers++] = mem_printf(task->mem, "Idempotency-Key: %s", call->key);
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
    const struct transfer *transfer = &a->peer.transfer;
    struct json_problem problem;

    call->status = (int)transfer->status;
    call->date_s = a->peer.date_s;
    call->is_burnt = a->replayed && call->status >= 500;
    forget_refusal(call);
    call->request_id = said(task->mem, a->request_id, NAME_BYTES);
    call->is_unconnected = transfer->is_unconnected;
    if (call->status == 0)
        return false;
    json_decref(call->reply);
    call->reply = json_read_mended(transfer->reply.s == NULL ? "" : transfer->reply.s,
                                   transfer->reply.len, &problem);
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

/* NULL leaves a field of a log line out. */
static const char *text_or_null(const char *text)
{
    return *text == '\0' ? NULL : text;
}

static void log_attempt(struct task *task, const struct stripe_call *call, const struct attempt *a)
{
    log_info(task, "stripe", LOG_S("method", call->method), LOG_S("path", call->path),
             LOG_I("status", call->status), LOG_S("problem", a->peer.transfer.problem),
             LOG_S("type", text_or_null(call->type)), LOG_S("code", text_or_null(call->code)),
             LOG_S("decline_code", text_or_null(call->decline_code)),
             LOG_S("param", text_or_null(call->param)), LOG_S("said", text_or_null(call->message)),
             LOG_S("stripe_request", text_or_null(call->request_id)),
             LOG_I("attempt", a->peer.number), LOG_I("duration_ms", a->peer.took_ms));
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

/* By Stripe's rules: no connection, 409, 429 and 5xx are tried again, unless Stripe-Should-Retry
 * says otherwise. */
static enum peer_verdict judge(struct task *task, struct peer_call *peer)
{
    struct attempt *a = container_of(peer, struct attempt, peer);
    struct stripe_call *call = a->call;
    bool settled = is_settled(task, call, a);

    log_attempt(task, call, a);
    metric_add(METRIC_stripe_requests, 1);
    if (settled)
        return PEER_SETTLED;
    metric_add(METRIC_stripe_failures, 1);
    if (call->status >= 400 && call->status < 500)
        return PEER_LATER;
    return peer->transfer.is_hopeless || call->is_burnt || a->should_retry == 0 ? PEER_HOPELESS
                                                                                : PEER_AGAIN;
}

/* Even that the key is refused is an answer. */
static bool answers(struct task *task, const void *owner, int64_t timeout_ms)
{
    struct transfer transfer;
    bool answered = ask_for(task->mem, owner, "/v1/balance", timeout_ms, &transfer) == OK &&
                    transfer.status < 500;

    talloc_free(transfer.reply.s);
    log_info(task, answered ? "stripe answers again" : "stripe does not answer yet",
             LOG_I("status", transfer.status), LOG_S("problem", transfer.problem));
    return answered;
}

/* The waits are those of Stripe's libraries. */
static const struct peer_rules rules = {
    .name = PEER_STRIPE,
    .tries = 4,
    .connect_ms = 3000,
    .try_ms = 6000,
    .first_wait_ms = 500,
    .longest_wait_ms = 5000,
    .judge = judge,
    .on_header = on_header,
    .probe = answers,
};

struct stripe *stripe_open(void *mem, const struct settings *settings)
{
    struct stripe *stripe = mem_new(mem, struct stripe);

    stripe->settings = settings;
    stripe->peer = peer_open(stripe, &rules, settings);
    return stripe;
}

unsigned stripe_outages(struct stripe *stripe)
{
    return peer_outages(stripe->peer);
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
    struct attempt attempt;
    enum peer_outcome outcome;
    bool settled;
    enum err e = stripe_need(task, stripe);

    assert(call->method != NULL && call->path[0] == '/');
    forget_refusal(call);
    if (e != OK)
        return e;
    prepare(task, stripe->settings, call, &attempt);
    outcome = peer_ask(task, stripe->peer, &attempt.peer);
    talloc_free(attempt.peer.transfer.reply.s);
    if (outcome == PEER_NOT_ASKED)
        return fail_advised(task, ERR_STRIPE_DOWN, call,
                            "Stripe has failed several times: not asked");
    settled = outcome == PEER_ANSWERED;
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
