#include "api/limits.h"

#include "account/token.h"
#include "api/app.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/log.h"
#include "http/reply.h"
#include "limit/limiter.h"
#include "limit/script.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    SECOND_US = 1000000,
    V6_NETWORK_BYTES = 8,
    HASH_BYTES = 16, /* of an address or account, in keys */
    TOP_MOST = 100,
};

struct route_limits {
    const char *name; /* "auth_login", the beginning of its keys */
    uint16_t number;  /* of its row; the rows' count for failed logins */
    struct rule rule;
    const char *policy;              /* the value of RateLimit-Policy */
    const char *names[RULE_WINDOWS]; /* of the windows in it */
};

struct limits {
    const struct route *rows;
    struct route_limits failures; /* of logins, for each account */
    struct route_limits of[];
};

struct limit_count {
    _Atomic(int64_t) admitted, refused;
};

struct limit_counts {
    size_t rows, stride; /* entries of a loop; the last row is that of failed logins */
    unsigned loops;
    struct limit_count *of;
};

enum { CACHE_LINE = 64 / sizeof(struct limit_count) };

struct limit_counts *limit_counts_new(void *mem, const struct route *rows, unsigned loops)
{
    struct limit_counts *counts = mem_new(mem, struct limit_counts);

    while (rows[counts->rows].method != NULL)
        counts->rows++;
    counts->stride = counts->rows + 1 + CACHE_LINE;
    counts->loops = loops;
    counts->of = mem_array(mem, struct limit_count, (loops + 1) * counts->stride);
    return counts;
}

static void count(const struct request *req, size_t row, bool admitted)
{
    const struct limit_counts *counts = app_of(req)->limit_counts;
    const struct loop *loop = loop_current();
    size_t which = loop == NULL ? counts->loops : loop_index(loop);
    struct limit_count *one = &counts->of[which * counts->stride + row];

    atomic_fetch_add_explicit(admitted ? &one->admitted : &one->refused, 1, memory_order_relaxed);
}

/* Compiling */

static const char *path_name(void *mem, const char *path)
{
    struct text name = text_open(mem, 64);

    if (strncmp(path, "/api/v1/", 8) == 0)
        path += 8;
    path += *path == '/';
    for (; *path != '\0'; path++) {
        if (isalnum((unsigned char)*path))
            text_char(&name, *path);
        else if (strchr("{}*", *path) == NULL)
            text_char(&name, '_');
    }
    return name.len == 0 ? "home" : name.s;
}

static const char *route_name(void *mem, const struct route *rows, const struct route *row)
{
    const char *name = path_name(mem, row->path);
    char *with_method;

    for (; rows < row; rows++) {
        if (strcmp(rows->path, row->path) == 0)
            break;
    }
    if (rows == row)
        return name;
    with_method = mem_printf(mem, "%s_%s", row->method, name);
    for (char *at = with_method; *at != '_'; at++)
        *at = (char)tolower((unsigned char)*at);
    return with_method;
}

