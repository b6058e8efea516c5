/* Clocks. Stored and shown times are wall-clock ms since the epoch; deadlines are monotonic ms.
 * Callable from any thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/* For what each request asks: on a loop's thread the time at which this turn first asked, which is
 * one reading for all that the turn serves; on any other thread the time now. What is measured ends
 * with clock_mono_us(). */
int64_t clock_turn_wall_ms(void);
int64_t clock_turn_mono_us(void);

/* The loop's: another turn begins on this thread. */
void clock_turn_begin(void);

/* The ms of a time in seconds since the epoch that others say, brought into the years 1970 to 9999.
 */
#define CLOCK_LAST_S INT64_C(253402300799)
int64_t clock_ms_of(int64_t said_s);

/* Does what lasts until then last still? A moment further ahead than it can last was written by a
 * clock that was ahead: that is over. */
static inline bool clock_holds(int64_t until_ms, int64_t now_ms, int64_t longest_ms)
{
    return until_ms > now_ms && until_ms - now_ms <= longest_ms;
}

/* A condition that is waited for until clock_deadline(), so that setting the wall clock neither
 * shortens nor lengthens the wait. */
void clock_condition(pthread_cond_t *condition);
struct timespec clock_deadline(int64_t in_ms);

/* By how much the deadline is past; a wait that ends much too late says that this process stood
 * still. */
int64_t clock_late_ms(const struct timespec *deadline);

/* For tests of time rules: a constant that is added to the wall clock. */
void clock_shift_wall_ms(int64_t shift);
