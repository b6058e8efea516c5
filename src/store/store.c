#include "store/store.h"

#include "store/operation.h"

void store_tell(struct store *store, void (*tell)(void *arg, enum store_work work), void *arg)
{
    store->tell = tell;
    store->tell_arg = arg;
}

enum err store_put_in(struct store *store, enum err e, bool is_work, enum store_work work)
{
    if (e == OK && is_work && store->tell != NULL)
        store->tell(store->tell_arg, work);
    return e;
}

enum err store_user_create(struct task *task, struct store *store, const struct user *user,
                           const struct session_record *session, const struct audit *audit,
                           enum user_created *ret)
{
    return OPERATION(user_create,
                     store->operations->user_create(task, store, user, session, audit, ret));
}

enum err store_user_by_email(struct task *task, struct store *store, const char *email,
                             bool *ret_found, struct user *ret)
{
    return OPERATION(user_by_email,
                     store->operations->user_by_email(task, store, email, ret_found, ret));
}

enum err store_user_by_id(struct task *task, struct store *store, const char *id, bool *ret_found,
                          struct user *ret)
{
    return OPERATION(user_by_id, store->operations->user_by_id(task, store, id, ret_found, ret));
}

enum err store_user_void_tokens(struct task *task, struct store *store, const char *id,
                                int64_t from_ms)
{
    return OPERATION(user_void_tokens,
                     store->operations->user_void_tokens(task, store, id, from_ms));
}

enum err store_user_set_email(struct task *task, struct store *store, const char *id,
                              const char *email, const struct audit *audit, enum user_changed *ret)
{
    return OPERATION(user_set_email,
                     store->operations->user_set_email(task, store, id, email, audit, ret));
}

enum err store_user_set_language(struct task *task, struct store *store, const char *id,
                                 const char *language, const struct audit *audit,
                                 enum user_changed *ret)
{
    return OPERATION(user_set_language,
                     store->operations->user_set_language(task, store, id, language, audit, ret));
}

enum err store_user_verify(struct task *task, struct store *store, const char *id,
                           const struct audit *audit, enum user_changed *ret)
{
    return OPERATION(user_verify, store->operations->user_verify(task, store, id, audit, ret));
}

enum err store_mail_put(struct task *task, struct store *store, const struct mail *mail,
                        bool *ret_withheld)
{
    return store_put_in(
        store, OPERATION(mail_put, store->operations->mail_put(task, store, mail, ret_withheld)),
        true, STORE_WORK_MAILS);
}

enum err store_mail_retry(struct task *task, struct store *store, int64_t number, int64_t now_ms,
                          unsigned *ret_count)
{
    return store_put_in(store,
                        OPERATION(mail_retry, store->operations->mail_retry(task, store, number,
                                                                            now_ms, ret_count)),
                        true, STORE_WORK_MAILS);
}

enum err store_mail_count(struct task *task, struct store *store, int64_t *ret)
{
    return OPERATION(mail_count, store->operations->mail_count(task, store, ret));
}

enum err store_device_known(struct task *task, struct store *store, const char *email,
                            const char *device, bool *ret)
{
    return OPERATION(device_known,
                     store->operations->device_known(task, store, email, device, ret));
}

enum err store_session_open(struct task *task, struct store *store,
                            const struct session_record *session, int64_t valid_from_ms,
                            enum session_opened *ret)
{
    return OPERATION(session_open,
                     store->operations->session_open(task, store, session, valid_from_ms, ret));
}

enum err store_session_by_id(struct task *task, struct store *store, const char *id,
                             bool *ret_found, struct session_record *ret)
{
    return OPERATION(session_by_id,
                     store->operations->session_by_id(task, store, id, ret_found, ret));
}

enum err store_session_end(struct task *task, struct store *store, const char *id, int64_t now_ms,
                           const struct audit *audit)
{
    return OPERATION(session_end, store->operations->session_end(task, store, id, now_ms, audit));
}

