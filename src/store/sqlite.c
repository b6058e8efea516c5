#include "store/sqlite.h"

#include "store/sqlite_parts.h"
#include "store/sqlite_schema.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { READERS_KEPT = 32, TRACES_TOLD = 3, FILES_LEAST = 8 };

struct sqlite {
    struct store store;
    char *path;
    int lock_fd;
    struct sqlite_seal *seal;
    struct sqlite_writer *writer;

    pthread_mutex_t lock;
    struct sqlite_db *idle[READERS_KEPT]; /* connections that nobody reads on */
    unsigned idle_count;
};

static struct sqlite *sqlite_of(struct store *store)
{
    return container_of(store, struct sqlite, store);
}

/* Reading */

static enum err open_reader(struct task *task, struct sqlite *sqlite, struct sqlite_db *db)
{
    enum err e = sqlite_db_open(task, sqlite->path, SQLITE_OPEN_READWRITE, db);

    if (e != OK)
        return e;
    e = sqlite_db_exec(task, db, SQLITE_READER_PRAGMAS);
    if (e != OK)
        sqlite_db_close(db);
    return e;
}

static struct sqlite_db *borrow_reader(struct task *task, struct sqlite *sqlite)
{
    struct sqlite_db *db = NULL;

    pthread_mutex_lock(&sqlite->lock);
    if (sqlite->idle_count > 0)
        db = sqlite->idle[--sqlite->idle_count];
    pthread_mutex_unlock(&sqlite->lock);
    if (db != NULL)
        return db;
    db = mem_malloc(sizeof *db);
    if (open_reader(task, sqlite, db) == OK)
        return db;
    free(db);
    return NULL;
}

static void return_reader(struct sqlite *sqlite, struct sqlite_db *db, enum err e)
{
    bool kept = false;

    pthread_mutex_lock(&sqlite->lock);
    if (e == OK && sqlite->idle_count < READERS_KEPT) {
        sqlite->idle[sqlite->idle_count++] = db;
        kept = true;
    }
    pthread_mutex_unlock(&sqlite->lock);
    if (!kept) {
        sqlite_db_close(db);
        free(db);
    }
}

enum err sqlite_reading(struct task *task, struct store *store,
                        enum err (*read)(struct task *, struct sqlite_db *, void *), void *argument)
{
    struct sqlite *sqlite = sqlite_of(store);
    struct sqlite_db *db = borrow_reader(task, sqlite);
    enum err e;

    if (db == NULL)
        return task->err;
    e = read(task, db, argument);
    return_reader(sqlite, db, e);
    return e;
}

enum err sqlite_writing(struct task *task, struct store *store, sqlite_write *write, void *argument)
{
    return sqlite_writer_run(task, sqlite_of(store)->writer, write, argument);
}

enum err sqlite_writing_later(struct task *task, struct store *store, sqlite_write *write,
                              void *argument, struct store_later *later)
{
    return sqlite_writer_begin(task, sqlite_of(store)->writer, write, argument, later);
}

static void expire(struct store *store)
{
    sqlite_writer_expire(sqlite_of(store)->writer);
}

static enum err take(struct task *task, struct sqlite_db *db, void *argument)
{
    const struct sqlite_take *take = argument;
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, take->statement);
    bool more;
    enum err e;

    *take->ret_found = false;
    if (s != NULL) {
        sqlite3_bind_int64(s, 1, take->now_ms);
        sqlite3_bind_int64(s, 2, take->now_ms + take->lease_ms);
    }
    e = sqlite_db_row(task, db, s, take->ret_found);
    if (e != OK || !*take->ret_found)
        return e;
    take->read_row(task, s, take->row);
    return sqlite_db_row(task, db, s,
                         &more); /* the row is updated by the first step; this ends it */
}

enum err sqlite_take(struct task *task, struct store *store, const struct sqlite_take *wanted)
{
    return sqlite_writing(task, store, take, (void *)wanted);
}

void sqlite_bind(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

void sqlite_want_empty_log(struct store *store)
{
    sqlite_writer_want_empty_log(sqlite_of(store)->writer);
}

enum sqlite_emptying sqlite_emptying(struct store *store)
{
    return sqlite_writer_emptying(sqlite_of(store)->writer);
}

/* Health */

static enum err read_something(struct task *task, struct sqlite_db *db, void *argument)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_PING);
    bool row;

    (void)argument;
    return sqlite_db_row(task, db, s, &row);
}

