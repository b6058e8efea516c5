/* Clocks. Stored and shown times are wall-clock ms since the epoch; deadlines are monotonic ms.
 * Callable from any thread. */
#pragma once

#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/* For tests of time rules: a constant that is added to the wall clock. */
void clock_shift_wall_ms(int64_t shift);
