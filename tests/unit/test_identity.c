#include "account/identity.h"

#include "core/clock.h"
#include "store/implementation.h"

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

/* A store of one user and one session, which counts the reads and can change between them. */
struct little_store {
    struct store store;
    atomic_int reads;
    atomic_bool ended;
};

static struct little_store *little(struct store *store)
{
    return container_of(store, struct little_store, store);
}

static enum err read_user(struct task *task, struct store *store, const char *id, bool *ret_found,
                          struct user *ret)
{
    (void)task;
    atomic_fetch_add(&little(store)->reads, 1);
    *ret_found = strcmp(id, "ann") == 0;
    *ret = (struct user){.id = "ann",
                         .fullname = "Ann",
                         .email = "ann@example.com",
                         .password_hash = "secret",
                         .is_active = true,
                         .valid_from_ms = 5000};
    return OK;
}

static enum err read_session(struct task *task, struct store *store, const char *id,
                             bool *ret_found, struct session_record *ret)
{
    (void)task;
    atomic_fetch_add(&little(store)->reads, 1);
    *ret_found = strcmp(id, "session") == 0;
    *ret = (struct session_record){.id = "session",
                                   .user_id = "ann",
                                   .address = "",
                                   .agent = "",
                                   .expires_ms = clock_wall_ms() + 1000000,
                                   .ended_ms = atomic_load(&little(store)->ended) ? 1 : 0};
    return OK;
}

static const struct store_users_operations users = {.user_by_id = read_user};
static const struct store_sessions_operations sessions = {.session_by_id = read_session};
static const struct store_operations operations = {.users = &users, .sessions = &sessions};

static enum identity_answer load(void *mem, struct identity *identity,
                                 const struct token_claims *claims)
{
    struct task task = {.mem = mem};
    enum identity_answer answer;
    struct user *user;
    struct session_record *session;

    assert_int_equal(identity_load(&task, identity, claims, &answer, &user, &session), OK);
    return answer;
}

static enum identity_answer peek(void *mem, struct identity *identity,
                                 const struct token_claims *claims)
{
    struct user *user;
    struct session_record *session;

    return identity_peek(identity, mem, claims, &user, &session);
}

static void test_a_holder_is_remembered_without_the_password_and_forgotten_at_once(void **state)
{
    struct little_store store = {.store = {.operations = &operations}};
    struct identity *identity = identity_open(*state, &store.store);
    const struct token_claims claims = {.user_id = "ann", .id = "1", .session_id = "session"};
    struct user *user;
    struct session_record *session;

    assert_int_equal(peek(*state, identity, &claims), IDENTITY_UNKNOWN);
    assert_int_equal(load(*state, identity, &claims), IDENTITY_VALID);
    assert_int_equal(atomic_load(&store.reads), 2);
    assert_int_equal(identity_peek(identity, *state, &claims, &user, &session), IDENTITY_VALID);
    assert_string_equal(user->email, "ann@example.com");
    assert_null(user->password_hash);
    atomic_store(&store.ended, true);
    identity_forget_session(identity, "session");
    assert_int_equal(peek(*state, identity, &claims), IDENTITY_UNKNOWN);
    assert_int_equal(load(*state, identity, &claims), IDENTITY_REFUSED);
    assert_int_equal(peek(*state, identity, &claims), IDENTITY_REFUSED);
}

static void test_tokens_without_a_session_are_void_before_the_users_moment(void **state)
{
    struct little_store store = {.store = {.operations = &operations}};
    struct identity *identity = identity_open(*state, &store.store);
    struct token_claims claims = {.user_id = "ann", .issued_s = 4};

    assert_int_equal(load(*state, identity, &claims), IDENTITY_REFUSED);
    claims.issued_s = 5;
    assert_int_equal(load(*state, identity, &claims), IDENTITY_VALID);
    claims.user_id = "bob";
    assert_int_equal(load(*state, identity, &claims), IDENTITY_REFUSED);
}

struct race {
    struct little_store store;
    struct identity *identity;
    atomic_bool over;
};

static void *load_on_and_on(void *argument)
{
    struct race *race = argument;
    const struct token_claims claims = {.user_id = "ann", .id = "1", .session_id = "session"};

    while (!atomic_load(&race->over)) {
        void *mem = mem_tree(0);

        load(mem, race->identity, &claims);
        talloc_free(mem);
    }
    return NULL;
}

static void test_a_racing_read_never_brings_back_what_was_forgotten(void **state)
{
    const struct token_claims claims = {.user_id = "ann", .id = "1", .session_id = "session"};
    struct race race = {.store = {.store = {.operations = &operations}}};
    pthread_t threads[4];

    race.identity = identity_open(*state, &race.store.store);
    for (size_t i = 0; i < count_of(threads); i++)
        pthread_create(&threads[i], NULL, load_on_and_on, &race);
    for (int i = 0; i < 2000; i++) {
        void *mem = mem_tree(0);

        atomic_store(&race.store.ended, false);
        identity_forget_session(race.identity, "session");
        load(mem, race.identity, &claims);
        atomic_store(&race.store.ended, true);
        identity_forget_session(race.identity, "session");
        assert_int_not_equal(peek(mem, race.identity, &claims), IDENTITY_VALID);
        talloc_free(mem);
    }
    atomic_store(&race.over, true);
    for (size_t i = 0; i < count_of(threads); i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_a_holder_is_remembered_without_the_password_and_forgotten_at_once),
        UNIT(test_tokens_without_a_session_are_void_before_the_users_moment),
        UNIT(test_a_racing_read_never_brings_back_what_was_forgotten),
    };

    return RUN_UNITS(tests);
}