const char *limits_setting_name(void *mem, const struct route *rows, const struct route *row)
{
    char *name = mem_printf(mem, "RATE_LIMIT_%s", route_name(mem, rows, row));

    for (char *at = name; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return name;
}

/* "minute", "30s": short, and different for different windows. */
static const char *window_name(void *mem, const struct rule_window *window)
{
    switch (window->seconds) {
    case 1:
        return "second";
    case 60:
        return "minute";
    case 3600:
        return "hour";
    case 86400:
        return "day";
    default:
        return mem_printf(mem, "%us", window->seconds);
    }
}

static void describe(void *mem, struct route_limits *limits)
{
    struct text policy = text_open(mem, 96);

    script_compile_rule(mem, &limits->rule);

    for (unsigned i = 0; i < limits->rule.count; i++) {
        const struct rule_window *window = &limits->rule.windows[i];

        limits->names[i] = window_name(mem, window);
        text_printf(&policy, "%s\"%s\";q=%u;w=%u", i == 0 ? "" : ", ", limits->names[i],
                    window->limit, window->seconds);
    }
    limits->policy = policy.s;
}

/* The text that is in force for a row, and the setting that it comes from (NULL: the table). */
static const char *text_for(void *mem, const struct settings *settings, const struct route *rows,
                            const struct route *row, const char **ret_setting)
{
    const char *name = limits_setting_name(mem, rows, row);
    const char *text = row->limits;

    *ret_setting = NULL;
    if (text == NULL) {
        text = settings->rate_limit_default;
        *ret_setting = "RATE_LIMIT_DEFAULT";
    }
    for (size_t i = 0; i < settings->limit_override_count; i++) {
        if (strcasecmp(settings->limit_overrides[i].name, name) == 0) {
            text = settings->limit_overrides[i].value;
            *ret_setting = name;
        }
    }
    return text;
}

/* The first override that no route has; NULL if there is none. */
static const char *unknown_override(void *mem, const struct settings *settings,
                                    const struct route *rows)
{
    for (size_t i = 0; i < settings->limit_override_count; i++) {
        const struct setting_override *given = &settings->limit_overrides[i];
        const struct route *row = rows;

        while (row->method != NULL &&
               strcasecmp(limits_setting_name(mem, rows, row), given->name) != 0)
            row++;
        if (row->method == NULL)
            return mem_printf(mem, "%s (%s): no route has this name; see `manus routes`",
                              given->name, given->origin);
    }
    return NULL;
}

const struct limits *limits_compile(void *mem, const struct settings *settings,
                                    const struct route *rows, const char **ret_wrong)
{
    struct limits *limits;
    size_t count = 0;

    *ret_wrong = unknown_override(mem, settings, rows);
    if (*ret_wrong != NULL)
        return NULL;
    while (rows[count].method != NULL)
        count++;
    limits = mem_zero(mem, sizeof *limits + count * sizeof limits->of[0]);
    limits->rows = rows;
    limits->failures.name = "login_failures";
    limits->failures.number = (uint16_t)count;
    *ret_wrong = rule_parse(settings->rate_limit_failures, &limits->failures.rule);
    if (*ret_wrong != NULL) {
        *ret_wrong = mem_printf(mem, "RATE_LIMIT_LOGIN_FAILURES: %s", *ret_wrong);
        return NULL;
    }
    describe(mem, &limits->failures);
    for (size_t i = 0; i < count; i++) {
        const char *setting, *text = text_for(mem, settings, rows, &rows[i], &setting);
        const char *wrong = rule_parse(text, &limits->of[i].rule);

        if (wrong != NULL) {
            *ret_wrong = mem_printf(mem, "%s: %s", setting == NULL ? rows[i].path : setting, wrong);
            return NULL;
        }
        limits->of[i].name = route_name(mem, rows, &rows[i]);
        limits->of[i].number = (uint16_t)i;
        describe(mem, &limits->of[i]);
    }
    return limits;
}

const char *const *limits_names(void *mem, const struct route *rows, size_t *ret_count)
{
    const char **names;
    size_t count = 0;

    while (rows[count].method != NULL)
        count++;
    names = mem_array(mem, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        names[i] = route_name(mem, rows, &rows[i]);
        if (rows[i].limited_by == LIMITED_BY_CLIENT_AND_EMAIL)
            names[i] = mem_printf(mem, "{%s}", names[i]);
    }
    names[count] = "login_failures";
    *ret_count = count + 1;
    return names;
}

static void print_count(const struct limit_counts *counts, size_t row, const char *name,
                        struct text *out)
{
    int64_t admitted = 0, refused = 0;

    for (unsigned i = 0; i <= counts->loops; i++) {
        admitted += atomic_load_explicit(&counts->of[i * counts->stride + row].admitted,
                                         memory_order_relaxed);
        refused += atomic_load_explicit(&counts->of[i * counts->stride + row].refused,
                                        memory_order_relaxed);
    }
    text_printf(out,
                "manus_limit_requests_total{route=\"%s\",answer=\"admitted\"} %lld\n"
                "manus_limit_requests_total{route=\"%s\",answer=\"refused\"} %lld\n",
                name, (long long)admitted, name, (long long)refused);
}

void limits_print_metrics(const struct request *req, struct text *out)
{
    const struct limits *limits = atomic_load_explicit(&app_of(req)->limits, memory_order_acquire);
    const struct limit_counts *counts = app_of(req)->limit_counts;

    limiter_print_metrics(app_of(req)->limiter, out);
    text_printf(out, "# HELP manus_limit_requests_total What the rate limits said.\n"
                     "# TYPE manus_limit_requests_total counter\n");
    for (size_t i = 0; i < counts->rows; i++)
        print_count(counts, i, limits->of[i].name, out);
    print_count(counts, counts->rows, limits->failures.name, out);
}

/* Telling */

static int64_t seconds_up(int64_t us)
{
    return us <= 0 ? 0 : (us + SECOND_US - 1) / SECOND_US;
}

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
    text_add(head, "X-RateLimit-Limit: ");
    text_int(head, limits->rule.windows[window].limit);
    text_add(head, "\r\nX-RateLimit-Remaining: ");
    text_int(head, verdict->remaining[window]);
    text_add(head, "\r\nX-RateLimit-Reset: ");
    text_int(head, seconds_up(clock_wall_ms() * 1000 + reset_us));
    text_add(head, "\r\nRateLimit-Policy: ");
    text_add(head, limits->policy);
    text_add(head, "\r\nRateLimit: \"");
    text_add(head, limits->names[window]);
    text_add(head, "\";r=");
    text_int(head, verdict->remaining[window]);
    text_add(head, ";t=");
    text_int(head, seconds_up(reset_us));
    text_add(head, "\r\n");
}

