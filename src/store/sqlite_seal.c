#include "store/sqlite_seal.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILE_BYTES = 64,     /* what is told of the file, padded */
    PROGRESS_BYTES = 33, /* and of its log */
    LINE_BYTES = 104,
    WAL_HEADER_BYTES = 32,
    /* Of the log's index (-shm), by SQLite's walformat.html: the log's salts, which change when it
     * begins anew, how much of it is in the file, and how much of it somebody began to copy. */
    SALTS_AT = 32,
    COPIED_AT = 96,
    BEGUN_AT = 128,
    STRANGE_MS = 5000, /* for which a copying that was begun before may last */
};

struct sqlite_seal {
    char *path, *store_path;
    int fd, store_fd, shm_fd; /* closed behind SQLite's last connection, whose locks go with them */
    pthread_mutex_t lock;
    unsigned writing; /* how many write to the file now */
    char noted[LINE_BYTES];
    int64_t strange_ms; /* since when the file is not what was noted, monotonic; 0: it is */
    atomic_bool is_foreign;
};

void sqlite_give_away(int fd, const char *path)
{
    auto_tree void *mem = mem_tree(512);
    struct stat folder;

    if (geteuid() == 0 && stat(dirname(mem_string(mem, path)), &folder) == 0)
        (void)!fchown(fd, folder.st_uid, folder.st_gid);
}

static int open_seal(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && unlink(path) == 0)
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        sqlite_give_away(fd, path);
    return fd;
}

/* What cannot be written is taken away: then nothing is claimed, until the next time. */
static void put(struct sqlite_seal *seal, const char *line)
{
    char padded[LINE_BYTES + 1];

    if (seal->fd < 0)
        seal->fd = open_seal(seal->path);
    if (seal->fd < 0)
        return;
    snprintf(padded, sizeof padded, "%-*s\n", LINE_BYTES - 1, line);
    if (pwrite(seal->fd, padded, LINE_BYTES, 0) == LINE_BYTES && fsync(seal->fd) == 0)
        return;
    unlink(seal->path);
    close(seal->fd);
    seal->fd = -1;
}

struct sqlite_seal *sqlite_seal_open(void *mem, const char *path)
{
    struct sqlite_seal *seal = mem_new(mem, struct sqlite_seal);

    seal->store_path = mem_string(seal, path);
    seal->path = mem_printf(seal, "%s-seal", path);
    seal->fd = open_seal(seal->path);
    seal->store_fd = seal->shm_fd = -1;
    seal->writing = 1;
    pthread_mutex_init(&seal->lock, NULL);
    put(seal, "open");
    return seal;
}

