/* The contract on the embedded store, and what is the embedded store's own. */
#include "contract.h"

#include "core/crypto.h"
#include "store/sqlite.h"
#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>

enum { TESTS = 32 };

static const char *new_folder(void *mem)
{
    char *path = mem_string(mem, "/tmp/manus-store-XXXXXX");

    assert_non_null(mkdtemp(path));
    return path;
}

static struct store *open_in(void *mem, const char *folder)
{
    struct task task = {.mem = mem, .id = "test"};
    struct store *store = sqlite_open(&task, mem, folder);

    if (store == NULL)
        print_error("%s\n", task.text);
    assert_non_null(store);
    return store;
}

static void remove_folder(void *mem, const char *folder)
{
    static const char *const files[] = {"manus.sqlite", "manus.sqlite-wal", "manus.sqlite-shm",
                                        "lock"};

    for (size_t i = 0; i < count_of(files); i++)
        unlink(mem_printf(mem, "%s/%s", folder, files[i]));
    assert_int_equal(rmdir(folder), 0);
}

static void run_contract(void **state)
{
    const struct contract_test *test = *state;
    void *mem = mem_tree(0);
    const char *folder = new_folder(mem);
    struct store *store = open_in(mem, folder);
    struct task task = {.mem = mem, .id = "test"};
    const char *fault;

    test->run(store);
    contract_end();
    assert_int_equal(store_check(&task, store, &fault), OK);
    assert_null(fault);
    assert_int_equal(store_ping(&task, store), OK);
    store_close(store);
    remove_folder(mem, folder);
    talloc_free(mem);
}

static void test_what_was_written_is_there_after_closing_and_opening(void **state)
{
    const char *folder = new_folder(*state);
    struct store *store = open_in(*state, folder);
    struct task task = {.mem = *state, .id = "test"};
    struct user user = {
        .id = "one", .fullname = "Ann", .email = "ann@example.com", .is_active = true};
    struct session_record session = {.id = "session",
                                     .user_id = "one",
                                     .address = "",
                                     .agent = "",
                                     .expires_ms = 1,
                                     .chain = chain_begin(crypto_id(*state), 1, 2)};
    enum user_created created;
    bool found;

    assert_int_equal(store_user_create(&task, store, &user, &session, NULL, &created), OK);
    store_close(store);
    store = open_in(*state, folder);
    assert_int_equal(store_user_by_id(&task, store, "one", &found, &user), OK);
    assert_true(found);
    assert_null(user.password_hash);
    store_close(store);
    remove_folder(*state, folder);
}

static void test_a_folder_that_is_in_use_is_refused_with_a_sentence(void **state)
{
    const char *folder = new_folder(*state);
    struct store *store = open_in(*state, folder);
    struct task task = {.mem = *state, .id = "test"};

    assert_null(sqlite_open(&task, *state, folder));
    assert_non_null(strstr(task.text, folder));
    assert_non_null(strstr(task.text, "DATA_DIR"));
    store_close(store);
    remove_folder(*state, folder);
}

static void test_a_store_in_use_can_be_looked_at(void **state)
{
    const char *folder = new_folder(*state), *fault;
    struct task task = {.mem = *state, .id = "test"};
    struct store *store;
    int version = -1;

    assert_int_equal(sqlite_inspect(&task, folder, &version, &fault), OK);
    assert_int_equal(version, 0);
    store = open_in(*state, folder);
    assert_int_equal(sqlite_inspect(&task, folder, &version, &fault), OK);
    assert_true(version > 0);
    assert_null(fault);
    store_close(store);
    remove_folder(*state, folder);
}

int main(void)
{
    struct CMUnitTest tests[TESTS] = {
        UNIT(test_what_was_written_is_there_after_closing_and_opening),
        UNIT(test_a_folder_that_is_in_use_is_refused_with_a_sentence),
        UNIT(test_a_store_in_use_can_be_looked_at),
    };
    size_t count = 3;

    crypto_start();
    for (size_t i = 0; contract_tests[i].name != NULL; i++)
        tests[count++] = (struct CMUnitTest){contract_tests[i].name, run_contract, NULL, NULL,
                                             (void *)&contract_tests[i]};
    return _cmocka_run_group_tests("store", tests, count, NULL, NULL);
}