static void refuse_for(struct request *req, int64_t wait_s)
{
    struct text body = text_open(req->task.mem, 160);

    if (wait_s < 1)
        wait_s = 1;
    req->reply.head.mem = req->task.mem;
    text_printf(&req->reply.head, "Retry-After: %lld\r\n", (long long)wait_s);
    text_printf(&body,
                "{\"error\":\"Rate limit exceeded\",\"message\":\"Too many requests. Please try "
                "again later.\",\"retry_after\":%lld}",
                (long long)wait_s);
    reply_json_text(req, 429, body.s, body.len);
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

static bool is_exempt(const struct request *req, const struct route_limits *limits)
{
    const struct networks *allowed = &req->settings->rate_limit_allow;

    if (!req->settings->rate_limit_enabled || limits->rule.count == 0)
        return true;
    for (size_t i = 0; i < allowed->count; i++) {
        if (network_has(&allowed->of[i], &req->client))
            return true;
    }
    return false;
}

/* A limit and who it counts. */
struct asked {
    struct limiter_ask ask;
    struct request *req;
    const struct route_limits *limits;
};

/* Addresses of people stand in no key: only who has the signing key can tell whose it is. */
static const char *hashed(void *mem, const struct settings *settings, const char *text)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    const char *named = mem_printf(mem, "limited by\n%s", text);

    crypto_hmac(hash, settings->jwt_secret->bytes, settings->jwt_secret->len, named, strlen(named));
    return text_base64url(mem, hash, HASH_BYTES);
}

/* An IPv6 customer has a network of at least 64 bits: it counts as one. */
static struct limit_key client_key(const struct request *req, const struct route_limits *limits)
{
    struct address network = req->client;
    char text[ADDRESS_TEXT_SIZE];

    if (address_is_v4(&network))
        return limit_key(limits->number, LIMIT_IP, req->client_text);
    memset(network.bytes + V6_NETWORK_BYTES, 0, sizeof network.bytes - V6_NETWORK_BYTES);
    address_text(text, &network);
    return limit_key(limits->number, LIMIT_NET, text);
}

static struct limit_key caller_key(const struct request *req, const struct route_limits *limits)
{
    bool is_somebody = req->claims != NULL && req->settings->auth_provider != PROVIDER_NONE;

    return is_somebody ? limit_key(limits->number, LIMIT_USER, req->claims->user_id)
                       : client_key(req, limits);
}

/* In a dry run the log says what would have been refused. */
static enum limits_answer settle(struct request *req, const struct route_limits *limits,
                                 const struct verdict *verdict)
{
    if (verdict->closed && req->settings->rate_limit_dry_run)
        return LIMITS_ADMITTED;
    if (verdict->closed) {
        reply_header(req, "Retry-After", "1");
        reply_error(req, 503, err_info(ERR_REMOTE)->text);
        return LIMITS_ANSWERED;
    }
    tell(req, limits, verdict);
    count(req, limits->number, verdict->admitted);
    if (verdict->admitted)
        return LIMITS_ADMITTED;
    if (req->settings->rate_limit_dry_run) {
        log_info(&req->task, "a rate limit would refuse this request",
                 LOG_S("route", req->match.route->path), LOG_S("client", req->client_text));
        return LIMITS_ADMITTED;
    }
    refuse_for(req, seconds_up(verdict->wait_us));
    return LIMITS_ANSWERED;
}

/* What was asked is answered. */
static enum limits_answer take_answer(struct request *req)
{
    const struct asked *asked = take_ptr(req->asked);

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
    struct limit_key key = client_key(req, limits);
    struct verdict verdict;

    if (!limiter_refuses(app_of(req)->limiter, &key, &limits->rule, &verdict))
        return LIMITS_ADMITTED;
    return settle(req, limits, &verdict);
}

enum limits_answer limits_admit(struct request *req)
{
    const struct route_limits *limits = limits_of(req);
    int64_t banned_ms;
    struct limit_key key;

