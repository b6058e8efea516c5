#include "contract.h"

#include "core/clock.h"
#include "core/text.h"
#include "unit.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 40, DAY_MS = 86400000 };

static pthread_key_t tree_key;

static void free_tree(void *tree)
{
    talloc_free(tree);
}

static void make_key(void)
{
    assert_int_equal(pthread_key_create(&tree_key, free_tree), 0);
}

/* One task for one call after the other; its memory lives as long as the thread. */
static struct task *new_task(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct task *task;
    void *tree;

    pthread_once(&once, make_key);
    tree = pthread_getspecific(tree_key);
    if (tree == NULL) {
        tree = mem_tree(0);
        pthread_setspecific(tree_key, tree);
    }
    task = mem_new(tree, struct task);
    task->mem = tree;
    task->id = "test";
    task->deadline_ms = clock_mono_ms() + 60000;
    return task;
}

void contract_end(void)
{
    talloc_free(pthread_getspecific(tree_key));
    pthread_setspecific(tree_key, NULL);
}

static struct user make_user(struct task *task, const char *email)
{
    return (struct user){.id = crypto_id(task->mem),
                         .fullname = "Ann Lee",
                         .email = email,
                         .password_hash = "hash",
                         .is_active = true,
                         .created_ms = 1000,
                         .updated_ms = 1001,
                         .last_login_ms = 1002};
}

static struct session_record make_session(struct task *task, const struct user *user)
{
    int64_t now_ms = clock_wall_ms();

    return (struct session_record){.id = crypto_id(task->mem),
                                   .user_id = user->id,
                                   .created_ms = now_ms,
                                   .last_used_ms = now_ms,
                                   .expires_ms = now_ms + DAY_MS,
                                   .address = "203.0.113.9",
                                   .agent = "test",
                                   .chain = chain_begin(crypto_id(task->mem), 1, 2)};
}

static enum user_created create(struct store *store, struct user *user,
                                struct session_record *session, const char *email)
{
    struct task *task = new_task();
    enum user_created created;

    *user = make_user(task, email);
    *session = make_session(task, user);
    assert_int_equal(store_user_create(task, store, user, session, NULL, &created), OK);
    return created;
}

static bool find_user(struct store *store, const char *id, struct user *ret)
{
    bool found;

    assert_int_equal(store_user_by_id(new_task(), store, id, &found, ret), OK);
    return found;
}

static bool find_session(struct store *store, const char *id, struct session_record *ret)
{
    bool found;

    assert_int_equal(store_session_by_id(new_task(), store, id, &found, ret), OK);
    return found;
}

static bool is_live(struct store *store, const char *id)
{
    struct session_record session;

    return find_session(store, id, &session) && session.ended_ms == 0;
}

static const struct audit *audit_at(int64_t at_ms)
{
    static __thread struct audit audit;

    audit = (struct audit){at_ms, "user:admin", "test", "subject", "203.0.113.9", ""};
    return &audit;
}

static void what_was_written_reads_back(struct store *store)
{
    struct user user, by_id, by_email;
    struct session_record session, back;
    bool found;

    assert_int_equal(create(store, &user, &session, "ann@example.com"), USER_CREATED);
    assert_true(find_user(store, user.id, &by_id));
    assert_int_equal(store_user_by_email(new_task(), store, "ann@example.com", &found, &by_email),
                     OK);
    assert_true(found);
    assert_string_equal(by_email.id, user.id);
    assert_string_equal(by_id.fullname, user.fullname);
    assert_string_equal(by_id.password_hash, "hash");
    assert_true(by_id.is_active && !by_id.is_admin);
    assert_int_equal(by_id.created_ms, 1000);
    assert_int_equal(by_id.updated_ms, 1001);
    assert_int_equal(by_id.last_login_ms, 1002);
    assert_true(find_session(store, session.id, &back));
    assert_string_equal(back.user_id, user.id);
    assert_string_equal(back.address, "203.0.113.9");
    assert_int_equal(back.chain.count, 1);
    assert_string_equal(back.chain.links[0].id, session.chain.links[0].id);
}

static void who_is_unknown_is_not_found(struct store *store)
{
    struct user user;
    struct session_record session;
    bool found;

    assert_false(find_user(store, "nobody", &user));
    assert_int_equal(store_user_by_email(new_task(), store, "", &found, &user), OK);
    assert_false(found);
    assert_false(find_session(store, "none", &session));
    assert_int_equal(store_session_end(new_task(), store, "none", 1, NULL), OK);
}

static void a_taken_address_is_an_outcome_that_writes_nothing(struct store *store)
{
    struct user first, second;
    struct session_record one, two;

    assert_int_equal(create(store, &first, &one, "ann@example.com"), USER_CREATED);
    assert_int_equal(create(store, &second, &two, "ann@example.com"), USER_EMAIL_TAKEN);
    assert_false(find_user(store, second.id, &second));
    assert_false(is_live(store, two.id));
}