static enum err write_something(struct task *task, struct sqlite_db *db, void *argument)
{
    auto_statement sqlite3_stmt *s = sqlite_db_statement(task, db, SQL_TOUCH);

    (void)argument;
    if (s != NULL)
        sqlite3_bind_int64(s, 1, clock_wall_ms());
    return sqlite_db_run(task, db, s, NULL);
}

enum err sqlite_ping(struct task *task, struct store *store)
{
    enum err e = sqlite_reading(task, store, read_something, NULL);

    if (e == OK && !sqlite_writer_is_proven(sqlite_of(store)->writer))
        e = sqlite_writing(task, store, write_something, NULL);
    return e;
}

/* On a connection of its own: a used one would answer from the pages that it remembers. */
enum err sqlite_check(struct task *task, struct store *store, const char **ret_fault)
{
    struct sqlite_db db;
    enum err e = open_reader(task, sqlite_of(store), &db);

    *ret_fault = NULL;
    if (e != OK)
        return e;
    e = sqlite_db_check(task, &db, "PRAGMA integrity_check(1)", ret_fault);
    sqlite_db_close(&db);
    return e;
}

/* Opening and closing */

static void close_store(struct store *store)
{
    struct sqlite *sqlite = sqlite_of(store);

    for (unsigned i = 0; i < sqlite->idle_count; i++) {
        sqlite_db_close(sqlite->idle[i]);
        free(sqlite->idle[i]);
    }
    sqlite_writer_stop(sqlite->writer);
    sqlite_seal_close(sqlite->seal);
    pthread_mutex_destroy(&sqlite->lock);
    close(sqlite->lock_fd);
    talloc_free(sqlite);
}

#define STORE_TOPIC(topic) static const struct store_##topic##_operations topic##_operations = {
#define STORE_TOPIC_END(topic)                                                                     \
    }                                                                                              \
    ;
#define STORE_OPERATION(topic, name, when, work, parameters, arguments) .name = sqlite_##name,
#include "store/operations.def"

static const struct store_operations operations = {
#define STORE_TOPIC(topic) .topic = &topic##_operations,
#define STORE_TOPIC_END(topic)
#include "store/operations.def"
    .expire = expire,
    .close = close_store,
};

/* Such as a link to where something is not mounted. */
static enum err fail_if_dangling(struct task *task, const char *folder)
{
    struct stat st;

    if (lstat(folder, &st) != 0 || access(folder, F_OK) == 0 || errno != ENOENT)
        return OK;
    return fail(
        task, ERR_STORE,
        mem_printf(task->mem,
                   "%s is a link to a folder that does not exist: mount or create that folder, "
                   "or set DATA_DIR to another one",
                   folder));
}

static enum err make_folder(struct task *task, const char *folder)
{
    if (fail_if_dangling(task, folder) != OK)
        return task->err;
    if ((mkdir(folder, 0700) == 0 && file_sync_folder(folder)) || errno == EEXIST)
        return OK;
    return fail(task, ERR_STORE,
                mem_printf(task->mem,
                           "cannot make the folder %s (%s): make it yourself, or set "
                           "DATA_DIR to a folder that this user may write to",
                           folder, strerror(errno)));
}

static const char *holder(struct task *task, int fd)
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

    for (ssize_t i = 0; i < n; i++) {
        if (pid[i] < '0' || pid[i] > '9')
            pid[i] = '\0';
    }
    return pid[0] == '\0' ? "another process" : mem_printf(task->mem, "process %s", pid);
}

/* Held until the process ends, however it ends. */
static enum err lock_folder(struct task *task, const char *folder, int *ret_fd)
{
    const char *path = mem_printf(task->mem, "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "cannot write to %s (%s): set DATA_DIR to a folder that "
                               "this user may write to, on a disk that is not full",
                               path, strerror(errno)));
    sqlite_give_away(fd, path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const char *who = holder(task, fd);

        close(fd);
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "%s is in use by %s: stop it, or set DATA_DIR to another "
                               "folder",
                               folder, who));
    }
    if (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", getpid()) < 0) {
        const char *why = errno == ENOSPC || errno == EDQUOT ? ": free some space" : "";

        why = mem_printf(task->mem, "cannot write to %s: %s%s", path, strerror(errno), why);
        close(fd);
        return fail(task, ERR_STORE, why);
    }
    *ret_fd = fd;
    return OK;
}

