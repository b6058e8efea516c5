/* Threads of this program. Signals that ask the process for something are the main thread's alone:
 * no other one is interrupted by them. Any thread. */
#pragma once

#include <pthread.h>

/* As pthread_create(): 0, or what went wrong. */
int thread_start(pthread_t *ret, void *(*run)(void *argument), void *argument);
