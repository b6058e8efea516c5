/* What people do to their own account, and administrators to others'. */
#include "account/manage.h"
#include "account/token.h"

#include "api/app.h"
#include "api/handlers.h"
#include "api/language.h"
#include "api/login_guard.h"
#include "api/shapes.h"
#include "core/clock.h"
#include "core/spool.h"
#include "http/reply.h"

#include <string.h>

enum { DEFAULT_PAGE = 50, EXPORT_PAGE = 64, EXPORT_PAGE_BYTES = 96 << 10 };

static const struct accounts *accounts_of(const struct request *req)
{
    return &app_of(req)->accounts;
}

/* Who asks, from where, now. */
static struct audit audit_of(struct request *req, const char *action, const char *subject)
{
    return (struct audit){
        .at_ms = clock_wall_ms(),
        .actor = mem_printf(req->task.mem, "user:%s", req->user->id),
        .action = action,
        .subject = subject,
        .address = req->client_text,
        .detail = "",
    };
}

static const char *own_session(const struct request *req)
{
    return req->session == NULL ? NULL : req->session->id;
}

static struct keep keep_of(const struct request *req)
{
    return (struct keep){own_session(req), req->session == NULL ? req->claims->issued_s : 0};
}

static enum err reply_user(struct request *req, const struct user *user)
{
    struct text body;
    struct json_writer w = reply_begin_ok(req, &body);

    put_user(&w, "data", user);
    return reply_end_ok(req, &w);
}

static enum err reply_preferences(struct request *req, const struct user *user)
{
    struct text body;
    struct json_writer w = reply_begin_ok(req, &body);

    put_object(&w, "data");
    put_preferences(&w, user);
    put_end(&w);
    return reply_end_ok(req, &w);
}

static enum err reply_nothing(struct request *req, enum err e)
{
    return e == OK ? reply_ok(req, json_object()) : e;
}

/* Oneself */

enum err manage_own_password(struct request *req)
{
    struct audit audit = audit_of(req, "user.change_password", req->user->id);
    struct keep keep = keep_of(req);
    struct login_guard guard;
    bool common;
    enum err e;

    if (!login_guard_enter(req, req->user->email, &guard))
        return OK;
    e = manage_change_password(&req->task, accounts_of(req), req->user->id, &keep,
                               request_str(req, "old_password"), request_str(req, "new_password"),
                               &audit, language_of(req), &common);
    e = login_guard_leave(req, &guard, e);
    if (e == OK)
        warn_if_common(req, common);
    return reply_nothing(req, e);
}

enum err manage_own_fullname(struct request *req)
{
    struct audit audit = audit_of(req, "user.change_fullname", req->user->id);
    struct user user;
    enum err e = manage_change_fullname(&req->task, accounts_of(req), req->user->id,
                                        request_str(req, "fullname"), &audit, &user);

    return e == OK ? reply_user(req, &user) : e;
}

enum err manage_own_language(struct request *req)
{
    struct audit audit = audit_of(req, "user.change_language", req->user->id);
    struct user user;
    enum err e = manage_change_language(&req->task, accounts_of(req), req->user->id,
                                        request_str(req, "language"), &audit, &user);

    return e == OK ? reply_preferences(req, &user) : e;
}

enum err manage_own_preferences(struct request *req)
{
    return reply_preferences(req, req->user);
}

enum err manage_own_end(struct request *req)
{
    struct audit audit = audit_of(req, "user.delete", req->user->id);
    struct login_guard guard;
    enum err e;

    if (!login_guard_enter(req, req->user->email, &guard))
        return OK;
    e = manage_delete_self(&req->task, accounts_of(req), req->user->id,
                           request_str(req, "password"), &audit);
    return reply_nothing(req, login_guard_leave(req, &guard, e));
}

static enum err read_sessions(struct request *req, struct session_record **ret, size_t *ret_count)
{
    return store_sessions_of(&req->task, app_of(req)->store, req->user->id, clock_wall_ms(), ret,
                             ret_count);
}

static void put_sessions(struct json_writer *w, const struct request *req,
                         const struct session_record *sessions, size_t count)
{
    put_list(w, "sessions");
    for (size_t i = 0; i < count; i++) {
        put_object(w, NULL);
        put_session(w, &sessions[i], own_session(req));
        put_end(w);
    }
    put_end(w);
}

enum err manage_own_sessions(struct request *req)
{
    struct session_record *sessions;
    struct json_writer w;
    struct text body;
    size_t count;
    enum err e = read_sessions(req, &sessions, &count);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_object(&w, "data");
    put_sessions(&w, req, sessions, count);
    put_end(&w);
    return reply_end_ok(req, &w);
}

