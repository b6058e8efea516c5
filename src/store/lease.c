#include "store/lease.h"

#include "core/clock.h"

enum lease_taken lease_judge(const struct lease *stored, int64_t now_ms, int64_t lease_ms,
                             int64_t known_ms)
{
    /* One that lasts for much longer than it may was noted by a clock that was ahead. */
    if (clock_holds(stored->until_ms, now_ms, 2 * lease_ms))
        return LEASE_HELD;
    /* Who died with it has not done the work. */
    return *stored->holder == '\0' && stored->taken_ms > known_ms ? LEASE_NEWER : LEASE_TAKEN;
}
