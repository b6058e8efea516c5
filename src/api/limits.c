#include "api/limits.h"

#include "account/token.h"
#include "api/limits_parts.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/log.h"
#include "core/metrics.h"
#include "http/reply.h"
#include "limit/limiter.h"

#include <assert.h>
#include <string.h>

enum {
    HASH_BYTES = 16, /* of an address or account, in keys */
    PLAN_MS = 1000,  /* that a request waits for the caller's plan */
};

/* Telling */

/* Refused: the window that waits longest. Admitted: the one with the least left. */
static unsigned tightest(const struct rule *rule, const struct verdict *verdict)
{
    unsigned window = 0;

    for (unsigned i = 1; i < rule->count; i++) {
        bool tighter = verdict->admitted ? verdict->remaining[i] < verdict->remaining[window]
                                         : verdict->remaining[i] == 0 &&
                                               (verdict->remaining[window] > 0 ||
                                                verdict->reset_us[i] > verdict->reset_us[window]);

        if (tighter)
            window = i;
    }
    return window;
}

static void tell(struct request *req, const struct route_limits *limits,
                 const struct verdict *verdict)
{
    unsigned window = tightest(&limits->rule, verdict);
    int64_t reset_us = verdict->reset_us[window];
    struct text *head = &req->reply.head;

    head->mem = req->task.mem;
    if (req->match.route->limited_by != LIMITED_BY_CALLER)
        head->len = 0; /* what was told of another key: on these routes nothing else comes before */
    text_put(head, limits->told[window].s, limits->told[window].len);
    text_int(head, verdict->remaining[window]);
    text_add(head, ";t=");
    text_int(head, limits_seconds_up(reset_us));
    text_add(head, "\r\nX-RateLimit-Remaining: ");
    text_int(head, verdict->remaining[window]);
    text_add(head, "\r\nX-RateLimit-Reset: ");
    text_int(head, limits_seconds_up(clock_turn_wall_ms() * 1000 + reset_us));
    text_add(head, "\r\n");
}

static void refuse_for(struct request *req, int64_t wait_s)
{
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    if (wait_s < 1)
        wait_s = 1;
    req->reply.head.mem = req->task.mem;
    text_add(&req->reply.head, "Retry-After: ");
    text_int(&req->reply.head, wait_s);
    text_add(&req->reply.head, "\r\n");
    put_string(&w, "error", "Rate limit exceeded");
    put_string(&w, "message", "Too many requests. Please try again later.");
    put_number(&w, "retry_after", wait_s);
    reply_end(req, 429, &w);
}

/* Asking */

static const struct limits *limits_in_force(const struct request *req)
{
    return atomic_load_explicit(&app_of(req)->limits, memory_order_acquire);
}

static const struct route_limits *limits_of(const struct request *req)
{
    const struct limits *limits = limits_in_force(req);

    return &limits->of[req->match.route - limits->rows];
}

static bool is_allowed(const struct request *req)
{
    return !req->task.settings->rate_limit_enabled ||
           networks_have(&req->task.settings->rate_limit_allow, &req->client);
}

static bool is_exempt(const struct request *req, const struct route_limits *limits)
{
    return limits->rule.count == 0 || is_allowed(req);
}

/* A limit and who it counts. */
struct asked {
    struct limiter_ask ask;
    struct request *req;
    const struct route_limits *limits;
};

const char *limits_hashed(void *mem, const struct settings *settings, const char *text)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    const char *named = mem_printf(mem, "limited by\n%s", text);

    crypto_hmac(hash, settings->jwt_secret->bytes, settings->jwt_secret->len, named, strlen(named));
    return text_base64url(mem, hash, HASH_BYTES);
}

const char *limits_mailbox(void *mem, const struct settings *settings, const char *email)
{
    return limits_hashed(mem, settings, email_mailbox(mem, email_key(mem, email)));
}

