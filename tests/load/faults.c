/* Preloaded into the server: every n-th call that writes or syncs a file of the store fails, or a
 * sync hangs. The test shares the numbers with it by a file. */
#undef _FILE_OFFSET_BITS /* both names of a call are needed */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct faults {
    atomic_int sync_every, write_every, error; /* set by the test; 0: never */
    atomic_int syncs, writes;
    atomic_int held; /* set by the test: a sync does not end until it is 0 again */
};

static struct faults *faults;

__attribute__((constructor)) static void share(void)
{
    const char *path = getenv("FAULTS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *shared = fd < 0 ? MAP_FAILED
                          : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    faults = shared == MAP_FAILED ? NULL : shared;
}

static int is_of_the_store(int fd)
{
    char link[64], path[512] = "";

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, "manus.sqlite") != NULL;
}

static int fails(int fd, atomic_int *every, atomic_int *calls)
{
    int nth = faults == NULL ? 0 : atomic_load(every);

    if (nth == 0 || !is_of_the_store(fd) || (atomic_fetch_add(calls, 1) + 1) % nth != 0)
        return 0;
    errno = atomic_load(&faults->error);
    return 1;
}

static void hold(int fd)
{
    while (faults != NULL && atomic_load(&faults->held) != 0 && is_of_the_store(fd))
        usleep(10000);
}

int fdatasync(int fd)
{
    hold(fd);
    return fails(fd, &faults->sync_every, &faults->syncs) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    hold(fd);
    return fails(fd, &faults->sync_every, &faults->syncs) ? -1 : (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    return fails(fd, &faults->write_every, &faults->writes)
               ? -1
               : syscall(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite64(fd, bytes, len, at);
}
