#include "core/file.h"

#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        len -= (size_t)written;
    }
    return true;
}

/* Of closing, only the first failure is told. */
static bool close_told(int fd, bool ok)
{
    int why = errno;

    close(fd);
    errno = why;
    return ok;
}

bool file_sync_folder(const char *path)
{
    auto_tree void *mem = mem_tree(256);
    int fd = open(dirname(mem_string(mem, path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return errno == EACCES; /* nobody syncs what they may not read */
    /* Some file systems sync no folders, and say that the call makes no sense. */
    return close_told(fd, fsync(fd) == 0 || errno == EINVAL);
}

bool file_replace(const char *path, const void *content, size_t len)
{
    auto_tree void *mem = mem_tree(256);
    const char *fresh = mem_printf(mem, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd >= 0 && close_told(fd, write_all(fd, content, len) && fsync(fd) == 0) &&
           rename(fresh, path) == 0 && file_sync_folder(path);
}