unsigned limits_address_keys(uint16_t number, const struct address *address,
                             struct limit_key ret[LIMITS_CLIENT_KEYS])
{
    static const enum limit_kind kinds[LIMITS_CLIENT_KEYS] = {LIMIT_NET, LIMIT_NET56, LIMIT_NET48};
    struct address network = address_behind(address);
    char text[ADDRESS_TEXT_SIZE];

    if (address_is_v4(&network)) {
        address_text(text, &network);
        ret[0] = limit_key(number, LIMIT_IP, text);
        return 1;
    }
    for (size_t i = 0; i < LIMITS_CLIENT_KEYS; i++) {
        network = address_network(&network, address_networks[i].bits);
        address_text(text, &network);
        ret[i] = limit_key(number, kinds[i], text);
    }
    return LIMITS_CLIENT_KEYS;
}

static unsigned client_keys(const struct request *req, const struct route_limits *limits,
                            struct limit_key ret[LIMITS_CLIENT_KEYS])
{
    if (!address_is_v4(&req->client))
        return limits_address_keys(limits->number, &req->client, ret);
    ret[0] = limit_key(limits->number, LIMIT_IP, req->client_text);
    return 1;
}

static bool is_somebody(const struct request *req)
{
    return req->claims != NULL && req->task.settings->auth_provider != PROVIDER_NONE;
}

static unsigned caller_keys(const struct request *req, const struct route_limits *limits,
                            struct limit_key ret[LIMITS_CLIENT_KEYS])
{
    if (!is_somebody(req))
        return client_keys(req, limits, ret);
    ret[0] = limit_key(limits->number, LIMIT_USER, req->claims->user_id);
    return 1;
}

/* In a dry run the log says what would have been refused. */
static enum limits_answer settle(struct request *req, const struct route_limits *limits,
                                 const struct verdict *verdict)
{
    if (verdict->closed && req->task.settings->rate_limit_dry_run)
        return LIMITS_ADMITTED;
    if (verdict->closed) {
        reply_header(req, "Retry-After", "1");
        reply_error(req, 503, err_info(ERR_REMOTE)->text);
        return LIMITS_ANSWERED;
    }
    tell(req, limits, verdict);
    metric_add_of(METRIC_limit_requests, limits->number,
                  verdict->admitted ? ANSWER_ADMITTED : ANSWER_REFUSED, 1);
    if (verdict->admitted)
        return LIMITS_ADMITTED;
    if (req->task.settings->rate_limit_dry_run) {
        log_info(&req->task, "a rate limit would refuse this request",
                 LOG_S("route", req->match.route->path), LOG_S("client", req->client_text));
        return LIMITS_ADMITTED;
    }
    refuse_for(req, limits_seconds_up(verdict->wait_us));
    return LIMITS_ANSWERED;
}

/* What was asked is answered. */
static enum limits_answer take_answer(struct request *req)
{
    const struct asked *asked = take_ptr(req->asked);

    assert(asked->req == req);
    return settle(req, asked->limits, &asked->ask.verdict);
}

static void on_answered(struct limiter_ask *ask)
{
    request_go_on(container_of(ask, struct asked, ask)->req);
}

static enum limits_answer ask_for(struct request *req, const struct route_limits *limits,
                                  const struct limit_key *keys, unsigned key_count)
{
    struct asked *asked = mem_new(req->task.mem, struct asked);

    assert(key_count > 0 && key_count <= LIMIT_KEYS);
    assert(req->asked == NULL);
    asked->req = req;
    asked->limits = limits;
    memcpy(asked->ask.keys, keys, key_count * sizeof *keys);
    asked->ask.count = key_count;
    asked->ask.rule = &limits->rule;
    asked->ask.done = on_answered;
    req->asked = asked;
    if (limiter_ask(app_of(req)->limiter, &asked->ask))
        return take_answer(req);
    req->waits = true;
    return LIMITS_WAIT;
}

/* A client that is surely refused is so before its body is read. */
static enum limits_answer look_at_client(struct request *req, const struct route_limits *limits)
{
    struct limit_key keys[LIMITS_CLIENT_KEYS];
    unsigned count = client_keys(req, limits, keys);
    struct verdict verdict;