static void a_session_is_opened_once_and_notes_the_login(struct store *store)
{
    struct user user;
    struct session_record session, other;
    enum session_opened opened;

    create(store, &user, &session, "ann@example.com");
    other = make_session(new_task(), &user);
    assert_int_equal(store_session_open(new_task(), store, &other, user.valid_from_ms, &opened),
                     OK);
    assert_int_equal(opened, SESSION_OPENED);
    assert_true(find_user(store, user.id, &user));
    assert_int_equal(user.last_login_ms, other.created_ms);
    assert_int_equal(store_session_end(new_task(), store, other.id, clock_wall_ms(), NULL), OK);
    assert_int_equal(store_session_open(new_task(), store, &other, user.valid_from_ms, &opened),
                     OK);
    assert_int_equal(opened, SESSION_EXISTS);
    assert_false(is_live(store, other.id));
}

static enum session_refreshed refresh(struct store *store, const char *id, const char *token,
                                      const char *fresh_id, int64_t now_ms,
                                      struct chain_link *ret_successor)
{
    struct chain_link fresh = {.issued_s = 3, .expires_s = 4};
    enum session_refreshed refreshed;

    snprintf(fresh.id, sizeof fresh.id, "%s", fresh_id);
    assert_int_equal(store_session_refresh(new_task(), store, id, token, &fresh, now_ms, &refreshed,
                                           ret_successor),
                     OK);
    return refreshed;
}

static void open_one(struct store *store, const struct session_record *session)
{
    enum session_opened opened;

    assert_int_equal(store_session_open(new_task(), store, session, 0, &opened), OK);
    assert_true(opened == SESSION_OPENED || opened == SESSION_OPENED_ELSEWHERE);
}

static enum session_opened open_with(struct store *store, const struct user *user,
                                     const char *device)
{
    struct session_record session = make_session(new_task(), user);
    enum session_opened opened;

    session.device = device;
    assert_int_equal(store_session_open(new_task(), store, &session, user->valid_from_ms, &opened),
                     OK);
    assert_int_equal(is_live(store, session.id), opened != SESSION_USER_CHANGED);
    return opened;
}

static void a_login_that_is_overtaken_by_a_change_opens_no_session(struct store *store)
{
    struct user root, user;
    struct session_record session;
    enum user_changed changed;

    create(store, &root, &session, "root@example.com");
    create(store, &user, &session, "ann@example.com");
    assert_int_equal(open_with(store, &user, ""), SESSION_OPENED);
    assert_int_equal(store_user_set_password(new_task(), store, user.id, "new", NULL, NULL,
                                             audit_at(5000), &changed),
                     OK);
    assert_int_equal(open_with(store, &user, ""), SESSION_USER_CHANGED);
    assert_true(find_user(store, user.id, &user));
    assert_int_equal(open_with(store, &user, ""), SESSION_OPENED);
    assert_int_equal(
        store_user_set_active(new_task(), store, user.id, false, audit_at(6000), &changed), OK);
    assert_true(find_user(store, user.id, &user));
    assert_int_equal(open_with(store, &user, ""), SESSION_USER_CHANGED);
    assert_int_equal(store_user_delete(new_task(), store, user.id, NULL, audit_at(7000), &changed),
                     OK);
    assert_int_equal(open_with(store, &user, ""), SESSION_USER_CHANGED);
}

static void a_device_is_new_once_and_the_first_never(struct store *store)
{
    struct user user, other;
    struct session_record session;
    enum user_created created;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(open_with(store, &user, "laptop"), SESSION_OPENED_ELSEWHERE);
    assert_int_equal(open_with(store, &user, "laptop"), SESSION_OPENED);
    assert_int_equal(open_with(store, &user, "phone"), SESSION_OPENED_ELSEWHERE);
    other = make_user(new_task(), "bob@example.com");
    assert_int_equal(store_user_create(new_task(), store, &other, NULL, NULL, &created), OK);
    assert_int_equal(open_with(store, &other, "laptop"), SESSION_OPENED);
}

static void an_ended_session_is_forgotten_and_its_device_is_not(struct store *store)
{
    struct user user;
    struct session_record first, session = {0};
    const char *ids[3];
    unsigned count;

    create(store, &user, &first, "ann@example.com");
    for (int i = 0; i < 3; i++) {
        session = make_session(new_task(), &user);
        session.device = "laptop";
        ids[i] = session.id;
        open_one(store, &session);
    }
    assert_int_equal(store_session_end(new_task(), store, ids[0], clock_wall_ms(), NULL), OK);
    assert_false(find_session(store, ids[0], &session));
    assert_int_equal(
        refresh(store, ids[1], "not its own", "fresh", clock_wall_ms(), &(struct chain_link){0}),
        SESSION_REUSED);
    assert_false(find_session(store, ids[1], &session));
    assert_int_equal(store_sessions_end(new_task(), store, user.id, NULL, audit_at(5000), &count),
                     OK);
    assert_int_equal(count, 2);
    assert_false(find_session(store, ids[2], &session));
    assert_true(find_session(store, first.id, &first)); /* its id might come again */
    assert_true(find_user(store, user.id, &user));
    assert_int_equal(open_with(store, &user, "laptop"), SESSION_OPENED);
    assert_int_equal(open_with(store, &user, "phone"), SESSION_OPENED_ELSEWHERE);
}

