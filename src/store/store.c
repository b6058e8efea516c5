#include "store/store.h"

enum err store_user_create(struct task *task, struct store *store, const struct user *user,
                           const struct session_record *session, const struct audit *audit,
                           enum user_created *ret)
{
    return store->operations->user_create(task, store, user, session, audit, ret);
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

enum err store_user_set_email(struct task *task, struct store *store, const char *id,
                              const char *email, const struct audit *audit, enum user_changed *ret)
{
    return store->operations->user_set_email(task, store, id, email, audit, ret);
}

enum err store_user_set_language(struct task *task, struct store *store, const char *id,
                                 const char *language, const struct audit *audit,
                                 enum user_changed *ret)
{
    return store->operations->user_set_language(task, store, id, language, audit, ret);
}

enum err store_user_verify(struct task *task, struct store *store, const char *id,
                           const struct audit *audit, enum user_changed *ret)
{
    return store->operations->user_verify(task, store, id, audit, ret);
}

enum err store_mail_put(struct task *task, struct store *store, const struct mail *mail,
                        bool *ret_withheld)
{
    return store->operations->mail_put(task, store, mail, ret_withheld);
}

enum err store_mail_retry(struct task *task, struct store *store, int64_t number, int64_t now_ms,
                          unsigned *ret_count)
{
    return store->operations->mail_retry(task, store, number, now_ms, ret_count);
}

enum err store_mail_count(struct task *task, struct store *store, int64_t *ret)
{
    return store->operations->mail_count(task, store, ret);
}

enum err store_device_known(struct task *task, struct store *store, const char *email,
                            const char *device, bool *ret)
{
    return store->operations->device_known(task, store, email, device, ret);
}

enum err store_session_open(struct task *task, struct store *store,
                            const struct session_record *session, int64_t valid_from_ms,
                            enum session_opened *ret)
{
    return store->operations->session_open(task, store, session, valid_from_ms, ret);
}

enum err store_session_by_id(struct task *task, struct store *store, const char *id,
                             bool *ret_found, struct session_record *ret)
{
    return store->operations->session_by_id(task, store, id, ret_found, ret);
}

enum err store_session_end(struct task *task, struct store *store, const char *id, int64_t now_ms,
                           const struct audit *audit)
{
    return store->operations->session_end(task, store, id, now_ms, audit);
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

enum err store_erase(struct task *task, struct store *store, int64_t before_ms, unsigned *ret_count)
{
    return store->operations->erase(task, store, before_ms, ret_count);
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

enum err store_user_set_password(struct task *task, struct store *store, const char *id,
                                 const char *password_hash, const struct keep *keep,
                                 const int64_t *valid_from_ms, const struct audit *audit,
                                 enum user_changed *ret)
{
    return store->operations->user_set_password(task, store, id, password_hash, keep, valid_from_ms,
                                                audit, ret);
}

enum err store_user_rehash(struct task *task, struct store *store, const char *id,
                           const char *old_hash, const char *new_hash)
{
    return store->operations->user_rehash(task, store, id, old_hash, new_hash);
}

enum err store_user_set_fullname(struct task *task, struct store *store, const char *id,
                                 const char *fullname, const struct audit *audit,
                                 enum user_changed *ret)
{
    return store->operations->user_set_fullname(task, store, id, fullname, audit, ret);
}

enum err store_user_set_active(struct task *task, struct store *store, const char *id,
                               bool is_active, const struct audit *audit, enum user_changed *ret)
{
    return store->operations->user_set_active(task, store, id, is_active, audit, ret);
}

enum err store_user_set_role(struct task *task, struct store *store, const char *id, bool is_admin,
                             const struct audit *audit, enum user_changed *ret)
{
    return store->operations->user_set_role(task, store, id, is_admin, audit, ret);
}

enum err store_user_delete(struct task *task, struct store *store, const char *id,
                           const int64_t *valid_from_ms, const struct audit *audit,
                           enum user_changed *ret)
{
    return store->operations->user_delete(task, store, id, valid_from_ms, audit, ret);
}

enum err store_users(struct task *task, struct store *store, const char *search,
                     const struct store_page *page, struct user **ret, size_t *ret_count,
                     int64_t *ret_next)
{
    return store->operations->users(task, store, search, page, ret, ret_count, ret_next);
}

enum err store_audit_trail(struct task *task, struct store *store, const char *subject,
                           const struct store_page *page, struct audit **ret, size_t *ret_count,
                           int64_t *ret_next)
{
    return store->operations->audit_trail(task, store, subject, page, ret, ret_count, ret_next);
}

enum err store_sessions_of(struct task *task, struct store *store, const char *user_id,
                           int64_t now_ms, struct session_record **ret, size_t *ret_count)
{
    return store->operations->sessions_of(task, store, user_id, now_ms, ret, ret_count);
}

enum err store_sessions_end(struct task *task, struct store *store, const char *user_id,
                            const struct keep *keep, const struct audit *audit, unsigned *ret_count)
{
    return store->operations->sessions_end(task, store, user_id, keep, audit, ret_count);
}

enum err store_audit_by(struct task *task, struct store *store, const char *actor,
                        const struct store_page *page, struct audit **ret, size_t *ret_count,
                        int64_t *ret_next)
{
    return store->operations->audit_by(task, store, actor, page, ret, ret_count, ret_next);
}

enum err store_audit_count(struct task *task, struct store *store, int64_t *ret)
{
    return store->operations->audit_count(task, store, ret);
}

enum err store_audit_sweep(struct task *task, struct store *store, int64_t before_ms,
                           int64_t ahead_ms, unsigned *ret_count)
{
    return store->operations->audit_sweep(task, store, before_ms, ahead_ms, ret_count);
}

enum err store_holdings(struct task *task, struct store *store, const struct user *user,
                        struct holdings *ret)
{
    return store->operations->holdings(task, store, user, ret);
}

enum err store_code_issue(struct task *task, struct store *store, const struct code *code,
                          int64_t wait_ms, const struct mail *mail, enum code_issued *ret,
                          int64_t *ret_left_ms)
{
    return store->operations->code_issue(task, store, code, wait_ms, mail, ret, ret_left_ms);
}

enum err store_code_try(struct task *task, struct store *store, const char *purpose,
                        const char *email, const uint8_t hash[CRYPTO_HASH_BYTES], int64_t now_ms,
                        const struct code_deed *deed, bool *ret_right)
{
    return store->operations->code_try(task, store, purpose, email, hash, now_ms, deed, ret_right);
}

enum err store_mail_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                         bool *ret_found, struct mail *ret)
{
    return store->operations->mail_take(task, store, now_ms, lease_ms, ret_found, ret);
}

enum err store_mail_done(struct task *task, struct store *store, int64_t number)
{
    return store->operations->mail_done(task, store, number);
}

enum err store_mail_postpone(struct task *task, struct store *store, int64_t number,
                             int64_t next_ms, const char *error)
{
    return store->operations->mail_postpone(task, store, number, next_ms, error);
}

enum err store_mails(struct task *task, struct store *store, struct mail **ret, size_t *ret_count)
{
    return store->operations->mails(task, store, ret, ret_count);
}
