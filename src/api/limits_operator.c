#include "api/limits_parts.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"

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
        text_add(out, "no requests are counted yet\n");
    else
        text_add(
            out,
            "show and reset take these keys. The part after :email: and :login: is a hash or the "
            "address; `manus admin show ID` tells whose id the part after :user: is.\n");
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

    if (text == NULL || !limiter_route(app->limiter, text, &route) ||
        !limit_key_parse(text, &kind, &id))
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

static enum err show(struct task *task, const struct app *app, const struct route_limits *limits,
                     const struct limit_key *key, struct text *out)
{
    struct verdict verdict;
    struct rule wide;
    enum err e;

    limits = limits_of_key(task, app, limits, key);
    wide = rule_times(&limits->rule, limit_times(key));
    e = limiter_look(task, app->limiter, key, &limits->rule, &verdict);

    if (e != OK)
        return e;
    if (limits->rule.count == 0)
        text_add(out, "unlimited\n");
    for (unsigned i = 0; i < limits->rule.count; i++)
        text_printf(out, "%s: %u left, one more in %lld s\n",
                    rule_window_text(out->mem, &wide.windows[i]), verdict.remaining[i],
                    (long long)limits_seconds_up(verdict.reset_us[i]));
    return OK;
}

static enum err reset(struct task *task, const struct app *app, const struct limit_key *key,
                      struct text *out)
{
    bool found;
    enum err e = limiter_reset(task, app->limiter, key, &found);

    if (e == OK)
        text_add(out, found ? "reset\n" : "no requests are counted for this key\n");
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
            "give a key: ROUTE:ip:ADDRESS, ROUTE:net:IPV6 (net56 and net48 for the networks around "
            "it), ROUTE:user:ID, ROUTE:email:ADDRESS, "
            "ROUTE:session:ID or login_failures:login:EMAIL, the route as its setting names it in "
            "small letters and a kind by which it counts, such as auth_login:ip:203.0.113.9");
    return strcmp(command->action, "reset") == 0 ? reset(task, app, &key, out)
                                                 : show(task, app, limits, &key, out);
}

/* That network is not banned, but may be inside of one that is. */
static void tell_not_banned(const struct app *app, const char *what, const struct network *network,
                            struct text *out)
{
    const struct bans *bans = limiter_list_bans(app->limiter, out->mem);

    text_printf(out, "%s is not banned", what);
    for (size_t i = 0; i < bans->count; i++) {
        const struct ban *ban = &bans->of[i];

        if (!ban_holds(ban, clock_wall_ms()) || ban->network.bits >= network->bits ||
            !network_has(&ban->network, &network->address))
            continue;
        text_printf(out, "; it is part of the banned network %s",
                    ban_text(out->mem, &ban->network));
        break;
    }
    text_char(out, '\n');
}

static enum err ban(struct task *task, const struct app *app, const struct limits_command *command,
                    struct text *out)
{
    bool lifts = strcmp(command->action, "unban") == 0;
    int64_t until_ms;
    struct network network;
    char until[TEXT_TIME_SIZE];
    bool was;
    enum err e;

    if (command->what == NULL || !network_parse(command->what, &network))
        return fail(task, ERR_INVALID,
                    "give an address or a network, such as 203.0.113.9 or 2001:db8::/32");
    if (network.bits < (address_is_v4(&network.address) ? 96 + 8 : 16) && !lifts)
        return fail(task, ERR_INVALID, "that network is half of the Internet; ban a smaller one");
    if (!lifts && (command->for_s < 1 || command->for_s > LIMITS_LONGEST_BAN_S))
        return fail(task, ERR_INVALID, "give how long, from a second to a year");
    until_ms = lifts ? 0 : clock_wall_ms() + command->for_s * 1000;
    e = limiter_ban(task, app->limiter, &network, until_ms, &was);
    text_time(until, until_ms);
    if (e == OK && lifts && !was)
        tell_not_banned(app, command->what, &network, out);
    else if (e == OK && lifts)
        text_printf(out, "%s is no longer banned\n", command->what);
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

        if (!ban_holds(&bans->of[i], clock_wall_ms()))
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
