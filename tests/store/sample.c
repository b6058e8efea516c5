#include "sample.h"

#include <assert.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int sample_begin(void **state)
{
    void *mem = mem_tree(4096);
    struct task *task = mem_new(mem, struct task);

    *task = (struct task){.mem = mem, .id = "test"};
    *state = task;
    return 0;
}

int sample_end(void **state)
{
    struct task *task = *state;

    talloc_free(task->mem);
    return 0;
}

const char *sample_folder(void *mem)
{
    return mkdtemp(mem_string(mem, "/tmp/manus-store-XXXXXX"));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void sample_remove(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *sample_email(void *mem)
{
    return mem_printf(mem, "%s@example.org", crypto_id(mem));
}

struct user sample_user(void *mem)
{
    return (struct user){
        .id = crypto_id(mem),
        .fullname = "Zaynab O'Hara",
        .email = sample_email(mem),
        .password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
        .is_active = true,
        .created_ms = SAMPLE_MS,
        .updated_ms = SAMPLE_MS + 1,
        .last_login_ms = SAMPLE_MS + 2,
        .valid_from_ms = 0,
    };
}

struct session_record sample_session(void *mem, const char *user_id)
{
    return (struct session_record){
        .id = crypto_id(mem),
        .user_id = user_id,
        .created_ms = SAMPLE_MS,
        .last_used_ms = SAMPLE_MS,
        .expires_ms = SAMPLE_MS + SAMPLE_DAY_MS,
        .address = "2001:db8::7",
        .agent = "Mozilla/5.0 (X11; Linux x86_64)",
        .chain = chain_begin(crypto_id(mem), SAMPLE_MS / 1000, SAMPLE_MS / 1000 + 3600),
    };
}

struct chain_link sample_link(void *mem)
{
    struct chain_link link = {.issued_s = SAMPLE_MS / 1000, .expires_s = SAMPLE_MS / 1000 + 3600};

    memcpy(link.id, crypto_id(mem), sizeof link.id);
    return link;
}

const char *sample_token(const struct session_record *session)
{
    return session->chain.links[0].id;
}

static void assert_same_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

void assert_same_user(const struct user *a, const struct user *b)
{
    assert_same_text(a->id, b->id);
    assert_same_text(a->fullname, b->fullname);
    assert_same_text(a->email, b->email);
    assert_same_text(a->password_hash, b->password_hash);
    assert_int_equal(a->is_admin, b->is_admin);
    assert_int_equal(a->is_active, b->is_active);
    assert_int_equal(a->created_ms, b->created_ms);
    assert_int_equal(a->updated_ms, b->updated_ms);
    assert_int_equal(a->last_login_ms, b->last_login_ms);
    assert_int_equal(a->valid_from_ms, b->valid_from_ms);
}

void assert_same_link(const struct chain_link *a, const struct chain_link *b)
{
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->issued_s, b->issued_s);
    assert_int_equal(a->expires_s, b->expires_s);
    assert_int_equal(a->used_ms, b->used_ms);
}

void assert_same_session(const struct session_record *a, const struct session_record *b)
{
    assert_same_text(a->id, b->id);
    assert_same_text(a->user_id, b->user_id);
    assert_int_equal(a->created_ms, b->created_ms);
    assert_int_equal(a->last_used_ms, b->last_used_ms);
    assert_int_equal(a->expires_ms, b->expires_ms);
    assert_int_equal(a->ended_ms, b->ended_ms);
    assert_same_text(a->address, b->address);
    assert_same_text(a->agent, b->agent);
    assert_int_equal(a->chain.count, b->chain.count);
    for (unsigned i = 0; i < a->chain.count; i++)
        assert_same_link(&a->chain.links[i], &b->chain.links[i]);
}

void sample_create(struct task *task, struct store *store, const struct user *user,
                   const struct session_record *session)
{
    enum user_created created;

    assert_int_equal(store_user_create(task, store, user, session, NULL, &created), OK);
    assert_int_equal(created, USER_CREATED);
}

void sample_open(struct task *task, struct store *store, const struct session_record *session)
{
    int64_t valid_from_ms = sample_read_user(task, store, session->user_id).valid_from_ms;
    enum session_opened opened;

    assert_int_equal(store_session_open(task, store, session, valid_from_ms, &opened), OK);
    assert_int_equal(opened, SESSION_OPENED);
}

struct user sample_read_user(struct task *task, struct store *store, const char *id)
{
    struct user user = {0};
    bool found = false;

    assert_int_equal(store_user_by_id(task, store, id, &found, &user), OK);
    assert_true(found);
    return user;
}

struct session_record sample_read_session(struct task *task, struct store *store, const char *id)
{
    struct session_record session = {0};
    bool found = false;

    assert_int_equal(store_session_by_id(task, store, id, &found, &session), OK);
    assert_true(found);
    return session;
}

bool sample_has_email(struct task *task, struct store *store, const char *email)
{
    struct user user;
    bool found;

    assert_int_equal(store_user_by_email(task, store, email, &found, &user), OK);
    return found;
}

bool sample_has_session(struct task *task, struct store *store, const char *id)
{
    struct session_record session;
    bool found;

    assert_int_equal(store_session_by_id(task, store, id, &found, &session), OK);
    return found;
}

struct runner {
    pthread_t thread;
    pthread_barrier_t *start;
    sample_runner *run;
    unsigned number;
    void *argument;
};

static void *run_one(void *argument)
{
    struct runner *runner = argument;
    auto_tree void *mem = mem_tree(4096);
    struct task task = {.mem = mem, .id = "runner"};

    pthread_barrier_wait(runner->start);
    runner->run(&task, runner->number, runner->argument);
    return NULL;
}

void sample_race(unsigned count, sample_runner *run, void *argument)
{
    auto_tree void *mem = mem_tree(4096);
    struct runner *runners = mem_array(mem, struct runner, count);
    pthread_barrier_t start;
    int failed = pthread_barrier_init(&start, NULL, count);

    for (unsigned i = 0; i < count && failed == 0; i++) {
        runners[i] = (struct runner){
            .start = &start, .run = run, .number = i, .argument = argument};
        failed = pthread_create(&runners[i].thread, NULL, run_one, &runners[i]);
    }
    assert(failed == 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(runners[i].thread, NULL);
    pthread_barrier_destroy(&start);
}
