/* Checkouts that users have begun. */
#include "store/checkout.h"
#include "store/sqlite_parts.h"

struct reserve {
    const struct checkout *wanted;
    int64_t lease_ms;
    enum checkout_reserved *ret;
    struct checkout *ret_one;
};

static enum err find_checkout(struct task *task, struct sqlite_db *db, const char *user_id,
                              bool *ret_found, struct checkout *ret, int64_t *ret_leased_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CHECKOUT_OF);
    enum err e;

    *ret_found = false;
    if (s != NULL)
        sqlite_bind(s, 1, user_id);
    e = sqlite_db_row(task, db, s, ret_found);
    if (e != OK || !*ret_found)
        return e;
    *ret = (struct checkout){
        .user_id = sqlite_db_text(task, s, 0),
        .plan = sqlite_db_text(task, s, 1),
        .price_id = sqlite_db_text(task, s, 2),
        .success_url = sqlite_db_text(task, s, 3),
        .cancel_url = sqlite_db_text(task, s, 4),
        .key = sqlite_db_text(task, s, 5),
        .session_id = sqlite_db_text(task, s, 6),
        .url = sqlite_db_text(task, s, 7),
        .created_ms = sqlite3_column_int64(s, 8),
        .expires_ms = sqlite3_column_int64(s, 9),
    };
    *ret_leased_ms = sqlite3_column_int64(s, 10);
    return OK;
}

static enum err put_checkout(struct task *task, struct sqlite_db *db,
                             const struct checkout *checkout, int64_t leased_ms)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_CHECKOUT_PUT);

    if (s != NULL) {
        sqlite_bind(s, 1, checkout->user_id);
        sqlite_bind(s, 2, checkout->plan);
        sqlite_bind(s, 3, checkout->price_id);
        sqlite_bind(s, 4, checkout->success_url);
        sqlite_bind(s, 5, checkout->cancel_url);
        sqlite_bind(s, 6, checkout->key);
        sqlite3_bind_int64(s, 7, checkout->created_ms);
        sqlite3_bind_int64(s, 8, leased_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err reserve_checkout(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct reserve *reserve = argument;
    int64_t leased_ms = 0;
    struct checkout stored;
    bool found;
    enum err e = find_checkout(task, db, reserve->wanted->user_id, &found, &stored, &leased_ms);

    if (e != OK)
        return e;
    *reserve->ret = checkout_judge(found ? &stored : NULL, leased_ms, reserve->wanted,
                                   reserve->ret_one);
    return *reserve->ret == CHECKOUT_RESERVED
               ? put_checkout(task, db, reserve->ret_one,
                              reserve->wanted->created_ms + reserve->lease_ms)
               : OK;
}

enum err sqlite_checkout_reserve(struct task *task, struct store *store,
                                 const struct checkout *wanted, int64_t lease_ms,
                                 enum checkout_reserved *ret, struct checkout *ret_one)
{
    return sqlite_writing(task, store, reserve_checkout,
                          &(struct reserve){wanted, lease_ms, ret, ret_one});
}

struct settle_checkout {
    enum sqlite_statement statement;
    const char *key, *session_id, *url;
    int64_t expires_ms;
    int changes;
};

static enum err settle_checkout(struct task *task, struct sqlite_db *db, void *argument)
{
    struct settle_checkout *settle = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, settle->statement);

    if (s != NULL)
        sqlite_bind(s, 1, settle->key);
    if (s != NULL && settle->session_id != NULL) {
        sqlite_bind(s, 2, settle->session_id);
        sqlite_bind(s, 3, settle->url);
        sqlite3_bind_int64(s, 4, settle->expires_ms);
    }
    return sqlite_db_run(task, db, s, &settle->changes);
}

enum err sqlite_checkout_opened(struct task *task, struct store *store, const char *key,
                                const char *session_id, const char *url, int64_t expires_ms,
                                bool *ret_kept)
{
    struct settle_checkout settle = {SQL_CHECKOUT_OPENED, key, session_id, url, expires_ms, 0};
    enum err e = sqlite_writing(task, store, settle_checkout, &settle);

    *ret_kept = settle.changes > 0;
    return e;
}

enum err sqlite_checkout_release(struct task *task, struct store *store, const char *key)
{
    return sqlite_writing(task, store, settle_checkout,
                          &(struct settle_checkout){.statement = SQL_CHECKOUT_RELEASE, .key = key});
}

enum err sqlite_checkout_close(struct task *task, struct store *store, const char *key_or_session)
{
    return sqlite_writing(
        task, store, settle_checkout,
        &(struct settle_checkout){.statement = SQL_CHECKOUT_CLOSE, .key = key_or_session});
}
