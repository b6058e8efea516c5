#include "api/limits_parts.h"

#include "api/operations.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"

#include <assert.h>
#include <string.h>

enum { TOP_MOST = 100 };

/* As its setting names it: the braces are for Redis. */
static void put_route(struct text *out, const char *name)
{
    size_t len = strcspn(name + (*name == '{'), "}");

    text_put(out, name + (*name == '{'), len);
    text_char(out, ':');
}

json_t *limits_top(const struct app *app, unsigned most)
{
    struct limit_talker talkers[TOP_MOST];
    size_t found = limiter_top(app->limiter, talkers, most < TOP_MOST ? most : TOP_MOST);
    auto_tree void *mem = mem_tree(1024);
    json_t *list = json_array();

    for (size_t i = 0; i < found; i++) {
        struct text key = text_open(mem, 96);

        put_route(&key, limiter_name(app->limiter, talkers[i].key.route));
        limit_key_add(&key, &talkers[i].key);
        json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "key", key.s, "admitted",
                                              (json_int_t)talkers[i].admitted, "refused",
                                              (json_int_t)talkers[i].refused));
    }
    return json_pack("{s:o}", "talkers", list);
}

enum err limit_top(struct task *task, struct operation_call *call)
{
    auto_json json_t *top = limits_top(call->app, 20);
    struct answer *a = call->answer;
    const json_t *talker;
    size_t i;

    (void)task;
    answer_list(a, "talkers");
    json_array_foreach(json_object_get(top, "talkers"), i, talker)
    {
        answer_row(a, NULL, "{admitted:+8} admitted {refused:+8} refused  {key}");
        answer_string(a, "key", json_string_value(json_object_get(talker, "key")));
        answer_number(a, "admitted", json_integer_value(json_object_get(talker, "admitted")));
        answer_number(a, "refused", json_integer_value(json_object_get(talker, "refused")));
        answer_row_end(a);
    }
    answer_list_end(a);
    answer_say(a, "%s",
               i == 0 ? "no requests are counted yet"
                      : "show and reset take these keys. The part after :email: and :login: is a "
                        "hash or the address; `manus admin show ID` tells whose id the part after "
                        ":user: is.");
    return OK;
}

/* Whether a route counts by keys of that kind; NULL: failed logins. */
static bool counts_by(const struct route *row, enum limit_kind kind)
{
    if (row == NULL)
        return kind == LIMIT_LOGIN;
    switch (kind) {
    case LIMIT_IP:
    case LIMIT_NET:
    case LIMIT_NET56:
    case LIMIT_NET48:
        return true;
    case LIMIT_USER:
        return row->limited_by == LIMITED_BY_CALLER || row->limited_by == LIMITED_BY_SESSION;
    case LIMIT_SESSION:
        return row->limited_by == LIMITED_BY_SESSION;
    case LIMIT_EMAIL:
        return row->limited_by == LIMITED_BY_CLIENT_AND_EMAIL;
    default:
        return false;
    }
}

/* As a key has it: of people's addresses the hash, as `show --top` prints it or made here. */
static const char *id_in_key(void *mem, const struct settings *settings, enum limit_kind kind,
                             const char *id)
{
    const char *sent = kind == LIMIT_EMAIL || kind == LIMIT_LOGIN ? email_sent(mem, id) : NULL;
    const char *key = sent == NULL ? NULL : email_key(mem, sent);

    if (key == NULL)
        return id;
    return kind == LIMIT_EMAIL
               ? limits_mailbox(mem, settings, sent)
               : limits_hashed(mem, settings, mem_printf(mem, LIMITS_STRANGERS "%s", key));
}

static bool is_client(enum limit_kind kind)
{
    return kind == LIMIT_IP || kind == LIMIT_NET || kind == LIMIT_NET56 || kind == LIMIT_NET48;
}

