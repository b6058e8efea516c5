#include "store/embedded.h"

#include "store/sqlite_parts.h"
#include "store/sqlite_schema.h"

#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { COPY_BYTES = 1 << 20, NAMES_TRIED = 10 };

struct restoring {
    const char *folder, *path, *made; /* `made`: the copy, until it takes the store's place */
};

static const char *const parts[] = {"", "-wal", "-shm"};

static enum err fail_path(struct task *task, const char *what, const char *path)
{
    const char *advice = errno == ENOSPC || errno == EDQUOT ? ": free some space" : "";

    return fail(task, ERR_STORE,
                mem_printf(task->mem, "cannot %s %s: %s%s", what, path, strerror(errno), advice));
}

static enum err copy_bytes(struct task *task, int from, int to, const char *name_from,
                           const char *name_to)
{
    uint8_t *piece = mem_array(task->mem, uint8_t, COPY_BYTES);

    for (;;) {
        ssize_t n = read(from, piece, COPY_BYTES), done = 0;

        if (n < 0)
            return fail_path(task, "read", name_from);
        if (n == 0)
            return OK;
        while (done < n) {
            ssize_t written = write(to, piece + done, (size_t)(n - done));

            if (written < 0)
                return fail_path(task, "write", name_to);
            done += written;
        }
    }
}

static enum err copy_file(struct task *task, const char *name_from, const char *name_to)
{
    auto_close int from = open(name_from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    auto_close int to = -1;
    struct stat st;
    enum err e;

    if (from < 0 || fstat(from, &st) != 0)
        return fail_path(task, "read", name_from);
    if (!S_ISREG(st.st_mode))
        return fail(task, ERR_STORE, mem_printf(task->mem, "%s is not a file", name_from));
    unlink(name_to);
    to = open(name_to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return fail_path(task, "write", name_to);
    sqlite_give_away(to, name_to);
    e = copy_bytes(task, from, to, name_from, name_to);
    if (e == OK && fsync(to) != 0)
        e = fail_path(task, "write", name_to);
    return e;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat of_a, of_b;

    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
           of_a.st_ino == of_b.st_ino;
}

static void remove_made(const struct restoring *r)
{
    auto_tree void *mem = mem_tree(512);

    for (size_t i = 0; i < count_of(parts); i++)
        unlink(mem_printf(mem, "%s%s", r->made, parts[i]));
}

static enum err copy_store(struct task *task, const struct restoring *r, const char *file,
                           bool with_log)
{
    const char *log = mem_printf(task->mem, "%s-wal", file);
    enum err e;

    remove_made(r);
    e = copy_file(task, file, r->made);
    if (e != OK || !with_log || access(log, F_OK) != 0)
        return e;
    return copy_file(task, log, mem_printf(task->mem, "%s-wal", r->made));
}

static enum err count(struct task *task, struct sqlite_db *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement = NULL;
    enum err e = OK;

    if (sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        e = sqlite_db_fail(task, db);
    else
        *ret = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return e;
}

#define LAST_OF(column, table) "coalesce((SELECT max(" column ") FROM " table "), 0)"
#define LAST_WRITE                                                                                 \
    "SELECT max(" LAST_OF("at", "touched") ", " LAST_OF("at", "audit") ", " LAST_OF(               \
        "updated_at", "users") ", " LAST_OF("last_login_at", "users") ", " LAST_OF("last_used_at", \
                                                                                   "sessions") ")"

static enum err examine(struct task *task, struct sqlite_db *db, struct embedded_restored *ret)
{
    const char *fault = NULL;
    int64_t tables = 0;
    enum err e = sqlite_schema_read(task, db, &ret->version);

    if (e == OK)
        e = count(task, db,
                  "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('users', "
                  "'sessions', 'touched', 'audit')",
                  &tables);
    if (e == OK && (ret->version == 0 || tables != 4))
        return fail(task, ERR_STORE, "it is a database, but not one of manus");
    if (e == OK)
        e = sqlite_schema_accept(task, db);
    if (e == OK)
        e = sqlite_db_check(task, db, "PRAGMA integrity_check(1)", &fault);
    if (e == OK && fault != NULL)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem, "it is damaged (%s): take another copy", fault));
    if (e == OK)
        e = count(task, db, "SELECT count(*) FROM users", &ret->users);
    if (e == OK)
        e = count(task, db, LAST_WRITE, &ret->last_ms);
    /* Its log becomes a part of it. */
    return e == OK ? sqlite_db_exec(task, db, "PRAGMA wal_checkpoint(TRUNCATE)") : e;
}

static enum err examine_made(struct task *task, const struct restoring *r, const char *file,
                             struct embedded_restored *ret)
{
    struct sqlite_db db;
    enum err e = sqlite_db_open(task, r->made, SQLITE_OPEN_READWRITE, &db);

