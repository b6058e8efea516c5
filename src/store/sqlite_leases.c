/* Leases (store/lease.h) in the embedded store. One process has it, so that a lease is a row like
 * any other, and those of whoever had the store before are over when it is opened. */
#include "core/clock.h"
#include "store/sqlite_parts.h"

/* A row that somebody has changed is believed within what a lease can be. */
static int64_t within(int64_t value, int64_t most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

static int64_t read_time(sqlite3_stmt *s, int column)
{
    return within(sqlite3_column_int64(s, column), CLOCK_LAST_S * 1000);
}

static struct lease read_lease(struct task *task, sqlite3_stmt *s)
{
    return (struct lease){
        .name = sqlite_db_text(task, s, 0),
        .holder = sqlite_db_text(task, s, 1),
        .fence = within(sqlite3_column_int64(s, 2), INT64_MAX - 1),
        .until_ms = read_time(s, 3),
        .taken_ms = read_time(s, 4),
        .succeeded_ms = read_time(s, 5),
    };
}

struct take {
    const char *name, *holder;
    int64_t lease_ms, known_ms;
    enum lease_taken *ret;
    struct lease *ret_lease;
};

static enum err find(struct task *task, struct sqlite_db *db, const char *name, bool *ret_found,
                     struct lease *ret)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_LEASE);
    enum err e;

    if (s != NULL)
        sqlite_bind(s, 1, name);
    e = sqlite_db_row(task, db, s, ret_found);
    if (e == OK && *ret_found)
        *ret = read_lease(task, s);
    return e;
}

static enum err put(struct task *task, struct sqlite_db *db, const struct lease *lease)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_LEASE_TAKE);

    if (s != NULL) {
        sqlite_bind(s, 1, lease->name);
        sqlite_bind(s, 2, lease->holder);
        sqlite3_bind_int64(s, 3, lease->fence);
        sqlite3_bind_int64(s, 4, lease->until_ms);
        sqlite3_bind_int64(s, 5, lease->taken_ms);
    }
    return sqlite_db_run(task, db, s, NULL);
}

static enum err take(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct take *take = argument;
    int64_t now_ms = clock_wall_ms();
    struct lease lease = {.name = take->name};
    bool found = false;
    enum err e = find(task, db, take->name, &found, &lease);

    *take->ret = e == OK && found ? lease_judge(&lease, now_ms, take->lease_ms, take->known_ms)
                                  : LEASE_TAKEN;
    if (e == OK && *take->ret == LEASE_TAKEN) {
        lease.holder = take->holder;
        lease.fence++;
        lease.taken_ms = now_ms;
        lease.until_ms = now_ms + take->lease_ms;
        e = put(task, db, &lease);
    }
    *take->ret_lease = lease;
    return e;
}

enum err sqlite_lease_take(struct task *task, struct store *store, const char *name,
                           const char *holder, int64_t lease_ms, int64_t known_ms,
                           enum lease_taken *ret, struct lease *ret_lease)
{
    struct take argument = {name, holder, lease_ms, known_ms, ret, ret_lease};

    return sqlite_writing(task, store, take, &argument);
}

struct change {
    const char *name;
    int64_t fence, lease_ms;
    bool succeeded;
    bool *ret_held;
};

static enum err renew(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct change *change = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_LEASE_RENEW);
    int64_t now_ms = clock_wall_ms();
    int changes = 0;
    enum err e;

    if (s != NULL) {
        sqlite_bind(s, 1, change->name);
        sqlite3_bind_int64(s, 2, change->fence);
        sqlite3_bind_int64(s, 3, now_ms);
        sqlite3_bind_int64(s, 4, now_ms + change->lease_ms);
    }
    e = sqlite_db_run(task, db, s, &changes);
    *change->ret_held = changes > 0;
    return e;
}

enum err sqlite_lease_renew(struct task *task, struct store *store, const char *name, int64_t fence,
                            int64_t lease_ms, bool *ret_held)
{
    struct change change = {
        .name = name, .fence = fence, .lease_ms = lease_ms, .ret_held = ret_held};

    return sqlite_writing(task, store, renew, &change);
}

static enum err release(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct change *change = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_LEASE_RELEASE);

    if (s != NULL) {
        sqlite_bind(s, 1, change->name);
        sqlite3_bind_int64(s, 2, change->fence);
        sqlite3_bind_int64(s, 3, change->succeeded ? clock_wall_ms() : 0);
    }
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_lease_release(struct task *task, struct store *store, const char *name,
                              int64_t fence, bool succeeded)
{
    struct change change = {.name = name, .fence = fence, .succeeded = succeeded};

    return sqlite_writing(task, store, release, &change);
}

struct leases {
    struct lease **ret;
    size_t *ret_count;
};

static enum err read_all(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct leases *all = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_LEASES);
    bool found = true;
    enum err e = OK;

    *all->ret_count = 0;
    *all->ret = mem_array(task->mem, struct lease, STORE_LEASES);
    while (e == OK && found && *all->ret_count < STORE_LEASES) {
        e = sqlite_db_row(task, db, s, &found);
        if (e == OK && found)
            (*all->ret)[(*all->ret_count)++] = read_lease(task, s);
    }
    return e;
}

enum err sqlite_leases(struct task *task, struct store *store, struct lease **ret,
                       size_t *ret_count)
{
    struct leases all = {ret, ret_count};

    return sqlite_reading(task, store, read_all, &all);
}