    if (!limiter_refuses(app_of(req)->limiter, keys, count, &limits->rule, &verdict))
        return LIMITS_ADMITTED;
    return settle(req, limits, &verdict);
}

bool limits_bar(struct request *req)
{
    int64_t banned_ms = limiter_banned_ms(app_of(req)->limiter, &req->client);

    if (banned_ms > 0)
        refuse_for(req, (banned_ms + 999) / 1000);
    return banned_ms > 0;
}

/* Limits of plans */

/* A plan that is not in memory is read on a lane, and is there when the request goes on. */
struct plan_read {
    struct job job;
    struct request *req;
    void *mem;
    struct billing *billing;
    const char *user_id;
};

static void read_plan(struct job *job)
{
    struct plan_read *read = container_of(job, struct plan_read, job);
    struct task task = {.mem = read->mem,
                        .settings = read->req->task.settings,
                        .job = "rate limits",
                        .deadline_ms = clock_mono_ms() + PLAN_MS};
    struct subscription found;

    /* Without an answer the limits of everybody hold. */
    (void)!billing_subscription(&task, read->billing, read->user_id, &found);
}

static void on_plan_read(struct job *job, enum err outcome)
{
    struct plan_read *read = container_of(job, struct plan_read, job);
    struct request *req = read->req;

    assert(req->claims != NULL);
    (void)outcome;
    talloc_free(read->mem);
    request_go_on(req);
}

static bool begin_plan_read(struct request *req)
{
    void *mem = mem_tree(2048);
    struct plan_read *read = mem_new(mem, struct plan_read);

    assert(req->claims != NULL);
    *read = (struct plan_read){.job = {.run = read_plan, .done = on_plan_read},
                               .req = req,
                               .mem = mem,
                               .billing = app_of(req)->billing,
                               .user_id = mem_string(mem, req->claims->user_id)};
    if (lane_submit(req->server->lanes[LANE_STORE], &read->job) == OK)
        return true;
    talloc_free(mem);
    return false;
}

/* What the route's limits are for this caller. LIMITS_WAIT: that is being found out. */
static enum limits_answer find_for_caller(struct request *req, const struct route_limits **ret)
{
    const struct limits *all = limits_in_force(req);
    const struct subscription *subscription;

    *ret = limits_of(req);
    if (all->by_plan == NULL || !is_somebody(req))
        return LIMITS_ADMITTED;
    subscription = billing_peek(app_of(req)->billing, req->task.mem, req->claims->user_id,
                                req->task.settings->gate_staleness * 1000);
    if (subscription == NULL && !req->plan_sought) {
        req->plan_sought = true;
        req->waits = begin_plan_read(req);
        return req->waits ? LIMITS_WAIT : LIMITS_ADMITTED;
    }
    if (subscription == NULL)
        return LIMITS_ADMITTED;
    *ret = limits_of_plan(all, req->task.settings, subscription, *ret);
    return LIMITS_ADMITTED;
}

static enum limits_answer admit_caller(struct request *req)
{
    const struct route_limits *limits;
    struct limit_key keys[LIMITS_CLIENT_KEYS];

    if (is_allowed(req))
        return LIMITS_ADMITTED;
    if (find_for_caller(req, &limits) == LIMITS_WAIT)
        return LIMITS_WAIT;
    if (limits->rule.count == 0)
        return LIMITS_ADMITTED;
    return ask_for(req, limits, keys, caller_keys(req, limits, keys));
}

enum limits_answer limits_admit(struct request *req)
{
    const struct route_limits *limits = limits_of(req);

    if (req->asked != NULL)
        return take_answer(req);
    switch (req->match.route->limited_by) {
    case LIMITED_BY_CLIENT_AND_EMAIL:
        return is_exempt(req, limits) ? LIMITS_ADMITTED : look_at_client(req, limits);
    case LIMITED_BY_REFUSALS: /* whoever else comes from this address */
    case LIMITED_BY_SESSION:
        return LIMITS_ADMITTED;
    default:
        return admit_caller(req);
    }
}

