/* Preloaded into the server: what it writes to the store's files, cuts off, removes and syncs is
 * noted in a file, in the order in which it happened, so that a test can make the files as they may
 * be after a power cut at any point. The files that SQLite only maps (-shm) are left out. */
#undef _FILE_OFFSET_BITS /* both names of a call are needed */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITTEN = 1, CUT, REMOVED, SYNC_BEGUN, SYNCED };

struct record {
    uint32_t kind, name_len;
    int64_t at, len; /* CUT: `at` is the new size; syncs: `at` tells which */
    int64_t mtime_ns;
};

static int journal = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_llong syncs;

__attribute__((constructor)) static void open_journal(void)
{
    const char *path = getenv("JOURNAL");

    journal = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    atomic_store(&syncs, (long long)getpid() << 32);
}

/* The name in its folder, "." for a folder itself; NULL for what is no matter of the store. */
static const char *name_of(const char *path)
{
    const char *name = strrchr(path, '/');

    name = name == NULL ? path : name + 1;
    if (strncmp(name, "manus.sqlite", 12) != 0 || strstr(name, "-shm") != NULL ||
        strstr(name, " (deleted)") != NULL)
        return NULL;
    return name;
}

static const char *name_of_fd(int fd, char path[static 512])
{
    char link[64];
    struct stat st;
    ssize_t len;

    if (journal < 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, 511);
    path[len < 0 ? 0 : len] = '\0';
    if (len > 0 && name_of(path) == NULL && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return ".";
    return len > 0 ? name_of(path) : NULL;
}

static void note(enum kind kind, const char *name, int64_t at, const void *bytes, int64_t len,
                 int fd)
{
    struct record record = {kind, (uint32_t)strlen(name), at, len, 0};
    const struct iovec parts[] = {
        {&record, sizeof record}, {(void *)name, record.name_len}, {(void *)bytes, (size_t)len}};
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0)
        record.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
    if (writev(journal, parts, 3) != (ssize_t)(sizeof record + record.name_len + (size_t)len))
        abort();
}

static int sync_noted(long call, int fd)
{
    char path[512];
    const char *name = name_of_fd(fd, path);
    int64_t which = atomic_fetch_add(&syncs, 1);
    int result;

    if (name != NULL) {
        pthread_mutex_lock(&lock);
        note(SYNC_BEGUN, name, which, NULL, 0, fd);
        pthread_mutex_unlock(&lock);
    }
    result = (int)syscall(call, fd);
    if (name != NULL && result == 0) {
        pthread_mutex_lock(&lock);
        note(SYNCED, name, which, NULL, 0, fd);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fdatasync(int fd)
{
    return sync_noted(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_noted(SYS_fsync, fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    char path[512];
    const char *name = name_of_fd(fd, path);
    ssize_t result;

    pthread_mutex_lock(&lock);
    result = syscall(SYS_pwrite64, fd, bytes, len, at);
    if (name != NULL && result > 0)
        note(WRITTEN, name, at, bytes, result, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite64(fd, bytes, len, at);
}

int ftruncate64(int fd, off_t size)
{
    char path[512];
    const char *name = name_of_fd(fd, path);
    int result;

    pthread_mutex_lock(&lock);
    result = (int)syscall(SYS_ftruncate, fd, size);
    if (name != NULL && result == 0)
        note(CUT, name, size, NULL, 0, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

int unlink(const char *path)
{
    const char *name = journal < 0 ? NULL : name_of(path);
    int result;

    pthread_mutex_lock(&lock);
    result = (int)syscall(SYS_unlink, path);
    if (name != NULL && result == 0)
        note(REMOVED, name, 0, NULL, 0, -1);
    pthread_mutex_unlock(&lock);
    return result;
}