/* What is no file cannot become one; the lock must not be elsewhere either. */
static bool is_in_the_way(const char *path, bool may_be_link)
{
    struct stat st;

    return (may_be_link ? stat(path, &st) : lstat(path, &st)) == 0 && !S_ISREG(st.st_mode);
}

/* SQLite would make that file, wherever it is. */
static bool is_link_to_nothing(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && stat(path, &st) != 0 && errno == ENOENT;
}

/* Some command may have been run by another user before. */
static enum err may_use_files(struct task *task, const char *folder)
{
    static const char *const names[] = {
        "lock", "manus.sqlite", "manus.sqlite-wal", "manus.sqlite-shm", "manus.sqlite-seal",
        "bans"};

    for (size_t i = 0; i < count_of(names); i++) {
        const char *path = mem_printf(task->mem, "%s/%s", folder, names[i]);

        if (is_link_to_nothing(path))
            return fail(task, ERR_STORE,
                        mem_printf(task->mem,
                                   "%s is a link to a file that does not exist: mount or restore "
                                   "that file, or remove the link",
                                   path));
        if (is_in_the_way(path, i > 0))
            return fail(task, ERR_STORE,
                        mem_printf(task->mem,
                                   "%s is not a file: move it away, or set DATA_DIR to "
                                   "another folder",
                                   path));
        if (access(path, R_OK | W_OK) != 0 && errno != ENOENT)
            return fail(
                task, ERR_STORE,
                mem_printf(task->mem,
                           "cannot write to %s (%s): make the user of manus the owner of all "
                           "files in DATA_DIR, or set DATA_DIR to another folder",
                           path, strerror(errno)));
    }
    return OK;
}

enum err sqlite_take_folder(struct task *task, const char *folder, int *ret_fd)
{
    enum err e = make_folder(task, folder);

    if (e == OK)
        e = may_use_files(task, folder);
    return e == OK ? lock_folder(task, folder, ret_fd) : e;
}

static int64_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* What lies in the folder but what every start makes, as a list; NULL: nothing. */
static const char *traces(void *mem, const char *folder)
{
    struct text list = text_open(mem, 128);
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    unsigned count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;

        if (name[0] == '.' || strcmp(name, "lock") == 0 || strcmp(name, "lost+found") == 0)
            continue;
        if (count++ < TRACES_TOLD)
            text_printf(&list, "%s%s", list.len == 0 ? "" : ", ", name);
    }
    if (dir != NULL)
        closedir(dir);
    if (count > TRACES_TOLD)
        text_printf(&list, " and %u more", count - TRACES_TOLD);
    return count == 0 ? NULL : list.s;
}

/* The store that a restore moved away last; NULL: none. */
static const char *set_aside(void *mem, const char *folder)
{
    static const char start[] = "manus.sqlite.before-";
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    const char *last = NULL;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, start, sizeof start - 1) == 0 &&
            strstr(entry->d_name, "-wal") == NULL && strstr(entry->d_name, "-shm") == NULL &&
            (last == NULL || strcmp(entry->d_name, last) > 0))
            last = mem_string(mem, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return last == NULL ? NULL : mem_printf(mem, "%s/%s", folder, last);
}

/* Looks at the files before SQLite does: it would apply a log to whatever file is there, and remove
 * one that has no file. *ret_notice: what is to be told if the store turns out to be empty; NULL:
 * nothing. */
static enum err look_at_files(struct task *task, const char *folder, const char *path,
                              const char **ret_notice)
{
    const char *found = traces(task->mem, folder);

    *ret_notice = found == NULL
                      ? NULL
                      : mem_printf(task->mem,
                                   "there was no store in %s, so an empty one is made, but there "
                                   "is %s: if users are missing, look at DATA_DIR, or run: manus "
                                   "restore FILE",
                                   folder, found);
    if (size_of(path) > 0 && !sqlite_seal_fits(path))
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "%s has changed since manus last wrote it, and its log %s-wal may "
                               "belong to another file; nothing is lost yet: run: manus restore "
                               "%s, which tries the file with and without the log, and keeps both",
                               path, path, path));
    if (size_of(path) > 0)
        return OK;
    if (size_of(mem_printf(task->mem, "%s-restoring", path)) > 0)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "%s is missing, and a restore was interrupted (%s-restoring): run "
                               "manus restore again, or move that file away",
                               path, path));
    if (size_of(mem_printf(task->mem, "%s-wal", path)) > 0)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "%s is missing or empty, but its log %s-wal is there: put the file "
                               "back, or run: manus restore FILE; to begin with an empty store, "
                               "move the log away",
                               path, path));
    found = set_aside(task->mem, folder);
    if (found != NULL)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "%s is missing or empty, but a restore has set %s aside: run: manus "
                               "restore %s; to begin with an empty store, move that away",
                               path, found, found));
    return OK;
}

