/* What people do to their own account, and administrators to others'. */
#include "account/manage.h"

#include "api/app.h"
#include "api/handlers.h"
#include "api/shapes.h"
#include "core/clock.h"
#include "http/reply.h"

#include <stdlib.h>
#include <string.h>

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

static enum err reply_user(struct request *req, const struct user *user)
{
    struct text body = reply_begin_ok(req);

    put_user(&body, user);
    return reply_end_ok(req, &body);
}

static enum err reply_nothing(struct request *req, enum err e)
{
    return e == OK ? reply_ok(req, json_object()) : e;
}

/* Oneself */

enum err manage_own_password(struct request *req)
{
    struct audit audit = audit_of(req, "user.change_password", req->user->id);
    bool common;
    enum err e = manage_change_password(&req->task, accounts_of(req), req->settings, req->user->id,
                                        own_session(req), request_str(req, "old_password"),
                                        request_str(req, "new_password"), &audit, &common);

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

enum err manage_own_end(struct request *req)
{
    struct audit audit = audit_of(req, "user.delete", req->user->id);

    return reply_nothing(req,
                         manage_delete_self(&req->task, accounts_of(req), req->settings,
                                            req->user->id, request_str(req, "password"), &audit));
}

static enum err read_sessions(struct request *req, struct session_record **ret, size_t *ret_count)
{
    return store_sessions_of(&req->task, app_of(req)->store, req->user->id, clock_wall_ms(), ret,
                             ret_count);
}

static void put_sessions(struct text *out, const struct request *req,
                         const struct session_record *sessions, size_t count)
{
    text_add(out, "\"sessions\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text_char(out, ',');
        put_session(out, &sessions[i], own_session(req));
    }
    text_char(out, ']');
}

enum err manage_own_sessions(struct request *req)
{
    struct session_record *sessions;
    struct text body;
    size_t count;
    enum err e = read_sessions(req, &sessions, &count);

    if (e != OK)
        return e;
    body = reply_begin_ok(req);
    text_char(&body, '{');
    put_sessions(&body, req, sessions, count);
    text_char(&body, '}');
    return reply_end_ok(req, &body);
}

enum err manage_own_session_end(struct request *req)
{
    return reply_nothing(req, manage_end_session(&req->task, accounts_of(req), req->user->id,
                                                 request_param(req, "session_id")));
}

static enum err end_sessions(struct request *req, const char *user_id, const char *keep,
                             const char *action)
{
    struct audit audit = audit_of(req, action, user_id);
    unsigned count;
    enum err e = manage_end_sessions(&req->task, accounts_of(req), user_id, keep, &audit, &count);

    return e == OK ? reply_ok(req, json_pack("{s:i}", "revoked", (int)count)) : e;
}

enum err manage_own_sessions_end(struct request *req)
{
    return end_sessions(req, req->user->id, own_session(req), "user.revoke_others");
}

/* The page that `limit` and `cursor` of the query ask for. */
static enum err read_page(struct request *req, struct store_page *ret)
{
    const char *limit = request_query(req, "limit"), *cursor = request_query(req, "cursor");
    char *limit_end = NULL, *cursor_end = NULL;
    long long before = cursor == NULL ? 0 : strtoll(cursor, &cursor_end, 10);
    long most = limit == NULL ? 50 : strtol(limit, &limit_end, 10);

    if ((limit != NULL && (*limit_end != '\0' || most < 1 || most > STORE_PAGE)) ||
        (cursor != NULL && (*cursor_end != '\0' || before < 1)))
        return fail(&req->task, ERR_BAD_REQUEST,
                    "limit must be 1 to 200, and cursor the next of the page before");
    *ret = (struct store_page){before, (unsigned)most};
    return OK;
}

static void put_trail(struct text *out, const struct audit *trail, size_t count)
{
    text_add(out, "\"audit\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text_char(out, ',');
        put_audit(out, &trail[i]);
    }
    text_char(out, ']');
}

enum err manage_own_export(struct request *req)
{
    const struct store_page newest = {0, STORE_PAGE};
    struct session_record *sessions;
    struct audit *trail;
    size_t session_count, audit_count;
    int64_t next;
    struct text body;
    enum err e = read_sessions(req, &sessions, &session_count);

    if (e == OK)
        e = store_audit_trail(&req->task, app_of(req)->store, req->user->id, &newest, &trail,
                              &audit_count, &next);
    if (e != OK)
        return e;
    body = reply_begin_ok(req);
    text_add(&body, "{\"user\":");
    put_user(&body, req->user);
    text_char(&body, ',');
    put_sessions(&body, req, sessions, session_count);
    text_char(&body, ',');
    put_trail(&body, trail, audit_count);
    text_char(&body, '}');
    return reply_end_ok(req, &body);
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
    struct store_page page;
    struct user *users;
    struct text body;
    size_t count;
    int64_t next;
    enum err e = read_page(req, &page);

    if (e == OK)
        e = store_users(&req->task, app_of(req)->store, request_query(req, "search"), &page, &users,
                        &count, &next);
    if (e != OK)
        return e;
    body = reply_begin_ok(req);
    text_add(&body, "{\"users\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text_char(&body, ',');
        put_user(&body, &users[i]);
    }
    text_add(&body, "],");
    put_next(&body, next);
    return reply_end_ok(req, &body);
}

enum err manage_audit(struct request *req)
{
    struct store_page page;
    struct audit *trail;
    struct text body;
    size_t count;
    int64_t next;
    enum err e = read_page(req, &page);

    if (e == OK)
        e = store_audit_trail(&req->task, app_of(req)->store, request_query(req, "user_id"), &page,
                              &trail, &count, &next);
    if (e != OK)
        return e;
    body = reply_begin_ok(req);
    text_char(&body, '{');
    put_trail(&body, trail, count);
    text_char(&body, ',');
    put_next(&body, next);
    return reply_end_ok(req, &body);
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