enum err store_session_refresh(struct task *task, struct store *store, const char *id,
                               const char *token_id, const struct chain_link *fresh, int64_t now_ms,
                               enum session_refreshed *ret, struct chain_link *ret_successor)
{
    return OPERATION(session_refresh,
                     store->operations->session_refresh(task, store, id, token_id, fresh, now_ms,
                                                        ret, ret_successor));
}

enum err store_session_sweep(struct task *task, struct store *store, int64_t before_ms,
                             unsigned *ret_count)
{
    return OPERATION(session_sweep,
                     store->operations->session_sweep(task, store, before_ms, ret_count));
}

enum err store_erase(struct task *task, struct store *store, int64_t before_ms, unsigned *ret_count)
{
    return OPERATION(erase, store->operations->erase(task, store, before_ms, ret_count));
}

enum err store_lease_take(struct task *task, struct store *store, const char *name,
                          const char *holder, int64_t lease_ms, int64_t known_ms,
                          enum lease_taken *ret, struct lease *ret_lease)
{
    return store->operations->lease_take(task, store, name, holder, lease_ms, known_ms, ret,
                                         ret_lease);
}

enum err store_lease_renew(struct task *task, struct store *store, const char *name, int64_t fence,
                           int64_t lease_ms, bool *ret_held)
{
    return store->operations->lease_renew(task, store, name, fence, lease_ms, ret_held);
}

enum err store_lease_release(struct task *task, struct store *store, const char *name,
                             int64_t fence, bool succeeded)
{
    return store->operations->lease_release(task, store, name, fence, succeeded);
}

enum err store_leases(struct task *task, struct store *store, struct lease **ret, size_t *ret_count)
{
    return store->operations->leases(task, store, ret, ret_count);
}

enum err store_ping(struct task *task, struct store *store)
{
    return OPERATION(ping, store->operations->ping(task, store));
}

enum err store_check(struct task *task, struct store *store, const char **ret_fault)
{
    return OPERATION(check, store->operations->check(task, store, ret_fault));
}

const char *store_name(const struct store *store)
{
    return store->name;
}

const char *store_notice(const struct store *store)
{
    return store->notice;
}

void store_expire(struct store *store)
{
    store->operations->expire(store);
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
    return OPERATION(user_set_password,
                     store->operations->user_set_password(task, store, id, password_hash, keep,
                                                          valid_from_ms, audit, ret));
}

enum err store_user_rehash(struct task *task, struct store *store, const char *id,
                           const char *old_hash, const char *new_hash)
{
    return OPERATION(user_rehash,
                     store->operations->user_rehash(task, store, id, old_hash, new_hash));
}

enum err store_user_set_fullname(struct task *task, struct store *store, const char *id,
                                 const char *fullname, const struct audit *audit,
                                 enum user_changed *ret)
{
    return OPERATION(user_set_fullname,
                     store->operations->user_set_fullname(task, store, id, fullname, audit, ret));
}

enum err store_user_set_active(struct task *task, struct store *store, const char *id,
                               bool is_active, const struct audit *audit, enum user_changed *ret)
{
    return OPERATION(user_set_active,
                     store->operations->user_set_active(task, store, id, is_active, audit, ret));
}

enum err store_user_set_role(struct task *task, struct store *store, const char *id, bool is_admin,
                             const struct audit *audit, enum user_changed *ret)
{
    return OPERATION(user_set_role,
                     store->operations->user_set_role(task, store, id, is_admin, audit, ret));
}

enum err store_user_delete(struct task *task, struct store *store, const char *id,
                           const int64_t *valid_from_ms, const struct audit *audit,
                           enum user_changed *ret)
{
    return store_put_in(store,
                        OPERATION(user_delete, store->operations->user_delete(
                                                   task, store, id, valid_from_ms, audit, ret)),
                        true, STORE_WORK_EVENTS);
}

