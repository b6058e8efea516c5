/* What the build knows of itself: the commit it was made from, and that commit's time, so that two
 * builds of one commit are the same. "unknown" without git. */
#pragma once

const char *build_commit(void *mem);

/* 2026-03-01T10:00:00Z */
const char *build_time(void *mem);
