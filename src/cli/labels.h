/* What the metrics of this program are told apart by, of the tables that its folders have. */
#pragma once

#include "http/route.h"

extern const char *const lane_names[LANE_COUNT];

/* A lane's number in /metrics: LANE_LOOP is none. */
#define LANE_LABEL(id) ((id)-LANE_STORE)

/* Before anything is counted. */
void labels_name(void *mem, unsigned loops);