enum err store_users(struct task *task, struct store *store, const char *search,
                     const struct store_page *page, struct user **ret, size_t *ret_count,
                     int64_t *ret_next)
{
    return OPERATION(users,
                     store->operations->users(task, store, search, page, ret, ret_count, ret_next));
}

enum err store_audit_trail(struct task *task, struct store *store, const char *subject,
                           const struct store_page *page, struct audit **ret, size_t *ret_count,
                           int64_t *ret_next)
{
    return OPERATION(audit_trail, store->operations->audit_trail(task, store, subject, page, ret,
                                                                 ret_count, ret_next));
}

enum err store_sessions_of(struct task *task, struct store *store, const char *user_id,
                           int64_t now_ms, struct session_record **ret, size_t *ret_count)
{
    return OPERATION(sessions_of,
                     store->operations->sessions_of(task, store, user_id, now_ms, ret, ret_count));
}

enum err store_sessions_end(struct task *task, struct store *store, const char *user_id,
                            const struct keep *keep, const struct audit *audit, unsigned *ret_count)
{
    return OPERATION(sessions_end,
                     store->operations->sessions_end(task, store, user_id, keep, audit, ret_count));
}

enum err store_audit_by(struct task *task, struct store *store, const char *actor,
                        const struct store_page *page, struct audit **ret, size_t *ret_count,
                        int64_t *ret_next)
{
    return OPERATION(
        audit_by, store->operations->audit_by(task, store, actor, page, ret, ret_count, ret_next));
}

enum err store_audit_count(struct task *task, struct store *store, int64_t *ret)
{
    return OPERATION(audit_count, store->operations->audit_count(task, store, ret));
}

enum err store_audit_sweep(struct task *task, struct store *store, int64_t before_ms,
                           int64_t ahead_ms, unsigned *ret_count)
{
    return OPERATION(audit_sweep,
                     store->operations->audit_sweep(task, store, before_ms, ahead_ms, ret_count));
}

enum err store_holdings(struct task *task, struct store *store, const struct user *user,
                        struct holdings *ret)
{
    return OPERATION(holdings, store->operations->holdings(task, store, user, ret));
}

enum err store_code_issue(struct task *task, struct store *store, const struct code *code,
                          int64_t wait_ms, const struct mail *mail, enum code_issued *ret,
                          int64_t *ret_left_ms)
{
    return store_put_in(
        store,
        OPERATION(code_issue, store->operations->code_issue(task, store, code, wait_ms, mail, ret,
                                                            ret_left_ms)),
        mail != NULL, STORE_WORK_MAILS);
}

enum err store_code_try(struct task *task, struct store *store, const char *purpose,
                        const char *email, const uint8_t hash[CRYPTO_HASH_BYTES], int64_t now_ms,
                        const struct code_deed *deed, bool *ret_right)
{
    return OPERATION(code_try, store->operations->code_try(task, store, purpose, email, hash,
                                                           now_ms, deed, ret_right));
}

enum err store_mail_take(struct task *task, struct store *store, int64_t now_ms, int64_t lease_ms,
                         bool *ret_found, struct mail *ret)
{
    return OPERATION(mail_take,
                     store->operations->mail_take(task, store, now_ms, lease_ms, ret_found, ret));
}

enum err store_mail_done(struct task *task, struct store *store, int64_t number)
{
    return OPERATION(mail_done, store->operations->mail_done(task, store, number));
}

enum err store_mail_postpone(struct task *task, struct store *store, int64_t number,
                             int64_t next_ms, const char *error)
{
    return OPERATION(mail_postpone,
                     store->operations->mail_postpone(task, store, number, next_ms, error));
}

enum err store_mails(struct task *task, struct store *store, struct mail **ret, size_t *ret_count)
{
    return OPERATION(mails, store->operations->mails(task, store, ret, ret_count));
}

void store_name_metrics(void)
{
    static const char *const names[] = {
#define STORE_OPERATION(name) #name,
#include "store/operations.def"
#undef STORE_OPERATION
    };

    metric_name_values(LABEL_operation, names, count_of(names));
}
