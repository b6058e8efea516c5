#include "core/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret, void *(*run)(void *argument), void *argument)
{
    /* What a fault raises goes to the thread that has it. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
    sigset_t asked, before;
    int wrong;

    sigfillset(&asked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&asked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &asked, &before);
    wrong = pthread_create(ret, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return wrong;
}