/* Of the keys of a client that of the kind; `ip` is as good as `net` and the other way round. */
static bool pick(uint16_t route, const struct address *address, enum limit_kind kind,
                 struct limit_key *ret)
{
    struct limit_key keys[LIMITS_CLIENT_KEYS];
    unsigned count = limits_address_keys(route, address, keys);

    *ret = keys[0];
    for (unsigned i = 1; i < count; i++) {
        if (keys[i].kind == kind)
            *ret = keys[i];
    }
    return kind == keys[0].kind || kind == ret->kind || kind == LIMIT_IP || kind == LIMIT_NET;
}

/* The key that an operator names; false if there is none like that. */
static bool read_key(struct task *task, const struct app *app, const char *text,
                     const struct route_limits **ret_limits, struct limit_key *ret)
{
    const struct limits *limits = atomic_load_explicit(&app->limits, memory_order_acquire);
    struct address address;
    enum limit_kind kind;
    const char *id;
    uint16_t route;
    bool is_login;

    if (!limiter_route(app->limiter, text, &route) || !limit_key_parse(text, &kind, &id))
        return false;
    is_login = route == limits->failures.number;
    if (!counts_by(is_login ? NULL : &limits->rows[route], kind))
        return false;
    *ret_limits = is_login ? &limits->failures : &limits->of[route];
    if (is_client(kind))
        return address_parse(id, strlen(id), &address) && pick(route, &address, kind, ret);
    *ret = limit_key(route, kind, id_in_key(task->mem, atomic_load(&app->settings), kind, id));
    return true;
}

/* A user's plan may have limits of its own. */
static const struct route_limits *limits_of_key(struct task *task, const struct app *app,
                                                const struct route_limits *limits,
                                                const struct limit_key *key)
{
    const struct limits *all = atomic_load_explicit(&app->limits, memory_order_acquire);
    const char *user_id = mem_printf(task->mem, "%.*s", key->len, key->id);
    struct subscription subscription;

    if (all->by_plan == NULL || key->kind != LIMIT_USER ||
        billing_subscription(task, app->billing, user_id, &subscription) != OK)
        return limits;
    return limits_of_plan(all, atomic_load(&app->settings), &subscription, limits);
}

static enum err find_key(struct task *task, const struct operation_call *call,
                         const struct route_limits **ret_limits, struct limit_key *ret)
{
    if (!read_key(task, call->app, operation_value(call, "key"), ret_limits, ret))
        return fail(task, ERR_INVALID, call->operation->fields->rule);
    assert(*ret_limits != NULL);
    return OK;
}

enum err limit_show(struct task *task, struct operation_call *call)
{
    struct answer *a = call->answer;
    const struct route_limits *limits = NULL;
    struct limit_key key = {0};
    struct verdict verdict;
    struct rule wide;
    enum err e = find_key(task, call, &limits, &key);

    if (e != OK)
        return e;
    limits = limits_of_key(task, call->app, limits, &key);
    wide = rule_times(&limits->rule, limit_times(&key));
    e = limiter_look(task, call->app->limiter, &key, &limits->rule, &verdict);
    if (e != OK)
        return e;
    if (limits->rule.count == 0)
        answer_say(a, "unlimited");
    answer_list(a, "windows");
    for (unsigned i = 0; i < limits->rule.count; i++) {
        answer_row(a, NULL, "{window}: {remaining} left, one more in {resets_in} s");
        answer_string(a, "window", rule_window_text(task->mem, &wide.windows[i]));
        answer_number(a, "remaining", verdict.remaining[i]);
        answer_number(a, "resets_in", limits_seconds_up(verdict.reset_us[i]));
        answer_row_end(a);
    }
    answer_list_end(a);
    return OK;
}

enum err limit_reset(struct task *task, struct operation_call *call)
{
    const struct route_limits *limits = NULL;
    struct limit_key key = {0};
    bool found;
    enum err e = find_key(task, call, &limits, &key);