static void a_user_has_two_hundred_known_devices(struct store *store)
{
    struct user user;
    struct session_record session, first;
    struct user_data held;

    create(store, &user, &first, "ann@example.com");
    for (int i = 0; i < 203; i++) {
        struct task *task = new_task();

        session = make_session(task, &user);
        session.device = mem_printf(task->mem, "device %d", i);
        session.expires_ms = first.expires_ms + 1 + i;
        open_one(store, &session);
    }
    assert_int_equal(store_user_data(new_task(), store, &user, &held), OK);
    assert_int_equal(held.device_count, 200);
    assert_int_equal(open_with(store, &user, "device 202"), SESSION_OPENED);
    assert_int_equal(open_with(store, &user, "device 0"), SESSION_OPENED_ELSEWHERE);
}

static void a_device_is_known_where_a_session_of_the_account_was_opened(struct store *store)
{
    struct user user;
    struct session_record session;
    bool known;

    create(store, &user, &session, "ann@example.com");
    open_with(store, &user, "laptop");
    assert_int_equal(store_device_known(new_task(), store, "ann@example.com", "laptop", &known),
                     OK);
    assert_true(known);
    assert_int_equal(store_device_known(new_task(), store, "ann@example.com", "phone", &known), OK);
    assert_false(known);
    assert_int_equal(store_device_known(new_task(), store, "bob@example.com", "laptop", &known),
                     OK);
    assert_false(known);
    assert_int_equal(store_device_known(new_task(), store, "ann@example.com", "", &known), OK);
    assert_false(known);
}