    if (e == OK) {
        e = examine(task, &db, ret);
        /* What SQLite finds is wrong with this file, not with the store. */
        if (e != OK && sqlite_db_is_damaged(&db))
            task->text = mem_printf(task->mem, "%s: it is not an intact database: use another copy",
                                    sqlite3_errmsg(db.handle));
        sqlite_db_close(&db);
    }
    if (e != OK)
        task->text = mem_printf(task->mem, "%s cannot be restored: %s; the store stays as it was",
                                file, task->text);
    return e;
}

static const char *free_name(void *mem, const char *path)
{
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];
    const char *name = NULL;

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    for (int i = 0; i < NAMES_TRIED; i++) {
        name = i == 0 ? mem_printf(mem, "%s.before-%s", path, stamp)
                      : mem_printf(mem, "%s.before-%s-%d", path, stamp, i);
        if (access(name, F_OK) != 0 && access(mem_printf(mem, "%s-wal", name), F_OK) != 0)
            break;
    }
    return name;
}

/* The file first: a log without its file is refused at the next start, should this be the end. */
static enum err move_store(struct task *task, const char *from, const char *to, bool *ret_moved)
{
    *ret_moved = false;
    for (size_t i = 0; i < count_of(parts); i++) {
        const char *part = mem_printf(task->mem, "%s%s", from, parts[i]);

        if (rename(part, mem_printf(task->mem, "%s%s", to, parts[i])) == 0)
            *ret_moved = true;
        else if (errno != ENOENT)
            return fail_path(task, "move away", part);
    }
    return OK;
}

static enum err put_in_place(struct task *task, const struct restoring *r, const char **ret_kept)
{
    auto_close int folder = open(r->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *kept = free_name(task->mem, r->path);
    bool moved;
    enum err e = move_store(task, r->path, kept, &moved);

    if (e == OK && rename(r->made, r->path) != 0)
        e = fail_path(task, "make", r->path);
    if (e != OK) {
        struct task undo = {.mem = task->mem};

        (void)!move_store(&undo, kept, r->path, &moved);
        return e;
    }
    *ret_kept = moved ? kept : NULL;
    unlink(mem_printf(task->mem, "%s-seal", r->path));
    return fsync(folder) == 0 ? OK : fail_path(task, "write", r->folder);
}

static const char *contents(void *mem, const struct embedded_restored *found)
{
    char at[TEXT_TIME_SIZE];

    text_time(at, found->last_ms);
    return mem_printf(mem, "%lld users, last write %s", (long long)found->users, at);
}

static enum err ask(struct task *task, const char *file, const struct embedded_restored *alone,
                    const struct embedded_restored *with)
{
    bool more = with->last_ms > alone->last_ms ||
                (with->last_ms == alone->last_ms && with->users > alone->users);

    return fail(task, ERR_STORE,
                mem_printf(task->mem,
                           "%s is sound with its log (%s) and without (%s): %s holds more, and "
                           "nothing has changed yet; run manus restore --with-log %s, or manus "
                           "restore --without-log %s if you have put a copy of another time there",
                           file, contents(task->mem, with), contents(task->mem, alone),
                           more ? "with it the store" : "without it the store", file, file));
}

/* Makes a copy of a file whose log may be another's: with it if that loses nothing, without it if
 * it is sound only so. */
static enum err try_both(struct task *task, const struct restoring *r, const char *file,
                         struct embedded_restored *ret)
{
    struct task trying = {.mem = task->mem, .job = task->job};
    struct embedded_restored alone = {0}, with = {0};
    enum err e = copy_store(task, r, file, true), e_with = OK;

    if (e == OK)
        e_with = examine_made(&trying, r, file, &with);
    if (e_with == ERR_STORE_FULL)
        return fail(task, e_with, trying.text);
    if (e == OK)
        e = copy_store(task, r, file, false);
    if (e != OK)
        return e;
    e = examine_made(task, r, file, &alone);
    *ret = alone;
    if (e_with != OK) {
        ret->log_is = trying.text;
        return e;
    }
    if (e == OK && (with.users != alone.users || with.last_ms != alone.last_ms))
        return ask(task, file, &alone, &with);
    e = copy_store(task, r, file, true);
    return e == OK ? examine_made(task, r, file, ret) : e;
}

static enum err make_copy(struct task *task, const struct restoring *r, const char *file,
                          enum embedded_log log, struct embedded_restored *ret)
{
    enum err e;

    if (log == EMBEDDED_LOG_BY_ITSELF && is_same_file(file, r->path) && !sqlite_seal_fits(r->path))
        return try_both(task, r, r->path, ret);
    e = copy_store(task, r, file, log != EMBEDDED_LOG_LEFT);
    return e == OK ? examine_made(task, r, file, ret) : e;
}

enum err embedded_restore(struct task *task, const char *folder, const char *file,
                          enum embedded_log log, struct embedded_restored *ret)
{
    struct restoring r = {
        .folder = folder,
        .path = mem_printf(task->mem, "%s/manus.sqlite", folder),
        .made = mem_printf(task->mem, "%s/manus.sqlite-restoring", folder),
    };
    auto_close int lock_fd = -1;
    enum err e;

    *ret = (struct embedded_restored){0};
    if (access(file, R_OK) != 0)
        return fail_path(task, "read", file);
    e = sqlite_take_folder(task, folder, &lock_fd);
    if (e != OK)
        return e;
    if (is_same_file(file, r.made))
        return fail(task, ERR_STORE,
                    mem_printf(task->mem, "%s would be overwritten: move it away first", file));
    e = make_copy(task, &r, file, log, ret);
    if (e == OK)
        e = put_in_place(task, &r, &ret->kept);
    ret->file = r.path;
    remove_made(&r);
    return e;
}