enum err manage_own_session_end(struct request *req)
{
    const char *id = request_param(req, "session_id");
    struct audit audit = audit_of(req, "user.end_session", req->user->id);

    audit.detail = id;
    return reply_nothing(
        req, manage_end_session(&req->task, accounts_of(req), req->user->id, id, &audit));
}

static enum err end_sessions(struct request *req, const char *user_id, const struct keep *keep,
                             const char *action)
{
    struct audit audit = audit_of(req, action, user_id);
    unsigned count;
    enum err e = manage_end_sessions(&req->task, accounts_of(req), user_id, keep, &audit, &count);

    return e == OK ? reply_ok(req, json_pack("{s:i}", "revoked", (int)count)) : e;
}

enum err manage_own_sessions_end(struct request *req)
{
    struct keep keep = keep_of(req);

    return end_sessions(req, req->user->id, &keep, "user.revoke_others");
}

/* The page that `limit` and `cursor` of the query ask for. */
static struct store_page page_of(struct request *req)
{
    return (struct store_page){
        .cursor = request_query(req, "cursor"),
        .limit = (unsigned)request_query_number(req, "limit", DEFAULT_PAGE),
    };
}

static void put_trail(struct json_writer *w, const struct audit *trail, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_audit(w, NULL, &trail[i]);
}

typedef enum err read_trail(struct task *, struct store *, const char *, const struct store_page *,
                            struct audit **, size_t *, const char **);

static enum err put_page(struct task *task, struct request *req, struct json_writer *w,
                         read_trail *read, const char *key, struct store_page *page)
{
    struct audit *trail;
    size_t count;
    enum err e = read(task, app_of(req)->store, key, page, &trail, &count, &page->cursor);

    if (e == OK)
        put_trail(w, trail, count);
    return e;
}

/* Page by page, each in memory of its own: a trail may be of any length. */
static enum err put_whole_trail(struct request *req, struct spool *out, struct json_writer *w,
                                const char *member, read_trail *read, const char *key)
{
    struct store_page page = {NULL, EXPORT_PAGE};
    char *cursor = NULL;
    enum err e = OK;

    put_list(w, member);
    do {
        auto_tree void *mem = mem_tree(EXPORT_PAGE_BYTES);
        struct task task = req->task;

        task.mem = mem;
        e = put_page(&task, req, w, read, key, &page);
        if (e != OK)
            return fail(&req->task, e, mem_string(req->task.mem, task.text));
        talloc_free(cursor);
        cursor = page.cursor == NULL ? NULL : mem_string(req->task.mem, page.cursor);
        page.cursor = cursor;
        e = spool_flush(&req->task, out);
    } while (e == OK && page.cursor != NULL);
    put_end(w);
    return e;
}

/* The members "subscription" and "usage". */
static enum err put_billing(struct request *req, struct json_writer *w)
{
    struct subscription subscription;
    struct usage_day *days;
    size_t count;
    enum err e = billing_subscription(&req->task, app_of(req)->billing, req->user->id,
                                      &subscription);

    if (e == OK)
        e = store_usage_days(&req->task, app_of(req)->store, req->user->id, &days, &count);
    if (e != OK)
        return e;
    put_managed_subscription(w, "subscription", app_of(req)->billing->plans, req->task.settings,
                             &subscription);
    put_list(w, "usage");
    for (size_t i = 0; i < count; i++) {
        char at[TEXT_TIME_SIZE];

        text_time(at, days[i].day * 86400000);
        at[strlen("2026-03-01")] = '\0';
        put_object(w, NULL);
        put_string(w, "day", at);
        put_number(w, "runs", days[i].runs);
        put_end(w);
    }
    put_end(w);
    return OK;
}

static void put_held_sessions(struct json_writer *w, const struct user_data *held,
                              const char *current_id)
{
    put_list(w, "sessions");
    for (size_t i = 0; i < held->session_count; i++) {
        put_object(w, NULL);
        put_session(w, &held->sessions[i], current_id);
        put_string(w, "device_id", held->sessions[i].device);
        put_time(w, "ended_at", held->sessions[i].ended_ms);
        put_end(w);
    }
    put_end(w);
}

static void put_devices(struct json_writer *w, const struct user_data *held)
{
    put_list(w, "devices");
    for (size_t i = 0; i < held->device_count; i++) {
        put_object(w, NULL);
        put_string(w, "device_id", held->devices[i].device);
        put_time(w, "known_until", held->devices[i].until_ms);
        put_end(w);
    }
    put_end(w);
}

