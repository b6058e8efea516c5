/* SQLite's own promises, on top of the contract: what is on the disk, and what a disk can do.
 *
 * Faults come from three places: fdatasync() below stands before the C library's, SQLite's table of
 * system calls has this file's pwrite(), and root gets file systems of a private mount namespace.
 */
#include "contract.h"
#include "killed.h"
#include "sample.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/loop.h"
#include "store/sqlite.h"
#include "store/sqlite_check.h"
#include "store/sqlite_db.h"
#include "store/sqlite_schema.h"
#include "store/sqlite_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

/* Injected faults */

enum { NEVER = 1 << 30 };

/* Calls `first` to `last`, counted from 1 at arm(), fail with `error`. */
struct fault {
    atomic_int calls, first, last, error, delay_us;
};

static struct fault syncs = {.first = NEVER}, writes = {.first = NEVER}, reads = {.first = NEVER};
static char shy[32]; /* files whose names end so take no writes */

static void arm(struct fault *fault, int first, int last, int error)
{
    atomic_store(&fault->first, NEVER);
    atomic_store(&fault->calls, 0);
    atomic_store(&fault->last, last);
    atomic_store(&fault->error, error);
    atomic_store(&fault->first, first);
}

static void disarm(struct fault *fault)
{
    arm(fault, NEVER, NEVER, 0);
}

/* Sets errno. */
static bool is_due(struct fault *fault)
{
    int call = atomic_fetch_add(&fault->calls, 1) + 1, delay_us = atomic_load(&fault->delay_us);

    if (delay_us > 0)
        usleep((useconds_t)delay_us);
    if (call < atomic_load(&fault->first) || call > atomic_load(&fault->last))
        return false;
    errno = atomic_load(&fault->error);
    return true;
}

int fdatasync(int fd)
{
    return is_due(&syncs) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* The folder that was synced last. */
static char synced[512];

int fsync(int fd)
{
    struct stat st;
    char link[64];
    ssize_t len;

    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        len = readlink(link, synced, sizeof synced - 1);
        synced[len < 0 ? 0 : len] = '\0';
    }
    return (int)syscall(SYS_fsync, fd);
}

static bool is_shy(int fd)
{
    char link[64], path[512] = "";
    size_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1) < 0 ? 0 : strlen(path);
    return shy[0] != '\0' && len > strlen(shy) && strcmp(path + len - strlen(shy), shy) == 0;
}

static ssize_t faulty_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (is_shy(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return is_due(&writes) ? -1 : pwrite(fd, bytes, len, at);
}

/* Reads of files by the store's threads. */
static atomic_int writer_reads, check_reads, check_delay_us;

static ssize_t counted_pread(int fd, void *bytes, size_t len, off_t at)
{
    char name[16] = "";

    pthread_getname_np(pthread_self(), name, sizeof name);
    if (strcmp(name, "sqlite writer") == 0)
        atomic_fetch_add(&writer_reads, 1);
    if (strcmp(name, "sqlite check") == 0) {
        atomic_fetch_add(&check_reads, 1);
        usleep((useconds_t)atomic_load(&check_delay_us));
    }
    return is_due(&reads) ? -1 : pread(fd, bytes, len, at);
}

static void inject(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

    vfs->xSetSystemCall(vfs, "pread", (sqlite3_syscall_ptr)counted_pread);
    vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr)counted_pread);
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)faulty_pwrite);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)faulty_pwrite);
}

/* Folders */

static bool may_mount;

struct place {
    struct task *task;
    const char *root; /* removed at the end, with all that is in it */
    const char *folder, *file;
    struct store *store; /* open, or NULL */
};

static int begin(void **state)
{
    struct task *task;
    struct place *place;
    const char *root;

    sample_begin((void **)&task);
    place = mem_new(task->mem, struct place);
    root = sample_folder(task->mem);
    *place = (struct place){.task = task, .root = root, .folder = root};
    *state = place;
    if (root == NULL)
        return -1;
    place->file = mem_printf(task->mem, "%s/manus.sqlite", root);
    return 0;
}

static struct store *open_in(struct task *task, const char *folder)
{
    return sqlite_open(task, task->mem, folder);
}

static void open_again(struct place *place)
{
    assert_null(place->store);
    place->store = open_in(place->task, place->folder);
    if (place->store == NULL)
        fail_msg("%s", place->task->text);
}

static int begin_open(void **state)
{
    int failed = begin(state);

    if (failed == 0)
        open_again(*state);
    return failed;
}

static void shut(struct place *place)
{
    store_close(take_ptr(place->store));
}

static int end(void **state)
{
    struct place *place = *state;
    void *task = place->task;

    disarm(&syncs);
    disarm(&writes);
    atomic_store(&syncs.delay_us, 0);
    atomic_store(&check_delay_us, 0);
    if (place->store != NULL)
        shut(place);
    while (may_mount && umount2(place->root, MNT_DETACH) == 0) {
    }
    sample_remove(place->root);
    return sample_end(&task);
}

/* Refused, and the text has each of the words. */
static void assert_refused(struct place *place, const char *one, const char *two)
{
    struct store *store = sqlite_open(place->task, place->task->mem, place->folder);

    if (store != NULL)
        store_close(store);
    assert_null(store);
    if (strstr(place->task->text, one) == NULL || strstr(place->task->text, two) == NULL)
        fail_msg("no \"%s\" and \"%s\" in: %s", one, two, place->task->text);
}

/* SQL beside the store: the number in the first column of the first row, or 0. */
static int64_t sql(const struct place *place, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *statement = NULL;
    const char *rest = text;
    int64_t number = 0;

    assert_int_equal(sqlite3_open(place->file, &db), SQLITE_OK);
    while (*rest != '\0') {
        int code;

        if (sqlite3_prepare_v2(db, rest, -1, &statement, &rest) != SQLITE_OK)
            fail_msg("%s: %s", text, sqlite3_errmsg(db));
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW)
            number = sqlite3_column_int64(statement, 0);
        else
            assert_int_equal(code, SQLITE_DONE);
        sqlite3_finalize(statement);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

static char *read_file(const struct place *place, const char *path, size_t *ret_len)
{
    struct stat st;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes;

    assert_int_equal(fstat(fd, &st), 0);
    bytes = mem_zero(place->task->mem, (size_t)st.st_size + 1);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    *ret_len = (size_t)st.st_size;
    return bytes;
}

static void overwrite(const char *path, off_t at, const void *bytes, size_t len)
{
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, bytes, len, at), len);
}

struct login {
    struct user user;
    struct session_record session;
};

static struct login new_login(const struct place *place)
{
    struct login login = {.user = sample_user(place->task->mem)};

    login.session = sample_session(place->task->mem, login.user.id);
    return login;
}

static enum err put(const struct place *place, const struct login *login)
{
    enum user_created created = USER_CREATED;
    enum err e = store_user_create(place->task, place->store, &login->user, &login->session, NULL,
                                   &created);

    assert_int_equal(created, USER_CREATED);
    return e;
}

static struct login put_new(const struct place *place)
{
    struct login login = new_login(place);

    assert_int_equal(put(place, &login), OK);
    return login;
}

static bool has(const struct place *place, const struct login *login)
{
    bool has_user = sample_has_email(place->task, place->store, login->user.email);

    assert_int_equal(sample_has_session(place->task, place->store, login->session.id), has_user);
    return has_user;
}

static void assert_sound(const struct place *place)
{
    const char *fault;

    assert_int_equal(store_check(place->task, place->store, &fault), OK);
    if (fault != NULL)
        fail_msg("%s", fault);
}

/* Opening */

