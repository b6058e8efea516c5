#include "cli/cli.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

enum { MAPPED_BYTES = 1 << 20 };

/* No socket or file may become what somebody prints to: whatever is closed of 0 to 2 is opened. */
static void open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard_streams();
    /* A fixed threshold: glibc's own grows with the first large block that is freed, such as that
     * of a password's hash, and then keeps all that follow. */
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    return cli_run(argc, argv);
}