/* A young store is in its log alone. A server that has served leaves its socket, so an empty file
 * beside one has lost that log. */
static enum err refuse_emptied(struct task *task, const char *path, int version)
{
    const char *folder = dirname(mem_string(task->mem, path));
    struct stat st;

    if (version != 0 || size_of(path) == 0 ||
        lstat(mem_printf(task->mem, "%s/admin.sock", folder), &st) != 0)
        return OK;
    return fail(task, ERR_STORE,
                mem_printf(task->mem,
                           "it was in use and holds nothing now, because its log is missing or "
                           "damaged: put %s-wal back, or run: manus restore FILE; to begin with an "
                           "empty store, move %s away",
                           path, path));
}

static enum err open_once(struct task *task, const char *path, int *ret_version,
                          struct sqlite_db *ret)
{
    enum err e = sqlite_db_open(task, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ret);

    if (e != OK)
        return e;
    e = sqlite_schema_read(task, ret, ret_version);
    if (e == OK)
        e = sqlite_schema_accept(task, ret);
    if (e == OK)
        e = refuse_emptied(task, path, *ret_version);
    if (e == OK)
        e = sqlite_db_exec(task, ret, SQLITE_WRITER_PRAGMAS);
    if (e == OK)
        e = sqlite_schema_migrate(task, ret);
    if (e == OK)
        e = sqlite_db_prove(task, ret);
    if (e == OK)
        e = sqlite_db_simple(task, ret, SQL_LEASES_VOID);
    if (e != OK) {
        if (sqlite_db_is_damaged(ret) && !sqlite_db_is_readable(ret))
            fail(task, ERR_STORE, SQLITE_UNREADABLE);
        sqlite_db_close(ret);
    }
    return e;
}

/* Once more, since a disk may fail once; what is refused is so again. */
static enum err open_file(struct task *task, const char *path, int *ret_version,
                          struct sqlite_db *ret)
{
    enum err e = open_once(task, path, ret_version, ret);

    if (e != OK)
        e = open_once(task, path, ret_version, ret);
    if (e != OK)
        task->text = mem_printf(task->mem, "cannot open the store %s: %s", path, task->text);
    return e;
}

/* SQLite gives the log to whoever owns the file, but the file to whoever makes it. */
static void make_file(const char *path)
{
    auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd >= 0)
        sqlite_give_away(fd, path);
}

/* The store's file changes before there is a writer. */
static enum err open_sealed(struct task *task, struct sqlite *sqlite, int *ret_version,
                            struct sqlite_db *ret)
{
    enum err e;

    sqlite->seal = sqlite_seal_open(sqlite, sqlite->path);
    make_file(sqlite->path);
    e = open_file(task, sqlite->path, ret_version, ret);
    sqlite_seal_set(sqlite->seal);
    return e;
}