static void test_a_missing_folder_is_made_for_its_owner_alone(void **state)
{
    struct place *place = *state;
    struct stat st;

    place->folder = mem_printf(place->task->mem, "%s/data", place->folder);
    open_again(place);
    assert_string_equal(synced, place->root); /* where the folder's name is */
    put_new(place);
    assert_int_equal(stat(place->folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_a_second_opener_is_refused_and_told_who_has_it(void **state)
{
    struct place *place = *state;
    struct login login;

    assert_refused(place, place->folder, mem_printf(place->task->mem, "process %d:", getpid()));
    assert_refused(place, "in use", "DATA_DIR");
    login = put_new(place);
    assert_true(has(place, &login));
    shut(place);
    open_again(place);
    assert_true(has(place, &login));
}

static void test_an_empty_file_is_brought_to_the_newest_schema(void **state)
{
    struct place *place = *state;
    int fd = open(place->file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    close(fd);
    open_again(place);
    put_new(place);
    assert_int_equal(sql(place, "PRAGMA user_version"), sqlite_schema_version());
    shut(place);
    open_again(place);
    assert_int_equal(sql(place, "SELECT count(*) FROM users"), 1);
}

/* To the schema of version 7. */
static void undo_events(struct place *place)
{
    sql(place, "DROP TABLE other_customers;"
               "ALTER TABLE subscriptions DROP COLUMN customer_foreign;"
               "ALTER TABLE subscriptions DROP COLUMN was_canceled");
    sql(place, "DROP INDEX events_first; DROP INDEX events_again; DROP INDEX events_in_work;"
               "ALTER TABLE events DROP COLUMN leased_until; ALTER TABLE events DROP COLUMN waits;"
               "ALTER TABLE events DROP COLUMN reason;"
               "CREATE INDEX events_due ON events (next_at) WHERE state = 'waiting'");
    sql(place, "DROP TRIGGER mails_come; DROP TRIGGER mails_go; DROP TABLE tallies;"
               "DROP TABLE devices; DROP INDEX mails_recipient; DROP INDEX codes_email;"
               "DROP INDEX audit_others; DROP INDEX subscriptions_status;"
               "DROP INDEX subscriptions_sold; DROP INDEX events_state");
    sql(place, "DROP TABLE marks; DROP TABLE leases");
    sql(place, "ALTER TABLE subscriptions DROP COLUMN billing_anchor;"
               "ALTER TABLE subscriptions DROP COLUMN stripe_anchor;"
               "ALTER TABLE subscriptions DROP COLUMN stripe_item_id;"
               "ALTER TABLE subscriptions DROP COLUMN ends_at;"
               "ALTER TABLE subscriptions DROP COLUMN unpaid_from;"
               "ALTER TABLE subscriptions DROP COLUMN stripe_notes");
}

static void test_events_that_waited_before_are_tried_again_and_not_first(void **state)
{
    struct place *place = *state;

    open_again(place);
    shut(place);
    undo_events(place);
    sql(place, "INSERT INTO events(event_id, type, payload, state, received_at, next_at, attempts)"
               " VALUES('evt_1', 'invoice.paid', '{}', 'waiting', 1, 2, 5),"
               " ('evt_2', 'invoice.paid', '{}', 'done', 1, 2, 1)");
    sql(place, "INSERT INTO events(event_id, type, payload, state, error, received_at, next_at,"
               " attempts) VALUES('evt_3', 'invoice.paid', '{}', 'dead', 'paid twice: a', 1, 2, 0),"
               " ('evt_4', 'invoice.paid', '{}', 'dead', 'a of b pays for a plan, and names no user"
               " here: say', 1, 2, 0), ('evt_5', 'invoice.paid', '{}', 'dead', 'x', 1, 2, 0)");
    sql(place, "PRAGMA user_version = 7");
    open_again(place);
    shut(place);
    assert_int_equal(sql(place, "SELECT waits FROM events WHERE event_id = 'evt_1'"), 5);
    assert_int_equal(sql(place, "SELECT sum(waits) FROM events"), 5);
    assert_int_equal(sql(place, "SELECT reason FROM events WHERE event_id = 'evt_3'"),
                     REASON_PAID_TWICE);
    assert_int_equal(sql(place, "SELECT reason FROM events WHERE event_id = 'evt_4'"),
                     REASON_NAMES_NOBODY);
    assert_int_equal(sql(place, "SELECT reason FROM events WHERE event_id = 'evt_5'"),
                     REASON_FAILED);
}

static void test_what_was_over_before_goes_and_its_device_stays_known(void **state)
{
    struct place *place = *state;
    struct login login;

    open_again(place);
    login = put_new(place);
    shut(place);
    undo_events(place);
    sql(place, "UPDATE sessions SET device = 'laptop', ended_at = 5");
    sql(place, "INSERT INTO sessions SELECT 'adopted', user_id, created_at, expires_at + 7,"
               " last_used_at, 5, '', '', chain, '' FROM sessions");
    sql(place, "INSERT INTO mails(recipient, content, created_at, next_at) VALUES('a', '', 1, 1)");
    sql(place, "PRAGMA user_version = 7");
    open_again(place);
    assert_true(sample_has_session(place->task, place->store, "adopted"));
    assert_false(sample_has_session(place->task, place->store, login.session.id));
    shut(place);
    assert_int_equal(sql(place, "SELECT until FROM devices WHERE device = 'laptop'"),
                     login.session.expires_ms);
    assert_int_equal(sql(place, "SELECT count FROM tallies"), 1);
}

/* What may be gone through or sorted whole, and why that is bounded. */
static const char *const scans[][2] = {
    {"PING", "one row"},
    {"USER_OTHER_ADMIN", "the administrators"},
    {"USERS_FOUND", "the search index, for as long as a search may take"},
    {"AUDIT_OLDEST", "one row"},
    {"AUDIT_SINCE", "one row"},
    {"AUDIT_SINCE_SET", "one row"},
    {"AUDIT_SWEEP", "200 rows"},
    {"LEASES", "a row for each recurring job"},
    {"LEASES_VOID", "a row for each recurring job"},
    {"MAILS", "a page, in the order of the index"},
    {"SESSIONS_EVER", "the sessions of a user"},
    {"SESSIONS_OF", "the sessions of a user"},
    {"SESSION_CAP", "the sessions of a user"},
    {"DEVICES_CAP", "the devices of a user"},
};

static bool may_scan(const char *statement)
{
    for (size_t i = 0; i < count_of(scans); i++) {
        if (strcmp(scans[i][0], statement) == 0)
            return true;
    }
    return false;
}

/* Of a table, or a sort; of what a subquery or a list of values gives it is none. */
static bool is_scan(const char *step)
{
    return strncmp(step, "USE TEMP B-TREE", 15) == 0 ||
           (strncmp(step, "SCAN ", 5) == 0 && strncmp(step, "SCAN CONSTANT", 13) != 0 &&
            strncmp(step, "SCAN (", 6) != 0 && strcmp(step, "SCAN e") != 0);
}

static void test_no_statement_goes_through_a_table_that_grows(void **state)
{
    static const char *const statements[][2] = {
#define ROW(name, text) {#name, text},
        SQLITE_STATEMENTS(ROW)
#undef ROW
    };
    struct place *place = *state;
    struct sqlite_db db;
    unsigned found = 0;

    assert_int_equal(sqlite_db_open(place->task, place->file, SQLITE_OPEN_READWRITE, &db), OK);
    for (size_t i = 0; i < count_of(statements); i++) {
        const char *plan = mem_printf(place->task->mem, "EXPLAIN QUERY PLAN %s", statements[i][1]);
        sqlite3_stmt *s = NULL;
        bool scans_here = false;

        if (sqlite3_prepare_v2(db.handle, plan, -1, &s, NULL) != SQLITE_OK)
            fail_msg("%s: %s", statements[i][0], sqlite3_errmsg(db.handle));
        while (sqlite3_step(s) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(s, 3);

            scans_here = scans_here || is_scan(step);
            if (is_scan(step) && !may_scan(statements[i][0]))
                fail_msg("%s: %s", statements[i][0], step);
        }
        found += scans_here;
        sqlite3_finalize(s);
    }
    sqlite_db_close(&db);
    assert_int_equal(found, count_of(scans)); /* each of which is needed */
}

static void test_trials_of_before_their_mailboxes_were_noted_are_noted(void **state)
{
    struct place *place = *state;

    open_again(place);
    put_new(place);
    shut(place);
    sql(place, "INSERT INTO subscriptions(subscription_id, user_id, plan, status, trial_start,"
               " created_at, updated_at) SELECT 's', user_id, 'free', 'trialing', 7, 1, 1"
               " FROM users");
    undo_events(place);
    sql(place, "DROP TABLE trials");
    sql(place, "DROP TABLE keys");
    sql(place, "PRAGMA user_version = 6");
    open_again(place);
    shut(place);
    assert_int_equal(sql(place, "SELECT count(*) FROM trials WHERE began_at = 7"), 1);
}

static void test_a_migration_that_fails_leaves_the_schema_before_it(void **state)
{
    struct place *place = *state;

    int64_t count = sql(place, "SELECT count(*) FROM sqlite_schema");
    int version = sqlite_schema_version() - 1;

    shut(place);
    sql(place, mem_printf(place->task->mem, "PRAGMA user_version = %d", version));
    assert_refused(place, place->file, "already");
    assert_int_equal(sql(place, "PRAGMA user_version"), version);
    assert_int_equal(sql(place, "SELECT count(*) FROM sqlite_schema"), count);
}

static void assert_left_alone(struct place *place, const char *one, const char *two)
{
    size_t len, len_after;
    const char *before = read_file(place, place->file, &len), *after;

    assert_refused(place, one, two);
    after = read_file(place, place->file, &len_after);
    assert_int_equal(len_after, len);
    assert_memory_equal(after, before, len);
}

static void test_the_file_of_a_newer_program_is_refused_and_left_alone(void **state)
{
    struct place *place = *state;
    struct login login = put_new(place);

    shut(place);
    sql(place, "PRAGMA user_version = 99");
    assert_left_alone(place, "a newer manus has written this store (schema 99", "backup");
    sql(place, "PRAGMA journal_mode = DELETE");
    assert_left_alone(place, "a newer manus has written this store (schema 99", "backup");
    sql(place, mem_printf(place->task->mem, "PRAGMA user_version = %d", sqlite_schema_version()));
    open_again(place);
    assert_true(has(place, &login));
}

static void test_a_schema_number_that_no_program_writes_is_refused(void **state)
{
    struct place *place = *state;

    sql(place, "PRAGMA user_version = -3");
    assert_left_alone(place, place->file, "-3");
}

static void test_a_file_that_is_no_store_is_refused_and_left_alone(void **state)
{
    struct place *place = *state;

    put_new(place);
    shut(place);
    overwrite(place->file, 0, "Not by SQLite at all", 20);
    assert_left_alone(place, place->file, "restore a backup");
}

/* Which reads fail at the start, and how it ends. */
static void test_a_disk_that_fails_to_read_is_no_damage(void **state)
{
    struct place *place = *state;
    struct login login = put_new(place);
    const char *fault, *notice;
    int calls, version;

    shut(place);
    disarm(&reads);
    open_again(place);
    shut(place);
    calls = atomic_load(&reads.calls);
    assert_true(calls > 2);
    for (int call = 1; call <= calls; call++) {
        arm(&reads, call, call, EIO);
        open_again(place);
        shut(place);
        arm(&reads, call, NEVER - 1, EIO);
        assert_refused(place, place->file, "(dmesg)");
        assert_null(strstr(place->task->text, "restore"));
        assert_null(strstr(place->task->text, "\n"));
    }
    arm(&reads, 3, NEVER - 1, EIO);
    assert_int_equal(sqlite_inspect(place->task, place->folder, &version, &fault, &notice,
                                    &(struct sqlite_integrity){0}),
                     ERR_STORE);
    assert_non_null(strstr(place->task->text, "(dmesg)"));
    disarm(&reads);
    open_again(place);
    assert_true(has(place, &login));
}

static void test_a_disk_without_room_for_the_index_of_the_log_is_told_so(void **state)
{
    struct place *place = *state;

    put_new(place);
    shut(place);
    snprintf(shy, sizeof shy, "-shm");
    assert_refused(place, "(4874)", "free some space");
    shy[0] = '\0';
    open_again(place);
}

static void test_a_damaged_schema_is_refused_with_what_to_do(void **state)
{
    struct place *place = *state;
    char garbage[4096 - 100];

    put_new(place);
    shut(place);
    memset(garbage, 0xA5, sizeof garbage);
    overwrite(place->file, 100, garbage, sizeof garbage);
    assert_left_alone(place, place->file, "restore a backup");
}

static void test_a_file_in_place_of_the_folder_is_told(void **state)
{
    struct place *place = *state;

    place->folder = mem_printf(place->task->mem, "%s/file", place->folder);
    close(open(place->folder, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_refused(place, "Not a directory", "DATA_DIR");
}

/* Runs `body` in a child that is nobody; 0 from it is success. */
static int as_nobody(int (*body)(struct place *), struct place *place)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 &&
            (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
            _exit(3);
        _exit(body(place));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int is_refused_here(struct place *place)
{
    if (sqlite_open(place->task, place->task->mem, place->folder) != NULL)
        return 1;
    return strstr(place->task->text, "Permission denied") != NULL &&
                   strstr(place->task->text, "DATA_DIR") != NULL
               ? 0
               : 2;
}

static void test_a_folder_that_may_not_be_written_to_is_told(void **state)
{
    struct place *place = *state;

    assert_int_equal(chmod(place->folder, 0555), 0);
    assert_int_equal(as_nobody(is_refused_here, place), 0);
    assert_int_equal(chmod(place->folder, 0755), 0);
}

static void test_a_read_only_file_system_is_told(void **state)
{
    struct place *place = *state;

    if (!may_mount)
        skip();
    put_new(place);
    shut(place);
    assert_int_equal(mount(place->folder, place->folder, NULL, MS_BIND, NULL), 0);
    assert_int_equal(mount(NULL, place->folder, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_refused(place, "Read-only file system", "DATA_DIR");
}

/* Inspecting and checking */

static void test_inspecting_tells_the_schema_of_a_store_in_use(void **state)
{
    struct place *place = *state;
    const char *fault = "unset", *notice = NULL;
    int version = -1;

    assert_int_equal(sqlite_inspect(place->task, place->folder, &version, &fault, &notice,
                                    &(struct sqlite_integrity){0}),
                     OK);
    assert_int_equal(version, 0);
    assert_null(fault);
    assert_int_equal(access(place->file, F_OK), -1);
    open_again(place);
    put_new(place);
    assert_int_equal(sqlite_inspect(place->task, place->folder, &version, &fault, &notice,
                                    &(struct sqlite_integrity){0}),
                     OK);
    assert_int_equal(version, sqlite_schema_version());
    assert_null(fault);
    put_new(place);
}

/* Fills pages of every table and index, and leaves them all in the file itself. */
static void fill(struct place *place)
{
    for (int i = 0; i < 20; i++)
        put_new(place);
    shut(place);
}

/* What `manus check` finds of a store that is read row by row; NULL: nothing. */
static const char *found_by_rows(struct place *place, bool quick)
{
    struct sqlite_integrity how = {.by_rows = true, .quick = quick};
    const char *fault = NULL, *notice;
    int version;
    enum err e = sqlite_inspect(place->task, place->folder, &version, &fault, &notice, &how);

    return e == OK ? fault : place->task->text;
}

static void test_a_check_finds_damage_in_each_table_and_index(void **state)
{
    struct place *place = *state;
    char garbage[4096];
    size_t len, roots; /* which are the first pages, one for each */
    const char *sound;

    fill(place);
    sound = read_file(place, place->file, &len);
    roots = (size_t)sql(place, "SELECT max(rootpage) FROM sqlite_schema");
    assert_in_range(roots, 8, len / sizeof garbage);
    memset(garbage, 0xA5, sizeof garbage);
    for (size_t page = 1; page < roots; page++) {
        const char *fault = NULL, *notice;
        int version;
        enum err e;

        overwrite(place->file, (off_t)(page * sizeof garbage), garbage, sizeof garbage);
        e = sqlite_inspect(place->task, place->folder, &version, &fault, &notice,
                           &(struct sqlite_integrity){0});
        assert_true(e == ERR_STORE || fault != NULL);
        assert_non_null(found_by_rows(place, false));
        assert_non_null(found_by_rows(place, true));
        place->store = sqlite_open(place->task, place->task->mem, place->folder);
        if (place->store == NULL) {
            /* A page of the schema itself. */
            assert_non_null(strstr(place->task->text, "restore a backup"));
        } else {
            fault = NULL;
            e = store_check(place->task, place->store, &fault);
            assert_true(e == ERR_STORE || fault != NULL);
            shut(place);
        }
        overwrite(place->file, 0, sound, len);
    }
    open_again(place);
    assert_sound(place);
}

/* Changes what an index is not told of. */
static void change_behind(struct place *place, const char *index, const char *change)
{
    void *mem = place->task->mem;

    sql(place, mem_printf(mem,
                          "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = '%s';"
                          "PRAGMA writable_schema = ON;"
                          "DELETE FROM sqlite_schema WHERE name = '%s'",
                          index, index));
    sql(place, change);
    sql(place, "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept;"
               "DROP TABLE kept");
}

static void test_a_check_by_rows_finds_what_an_index_lacks_and_what_is_only_there(void **state)
{
    static const struct {
        const char *index, *change, *fault;
    } cases[] = {
        {"sessions_expiry", "UPDATE sessions SET expires_at = 7 WHERE rowid = 5",
         "sessions: a row is missing in index sessions_expiry"},
        {"sessions_expiry", "DELETE FROM sessions WHERE rowid = 5",
         "index sessions_expiry: an entry has no row in sessions"},
        {"users_admins", "UPDATE users SET role = 'admin' WHERE number = 3",
         "users: a row is missing in index users_admins"},
        {"users_admins", "UPDATE users SET role = 'user' WHERE role = 'admin'",
         "index users_admins: an entry has no row in users"},
        {"devices_until", "UPDATE devices SET until = 7 WHERE device = 'b'",
         "devices: a row is missing in index devices_until"},
        {"devices_until", "DELETE FROM devices WHERE device = 'b'",
         "index devices_until: an entry has no row in devices"},
        {"events_customer", "DELETE FROM events WHERE number = 1",
         "index events_customer: an entry has no row in events"},
        {"events_customer", "DELETE FROM events WHERE number = 2",
         "index events_customer: an entry has no row in events"},
        {"events_customer", "DELETE FROM events WHERE number = 4",
         "index events_customer: an entry has no row in events"},
        {"events_customer", "DELETE FROM events WHERE number = 6",
         "index events_customer: an entry has no row in events"},
    };
    struct place *place = *state;
    const char *sound;
    size_t len;

    fill(place);
    sql(place, "UPDATE users SET role = 'admin' WHERE number = 9;"
               "INSERT INTO devices SELECT user_id, 'a', 1 FROM users WHERE number = 1;"
               "INSERT INTO devices SELECT user_id, 'b', 1 FROM users WHERE number = 1;"
               "INSERT INTO devices SELECT user_id, 'b', 2 FROM users WHERE number = 2;"
               "INSERT INTO events(event_id, type, customer_id, payload, state, received_at, "
               "next_at) VALUES"
               "(1, 't', NULL, '', 'done', 1, 1), (2, 't', NULL, '', 'waiting', 1, 1),"
               "(3, 't', 'a', '', 'done', 1, 1), (4, 't', 'a', '', 'done', 1, 1),"
               "(5, 't', 'a', '', 'waiting', 1, 1), (6, 't', 'b', '', 'done', 1, 1);"
               "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_null(found_by_rows(place, false));
    sql(place, "PRAGMA wal_checkpoint(TRUNCATE)");
    sound = read_file(place, place->file, &len);
    for (size_t i = 0; i < count_of(cases); i++) {
        change_behind(place, cases[i].index, cases[i].change);
        assert_string_equal(found_by_rows(place, false), cases[i].fault);
        sql(place, "PRAGMA wal_checkpoint(TRUNCATE)");
        overwrite(place->file, 0, sound, len);
    }
    open_again(place);
    assert_sound(place);
}

static void test_a_check_by_rows_finds_values_that_the_schema_forbids(void **state)
{
    struct place *place = *state;

    fill(place);
    sql(place,
        "PRAGMA ignore_check_constraints = ON; UPDATE users SET role = 'king' WHERE number = 2");
    assert_string_equal(found_by_rows(place, false), "users: a row breaks a CHECK");
    sql(place, "UPDATE users SET role = 'user' WHERE number = 2");
    assert_null(found_by_rows(place, false));
    sql(place,
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')')"
        " WHERE name = 'sessions'");
    sql(place, "UPDATE sessions SET created_at = 'soon' WHERE rowid = 4");
    sql(place, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || ' STRICT'"
               " WHERE name = 'sessions'");
    assert_string_equal(found_by_rows(place, false), "sessions: a created_at is no integer");
    sql(place, "UPDATE sessions SET created_at = 1 WHERE rowid = 4");
    open_again(place);
    assert_sound(place);
}

static void test_a_check_reads_the_disk_and_not_its_memory(void **state)
{
    struct place *place = *state;
    char garbage[4096];
    const char *fault = NULL;
    enum err e;

    fill(place);
    open_again(place);
    assert_sound(place);
    memset(garbage, 0xA5, sizeof garbage);
    for (int page = 1; page < 8; page++)
        overwrite(place->file, page * (off_t)sizeof garbage, garbage, sizeof garbage);
    e = store_check(place->task, place->store, &fault);
    assert_true(e == ERR_STORE || fault != NULL);
}

static void test_a_check_finds_a_row_that_its_index_lacks(void **state)
{
    struct place *place = *state;
    const char *fault = NULL;

    fill(place);
    sql(place, "PRAGMA writable_schema = ON;"
               "UPDATE sqlite_schema SET sql = replace(sql, '(user_id)', '(session_id)')"
               " WHERE name = 'sessions_user'");
    open_again(place);
    assert_int_equal(store_check(place->task, place->store, &fault), OK);
    assert_non_null(fault);
}

/* Erasing */

enum { WRITERS = 16, WRITES = 10 };

static void run_writes(struct task *task, unsigned number, void *argument)
{
    struct place *place = argument;

    (void)number;
    for (int i = 0; i < WRITES; i++) {
        struct user user = sample_user(task->mem);
        struct session_record session = sample_session(task->mem, user.id);
        enum user_created created;

        if (store_user_create(task, place->store, &user, &session, NULL, &created) != OK)
            return;
    }
}

static bool is_in(const struct place *place, const char *path, const char *text)
{
    size_t len, text_len = strlen(text);
    const char *bytes;

    if (access(path, F_OK) != 0)
        return false;
    bytes = read_file(place, path, &len);
    for (size_t i = 0; i + text_len <= len; i++) {
        if (strncasecmp(bytes + i, text, text_len) == 0)
            return true;
    }
    return false;
}

/* In the file or its log. */
static bool is_anywhere(const struct place *place, const char *text)
{
    return is_in(place, place->file, text) ||
           is_in(place, mem_printf(place->task->mem, "%s-wal", place->file), text);
}

/* How many steps it takes until there is nothing to do. */
static unsigned erase_all(const struct place *place, int64_t before_ms)
{
    unsigned count = 1, steps = 0;

    for (; count > 0; steps += count)
        assert_int_equal(store_erase(place->task, place->store, before_ms, &count), OK);
    return steps;
}

/* A machine with much to do may put the emptying of the log off. */
static unsigned erase_to_the_end(const struct place *place)
{
    unsigned steps = 0;
    int tries = 0;

    do {
        steps += erase_all(place, INT64_MAX);
    } while (sql(place, "SELECT count(*) FROM marks WHERE name = 'erasing'") > 0 && ++tries < 50);
    return steps;
}

static struct login put_named(const struct place *place, const char *email, const char *fullname)
{
    struct login login = new_login(place);

    login.user.email = email;
    login.user.fullname = fullname;
    assert_int_equal(put(place, &login), OK);
    return login;
}

static void test_who_is_removed_and_what_they_were_called_leave_the_files(void **state)
{
    static const char *const traces[] = {"zebulon", "quagmire", "formerly", "xanthippe",
                                         "brobdingnag"};
    struct audit audit = {SAMPLE_MS, "system:test", "user.delete", "x", "", ""};
    struct place *place = *state;
    struct login removed, renamed, stays;
    enum user_changed changed;
    bool withheld;

    for (int i = 0; i < 3; i++)
        sample_race(WRITERS, run_writes, place);
    removed = put_named(place, "zebulon@quagmire.example", "Brobdingnag Lee");
    renamed = put_named(place, "xanthippe@example.com", "Formerly So");
    stays = put_named(place, "perpetua@example.com", "Ann Lee");
    assert_int_equal(store_mail_put(place->task, place->store,
                                    &(struct mail){.to = removed.user.email,
                                                   .content = "Dear Brobdingnag",
                                                   .created_ms = 1},
                                    &withheld),
                     OK);
    for (int i = 0; i < 3; i++)
        sample_race(WRITERS, run_writes, place);
    assert_int_equal(erase_all(place, INT64_MAX), 0); /* nothing was removed */
    assert_int_equal(
        store_user_delete(place->task, place->store, removed.user.id, NULL, &audit, &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_int_equal(store_user_set_fullname(place->task, place->store, renamed.user.id,
                                             "Another Name", &audit, &changed),
                     OK);
    assert_int_equal(store_user_set_email(place->task, place->store, renamed.user.id,
                                          "another@example.com", &audit, &changed),
                     OK);
    assert_true(is_anywhere(place, "zebulon"));
    assert_in_range(erase_to_the_end(place), 2, 1000);
    for (size_t i = 0; i < count_of(traces); i++) {
        if (is_anywhere(place, traces[i]))
            fail_msg("%s", traces[i]);
    }
    assert_true(is_anywhere(place, stays.user.email));
    assert_int_equal(sql(place, "SELECT count(*) FROM users_words"
                                " WHERE users_words MATCH 'perpetua OR another OR zebulon'"),
                     2);
    assert_sound(place);
    /* The next run has its pause, and goes on where it was left. */
    assert_int_equal(
        store_user_delete(place->task, place->store, renamed.user.id, NULL, &audit, &changed), OK);
    assert_int_equal(erase_all(place, 1), 0);
    shut(place);
    open_again(place);
    assert_in_range(erase_to_the_end(place), 1, 1000);
    assert_false(is_anywhere(place, "another@example.com"));
    put_new(place);
    assert_sound(place);
}

static void test_who_reads_for_long_delays_the_erasing_and_nothing_else(void **state)
{
    struct audit audit = {SAMPLE_MS, "system:test", "user.delete", "x", "", ""};
    struct place *place = *state;
    struct login removed = put_named(place, "zebulon@quagmire.example", "Brobdingnag Lee");
    enum user_changed changed;
    sqlite3 *reader;

    assert_int_equal(sqlite3_open(place->file, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM users", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(
        store_user_delete(place->task, place->store, removed.user.id, NULL, &audit, &changed), OK);
    erase_all(place, INT64_MAX);
    assert_true(is_anywhere(place, "zebulon"));
    put_new(place);
    assert_int_equal(sqlite3_exec(reader, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    assert_true(erase_all(place, INT64_MAX) > 0);
    assert_false(is_anywhere(place, "zebulon"));
}

/* So many that the index has levels whose merge takes hundreds of pages. */
static void put_users(const struct place *place, int from, int count)
{
    sql(place,
        mem_printf(place->task->mem,
                   "INSERT INTO users(user_id, email, fullname, role, is_active, created_at,"
                   " updated_at) WITH RECURSIVE n(i) AS (VALUES(%d) UNION ALL SELECT i + 1 FROM n"
                   " WHERE i < %d) SELECT printf('%%022d', i), hex(randomblob(5)) || i ||"
                   " '@example.com', hex(randomblob(4)) || ' Lee', 'user', 1, 1, 1 FROM n",
                   from, from + count - 1));
}

static void test_no_write_pays_for_the_merging_of_the_search_index(void **state)
{
    enum { USERS = 3000, PIECES = 5, PUTS = 400, MOST_BYTES = 128 * 4096 };
    struct place *place = *state;
    const char *log = mem_printf(place->task->mem, "%s-wal", place->file);
    off_t most = 0, before = 0;
    sqlite3 *reader;

    shut(place);
    for (int i = 0; i < PIECES; i++)
        put_users(place, 1 + i * USERS, USERS);
    open_again(place);
    /* While somebody reads, the log grows by what is written. */
    assert_int_equal(sqlite3_open(place->file, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM users", NULL, NULL, NULL),
                     SQLITE_OK);
    for (int i = 0; i < PUTS; i++) {
        struct stat st;

        put_new(place);
        assert_int_equal(stat(log, &st), 0);
        most = i > 0 && st.st_size - before > most ? st.st_size - before : most;
        before = st.st_size;
    }
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    if (most > MOST_BYTES)
        fail_msg("a write of %lld bytes", (long long)most);
    /* What was put one by one is merged all the same. */
    assert_in_range(sql(place, "SELECT count(DISTINCT segid) FROM users_words_idx"), 1, 40);
    assert_sound(place);
}

/* Durability */

static void test_nothing_is_acknowledged_before_it_is_synced(void **state)
{
    struct place *place = *state;
    struct login login = put_new(place);
    struct chain_link fresh = sample_link(place->task->mem), successor;
    enum session_refreshed refreshed;

    for (int i = 0; i < 10; i++) {
        disarm(&syncs);
        put_new(place);
        assert_true(atomic_load(&syncs.calls) > 0);
    }
    disarm(&syncs);
    assert_int_equal(store_session_refresh(place->task, place->store, login.session.id,
                                           sample_token(&login.session), &fresh, SAMPLE_MS,
                                           &refreshed, &successor),
                     OK);
    assert_true(atomic_load(&syncs.calls) > 0);
}

static void test_writes_that_wait_together_share_a_sync(void **state)
{
    struct place *place = *state;

    put_new(place);
    disarm(&syncs);
    atomic_store(&syncs.delay_us, 3000);
    sample_race(WRITERS, run_writes, place);
    assert_in_range(atomic_load(&syncs.calls), WRITES, WRITERS * WRITES / 3);
    assert_int_equal(sql(place, "SELECT count(*) FROM users"), WRITERS * WRITES + 1);
}

static void test_what_was_acknowledged_survives_kill_9(void **state)
{
    enum { KILLS = 6, LEAST = 100 };
    struct place *place = *state;
    struct acknowledged *list = NULL;
    size_t count = 0;

    for (int i = 0; i < KILLS; i++) {
        int fd;
        pid_t pid = killed_start(place->task, open_in, place->folder, &fd);

        list = killed_read(place->task->mem, fd, list, &count, count + LEAST + (size_t)i * 37);
        killed_end(pid);
        list = killed_read(place->task->mem, fd, list, &count, SIZE_MAX);
        close(fd);
        open_again(place);
        assert_sound(place);
        for (size_t k = 0; k < count; k++)
            assert_kept(place->task, place->store, &list[k]);
        shut(place);
    }
    assert_true(count >= KILLS * LEAST);
    assert_int_equal(sql(place, "SELECT count(*) - count(DISTINCT email) FROM users"), 0);
    assert_int_equal(sql(place, "SELECT count(*) FROM users WHERE user_id NOT IN"
                                " (SELECT user_id FROM sessions)"),
                     0);
    /* Whatever was not acknowledged is at most what four threads had in hand. */
    assert_in_range(sql(place, "SELECT count(*) FROM users"), count,
                    count + KILLS * KILLED_WRITERS);
}

static void test_a_store_whose_holder_was_killed_opens_at_once(void **state)
{
    struct place *place = *state;
    struct acknowledged *list = NULL;
    size_t count = 0;
    int fd;
    pid_t pid = killed_start(place->task, open_in, place->folder, &fd);

    list = killed_read(place->task->mem, fd, list, &count, 1);
    assert_refused(place, "in use", mem_printf(place->task->mem, "process %d:", pid));
    killed_end(pid);
    close(fd);
    open_again(place);
    assert_kept(place->task, place->store, list);
}

/* Faults */

static void test_a_sync_that_fails_is_no_acknowledgement_and_the_next_write_works(void **state)
{
    struct place *place = *state;
    struct login before = put_new(place), failed = new_login(place), after;

    arm(&syncs, 1, 1, EIO);
    assert_int_equal(put(place, &failed), ERR_STORE);
    disarm(&syncs);
    has(place, &failed);
    after = put_new(place);
    assert_true(has(place, &before));
    assert_true(has(place, &after));
    shut(place);
    open_again(place);
    assert_sound(place);
    has(place, &failed);
    assert_true(has(place, &before));
    assert_true(has(place, &after));
}

/* A store of some hundred pages, none of them in memory; how many. */
static int make_large(struct place *place)
{
    for (int i = 0; i < 5; i++)
        sample_race(WRITERS, run_writes, place);
    shut(place);
    open_again(place);
    return (int)sql(place, "PRAGMA page_count");
}

static void fail_a_sync(struct place *place)
{
    struct login failed = new_login(place);

    arm(&syncs, 1, 1, EIO);
    assert_int_equal(put(place, &failed), ERR_STORE);
    disarm(&syncs);
}

static void test_after_a_fault_the_file_is_checked_beside_the_writer(void **state)
{
    struct place *place = *state;
    int pages = make_large(place);

    assert_in_range(pages, 100, 100000);
    atomic_store(&check_reads, 0);
    fail_a_sync(place);
    atomic_store(&writer_reads, 0);
    put_new(place);
    assert_in_range(atomic_load(&writer_reads), 0, pages / 4);
    for (int i = 0; i < 20000 && atomic_load(&check_reads) < pages / 2; i++)
        usleep(1000);
    assert_in_range(atomic_load(&check_reads), pages / 2, pages * 4);
    put_new(place);
    assert_int_equal(store_ping(place->task, place->store), OK);
}

static void test_no_write_and_no_stop_waits_for_a_check(void **state)
{
    struct place *place = *state;
    int pages = make_large(place), before;

    atomic_store(&check_delay_us, 20000);
    atomic_store(&check_reads, 0);
    fail_a_sync(place);
    before = atomic_load(&check_reads);
    put_new(place);
    assert_in_range(before, 0, pages / 2);
    shut(place);
    assert_in_range(atomic_load(&check_reads), 0, pages / 2);
    open_again(place);
    assert_sound(place);
}

static void test_a_check_that_finds_damage_stops_writing_and_not_reading(void **state)
{
    struct place *place = *state;
    struct login first = put_new(place), next;
    off_t page;
    char garbage[4096];
    enum err e = OK;

    fill(place);
    page = (off_t)sql(place, "SELECT rootpage FROM sqlite_schema WHERE name = 'checkouts'") - 1;
    memset(garbage, 0xA5, sizeof garbage);
    overwrite(place->file, page * (off_t)sizeof garbage, garbage, sizeof garbage);
    open_again(place);
    put_new(place);
    fail_a_sync(place);
    for (int i = 0; i < 20000 && e == OK; i++) {
        usleep(1000);
        next = new_login(place);
        e = put(place, &next);
    }
    assert_int_equal(e, ERR_STORE);
    assert_non_null(strstr(place->task->text, "damaged"));
    assert_int_equal(store_ping(place->task, place->store), ERR_STORE);
    assert_true(has(place, &first));
    assert_false(has(place, &next));
}

static void test_a_write_that_the_store_has_no_time_for_never_happens(void **state)
{
    struct place *place = *state;
    struct login first = put_new(place), late = new_login(place);
    sqlite3 *other;

    assert_int_equal(sqlite3_open(place->file, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    place->task->deadline_ms = clock_mono_ms() + 300;
    assert_int_equal(put(place, &late), ERR_BUSY);
    place->task->deadline_ms = 0;
    assert_true(has(place, &first));
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    put_new(place);
    assert_false(has(place, &late));
    assert_int_equal(put(place, &late), OK);
}

static void test_a_write_that_is_under_way_at_its_deadline_has_its_outcome_told(void **state)
{
    struct place *place = *state;
    struct login slow = new_login(place);

    put_new(place);
    atomic_store(&syncs.delay_us, 600000);
    place->task->deadline_ms = clock_mono_ms() + 300;
    assert_int_equal(put(place, &slow), OK);
    atomic_store(&syncs.delay_us, 0);
    place->task->deadline_ms = 0;
    assert_true(has(place, &slow));
}

/* Writes that are handed over */

enum {
    HANDED = 50,
    HANDED_MOST = 1024,
    HANDED_SHARED = HANDED_MOST / 2,
    HANDED_OF_ONE = HANDED_MOST / 8
};

/* An event that is put without waiting, on a loop or on this thread. */
struct handed {
    struct store_later later;
    struct post post;
    const struct place *place;
    struct loop *loop, *told_on;
    struct task task;
    struct event event;
    struct event_kept kept;
    enum err begun, outcome;
    atomic_bool gone;
    sem_t *ended;
};

static void on_handed(struct store_later *later, enum err e)
{
    struct handed *handed = container_of(later, struct handed, later);

    handed->outcome = e;
    handed->told_on = loop_current();
    sem_post(handed->ended);
}

static void hand(struct handed *handed)
{
    handed->begun = store_event_put_later(&handed->task, handed->place->store, &handed->event, 0,
                                          &handed->kept, &handed->later);
}

static void hand_on_loop(struct post *post)
{
    hand(container_of(post, struct handed, post));
}

static struct handed *new_handed(const struct place *place, size_t count, sem_t *ended)
{
    struct handed *handed = mem_array(place->task->mem, struct handed, count);

    sem_init(ended, 0, 0);
    for (size_t i = 0; i < count; i++) {
        handed[i].later = (struct store_later){on_handed, &handed[i].gone};
        handed[i].post.run = hand_on_loop;
        handed[i].place = place;
        handed[i].ended = ended;
        handed[i].outcome = ERR_INTERNAL;
        handed[i].task.mem = mem_tree(512);
        talloc_steal(place->task->mem, handed[i].task.mem);
        handed[i].event = (struct event){
            .id = mem_printf(place->task->mem, "evt_%s", crypto_id(place->task->mem)),
            .type = "invoice.paid",
            .payload = "{}",
            .state = EVENT_WAITING,
            .received_ms = 1};
    }
    return handed;
}

static bool is_stored(const struct handed *handed)
{
    struct event event;
    bool found;

    assert_int_equal(store_event_by_id(handed->place->task, handed->place->store, handed->event.id,
                                       &found, &event),
                     OK);
    return found;
}

/* Nobody writes to the store until let_write(). */
static sqlite3 *keep_from_writing(const struct place *place)
{
    sqlite3 *other;

    assert_int_equal(sqlite3_open(place->file, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

static void let_write(sqlite3 *other)
{
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

static void test_what_loops_hand_over_is_durable_when_they_are_told(void **state)
{
    struct place *place = *state;
    struct loop *loops[2] = {loop_start(place->task->mem, 0), loop_start(place->task->mem, 1)};
    sem_t ended;
    struct handed *handed = new_handed(place, HANDED, &ended);
    int commits;

    put_new(place);
    atomic_store(&syncs.calls, 0);
    for (int i = 0; i < HANDED; i++) {
        handed[i].loop = loops[i % 2];
        assert_true(loop_post(handed[i].loop, &handed[i].post));
    }
    for (int i = 0; i < HANDED; i++)
        sem_wait(&ended);
    commits = atomic_load(&syncs.calls);
    assert_in_range(commits, 1, HANDED);
    for (int i = 0; i < HANDED; i++) {
        assert_int_equal(handed[i].begun, OK);
        assert_int_equal(handed[i].outcome, OK);
        assert_true(handed[i].kept.is_new && handed[i].told_on == handed[i].loop);
        assert_true(is_stored(&handed[i]));
    }
    for (int i = 0; i < 2; i++)
        loop_stop(loops[i]);
    for (int i = 0; i < 2; i++)
        loop_join(loops[i]);
}

static void test_what_is_handed_over_and_not_taken_in_time_never_happens(void **state)
{
    struct place *place = *state;
    sqlite3 *other = keep_from_writing(place);
    sem_t ended;
    struct handed *late = new_handed(place, 1, &ended);

    late->task.deadline_ms = clock_mono_ms() + 300;
    hand(late);
    assert_int_equal(late->begun, OK);
    store_expire(place->store);
    assert_int_equal(sem_trywait(&ended), -1);
    while (sem_trywait(&ended) != 0) {
        store_expire(place->store);
        usleep(10000);
    }
    assert_int_equal(late->outcome, ERR_BUSY);
    let_write(other);
    put_new(place);
    assert_false(is_stored(late));
}

static void test_what_nobody_wants_any_more_never_happens(void **state)
{
    struct place *place = *state;
    sqlite3 *other = keep_from_writing(place);
    sem_t ended;
    struct handed *handed = new_handed(place, 2, &ended);

    hand(&handed[0]);
    hand(&handed[1]);
    atomic_store(&handed[0].gone, true);
    let_write(other);
    sem_wait(&ended);
    sem_wait(&ended);
    assert_int_equal(handed[0].outcome, ERR_GONE);
    assert_int_equal(handed[1].outcome, OK);
    assert_false(is_stored(&handed[0]));
    assert_true(is_stored(&handed[1]));
}

static void test_more_than_may_wait_are_refused_at_once_and_never_happen(void **state)
{
    struct place *place = *state;
    sqlite3 *other = keep_from_writing(place);
    sem_t ended;
    struct handed *handed = new_handed(place, HANDED_MOST + HANDED, &ended);

    for (int i = 0; i < HANDED_MOST + HANDED; i++)
        hand(&handed[i]);
    let_write(other);
    for (int i = 0; i < HANDED_MOST; i++)
        sem_wait(&ended);
    for (int i = 0; i < HANDED_MOST + HANDED; i++) {
        assert_int_equal(handed[i].begun, i < HANDED_MOST ? OK : ERR_BUSY);
        assert_int_equal(is_stored(&handed[i]), i < HANDED_MOST);
    }
    hand(&handed[HANDED_MOST]);
    sem_wait(&ended);
    assert_int_equal(handed[HANDED_MOST].outcome, OK);
}

static void test_one_owners_flood_leaves_places_to_others(void **state)
{
    enum { FLOOD = HANDED_SHARED + HANDED, OTHERS = HANDED_OF_ONE + HANDED };

    struct place *place = *state;
    sqlite3 *other = keep_from_writing(place);
    sem_t ended;
    struct handed *handed = new_handed(place, FLOOD + OTHERS, &ended);

    for (int i = 0; i < FLOOD + OTHERS; i++) {
        handed[i].later.owner = i < FLOOD ? "flood" : "other";
        hand(&handed[i]);
        assert_int_equal(handed[i].begun,
                         i < HANDED_SHARED || (i >= FLOOD && i < FLOOD + HANDED_OF_ONE) ? OK
                                                                                        : ERR_BUSY);
    }
    let_write(other);
    for (int i = 0; i < HANDED_SHARED + HANDED_OF_ONE; i++)
        sem_wait(&ended);
    /* What was written has left its place. */
    for (int i = HANDED_SHARED; i < FLOOD; i++) {
        hand(&handed[i]);
        assert_int_equal(handed[i].begun, OK);
        sem_wait(&ended);
        assert_int_equal(handed[i].outcome, OK);
    }
}

static void test_writes_that_came_too_late_leave_their_owners_places(void **state)
{
    struct place *place = *state;
    sqlite3 *other = keep_from_writing(place);
    sem_t ended;
    struct handed *handed = new_handed(place, HANDED_SHARED + 1, &ended),
                  *last = &handed[HANDED_SHARED];

    for (int i = 0; i < HANDED_SHARED + 1; i++) {
        handed[i].later.owner = "flood";
        handed[i].task.deadline_ms = i < HANDED_SHARED ? clock_mono_ms() + 300 : 0;
        hand(&handed[i]);
    }
    assert_int_equal(last->begun, ERR_BUSY);
    for (int i = 0; i < HANDED_SHARED; i++) {
        while (sem_trywait(&ended) != 0) {
            store_expire(place->store);
            usleep(10000);
        }
    }
    hand(last);
    assert_int_equal(last->begun, OK);
    let_write(other);
    sem_wait(&ended);
    assert_int_equal(last->outcome, OK);
}

static void test_a_commit_that_fails_is_told_to_all_who_handed_over(void **state)
{
    struct place *place = *state;
    sem_t ended;
    struct handed *handed = new_handed(place, 2, &ended);

    put_new(place);
    arm(&syncs, 1, 1, EIO);
    hand(&handed[0]);
    sem_wait(&ended);
    disarm(&syncs);
    assert_int_equal(handed[0].outcome, ERR_STORE);
    hand(&handed[1]);
    sem_wait(&ended);
    assert_int_equal(handed[1].outcome, OK);
    assert_true(is_stored(&handed[1]));
}

/* For each write to a file in turn: it fails, and what was asked happened whole or not at all. */
static void fail_each_write(struct place *place, int error, enum err expected)
{
    struct login first = put_new(place);
    int call = 1;

    for (;; call++) {
        struct login login = new_login(place);
        enum err e;

        arm(&writes, call, call, error);
        e = put(place, &login);
        if (e == OK && atomic_load(&writes.calls) < call)
            break;
        if (e != OK) {
            disarm(&writes);
            assert_int_equal(e, expected);
            if (expected == ERR_STORE_FULL)
                assert_false(has(place, &login));
            if (!has(place, &login))
                assert_int_equal(put(place, &login), OK);
        }
        assert_true(has(place, &login));
        assert_true(has(place, &first));
    }
    assert_in_range(call, 3, 1000);
    disarm(&writes);
    shut(place);
    open_again(place);
    assert_sound(place);
    assert_int_equal(sql(place, "SELECT count(*) FROM users"), call + 1);
}

static void test_a_write_that_finds_no_space_changes_nothing(void **state)
{
    fail_each_write(*state, ENOSPC, ERR_STORE_FULL);
}

static void test_a_write_that_the_disk_refuses_happens_whole_or_not_at_all(void **state)
{
    fail_each_write(*state, EIO, ERR_STORE);
}

static void test_a_store_that_cannot_write_still_reads_and_says_so(void **state)
{
    struct place *place = *state;
    struct login first = put_new(place), failed;

    assert_int_equal(store_ping(place->task, place->store), OK);
    arm(&writes, 1, NEVER, EIO);
    for (int i = 0; i < 5; i++) {
        failed = new_login(place);
        assert_int_equal(put(place, &failed), ERR_STORE);
        assert_true(has(place, &first));
        assert_false(has(place, &failed));
        assert_int_equal(store_ping(place->task, place->store), ERR_STORE);
    }
    disarm(&writes);
    assert_int_equal(store_ping(place->task, place->store), OK);
    assert_int_equal(put(place, &failed), OK);
    assert_sound(place);
}

static void test_that_a_store_cannot_write_is_found_before_anybody_writes(void **state)
{
    struct place *place = *state;

    arm(&writes, 1, NEVER, EIO);
    assert_int_equal(store_ping(place->task, place->store), ERR_STORE);
    disarm(&writes);
    assert_int_equal(store_ping(place->task, place->store), OK);
    assert_sound(place);
}

static void test_a_group_that_finds_no_space_fails_whole(void **state)
{
    struct place *place = *state;

    put_new(place);
    arm(&writes, 1, NEVER, ENOSPC);
    sample_race(WRITERS, run_writes, place);
    disarm(&writes);
    assert_int_equal(sql(place, "SELECT count(*) FROM users"), 1);
    assert_int_equal(sql(place, "SELECT count(*) FROM sessions"), 1);
    sample_race(WRITERS, run_writes, place);
    assert_int_equal(sql(place, "SELECT count(*) FROM users"), WRITERS * WRITES + 1);
}

static void test_a_file_that_may_not_grow_is_a_failed_write_and_heals(void **state)
{
    struct place *place = *state;
    struct rlimit limit, low;
    struct login first = put_new(place), login;
    enum err e = OK;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low = limit;
    low.rlim_cur = 256 << 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    for (int i = 0; i < 1000 && e == OK; i++) {
        login = new_login(place);
        e = put(place, &login);
    }
    assert_true(e == ERR_STORE || e == ERR_STORE_FULL);
    assert_true(has(place, &first));
    assert_false(has(place, &login));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(put(place, &login), OK);
    shut(place);
    open_again(place);
    assert_true(has(place, &login));
    assert_sound(place);
}

static void mount_small(struct place *place)
{
    shut(place);
    assert_int_equal(mount("none", place->folder, "tmpfs", 0, "size=4m"), 0);
    open_again(place);
}

/* Leaves this much, and returns the ballast's path. */
static const char *leave(struct place *place, size_t bytes)
{
    const char *path = mem_printf(place->task->mem, "%s/ballast", place->folder);
    auto_close int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    struct statvfs fs;

    assert_int_equal(statvfs(place->folder, &fs), 0);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)(fs.f_bavail * fs.f_frsize - bytes)), 0);
    return path;
}

static void test_writes_stop_before_the_disk_is_full_and_go_on_when_there_is_space(void **state)
{
    struct place *place = *state;
    struct login first, failed;
    const char *ballast;

    if (!may_mount)
        skip();
    mount_small(place);
    first = put_new(place);
    ballast = leave(place, 512 << 10);
    failed = new_login(place);
    assert_int_equal(put(place, &failed), ERR_STORE_FULL);
    assert_non_null(strstr(place->task->text, "full"));
    assert_int_equal(store_ping(place->task, place->store), ERR_STORE_FULL);
    assert_true(has(place, &first));
    assert_false(has(place, &failed));
    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(store_ping(place->task, place->store), OK);
    assert_int_equal(put(place, &failed), OK);
    assert_true(has(place, &failed));
    assert_sound(place);
}

static void test_what_does_not_fit_on_the_disk_is_not_half_written(void **state)
{
    struct place *place = *state;
    struct login first, large;
    char *agent;

    if (!may_mount)
        skip();
    mount_small(place);
    first = put_new(place);
    shut(place);
    open_again(place);
    large = new_login(place);
    agent = mem_zero(place->task->mem, (5 << 20) + 1);
    memset(agent, 'a', 5 << 20);
    large.session.agent = agent;
    assert_int_equal(put(place, &large), ERR_STORE_FULL);
    assert_true(has(place, &first));
    assert_false(has(place, &large));
    large.session.agent = "a";
    assert_int_equal(put(place, &large), OK);
    shut(place);
    open_again(place);
    assert_true(has(place, &first));
    assert_true(has(place, &large));
    assert_sound(place);
}

static void test_a_check_that_takes_too_long_is_tried_ever_more_rarely_but_each_day(void **state)
{
    int64_t pause_ms = sqlite_check_pause(0, false), first_ms = pause_ms;

    (void)state;
    for (int i = 0; i < 40; i++) {
        assert_true(pause_ms >= first_ms && pause_ms <= 86400000);
        pause_ms = sqlite_check_pause(pause_ms, true);
    }
    assert_int_equal(pause_ms, 86400000);
    assert_int_equal(sqlite_check_pause(pause_ms, false), first_ms);
}

static void test_a_seal_that_could_not_be_written_once_is_set_again(void **state)
{
    struct place *place = *state;
    const char *path = mem_printf(place->task->mem, "%s-alone", place->file);
    const char *name = mem_printf(place->task->mem, "%s-seal", path);
    struct rlimit was, none;
    struct sqlite_seal *seal;
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fclose(file);
    seal = sqlite_seal_open(place->task->mem, path);
    sqlite_seal_set(seal);
    assert_int_equal(access(name, F_OK), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    none = (struct rlimit){0, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_true(sqlite_seal_break(seal));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_not_equal(access(name, F_OK), 0);
    sqlite_seal_set(seal);
    assert_int_equal(access(name, F_OK), 0);
    sqlite_seal_close(seal);
}

/* What the log says meanwhile. */
static const char *log_of_erasing(const struct place *place)
{
    const char *path = mem_printf(place->task->mem, "%s/log", place->root);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char *said = mem_zero(place->task->mem, 4096);

    assert_true(fd >= 0);
    log_start(fd, LOG_JSON, LOG_INFO);
    erase_all(place, INT64_MAX);
    log_stop();
    assert_true(pread(fd, said, 4095, 0) >= 0);
    close(fd);
    return said;
}

static void test_who_keeps_removed_names_in_the_log_for_a_day_is_told_of(void **state)
{
    struct audit audit = {SAMPLE_MS, "system:test", "user.delete", "x", "", ""};
    struct place *place = *state;
    struct login removed = put_named(place, "zebulon@quagmire.example", "Brobdingnag Lee");
    enum user_changed changed;
    sqlite3 *reader, *other;

    assert_int_equal(sqlite3_open(place->file, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_open(place->file, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM users", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(
        store_user_delete(place->task, place->store, removed.user.id, NULL, &audit, &changed), OK);
    assert_null(strstr(log_of_erasing(place), "deleted data is still"));
    assert_int_equal(sqlite3_exec(other,
                                  "UPDATE marks SET at = at - 90000000 WHERE name = 'erasing'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_non_null(strstr(log_of_erasing(place), "deleted data is still"));
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
}

#define CLOSED(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define OPENED(name) cmocka_unit_test_setup_teardown(name, begin_open, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLOSED(test_a_missing_folder_is_made_for_its_owner_alone),
        OPENED(test_a_second_opener_is_refused_and_told_who_has_it),
        CLOSED(test_an_empty_file_is_brought_to_the_newest_schema),
        CLOSED(test_events_that_waited_before_are_tried_again_and_not_first),
        CLOSED(test_what_was_over_before_goes_and_its_device_stays_known),
        OPENED(test_no_statement_goes_through_a_table_that_grows),
        CLOSED(test_trials_of_before_their_mailboxes_were_noted_are_noted),
        OPENED(test_a_migration_that_fails_leaves_the_schema_before_it),
        OPENED(test_the_file_of_a_newer_program_is_refused_and_left_alone),
        CLOSED(test_a_schema_number_that_no_program_writes_is_refused),
        OPENED(test_a_file_that_is_no_store_is_refused_and_left_alone),
        OPENED(test_a_damaged_schema_is_refused_with_what_to_do),
        OPENED(test_a_disk_that_fails_to_read_is_no_damage),
        OPENED(test_a_disk_without_room_for_the_index_of_the_log_is_told_so),
        CLOSED(test_a_file_in_place_of_the_folder_is_told),
        CLOSED(test_a_folder_that_may_not_be_written_to_is_told),
        OPENED(test_a_read_only_file_system_is_told),
        CLOSED(test_inspecting_tells_the_schema_of_a_store_in_use),
        OPENED(test_a_check_finds_damage_in_each_table_and_index),
        OPENED(test_a_check_by_rows_finds_what_an_index_lacks_and_what_is_only_there),
        OPENED(test_a_check_by_rows_finds_values_that_the_schema_forbids),
        OPENED(test_a_check_reads_the_disk_and_not_its_memory),
        OPENED(test_a_check_finds_a_row_that_its_index_lacks),
        OPENED(test_who_is_removed_and_what_they_were_called_leave_the_files),
        OPENED(test_no_write_pays_for_the_merging_of_the_search_index),
        OPENED(test_who_reads_for_long_delays_the_erasing_and_nothing_else),
        OPENED(test_who_keeps_removed_names_in_the_log_for_a_day_is_told_of),
        CLOSED(test_a_check_that_takes_too_long_is_tried_ever_more_rarely_but_each_day),
        CLOSED(test_a_seal_that_could_not_be_written_once_is_set_again),
        OPENED(test_nothing_is_acknowledged_before_it_is_synced),
        OPENED(test_writes_that_wait_together_share_a_sync),
        CLOSED(test_what_was_acknowledged_survives_kill_9),
        CLOSED(test_a_store_whose_holder_was_killed_opens_at_once),
        OPENED(test_a_sync_that_fails_is_no_acknowledgement_and_the_next_write_works),
        OPENED(test_after_a_fault_the_file_is_checked_beside_the_writer),
        OPENED(test_no_write_and_no_stop_waits_for_a_check),
        OPENED(test_a_check_that_finds_damage_stops_writing_and_not_reading),
        OPENED(test_a_write_that_the_store_has_no_time_for_never_happens),
        OPENED(test_a_write_that_is_under_way_at_its_deadline_has_its_outcome_told),
        OPENED(test_what_loops_hand_over_is_durable_when_they_are_told),
        OPENED(test_what_is_handed_over_and_not_taken_in_time_never_happens),
        OPENED(test_what_nobody_wants_any_more_never_happens),
        OPENED(test_more_than_may_wait_are_refused_at_once_and_never_happen),
        OPENED(test_one_owners_flood_leaves_places_to_others),
        OPENED(test_writes_that_came_too_late_leave_their_owners_places),
        OPENED(test_a_commit_that_fails_is_told_to_all_who_handed_over),
        OPENED(test_a_write_that_finds_no_space_changes_nothing),
        OPENED(test_a_write_that_the_disk_refuses_happens_whole_or_not_at_all),
        OPENED(test_a_store_that_cannot_write_still_reads_and_says_so),
        OPENED(test_that_a_store_cannot_write_is_found_before_anybody_writes),
        OPENED(test_a_group_that_finds_no_space_fails_whole),
        OPENED(test_a_file_that_may_not_grow_is_a_failed_write_and_heals),
        OPENED(test_writes_stop_before_the_disk_is_full_and_go_on_when_there_is_space),
        OPENED(test_what_does_not_fit_on_the_disk_is_not_half_written),
    };
    static const struct contract_store sqlite = {.name = "SQLite", .open = open_in};
    int failed;

    crypto_start();
    inject();
    may_mount = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    failed = cmocka_run_group_tests_name("SQLite", tests, NULL, NULL);
    return failed + contract_run(&sqlite);
}