    if (e == OK)
        e = limiter_reset(task, call->app->limiter, &key, &found);
    if (e == OK)
        e = operation_note(task, call, "", operation_value(call, "key"));
    if (e != OK)
        return e;
    answer_row(call->answer, NULL, "{was_counted?reset/no requests are counted for this key}");
    answer_flag(call->answer, "was_counted", found);
    answer_row_end(call->answer);
    return OK;
}

/* That network is not banned, but may be inside of one that is: NULL, or that one. */
static const char *banned_around(const struct app *app, void *mem, const struct network *network)
{
    const struct bans *bans = limiter_list_bans(app->limiter, mem);

    for (size_t i = 0; i < bans->count; i++) {
        const struct ban *ban = &bans->of[i];

        if (ban_holds(ban, clock_wall_ms()) && ban->network.bits < network->bits &&
            network_has(&ban->network, &network->address))
            return ban_text(mem, &ban->network);
    }
    return NULL;
}

static enum err read_network(struct task *task, const struct operation_call *call,
                             struct network *ret)
{
    if (network_parse(operation_value(call, "network"), ret))
        return OK;
    return fail(task, ERR_INVALID, call->operation->fields->rule);
}

enum err ban_add(struct task *task, struct operation_call *call)
{
    enum { HOUR_S = 3600 };
    const char *what = operation_value(call, "network");
    int64_t for_s = operation_number(call, "for", HOUR_S);
    int64_t until_ms = clock_wall_ms() + for_s * 1000;
    struct network network;
    bool was;
    enum err e = read_network(task, call, &network);

    if (e == OK && network.bits < (address_is_v4(&network.address) ? 96 + 8 : 16))
        return fail(task, ERR_INVALID, "that network is half of the Internet; ban a smaller one");
    if (e == OK)
        e = limiter_ban(task, call->app->limiter, &network, until_ms, &was);
    if (e == OK)
        e = operation_note(task, call, what, mem_printf(task->mem, "%lld s", (long long)for_s));
    if (e != OK)
        return e;
    answer_row(call->answer, NULL, "{network} is banned until {until}");
    answer_string(call->answer, "network", what);
    answer_time(call->answer, "until", until_ms);
    answer_row_end(call->answer);
    return OK;
}

enum err ban_lift(struct task *task, struct operation_call *call)
{
    const char *what = operation_value(call, "network"), *around = NULL;
    struct network network;
    bool was;
    enum err e = read_network(task, call, &network);

    if (e == OK)
        e = limiter_ban(task, call->app->limiter, &network, 0, &was);
    if (e == OK)
        e = operation_note(task, call, what, was ? "" : "it was not banned");
    if (e != OK)
        return e;
    if (!was)
        around = banned_around(call->app, task->mem, &network);
    answer_row(call->answer, NULL,
               was ? "{network} is no longer banned"
               : around == NULL
                   ? "{network} is not banned"
                   : "{network} is not banned; it is part of the banned network {inside}");
    answer_string(call->answer, "network", what);
    answer_flag(call->answer, "was_banned", was);
    answer_string(call->answer, "inside", around);
    answer_row_end(call->answer);
    return OK;
}

enum err ban_list(struct task *task, struct operation_call *call)
{
    const struct bans *bans = limiter_list_bans(call->app->limiter, task->mem);
    struct answer *a = call->answer;
    size_t shown = 0;

    answer_list(a, "bans");
    for (size_t i = 0; i < bans->count; i++) {
        if (!ban_holds(&bans->of[i], clock_wall_ms()))
            continue;
        answer_row(a, NULL, "{network} until {until}");
        answer_string(a, "network", ban_text(task->mem, &bans->of[i].network));
        answer_time(a, "until", bans->of[i].until_ms);
        answer_row_end(a);
        shown++;
    }
    answer_list_end(a);
    if (shown == 0)
        answer_say(a, "nobody is banned");
    return OK;
}