bool sqlite_is_there(struct task *task, const char *folder)
{
    const char *path = mem_printf(task->mem, "%s/manus.sqlite", folder);

    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

struct store *sqlite_open(struct task *task, void *mem, const char *folder)
{
    struct sqlite *sqlite = mem_new(mem, struct sqlite);
    const char *notice = NULL;
    int version = 0; /* of what was there */
    struct sqlite_db db;

    sqlite->lock_fd = -1;
    sqlite->store.operations = &operations;
    sqlite->store.name = mem_printf(sqlite, "SQLite in %s", folder);
    sqlite->path = mem_printf(sqlite, "%s/manus.sqlite", folder);
    if (sqlite_take_folder(task, folder, &sqlite->lock_fd) != OK ||
        look_at_files(task, folder, sqlite->path, &notice) != OK ||
        open_sealed(task, sqlite, &version, &db) != OK) {
        sqlite_seal_close(sqlite->seal);
        if (sqlite->lock_fd >= 0)
            close(sqlite->lock_fd);
        talloc_free(sqlite);
        return NULL;
    }
    pthread_mutex_init(&sqlite->lock, NULL);
    if (version == 0 && notice != NULL)
        sqlite->store.notice = mem_string(sqlite, notice);
    sqlite->writer = sqlite_writer_start(sqlite, sqlite->path, &db, sqlite->seal);
    return &sqlite->store;
}

/* A store has 8. Some file systems count none, and have room for any. */
static enum err may_make_files(struct task *task, const char *folder)
{
    struct statvfs fs;

    if (statvfs(folder, &fs) != 0 || fs.f_files == 0 || fs.f_favail >= FILES_LEAST)
        return OK;
    return fail(task, ERR_STORE_FULL,
                "the disk of DATA_DIR has no room for more files (inodes): remove some files");
}

/* The folder, or the one that it will be made in. */
static enum err may_be_written(struct task *task, const char *folder)
{
    bool is_there = access(folder, F_OK) == 0;
    struct stat st;
    const char *place = is_there ? folder : dirname(mem_string(task->mem, folder));

    if (fail_if_dangling(task, folder) != OK)
        return task->err;
    if (is_there && stat(folder, &st) == 0 && !S_ISDIR(st.st_mode))
        return fail(task, ERR_STORE,
                    mem_printf(task->mem, "%s is not a folder: set DATA_DIR to one", folder));
    if (access(place, W_OK | X_OK) != 0)
        return fail(task, ERR_STORE,
                    mem_printf(task->mem,
                               "cannot write to %s: %s: set DATA_DIR to a folder that this user "
                               "may write to",
                               place, strerror(errno)));
    if (is_there && may_use_files(task, folder) != OK)
        return task->err;
    if (!sqlite_has_space(place))
        return fail(task, ERR_STORE_FULL, "the disk of DATA_DIR is full: free some space");
    return may_make_files(task, place);
}

/* As the server writes when it looks whether it can. */
static enum err try_writing(struct task *task, struct sqlite_db *db)
{
    enum err e = sqlite_db_simple(task, db, SQL_BEGIN);

    if (e == OK)
        e = write_something(task, db, NULL);
    if (e == OK)
        e = sqlite_db_simple(task, db, SQL_COMMIT);
    return e;
}

enum err sqlite_inspect(struct task *task, const char *folder, int *ret_version,
                        const char **ret_fault, const char **ret_notice,
                        struct sqlite_integrity *how)
{
    const char *path = mem_printf(task->mem, "%s/manus.sqlite", folder);
    struct sqlite_db db;
    enum err e;

    *ret_version = 0;
    *ret_fault = NULL;
    *ret_notice = NULL;
    e = may_be_written(task, folder);
    if (e == OK)
        e = look_at_files(task, folder, path, ret_notice);
    if (e != OK || (access(path, F_OK) != 0 && errno == ENOENT))
        return e;
    e = sqlite_db_open(task, path, SQLITE_OPEN_READWRITE, &db);
    if (e != OK)
        return e;
    /* Copying the log is the server's. */
    e = sqlite_db_exec(task, &db, "PRAGMA wal_autocheckpoint = 0");
    if (e == OK)
        e = sqlite_schema_read(task, &db, ret_version);
    if (e == OK && *ret_version > 0)
        *ret_notice = NULL;
    if (e == OK)
        e = sqlite_schema_accept(task, &db);
    if (e == OK)
        e = refuse_emptied(task, path, *ret_version);
    if (e == OK && *ret_version == sqlite_schema_version())
        e = sqlite_db_prove(task, &db);
    if (e == OK)
        e = sqlite_integrity_check(task, &db, how, ret_fault);
    if ((*ret_fault != NULL || (e != OK && sqlite_db_is_damaged(&db))) &&
        !sqlite_db_is_readable(&db)) {
        *ret_fault = NULL;
        e = fail(task, ERR_STORE, SQLITE_UNREADABLE);
    }
    if (e == OK && *ret_fault == NULL && *ret_version > 0)
        e = try_writing(task, &db);
    sqlite_db_close(&db);
    return e;
}