/* The session of a refresh token that verifies; those of the replaced system have only a user. */
static unsigned session_keys(struct request *req, const struct route_limits *limits,
                             struct limit_key ret[LIMITS_CLIENT_KEYS])
{
    struct token_claims *claims = NULL;

    if (req->reply.status == 0)
        claims = token_verify(req->task.mem, req->task.settings, request_str(req, "refresh_token"),
                              clock_wall_ms() / 1000);
    if (claims == NULL || claims->type != TOKEN_REFRESH)
        return client_keys(req, limits, ret);
    ret[0] = claims->session_id == NULL
                 ? limit_key(limits->number, LIMIT_USER, claims->user_id)
                 : limit_key(limits->number, LIMIT_SESSION, claims->session_id);
    return 1;
}

enum limits_answer limits_admit_body(struct request *req)
{
    const struct route_limits *limits = limits_of(req);
    struct limit_key keys[LIMIT_KEYS];
    const char *email;
    unsigned count;

    if (req->asked != NULL)
        return take_answer(req);
    if (is_exempt(req, limits))
        return LIMITS_ADMITTED;
    switch (req->match.route->limited_by) {
    case LIMITED_BY_CLIENT_AND_EMAIL:
        email = req->reply.status == 0 ? request_str(req, "email") : NULL;
        count = client_keys(req, limits, keys);
        if (email != NULL)
            keys[count++] = limit_key(limits->number, LIMIT_EMAIL,
                                      limits_mailbox(req->task.mem, req->task.settings, email));
        return ask_for(req, limits, keys, count);
    case LIMITED_BY_SESSION:
        return ask_for(req, limits, keys, session_keys(req, limits, keys));
    default:
        return LIMITS_ADMITTED;
    }
}

enum limits_answer limits_charge_head(struct request *req)
{
    const struct route_limits *limits = limits_of(req);
    struct limit_key keys[LIMITS_CLIENT_KEYS];

    if (is_exempt(req, limits))
        return LIMITS_ADMITTED;
    return ask_for(req, limits, keys, client_keys(req, limits, keys));
}

bool limits_charge_refused(struct request *req)
{
    const struct route_limits *limits = limits_of(req);
    struct limiter_ask ask = {.rule = &limits->rule};

    assert_off_loops();
    if (is_exempt(req, limits))
        return true;
    ask.count = client_keys(req, limits, ask.keys);
    limiter_ask_waiting(app_of(req)->limiter, &ask);
    return settle(req, limits, &ask.verdict) == LIMITS_ADMITTED;
}

/* Failed logins */

bool limits_count_failures(const struct request *req)
{
    return !is_exempt(req, &limits_in_force(req)->failures);
}

bool limits_charge_failure(struct request *req, const char *name, struct limit_charge *ret)
{
    const struct route_limits *limits = &limits_in_force(req)->failures;
    struct limiter_ask ask = {.count = 1, .rule = &limits->rule};

    assert_off_loops();
    ask.keys[0] = limit_key(limits->number, LIMIT_LOGIN,
                            limits_hashed(req->task.mem, req->task.settings, name));
    limiter_ask_waiting(app_of(req)->limiter, &ask);
    *ret = (struct limit_charge){ask.keys[0], ask.verdict, ask.verdict.admitted};
    if (ask.verdict.admitted) {
        metric_add_of(METRIC_limit_requests, limits->number, ANSWER_ADMITTED, 1);
        return true;
    }
    req->reply.head.len = 0;
    return settle(req, limits, &ask.verdict) == LIMITS_ADMITTED;
}

void limits_forgive_failure(struct request *req, const struct limit_charge *charge)
{
    if (charge->charged)
        limiter_forgive(app_of(req)->limiter, &charge->key, &charge->verdict);
}
