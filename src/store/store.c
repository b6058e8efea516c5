#include "store/store.h"

enum err store_user_create(struct task *task, struct store *store, const struct user *user,
                           const struct session_record *session, enum user_created *ret)
{
    return store->operations->user_create(task, store, user, session, ret);
}

enum err store_user_by_email(struct task *task, struct store *store, const char *email,
                             bool *ret_found, struct user *ret)
{
    return store->operations->user_by_email(task, store, email, ret_found, ret);
}

enum err store_user_by_id(struct task *task, struct store *store, const char *id, bool *ret_found,
                          struct user *ret)
{
    return store->operations->user_by_id(task, store, id, ret_found, ret);
}

enum err store_user_void_tokens(struct task *task, struct store *store, const char *id,
                                int64_t from_ms)
{
    return store->operations->user_void_tokens(task, store, id, from_ms);
}

enum err store_session_open(struct task *task, struct store *store,
                            const struct session_record *session, bool *ret_opened)
{
    return store->operations->session_open(task, store, session, ret_opened);
}

enum err store_session_by_id(struct task *task, struct store *store, const char *id,
                             bool *ret_found, struct session_record *ret)
{
    return store->operations->session_by_id(task, store, id, ret_found, ret);
}

enum err store_session_end(struct task *task, struct store *store, const char *id, int64_t now_ms)
{
    return store->operations->session_end(task, store, id, now_ms);
}

enum err store_session_refresh(struct task *task, struct store *store, const char *id,
                               const char *token_id, const struct chain_link *fresh, int64_t now_ms,
                               enum session_refreshed *ret, struct chain_link *ret_successor)
{
    return store->operations->session_refresh(task, store, id, token_id, fresh, now_ms, ret,
                                              ret_successor);
}

enum err store_session_sweep(struct task *task, struct store *store, int64_t before_ms,
                             unsigned *ret_count)
{
    return store->operations->session_sweep(task, store, before_ms, ret_count);
}

enum err store_ping(struct task *task, struct store *store)
{
    return store->operations->ping(task, store);
}

enum err store_check(struct task *task, struct store *store, const char **ret_fault)
{
    return store->operations->check(task, store, ret_fault);
}

const char *store_name(const struct store *store)
{
    return store->name;
}

void store_close(struct store *store)
{
    store->operations->close(store);
}
