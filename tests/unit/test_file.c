#include "core/file.h"

#include "limit/bans.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* What the disk was told, in order: "sync NAME", "rename NAME NAME", of the folder ".". */
static char told[1024], folder[PATH_MAX];
static int failing; /* this call, counted from 1, fails with EIO */

int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

static const char *name_of(const char *path)
{
    return strcmp(path, folder) == 0 ? "." : strrchr(path, '/') + 1;
}

static bool fails(const char *what)
{
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", what);
    errno = EIO;
    return failing > 0 && --failing == 0;
}

int __wrap_fsync(int fd)
{
    char link[64], path[PATH_MAX] = "", line[PATH_MAX + 8];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_true(readlink(link, path, sizeof path - 1) > 0);
    snprintf(line, sizeof line, "sync %s", name_of(path));
    return fails(line) ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    char line[2 * PATH_MAX];

    snprintf(line, sizeof line, "rename %s %s", name_of(from), name_of(to));
    return fails(line) ? -1 : __real_rename(from, to);
}

static int begin(void **state)
{
    char made[] = "/tmp/manus-file-XXXXXX";

    (void)state;
    told[0] = '\0';
    failing = 0;
    return mkdtemp(made) == NULL || realpath(made, folder) == NULL ? -1 : 0;
}

static const char *in_folder(void *mem, const char *name)
{
    return mem_printf(mem, "%s/%s", folder, name);
}

static int end(void **state)
{
    auto_tree void *mem = mem_tree(1024);

    (void)state;
    unlink(in_folder(mem, "one"));
    unlink(in_folder(mem, "one.new"));
    return rmdir(folder);
}

static const char *content(void *mem, const char *path)
{
    char *text = mem_zero(mem, 1000);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 || read(fd, text, 999) < 0 ? NULL : text;
}

static void a_file_is_durable_before_its_name_is_and_then_its_name(void **state)
{
    auto_tree void *mem = mem_tree(1024);
    const char *path = in_folder(mem, "one");
    struct stat st;

    (void)state;
    assert_true(file_replace(path, "first", 5));
    assert_true(file_replace(path, "other", 5));
    assert_string_equal(told, "sync one.new\nrename one.new one\nsync .\n"
                              "sync one.new\nrename one.new one\nsync .\n");
    assert_string_equal(content(mem, path), "other");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_disk_that_fails_leaves_the_old_file_and_is_told(void **state)
{
    auto_tree void *mem = mem_tree(1024);
    const char *path = in_folder(mem, "one");

    (void)state;
    assert_true(file_replace(path, "first", 5));
    for (int call = 1; call <= 3; call++) {
        failing = call;
        assert_false(file_replace(path, "other", 5));
        assert_int_equal(errno, EIO);
        assert_string_equal(content(mem, path), call == 3 ? "other" : "first");
    }
}

static void a_folder_that_is_not_there_takes_no_file(void **state)
{
    auto_tree void *mem = mem_tree(1024);

    (void)state;
    assert_false(file_replace(in_folder(mem, "none/one"), "x", 1));
    assert_int_equal(errno, ENOENT);
    assert_false(file_sync_folder(in_folder(mem, "none/one")));
    assert_true(file_sync_folder(in_folder(mem, "one/")));
    assert_string_equal(told, "sync .\n");
}

static void bans_are_durable_with_their_name(void **state)
{
    auto_tree void *mem = mem_tree(1024);
    struct bans *bans = bans_new(mem);

    (void)state;
    bans->of[0] = (struct ban){.until_ms = 1000, .decided_ms = 500};
    assert_true(network_parse("192.0.2.0/24", &bans->of[0].network));
    bans->count = 1;
    assert_true(bans_write(bans, in_folder(mem, "one")));
    assert_string_equal(content(mem, in_folder(mem, "one")), "192.0.2.0/24 1000 500\n");
    assert_string_equal(told, "sync one.new\nrename one.new one\nsync .\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_durable_before_its_name_is_and_then_its_name,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_disk_that_fails_leaves_the_old_file_and_is_told, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_folder_that_is_not_there_takes_no_file, begin, end),
        cmocka_unit_test_setup_teardown(bans_are_durable_with_their_name, begin, end),
    };

    return RUN_UNITS(tests);
}
