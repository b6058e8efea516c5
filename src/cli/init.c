#include "cli/cli.h"
#include "core/crypto.h"
#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 48 };

static int explain(const char *path)
{
    if (errno == EEXIST)
        fprintf(stderr,
                "manus init: %s already exists and was not changed; to start over, move it "
                "away first\n",
                path);
    else
        fprintf(stderr, "manus init: cannot write %s: %s\n", path, strerror(errno));
    return EX_CANTCREAT;
}

static bool write_all(int fd, const struct text *text)
{
    size_t written = 0;

    while (written < text->len) {
        ssize_t n = write(fd, text->s + written, text->len - written);

        if (n < 0 && errno != EINTR)
            return false;
        written += n < 0 ? 0 : (size_t)n;
    }
    return fsync(fd) == 0;
}

/* Of a file that is there. */
static const char *shown_path(void *mem, const char *path)
{
    char *whole = realpath(path, NULL);
    const char *shown = whole == NULL ? path : mem_string(mem, whole);

    free(whole);
    return shown;
}

int command_init(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    const char *path = argument_option(arguments, "env-file");
    struct text text = text_open(mem, 512);
    uint8_t key[KEY_BYTES];
    auto_close int fd = -1;

    if (path == NULL)
        path = ".env";
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return explain(path);
    crypto_random(key, sizeof key);
    text_add(&text, "# Settings of manus. `manus settings --env` prints and explains all of them.\n"
                    "# Keep this file secret: anyone who knows the key can log in as anyone.\n");
    text_printf(&text, "JWT_SECRET_KEY=%s\n", text_base64url(mem, key, sizeof key));
    text_add(&text, "# Stricter than the defaults, which stay compatible with older clients.\n"
                    "PASSWORD_MIN_LENGTH=8\nPASSWORD_COMMON=refuse\nEMAIL_VERIFICATION=true\n"
                    "# If Redis fails, each instance counts rate limits by itself and stays in "
                    "service.\nREADY_CRITICAL=mongodb\n");
    if (!write_all(fd, &text) || !file_sync_folder(path)) {
        int status = explain(path);

        unlink(path);
        return status;
    }
    crypto_wipe(text.s, text.len);
    crypto_wipe(key, sizeof key);
    printf("manus: wrote %s with a random key\n", shown_path(mem, path));
    return EX_OK;
}