static void describe(const struct stat *st, char ret[static FILE_BYTES])
{
    snprintf(ret, FILE_BYTES, "%lld %lld.%09ld", (long long)st->st_size,
             (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

/* How far the log is copied, by its index. Whoever copies it by SQLite moves that on; whoever puts
 * another file in place does not. "" is not known. */
static void describe_progress(int shm_fd, char ret[static PROGRESS_BYTES])
{
    uint32_t salts[2], copied, begun;

    ret[0] = '\0';
    if (shm_fd >= 0 && pread(shm_fd, salts, sizeof salts, SALTS_AT) == sizeof salts &&
        pread(shm_fd, &copied, sizeof copied, COPIED_AT) == sizeof copied &&
        pread(shm_fd, &begun, sizeof begun, BEGUN_AT) == sizeof begun)
        snprintf(ret, PROGRESS_BYTES, "%08x%08x%08x%08x", salts[0], salts[1], copied, begun);
}

static int open_shm(const char *store_path)
{
    auto_tree void *mem = mem_tree(512);

    return open(mem_printf(mem, "%s-shm", store_path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static void describe_all(int shm_fd, const struct stat *st, char line[static LINE_BYTES])
{
    char file[FILE_BYTES], progress[PROGRESS_BYTES];

    describe(st, file);
    describe_progress(shm_fd, progress);
    snprintf(line, LINE_BYTES, "%-*s%s", FILE_BYTES, file, progress);
}

/* SQLite syncs the content alone: after a power loss the time might be an earlier one. */
static void note(struct sqlite_seal *seal)
{
    struct stat st;

    if (seal->store_fd < 0)
        seal->store_fd = open(seal->store_path, O_RDONLY | O_CLOEXEC);
    if (seal->shm_fd < 0)
        seal->shm_fd = open_shm(seal->store_path);
    if (seal->store_fd < 0 || fsync(seal->store_fd) != 0 || fstat(seal->store_fd, &st) != 0)
        return;
    describe_all(seal->shm_fd, &st, seal->noted);
    put(seal, seal->noted);
}

enum state { AS_NOTED, COPIED_ON, STRANGE };

/* What has become of the file since it was noted. Whoever copies the log by SQLite says so in its
 * index first; whoever puts another file in place does not. `line`: what it is now. */
static enum state look(const struct sqlite_seal *seal, char line[static LINE_BYTES])
{
    struct stat st, there;

    memcpy(line, seal->noted, LINE_BYTES);
    if (*seal->noted == '\0' || fstat(seal->store_fd, &st) != 0)
        return AS_NOTED;
    if (stat(seal->store_path, &there) != 0)
        return errno == ENOENT ? STRANGE : AS_NOTED;
    if (there.st_ino != st.st_ino || there.st_dev != st.st_dev)
        return STRANGE;
    describe_all(seal->shm_fd, &st, line);
    if (strncmp(line, seal->noted, FILE_BYTES) == 0)
        return AS_NOTED;
    return line[FILE_BYTES] == '\0' || strcmp(line + FILE_BYTES, seal->noted + FILE_BYTES) != 0
               ? COPIED_ON
               : STRANGE;
}

static void condemn(struct sqlite_seal *seal)
{
    auto_tree void *mem = mem_tree(512);
    const char *mend = mem_printf(mem, "stop manus, then run: manus restore %s", seal->store_path);

    atomic_store(&seal->is_foreign, true);
    put(seal, "foreign");
    log_error(NULL,
              "the store's file was replaced while the server runs: the server has stopped writing",
              LOG_S("path", seal->store_path), LOG_S("mend", mend));
}

bool sqlite_seal_break(struct sqlite_seal *seal)
{
    char line[LINE_BYTES];
    bool is_ours;

    pthread_mutex_lock(&seal->lock);
    is_ours = seal->writing > 0 || (!atomic_load(&seal->is_foreign) && look(seal, line) != STRANGE);
    if (is_ours && seal->writing++ == 0)
        put(seal, "open");
    pthread_mutex_unlock(&seal->lock);
    return is_ours;
}

void sqlite_seal_set(struct sqlite_seal *seal)
{
    pthread_mutex_lock(&seal->lock);
    if (--seal->writing == 0)
        note(seal);
    pthread_mutex_unlock(&seal->lock);
}

int sqlite_seal_checkpoint(struct sqlite_seal *seal, sqlite3 *handle, int mode, int *ret_log,
                           int *ret_copied)
{
    int code;

    if (!sqlite_seal_break(seal))
        return SQLITE_BUSY;
    code = sqlite3_wal_checkpoint_v2(handle, NULL, mode, ret_log, ret_copied);
    sqlite_seal_set(seal);
    return code;
}

void sqlite_seal_refresh(struct sqlite_seal *seal)
{
    char line[LINE_BYTES];
    enum state state;

    pthread_mutex_lock(&seal->lock);
    if (seal->writing > 0 || atomic_load(&seal->is_foreign)) {
        pthread_mutex_unlock(&seal->lock);
        return;
    }
    state = look(seal, line);
    if (state != STRANGE) {
        seal->strange_ms = 0;
        if (seal->fd < 0 || strcmp(line, seal->noted) != 0)
            note(seal);
    } else if (seal->strange_ms == 0) {
        seal->strange_ms = clock_mono_ms();
    } else if (clock_mono_ms() - seal->strange_ms >= STRANGE_MS) {
        condemn(seal);
    }
    pthread_mutex_unlock(&seal->lock);
}

void sqlite_seal_log_begun(struct sqlite_seal *seal)
{
    char line[LINE_BYTES];

    pthread_mutex_lock(&seal->lock);
    if (seal->writing == 0 && !atomic_load(&seal->is_foreign) && look(seal, line) == AS_NOTED &&
        *line != '\0') {
        memcpy(seal->noted, line, LINE_BYTES);
        put(seal, line);
    }
    pthread_mutex_unlock(&seal->lock);
}

bool sqlite_seal_is_foreign(const struct sqlite_seal *seal)
{
    return atomic_load(&seal->is_foreign);
}

void sqlite_seal_close(struct sqlite_seal *seal)
{
    if (seal == NULL)
        return;
    if (seal->fd >= 0)
        close(seal->fd);
    if (seal->store_fd >= 0)
        close(seal->store_fd);
    if (seal->shm_fd >= 0)
        close(seal->shm_fd);
    pthread_mutex_destroy(&seal->lock);
    talloc_free(seal);
}

/* false: it claims nothing. */
static bool read_seal(const char *path, char line[static LINE_BYTES])
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || pread(fd, line, LINE_BYTES, 0) != LINE_BYTES || line[LINE_BYTES - 1] != '\n')
        return false;
    line[LINE_BYTES - 1] = '\0';
    return strncmp(line, "open ", 5) != 0;
}

static bool is_noted(const char *line, const struct stat *st)
{
    char found[FILE_BYTES];
    size_t len, digits = 0;

    describe(st, found);
    len = strlen(found);
    /* Some archives keep whole seconds alone, or micro- or milliseconds. */
    for (long part = st->st_mtim.tv_nsec; digits < 9 && part % 1000 == 0; part /= 1000)
        digits += 3;
    len -= digits;
    return memcmp(line, found, len) == 0;
}

/* Another program has copied the log since. No connection is open yet, whose locks would go with
 * the descriptor. */
static bool was_copied(const char *line, const char *path)
{
    auto_close int fd = open_shm(path);
    char now[PROGRESS_BYTES];

    describe_progress(fd, now);
    return *now != '\0' && line[FILE_BYTES] != ' ' &&
           strncmp(line + FILE_BYTES, now, strlen(now)) != 0;
}

bool sqlite_seal_fits(const char *path)
{
    auto_tree void *mem = mem_tree(1024);
    const char *seal = mem_printf(mem, "%s-seal", path);
    char before[LINE_BYTES], after[LINE_BYTES];
    struct stat st;

    if (stat(mem_printf(mem, "%s-wal", path), &st) != 0 || st.st_size <= WAL_HEADER_BYTES)
        return true;
    if (!read_seal(seal, before) || stat(path, &st) != 0 || is_noted(before, &st) ||
        was_copied(before, path))
        return true;
    /* A server may have written to it just now. */
    return !read_seal(seal, after) || strcmp(before, after) != 0;
}