static void a_change_that_is_overtaken_changes_nothing(struct store *store)
{
    struct user user;
    struct session_record session;
    enum user_changed changed;
    int64_t before_ms = 0;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(store_user_set_password(new_task(), store, user.id, "one", NULL, &before_ms,
                                             audit_at(5000), &changed),
                     OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_int_equal(store_user_set_password(new_task(), store, user.id, "two", NULL, &before_ms,
                                             audit_at(6000), &changed),
                     OK);
    assert_int_equal(changed, USER_OUTDATED);
    assert_int_equal(
        store_user_delete(new_task(), store, user.id, &before_ms, audit_at(7000), &changed), OK);
    assert_int_equal(changed, USER_OUTDATED);
    assert_true(find_user(store, user.id, &user));
    assert_string_equal(user.password_hash, "one");
}

static void who_goes_takes_codes_and_mails_along(struct store *store)
{
    struct user user;
    struct session_record session;
    struct code code = {
        .purpose = "reset", .email = "ann@example.com", .created_ms = 1, .expires_ms = 300001};
    struct mail mail = {.to = "ann@example.com", .content = "hello", .created_ms = 1};
    struct mail other = {.to = "bob@example.com", .content = "hello", .created_ms = 1}, *mails;
    enum code_issued issued;
    enum user_changed changed;
    size_t count;
    int64_t left_ms;
    bool right, withheld;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(store_code_issue(new_task(), store, &code, 60000, &mail, &issued, &left_ms),
                     OK);
    assert_int_equal(store_mail_put(new_task(), store, &other, &withheld), OK);
    assert_int_equal(store_user_delete(new_task(), store, user.id, NULL, audit_at(2), &changed),
                     OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_int_equal(
        store_code_try(new_task(), store, "reset", "ann@example.com", code.hash, 3, NULL, &right),
        OK);
    assert_false(right);
    assert_int_equal(store_mails(new_task(), store, &mails, &count), OK);
    assert_int_equal(count, 1);
    assert_string_equal(mails[0].to, "bob@example.com");
}

static void the_administrator_of_the_settings_is_not_counted(struct store *store)
{
    struct user root, local;
    struct session_record session;
    enum user_created created;
    enum user_changed changed;

    root = make_user(new_task(), "root@example.com");
    root.is_admin = true;
    local = make_user(new_task(), "local@example.com");
    local.is_admin = true;
    local.password_hash = STORE_SETTINGS_HASH "hash";
    session = make_session(new_task(), &root);
    assert_int_equal(store_user_create(new_task(), store, &root, &session, NULL, &created), OK);
    assert_int_equal(store_user_create(new_task(), store, &local, NULL, NULL, &created), OK);
    assert_int_equal(store_user_set_role(new_task(), store, root.id, false, audit_at(1), &changed),
                     OK);
    assert_int_equal(changed, USER_LAST_ADMIN);
    assert_int_equal(
        store_user_set_active(new_task(), store, local.id, false, audit_at(2), &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
}

static void an_address_is_verified_once(struct store *store)
{
    struct user user;
    struct session_record session;
    enum user_changed changed;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(store_user_verify(new_task(), store, user.id, audit_at(5000), &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_int_equal(store_user_verify(new_task(), store, user.id, audit_at(6000), &changed), OK);
    assert_int_equal(changed, USER_VERIFIED);
    assert_true(find_user(store, user.id, &user));
    assert_int_equal(user.verified_ms, 5000);
    assert_true(is_live(store, session.id));
    assert_int_equal(store_user_verify(new_task(), store, "nobody", audit_at(1), &changed), OK);
    assert_int_equal(changed, USER_UNKNOWN);
}

static void a_language_is_chosen_and_forgotten(struct store *store)
{
    struct user user;
    struct session_record session;
    enum user_changed changed;

    create(store, &user, &session, "ann@example.com");
    assert_true(find_user(store, user.id, &user));
    assert_null(user.language);
    assert_int_equal(
        store_user_set_language(new_task(), store, user.id, "ar", audit_at(5000), &changed), OK);
    assert_true(find_user(store, user.id, &user));
    assert_string_equal(user.language, "ar");
    assert_int_equal(
        store_user_set_language(new_task(), store, user.id, NULL, audit_at(6000), &changed), OK);
    assert_true(find_user(store, user.id, &user));
    assert_null(user.language);
    assert_true(is_live(store, session.id));
}

static void another_address_ends_the_sessions_unless_it_is_somebody_elses(struct store *store)
{
    struct user user, other;
    struct session_record session, second;
    enum user_changed changed;

    create(store, &user, &session, "ann@example.com");
    create(store, &other, &second, "bob@example.com");
    assert_int_equal(store_user_set_email(new_task(), store, user.id, "bob@example.com",
                                          audit_at(5000), &changed),
                     OK);
    assert_int_equal(changed, USER_EMAIL_IN_USE);
    assert_true(is_live(store, session.id));
    assert_int_equal(store_user_set_email(new_task(), store, user.id, "ann@example.org",
                                          audit_at(6000), &changed),
                     OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_false(is_live(store, session.id));
    assert_true(find_user(store, user.id, &user));
    assert_string_equal(user.email, "ann@example.org");
    assert_int_equal(user.verified_ms, 6000);
}

static void beyond_the_most_the_session_used_longest_ago_ends(struct store *store)
{
    struct user user;
    struct session_record first, next;
    enum session_opened opened;

    create(store, &user, &first, "ann@example.com");
    for (int i = 1; i <= STORE_SESSIONS_PER_USER; i++) {
        next = make_session(new_task(), &user);
        next.last_used_ms = first.last_used_ms + i;
        assert_int_equal(store_session_open(new_task(), store, &next, user.valid_from_ms, &opened),
                         OK);
        assert_int_equal(is_live(store, first.id), i < STORE_SESSIONS_PER_USER);
    }
    assert_true(is_live(store, next.id));
}

static void refreshing_follows_the_rule_of_the_chain(struct store *store)
{
    struct user user;
    struct session_record session;
    struct chain_link one, again, two;
    int64_t now_ms = clock_wall_ms();
    const char *first;

    create(store, &user, &session, "ann@example.com");
    first = session.chain.links[0].id;
    assert_int_equal(refresh(store, session.id, first, crypto_id(new_task()->mem), now_ms, &one),
                     SESSION_REFRESHED);
    assert_int_equal(refresh(store, session.id, first, crypto_id(new_task()->mem), now_ms, &again),
                     SESSION_REFRESHED);
    assert_memory_equal(&one, &again, offsetof(struct chain_link, used_ms));
    assert_int_equal(refresh(store, session.id, one.id, crypto_id(new_task()->mem), now_ms, &two),
                     SESSION_REFRESHED);
    assert_int_equal(refresh(store, session.id, first, one.id, now_ms + CHAIN_GRACE_MS, &again),
                     SESSION_REFRESHED);
    assert_int_equal(refresh(store, session.id, first, one.id, now_ms + CHAIN_GRACE_MS + 1, &again),
                     SESSION_REUSED);
    assert_false(is_live(store, session.id));
    assert_int_equal(refresh(store, session.id, two.id, one.id, now_ms, &again), SESSION_OVER);
    assert_int_equal(refresh(store, "unknown", first, one.id, now_ms, &again), SESSION_OVER);
}

static void an_expired_session_is_over_and_swept(struct store *store)
{
    struct user user;
    struct session_record session;
    struct chain_link successor;
    unsigned count;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(refresh(store, session.id, session.chain.links[0].id,
                             session.chain.links[0].id, session.expires_ms, &successor),
                     SESSION_OVER);
    assert_int_equal(store_session_sweep(new_task(), store, session.expires_ms, &count), OK);
    assert_int_equal(count, 0);
    assert_int_equal(store_session_sweep(new_task(), store, session.expires_ms + 1, &count), OK);
    assert_int_equal(count, 2); /* it and its device */
    assert_false(find_session(store, session.id, &session));
}

static void tokens_are_voided_forwards_only(struct store *store)
{
    struct user user;
    struct session_record session;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(store_user_void_tokens(new_task(), store, user.id, 500), OK);
    assert_int_equal(store_user_void_tokens(new_task(), store, user.id, 400), OK);
    assert_true(find_user(store, user.id, &user));
    assert_int_equal(user.valid_from_ms, 500);
    assert_int_equal(store_user_void_tokens(new_task(), store, "nobody", 1), OK);
}

static void a_new_password_ends_every_session_but_the_one_that_is_kept(struct store *store)
{
    struct user user;
    struct session_record kept, other;
    enum user_changed changed;
    enum session_opened opened;

    create(store, &user, &kept, "ann@example.com");
    other = make_session(new_task(), &user);
    assert_int_equal(store_session_open(new_task(), store, &other, user.valid_from_ms, &opened),
                     OK);
    assert_int_equal(store_user_set_password(new_task(), store, user.id, "new",
                                             &(struct keep){.session_id = kept.id}, NULL,
                                             audit_at(5000), &changed),
                     OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_true(is_live(store, kept.id));
    assert_false(is_live(store, other.id));
    assert_true(find_user(store, user.id, &user));
    assert_string_equal(user.password_hash, "new");
    assert_int_equal(user.valid_from_ms, 5000);
    assert_int_equal(store_user_set_password(new_task(), store, "nobody", "new", NULL, NULL,
                                             audit_at(1), &changed),
                     OK);
    assert_int_equal(changed, USER_UNKNOWN);
}

static void a_rehash_happens_only_to_the_hash_that_was_verified(struct store *store)
{
    struct user user;
    struct session_record session;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(store_user_rehash(new_task(), store, user.id, "other", "no"), OK);
    assert_true(find_user(store, user.id, &user));
    assert_string_equal(user.password_hash, "hash");
    assert_int_equal(store_user_rehash(new_task(), store, user.id, "hash", "yes"), OK);
    assert_true(find_user(store, user.id, &user));
    assert_string_equal(user.password_hash, "yes");
    assert_true(is_live(store, session.id));
}

static void the_last_active_administrator_stays(struct store *store)
{
    struct user one, two;
    struct session_record session;
    enum user_changed changed;

    create(store, &one, &session, "one@example.com");
    create(store, &two, &session, "two@example.com");
    assert_int_equal(store_user_set_role(new_task(), store, one.id, true, audit_at(1), &changed),
                     OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_int_equal(store_user_set_role(new_task(), store, one.id, false, audit_at(2), &changed),
                     OK);
    assert_int_equal(changed, USER_LAST_ADMIN);
    assert_int_equal(store_user_set_active(new_task(), store, one.id, false, audit_at(3), &changed),
                     OK);
    assert_int_equal(changed, USER_LAST_ADMIN);
    assert_int_equal(store_user_delete(new_task(), store, one.id, NULL, audit_at(4), &changed), OK);
    assert_int_equal(changed, USER_LAST_ADMIN);
    assert_true(find_user(store, one.id, &one));
    assert_true(one.is_admin && one.is_active);
    assert_int_equal(store_user_set_role(new_task(), store, two.id, true, audit_at(5), &changed),
                     OK);
    assert_int_equal(store_user_delete(new_task(), store, one.id, NULL, audit_at(6), &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_false(find_user(store, one.id, &one));
}

static void every_change_leaves_its_line_and_no_other_does(struct store *store)
{
    const struct store_page page = {NULL, 2};
    struct user user;
    struct session_record session;
    struct audit *trail;
    size_t count;
    const char *next;
    enum user_changed changed;
    unsigned ended;

    create(store, &user, &session, "ann@example.com");
    assert_int_equal(
        store_user_set_fullname(new_task(), store, user.id, "New", audit_at(1), &changed), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            store_user_set_fullname(new_task(), store, user.id, "New", audit_at(2), &changed), OK);
    assert_int_equal(store_user_set_active(new_task(), store, user.id, true, audit_at(2), &changed),
                     OK);
    assert_int_equal(
        store_user_set_active(new_task(), store, user.id, false, audit_at(3), &changed), OK);
    assert_int_equal(store_sessions_end(new_task(), store, user.id, NULL, audit_at(4), &ended), OK);
    assert_int_equal(ended, 0);
    assert_int_equal(
        store_user_set_fullname(new_task(), store, "nobody", "New", audit_at(5), &changed), OK);
    assert_int_equal(store_audit_trail(new_task(), store, NULL, &page, &trail, &count, &next), OK);
    assert_int_equal(count, 2);
    assert_int_equal(trail[0].at_ms, 4);
    assert_int_equal(trail[1].at_ms, 3);
    assert_int_equal(store_audit_trail(new_task(), store, "subject", &(struct store_page){next, 2},
                                       &trail, &count, &next),
                     OK);
    assert_int_equal(count, 1);
    assert_int_equal(trail[0].at_ms, 1);
    assert_null(next);
}

static void a_line_by_itself_stands_in_the_trail_of_its_subject(struct store *store)
{
    const struct audit line = {.at_ms = 7,
                               .actor = "system:root",
                               .action = "ban.add",
                               .subject = "203.0.113.0/24",
                               .address = "local",
                               .detail = "for 3600 s"};
    struct audit *trail;
    size_t count;
    const char *next;

    assert_int_equal(store_audit_append(new_task(), store, &line), OK);
    assert_int_equal(store_audit_trail(new_task(), store, line.subject,
                                       &(struct store_page){NULL, 2}, &trail, &count, &next),
                     OK);
    assert_int_equal(count, 1);
    assert_string_equal(trail[0].action, "ban.add");
    assert_string_equal(trail[0].actor, "system:root");
    assert_string_equal(trail[0].detail, "for 3600 s");
}

static int64_t lines(struct store *store)
{
    int64_t count = -1;

    assert_int_equal(store_audit_count(new_task(), store, &count), OK);
    return count;
}

static unsigned sweep_ahead(struct store *store, int64_t before_ms, int64_t ahead_ms)
{
    unsigned count, total = 0;

    do {
        assert_int_equal(store_audit_sweep(new_task(), store, before_ms, ahead_ms, &count), OK);
        assert_true(count <= 1000);
        total += count;
    } while (count > 0);
    return total;
}

static unsigned sweep_audit(struct store *store, int64_t before_ms)
{
    return sweep_ahead(store, before_ms, INT64_MAX);
}

static void leave_line(struct store *store, const struct user *user, int64_t at_ms)
{
    const char *name = mem_printf(new_task()->mem, "Ann %lld", (long long)lines(store));
    enum user_changed changed;

    assert_int_equal(
        store_user_set_fullname(new_task(), store, user->id, name, audit_at(at_ms), &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
}

/* A clock that was set back leaves younger lines before older ones. */
static void the_trail_ends_by_age_and_in_its_order(struct store *store)
{
    const struct store_page page = {NULL, STORE_PAGE};
    struct user user;
    struct session_record session;
    struct audit *trail;
    size_t count;
    const char *next;

    assert_int_equal(lines(store), 0);
    assert_int_equal(sweep_audit(store, INT64_MAX), 0);
    create(store, &user, &session, "ann@example.com");
    for (int i = 1; i <= 450; i++)
        leave_line(store, &user, i);
    leave_line(store, &user, 1000);
    leave_line(store, &user, 500);
    assert_int_equal(lines(store), 452);
    assert_int_equal(sweep_audit(store, 1), 0);
    assert_int_equal(sweep_audit(store, 446), 445);
    assert_int_equal(lines(store), 7);
    assert_int_equal(store_audit_trail(new_task(), store, NULL, &page, &trail, &count, &next), OK);
    assert_int_equal(count, 7);
    assert_int_equal(trail[6].at_ms, 446);
    assert_int_equal(sweep_audit(store, 1000), 5);
    assert_int_equal(sweep_audit(store, 1001), 2);
    assert_int_equal(lines(store), 0);
    leave_line(store, &user, 2000);
    assert_int_equal(lines(store), 1);
    assert_int_equal(sweep_audit(store, 2000), 0);
}

static void what_a_clock_ahead_has_dated_goes_with_the_older_lines_behind_it(struct store *store)
{
    struct user user;
    struct session_record session;

    create(store, &user, &session, "ann@example.com");
    leave_line(store, &user, 1);
    for (int i = 0; i < 450; i++)
        leave_line(store, &user, 900000 + i);
    leave_line(store, &user, 2);
    leave_line(store, &user, 900000);
    leave_line(store, &user, 50);
    leave_line(store, &user, 900000);
    assert_int_equal(sweep_ahead(store, 2, 5000), 1);
    assert_int_equal(sweep_ahead(store, 3, 5000), 451);
    assert_int_equal(sweep_ahead(store, 50, 5000), 0);
    assert_int_equal(sweep_ahead(store, 51, 5000), 2);
    assert_int_equal(sweep_ahead(store, 1000, 5000), 0);
    assert_int_equal(lines(store), 1);
}

/* Races */

struct race {
    struct store *store;
    struct user user;
    struct session_record session;
    pthread_barrier_t start;
    _Atomic int won, lost;
    char successors[THREADS][CRYPTO_ID_LEN + 1];
    _Atomic int number;
};

static void run_race(struct race *race, void *(*thread)(void *))
{
    pthread_t threads[THREADS];

    pthread_barrier_init(&race->start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, thread, race);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&race->start);
}

static void *register_the_same(void *argument)
{
    struct race *race = argument;

    for (int i = 0; i < ROUNDS; i++) {
        struct user user;
        struct session_record session;
        const char *email = mem_printf(new_task()->mem, "ann%d@example.com", i);

        pthread_barrier_wait(&race->start);
        if (create(race->store, &user, &session, email) == USER_CREATED)
            race->won++;
        else
            race->lost++;
    }
    return NULL;
}

static void of_many_who_register_one_address_exactly_one_wins(struct store *store)
{
    struct race race = {.store = store};

    run_race(&race, register_the_same);
    assert_int_equal(race.won, ROUNDS);
    assert_int_equal(race.lost, ROUNDS * (THREADS - 1));
}

static void *refresh_the_same(void *argument)
{
    struct race *race = argument;
    int number = race->number++;
    struct chain_link successor;

    pthread_barrier_wait(&race->start);
    assert_int_equal(refresh(race->store, race->session.id, race->session.chain.links[0].id,
                             crypto_id(new_task()->mem), clock_wall_ms(), &successor),
                     SESSION_REFRESHED);
    memcpy(race->successors[number], successor.id, sizeof successor.id);
    return NULL;
}

static void all_who_refresh_one_token_at_once_get_one_successor(struct store *store)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct race race = {.store = store};

        create(store, &race.user, &race.session, mem_printf(new_task()->mem, "a%d@b.example", i));
        run_race(&race, refresh_the_same);
        for (int j = 1; j < THREADS; j++)
            assert_string_equal(race.successors[j], race.successors[0]);
    }
}

static void *refresh_or_end(void *argument)
{
    struct race *race = argument;
    struct chain_link successor;
    bool ends = race->number++ == 0;

    pthread_barrier_wait(&race->start);
    if (ends)
        assert_int_equal(
            store_session_end(new_task(), race->store, race->session.id, clock_wall_ms(), NULL),
            OK);
    else
        refresh(race->store, race->session.id, race->session.chain.links[0].id,
                crypto_id(new_task()->mem), clock_wall_ms(), &successor);
    return NULL;
}

static void a_session_that_was_ended_stays_ended_whatever_refreshes_it(struct store *store)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct race race = {.store = store};

        create(store, &race.user, &race.session, mem_printf(new_task()->mem, "a%d@b.example", i));
        run_race(&race, refresh_or_end);
        assert_false(is_live(store, race.session.id));
    }
}

static void *remove_an_admin(void *argument)
{
    struct race *race = argument;
    enum user_changed changed;
    struct user user;
    struct session_record session;
    const char *email = mem_printf(new_task()->mem, "admin%d@example.com", race->number++);

    create(race->store, &user, &session, email);
    assert_int_equal(
        store_user_set_role(new_task(), race->store, user.id, true, audit_at(1), &changed), OK);
    pthread_barrier_wait(&race->start);
    assert_int_equal(
        store_user_set_role(new_task(), race->store, user.id, false, audit_at(2), &changed), OK);
    if (changed == USER_CHANGED)
        race->won++;
    else
        race->lost++;
    return NULL;
}

static void administrators_who_step_down_at_once_leave_one(struct store *store)
{
    struct race race = {.store = store};

    run_race(&race, remove_an_admin);
    assert_int_equal(race.won, THREADS - 1);
    assert_int_equal(race.lost, 1);
}

static void *write_much(void *argument)
{
    struct race *race = argument;
    int number = race->number++;

    for (int i = 0; i < ROUNDS; i++) {
        struct user user, back;
        struct session_record session;
        const char *email = mem_printf(new_task()->mem, "u%d.%d@example.com", number, i);

        assert_int_equal(create(race->store, &user, &session, email), USER_CREATED);
        assert_true(find_user(race->store, user.id, &back));
        race->won++;
    }
    return NULL;
}

static void everybody_reads_what_they_have_written(struct store *store)
{
    struct race race = {.store = store};
    struct store_page page = {NULL, STORE_PAGE};
    struct user *users;
    size_t count;
    const char *next;
    int64_t total = 0;

    run_race(&race, write_much);
    do {
        assert_int_equal(store_users(new_task(), store, NULL, &page, &users, &count, &next), OK);
        total += (int64_t)count;
        page.cursor = next;
    } while (next != NULL);
    assert_int_equal(total, THREADS * ROUNDS);
    assert_int_equal(race.won, THREADS * ROUNDS);
}

enum { LEASE_MS = 60000 };

static enum lease_taken take_lease(struct store *store, const char *name, const char *holder,
                                   int64_t lease_ms, int64_t known_ms, struct lease *ret)
{
    enum lease_taken taken;

    assert_int_equal(
        store_lease_take(new_task(), store, name, holder, lease_ms, known_ms, &taken, ret), OK);
    return taken;
}

static bool renew_lease(struct store *store, const char *name, int64_t fence, int64_t lease_ms)
{
    bool held;

    assert_int_equal(store_lease_renew(new_task(), store, name, fence, lease_ms, &held), OK);
    return held;
}

static void a_lease_is_one_holders_until_it_is_given_back(struct store *store)
{
    struct lease one, other, *all;
    size_t count;

    assert_int_equal(take_lease(store, "a", "first", LEASE_MS, 0, &one), LEASE_TAKEN);
    assert_true(one.fence > 0 && one.until_ms == one.taken_ms + LEASE_MS);
    assert_int_equal(take_lease(store, "a", "second", LEASE_MS, LEASE_ANYHOW, &other), LEASE_HELD);
    assert_string_equal(other.holder, "first");
    assert_int_equal(other.until_ms, one.until_ms);
    assert_int_equal(take_lease(store, "b", "second", LEASE_MS, 0, &other), LEASE_TAKEN);
    assert_true(renew_lease(store, "a", one.fence, LEASE_MS));
    assert_false(renew_lease(store, "a", one.fence + 1, LEASE_MS));
    assert_false(renew_lease(store, "c", 1, LEASE_MS));

    assert_int_equal(store_lease_release(new_task(), store, "a", one.fence, true), OK);
    assert_false(renew_lease(store, "a", one.fence, LEASE_MS));
    assert_int_equal(store_leases(new_task(), store, &all, &count), OK);
    assert_int_equal(count, 2);
    assert_string_equal(all[0].name, "a");
    assert_string_equal(all[0].holder, "");
    assert_int_equal(all[0].taken_ms, one.taken_ms);
    assert_true(all[0].succeeded_ms >= one.taken_ms);
    assert_string_equal(all[1].holder, "second");
    assert_int_equal(all[1].succeeded_ms, 0);
}

static void what_was_done_meanwhile_is_not_done_again(struct store *store)
{
    struct lease one, other;

    assert_int_equal(take_lease(store, "a", "first", LEASE_MS, 0, &one), LEASE_TAKEN);
    assert_int_equal(store_lease_release(new_task(), store, "a", one.fence, false), OK);
    assert_int_equal(take_lease(store, "a", "second", LEASE_MS, one.taken_ms - 1, &other),
                     LEASE_NEWER);
    assert_int_equal(other.taken_ms, one.taken_ms);
    assert_int_equal(take_lease(store, "a", "second", LEASE_MS, one.taken_ms, &other), LEASE_TAKEN);
    assert_true(other.fence > one.fence);
    assert_int_equal(other.succeeded_ms, 0);
}

static void a_lease_that_was_not_renewed_is_anybodys_and_its_holder_knows(struct store *store)
{
    struct lease one, other, third;

    assert_int_equal(take_lease(store, "a", "first", 1, 0, &one), LEASE_TAKEN);
    usleep(5000);
    assert_false(renew_lease(store, "a", one.fence, LEASE_MS));
    /* Its holder has not done the work, whenever that was begun. */
    assert_int_equal(take_lease(store, "a", "second", LEASE_MS, 0, &other), LEASE_TAKEN);
    assert_true(other.fence > one.fence);
    assert_false(renew_lease(store, "a", one.fence, LEASE_MS));
    assert_int_equal(store_lease_release(new_task(), store, "a", one.fence, true), OK);
    assert_int_equal(take_lease(store, "a", "third", LEASE_MS, LEASE_ANYHOW, &third), LEASE_HELD);
    assert_string_equal(third.holder, "second");
    assert_int_equal(third.succeeded_ms, 0);
}

static void a_lease_of_a_clock_that_was_ahead_holds_nobody_up(struct store *store)
{
    struct lease one, other;

    clock_shift_wall_ms(10 * LEASE_MS);
    assert_int_equal(take_lease(store, "a", "first", LEASE_MS, 0, &one), LEASE_TAKEN);
    clock_shift_wall_ms(0);
    assert_int_equal(take_lease(store, "a", "second", LEASE_MS, 0, &other), LEASE_TAKEN);
    assert_true(other.fence > one.fence);
}

static void *race_for_a_lease(void *argument)
{
    struct race *race = argument;
    int number = race->number++;
    struct lease lease;

    if (take_lease(race->store, "a", mem_printf(new_task()->mem, "%d", number), LEASE_MS, 0,
                   &lease) == LEASE_TAKEN)
        race->won += (int)lease.fence;
    return NULL;
}

static void of_many_who_take_a_lease_one_has_it(struct store *store)
{
    struct race race = {.store = store};

    run_race(&race, race_for_a_lease);
    assert_true(renew_lease(store, "a", race.won, LEASE_MS));
    assert_int_equal(race.won, 1); /* the first fence, and no other was given */
}

#define TEST(name)                                                                                 \
    {                                                                                              \
        #name, name                                                                                \
    }

const struct contract_test contract_tests[] = {
    TEST(what_was_written_reads_back),
    TEST(who_is_unknown_is_not_found),
    TEST(a_taken_address_is_an_outcome_that_writes_nothing),
    TEST(a_session_is_opened_once_and_notes_the_login),
    TEST(a_login_that_is_overtaken_by_a_change_opens_no_session),
    TEST(a_device_is_new_once_and_the_first_never),
    TEST(an_ended_session_is_forgotten_and_its_device_is_not),
    TEST(a_user_has_two_hundred_known_devices),
    TEST(a_device_is_known_where_a_session_of_the_account_was_opened),
    TEST(a_change_that_is_overtaken_changes_nothing),
    TEST(who_goes_takes_codes_and_mails_along),
    TEST(the_administrator_of_the_settings_is_not_counted),
    TEST(an_address_is_verified_once),
    TEST(a_language_is_chosen_and_forgotten),
    TEST(another_address_ends_the_sessions_unless_it_is_somebody_elses),
    TEST(beyond_the_most_the_session_used_longest_ago_ends),
    TEST(refreshing_follows_the_rule_of_the_chain),
    TEST(an_expired_session_is_over_and_swept),
    TEST(tokens_are_voided_forwards_only),
    TEST(a_new_password_ends_every_session_but_the_one_that_is_kept),
    TEST(a_rehash_happens_only_to_the_hash_that_was_verified),
    TEST(the_last_active_administrator_stays),
    TEST(every_change_leaves_its_line_and_no_other_does),
    TEST(a_line_by_itself_stands_in_the_trail_of_its_subject),
    TEST(the_trail_ends_by_age_and_in_its_order),
    TEST(what_a_clock_ahead_has_dated_goes_with_the_older_lines_behind_it),
    TEST(of_many_who_register_one_address_exactly_one_wins),
    TEST(all_who_refresh_one_token_at_once_get_one_successor),
    TEST(a_session_that_was_ended_stays_ended_whatever_refreshes_it),
    TEST(administrators_who_step_down_at_once_leave_one),
    TEST(everybody_reads_what_they_have_written),
    TEST(a_lease_is_one_holders_until_it_is_given_back),
    TEST(what_was_done_meanwhile_is_not_done_again),
    TEST(a_lease_that_was_not_renewed_is_anybodys_and_its_holder_knows),
    TEST(a_lease_of_a_clock_that_was_ahead_holds_nobody_up),
    TEST(of_many_who_take_a_lease_one_has_it),
    {0},
};
