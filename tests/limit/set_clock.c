/* Preloaded into a server of tests: its wall clock is ahead by the seconds that stand in the file
 * named by SET_CLOCK. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static long ahead(void)
{
    const char *path = getenv("SET_CLOCK");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    long seconds = 0;

    if (file != NULL && fscanf(file, "%ld", &seconds) != 1)
        seconds = 0;
    if (file != NULL)
        fclose(file);
    return seconds;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int (*real)(struct timeval *,
                void *) = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int status = real(now, zone);

    now->tv_sec += ahead();
    return status;
}