    if (req->asked != NULL)
        return take_answer(req);
    banned_ms = limiter_banned_ms(app_of(req)->limiter, &req->client);
    if (banned_ms > 0) {
        refuse_for(req, (banned_ms + 999) / 1000);
        return LIMITS_ANSWERED;
    }
    if (is_exempt(req, limits))
        return LIMITS_ADMITTED;
    switch (req->match.route->limited_by) {
    case LIMITED_BY_CLIENT_AND_EMAIL:
    case LIMITED_BY_REFUSALS:
        return look_at_client(req, limits);
    case LIMITED_BY_SESSION:
        return LIMITS_ADMITTED;
    default:
        key = caller_key(req, limits);
        return ask_for(req, limits, &key, 1);
    }
}

/* The session of a refresh token that verifies; those of the replaced system have only a user. */
static struct limit_key session_key(struct request *req, const struct route_limits *limits)
{
    struct token_claims *claims = token_verify(
        req->task.mem, req->settings, request_str(req, "refresh_token"), clock_wall_ms() / 1000);

    if (claims == NULL || claims->type != TOKEN_REFRESH)
        return client_key(req, limits);
    if (claims->session_id == NULL)
        return limit_key(limits->number, LIMIT_USER, claims->user_id);
    return limit_key(limits->number, LIMIT_SESSION, claims->session_id);
}

enum limits_answer limits_admit_body(struct request *req)
{
    const struct route_limits *limits = limits_of(req);
    struct limit_key keys[LIMIT_KEYS];
    const char *email;

    if (req->asked != NULL)
        return take_answer(req);
    if (is_exempt(req, limits))
        return LIMITS_ADMITTED;
    switch (req->match.route->limited_by) {
    case LIMITED_BY_CLIENT_AND_EMAIL:
        email = request_str(req, "email");
        keys[0] = client_key(req, limits);
        if (email != NULL)
            keys[1] = limit_key(
                limits->number, LIMIT_EMAIL,
                hashed(req->task.mem, req->settings, email_key(req->task.mem, email)));
        return ask_for(req, limits, keys, email == NULL ? 1 : 2);
    case LIMITED_BY_SESSION:
        keys[0] = session_key(req, limits);
        return ask_for(req, limits, keys, 1);
    default:
        return LIMITS_ADMITTED;
    }
}

bool limits_charge_refused(struct request *req)
{
    const struct route_limits *limits = limits_of(req);
    struct limiter_ask ask = {.count = 1, .rule = &limits->rule};

    if (is_exempt(req, limits))
        return true;
    ask.keys[0] = client_key(req, limits);
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

    ask.keys[0] = limit_key(limits->number, LIMIT_LOGIN,
                            hashed(req->task.mem, req->settings, name));
    limiter_ask_waiting(app_of(req)->limiter, &ask);
    *ret = (struct limit_charge){ask.keys[0], ask.verdict, ask.verdict.admitted};
    if (ask.verdict.admitted) {
        count(req, limits->number, true);
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

/* For operators */

json_t *limits_top(const struct app *app, unsigned most)
{
    struct limit_talker talkers[TOP_MOST];
    size_t found = limiter_top(app->limiter, talkers, most < TOP_MOST ? most : TOP_MOST);
    auto_tree void *mem = mem_tree(1024);
    json_t *list = json_array();

    for (size_t i = 0; i < found; i++) {
        struct text key = text_open(mem, 96);

        text_printf(&key, "%s:", limiter_name(app->limiter, talkers[i].key.route));
        limit_key_add(&key, &talkers[i].key);
        json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "key", key.s, "admitted",
                                              (json_int_t)talkers[i].admitted, "refused",
                                              (json_int_t)talkers[i].refused));
    }
    return json_pack("{s:o}", "talkers", list);
}

static void print_top(const struct app *app, struct text *out)
{
    auto_json json_t *top = limits_top(app, 20);
    const json_t *talker;
    size_t i;

    json_array_foreach(json_object_get(top, "talkers"), i, talker)
        text_printf(out, "%8lld admitted %8lld refused  %s\n",
                    (long long)json_integer_value(json_object_get(talker, "admitted")),
                    (long long)json_integer_value(json_object_get(talker, "refused")),
                    json_string_value(json_object_get(talker, "key")));
    if (i == 0)
        text_add(out, "nobody is counted\n");
}

