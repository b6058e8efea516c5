#include "core/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

struct spool_file {
    int fd;
    size_t len; /* written */
    void *map;  /* NULL: not yet */
};

static _Atomic(size_t) held; /* by all files */

struct spool spool_open(struct task *task, const char *folder)
{
    return (struct spool){.text = text_open(task->mem, 1024), .folder = folder};
}

static int close_file(struct spool_file *file)
{
    assert(atomic_load(&held) >= file->len);
    if (file->map != NULL)
        munmap(file->map, file->len);
    close(file->fd);
    atomic_fetch_sub(&held, file->len);
    return 0;
}

/* Not every file system makes files without a name. */
static int open_nameless(void *mem, const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char *path;

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    path = mem_printf(mem, "%s/spool-XXXXXX", folder);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static enum err fail_file(struct task *task, int error)
{
    return fail(task, error == ENOSPC || error == EDQUOT ? ERR_STORE_FULL : ERR_STORE,
                mem_printf(task->mem,
                           "what is too long for memory cannot be written to DATA_DIR: "
                           "%s",
                           strerror(error)));
}

/* NULL, and the task's failure. */
static struct spool_file *make_file(struct task *task, const char *folder)
{
    int fd = open_nameless(task->mem, folder);
    struct spool_file *file;

    if (fd < 0) {
        (void)!fail_file(task, errno);
        return NULL;
    }
    file = mem_new(task->mem, struct spool_file);
    file->fd = fd;
    talloc_set_destructor(file, close_file);
    return file;
}

static enum err make_room(struct task *task, struct spool *spool)
{
    struct statvfs fs;

    assert(spool->file != NULL);
    if (atomic_fetch_add(&held, spool->text.len) + spool->text.len > SPOOL_BYTES) {
        atomic_fetch_sub(&held, spool->text.len);
        return fail(task, ERR_BUSY, "long replies that are not taken hold all that they may");
    }
    spool->file->len += spool->text.len;
    if (fstatvfs(spool->file->fd, &fs) == 0 &&
        (uint64_t)fs.f_bavail * fs.f_frsize < SPOOL_SPARE_BYTES + spool->text.len)
        return fail_file(task, ENOSPC);
    return OK;
}

static enum err write_out(struct task *task, struct spool *spool)
{
    const char *at = spool->text.s;
    size_t left = spool->text.len;

    assert(spool->file->fd >= 0);
    while (left > 0) {
        ssize_t n = write(spool->file->fd, at, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_file(task, n == 0 ? ENOSPC : errno);
        at += n;
        left -= (size_t)n;
    }
    spool->text.len = 0;
    return OK;
}

static enum err empty(struct task *task, struct spool *spool)
{
    enum err e;

    if (spool->file == NULL)
        spool->file = make_file(task, spool->folder);
    if (spool->file == NULL)
        return task->err;
    e = make_room(task, spool);
    return e == OK ? write_out(task, spool) : e;
}

enum err spool_flush(struct task *task, struct spool *spool)
{
    return spool->text.len < SPOOL_MEMORY_BYTES ? OK : empty(task, spool);
}

enum err spool_end(struct task *task, struct spool *spool, const char **ret, size_t *ret_len)
{
    struct spool_file *file = spool->file;
    enum err e = OK;
    void *map;

    *ret = spool->text.s;
    *ret_len = spool->text.len;
    if (file == NULL)
        return OK;
    if (spool->text.len > 0)
        e = empty(task, spool);
    if (e != OK)
        return e;
    assert(file->map == NULL);
    map = mmap(NULL, file->len, PROT_READ, MAP_SHARED, file->fd, 0);
    if (map == MAP_FAILED)
        return fail_file(task, errno);
    file->map = map;
    talloc_free(take_ptr(spool->text.s));
    *ret = map;
    *ret_len = file->len;
    return OK;
}