/* What they hold serves who has the mailbox, and nobody else. */
static void put_held_mails(struct json_writer *w, const struct user_data *held)
{
    put_list(w, "mails");
    for (size_t i = 0; i < held->mail_count; i++) {
        put_object(w, NULL);
        put_time(w, "created_at", held->mails[i].created_ms);
        put_time(w, "next_at", held->mails[i].next_ms);
        put_number(w, "attempts", held->mails[i].attempts);
        put_end(w);
    }
    put_end(w);
    put_list(w, "codes");
    for (size_t i = 0; i < held->code_count; i++) {
        put_object(w, NULL);
        put_string(w, "purpose", held->codes[i].purpose);
        put_time(w, "created_at", held->codes[i].created_ms);
        put_time(w, "expires_at", held->codes[i].expires_ms);
        put_end(w);
    }
    put_end(w);
}

/* What is short, and written in one piece. */
static void put_held(struct json_writer *w, struct request *req, const struct user_data *held)
{
    put_user(w, "user", req->user);
    put_preferences(w, req->user);
    put_held_sessions(w, held, own_session(req));
    put_devices(w, held);
    put_held_mails(w, held);
}

enum err manage_own_export(struct request *req)
{
    const char *id = req->user->id, *actor = mem_printf(req->task.mem, "user:%s", id);
    struct spool body = spool_open(&req->task, req->task.settings->data_dir);
    struct json_writer w;
    struct user_data held;
    enum err e = store_user_data(&req->task, app_of(req)->store, req->user, &held);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body.text);
    put_object(&w, "data");
    put_held(&w, req, &held);
    e = put_whole_trail(req, &body, &w, "audit", store_audit_trail, id);
    if (e == OK)
        e = put_billing(req, &w);
    if (e == OK)
        e = put_whole_trail(req, &body, &w, "done_to_others", store_audit_by, actor);
    if (e != OK)
        return e;
    put_end(&w);
    return reply_end_spool(req, &body, &w);
}

/* Administrators */

enum err manage_user(struct request *req)
{
    struct user user;
    enum err e = manage_find_user(&req->task, accounts_of(req), request_param(req, "user_id"),
                                  &user);

    return e == OK ? reply_user(req, &user) : e;
}

enum err manage_users(struct request *req)
{
    struct store_page page = page_of(req);
    struct user *users;
    struct json_writer w;
    struct text body;
    size_t count;
    const char *next;
    enum err e = store_users(&req->task, app_of(req)->store, request_query(req, "search"), &page,
                             &users, &count, &next);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_object(&w, "data");
    put_list(&w, "users");
    for (size_t i = 0; i < count; i++)
        put_user(&w, NULL, &users[i]);
    put_end(&w);
    put_next(&w, next);
    put_end(&w);
    return reply_end_ok(req, &w);
}

enum err manage_audit(struct request *req)
{
    struct store_page page = page_of(req);
    struct audit *trail;
    struct json_writer w;
    struct text body;
    size_t count;
    const char *next;
    enum err e = store_audit_trail(&req->task, app_of(req)->store, request_query(req, "user_id"),
                                   &page, &trail, &count, &next);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_object(&w, "data");
    put_list(&w, "audit");
    put_trail(&w, trail, count);
    put_end(&w);
    put_next(&w, next);
    put_end(&w);
    return reply_end_ok(req, &w);
}

static enum err set_active(struct request *req, bool is_active, const char *action)
{
    const char *id = request_param(req, "user_id");
    struct audit audit = audit_of(req, action, id);

    return reply_nothing(req,
                         manage_set_active(&req->task, accounts_of(req), id, is_active, &audit));
}

enum err manage_activate(struct request *req)
{
    return set_active(req, true, "user.activate");
}

enum err manage_deactivate(struct request *req)
{
    if (strcmp(request_param(req, "user_id"), req->user->id) == 0)
        return fail(&req->task, ERR_BAD_REQUEST, "Cannot deactivate your own account");
    return set_active(req, false, "user.deactivate");
}

enum err manage_role(struct request *req)
{
    const char *id = request_param(req, "user_id"), *role = request_str(req, "role");
    struct audit audit = audit_of(req, "user.set_role", id);
    struct user user;
    enum err e;

    audit.detail = role;
    e = manage_set_role(&req->task, accounts_of(req), id, strcmp(role, "admin") == 0, &audit,
                        &user);
    return e == OK ? reply_user(req, &user) : e;
}

enum err manage_sessions_end(struct request *req)
{
    struct user user;
    const char *id = request_param(req, "user_id");
    enum err e = manage_find_user(&req->task, accounts_of(req), id, &user);

    return e == OK ? end_sessions(req, id, NULL, "user.revoke_sessions") : e;
}