/* The key that an operator names; false if there is none like that. */
static bool read_key(struct task *task, const struct app *app, const char *text,
                     const struct route_limits **ret_limits, struct limit_key *ret)
{
    const struct limits *limits = atomic_load_explicit(&app->limits, memory_order_acquire);
    const struct settings *settings = atomic_load(&app->settings);
    enum limit_kind kind;
    const char *id;
    uint16_t route;

    if (text == NULL || !limiter_route(app->limiter, text, &route) ||
        !limit_key_parse(text, &kind, &id))
        return false;
    if ((kind == LIMIT_EMAIL || kind == LIMIT_LOGIN) && strchr(id, '@') != NULL)
        id = hashed(task->mem, settings, id);
    *ret_limits = route == app->limit_counts->rows ? &limits->failures : &limits->of[route];
    *ret = limit_key(route, kind, id);
    return true;
}

static enum err show(struct task *task, const struct app *app, const struct route_limits *limits,
                     const struct limit_key *key, struct text *out)
{
    struct verdict verdict;
    enum err e = limiter_look(task, app->limiter, key, &limits->rule, &verdict);

    if (e != OK)
        return e;
    if (limits->rule.count == 0)
        text_add(out, "unlimited\n");
    for (unsigned i = 0; i < limits->rule.count; i++)
        text_printf(out, "%s: %u left, the next comes back in %lld s\n",
                    rule_window_text(out->mem, &limits->rule.windows[i]), verdict.remaining[i],
                    (long long)seconds_up(verdict.reset_us[i]));
    return OK;
}

static enum err reset(struct task *task, const struct app *app, const struct limit_key *key,
                      struct text *out)
{
    bool found;
    enum err e = limiter_reset(task, app->limiter, key, &found);

    if (e == OK)
        text_add(out, found ? "reset\n" : "nothing counts\n");
    return e;
}

static enum err run_on_key(struct task *task, const struct app *app,
                           const struct limits_command *command, struct text *out)
{
    const struct route_limits *limits;
    struct limit_key key;

    if (!read_key(task, app, command->what, &limits, &key))
        return fail(
            task, ERR_INVALID,
            "give a key: ROUTE:ip:ADDRESS, ROUTE:net:IPV6, ROUTE:user:ID, ROUTE:email:ADDRESS "
            "or ROUTE:session:ID, the route as its setting names it in small letters, such "
            "as auth_login:ip:203.0.113.9");
    return strcmp(command->action, "reset") == 0 ? reset(task, app, &key, out)
                                                 : show(task, app, limits, &key, out);
}

static enum err ban(struct task *task, const struct app *app, const struct limits_command *command,
                    struct text *out)
{
    bool lifts = strcmp(command->action, "unban") == 0;
    int64_t until_ms = lifts ? 0 : clock_wall_ms() + command->for_s * 1000;
    struct network network;
    char until[TEXT_TIME_SIZE];
    enum err e;

    if (command->what == NULL || !network_parse(command->what, &network))
        return fail(task, ERR_INVALID,
                    "give an address or a network, such as 203.0.113.9 or 2001:db8::/32");
    if (network.bits < (address_is_v4(&network.address) ? 96 + 8 : 16) && !lifts)
        return fail(task, ERR_INVALID, "that network is half of the Internet; ban a smaller one");
    e = limiter_ban(task, app->limiter, &network, until_ms);
    text_time(until, until_ms);
    if (e == OK && lifts)
        text_printf(out, "%s is banned no longer\n", command->what);
    else if (e == OK)
        text_printf(out, "%s is banned until %s\n", command->what, until);
    return e;
}

static void list_bans(const struct app *app, struct text *out)
{
    const struct bans *bans = limiter_list_bans(app->limiter, out->mem);
    size_t shown = 0;

    for (size_t i = 0; i < bans->count; i++) {
        char until[TEXT_TIME_SIZE];

        if (bans->of[i].until_ms <= clock_wall_ms())
            continue;
        text_time(until, bans->of[i].until_ms);
        text_printf(out, "%s until %s\n", ban_text(out->mem, &bans->of[i].network), until);
        shown++;
    }
    if (shown == 0)
        text_add(out, "nobody is banned\n");
}

enum err limits_command(struct task *task, const struct app *app,
                        const struct limits_command *command, struct text *out)
{
    if (strcmp(command->action, "top") == 0)
        print_top(app, out);
    else if (strcmp(command->action, "bans") == 0)
        list_bans(app, out);
    else if (strcmp(command->action, "ban") == 0 || strcmp(command->action, "unban") == 0)
        return ban(task, app, command, out);
    else
        return run_on_key(task, app, command, out);
    return OK;
}
