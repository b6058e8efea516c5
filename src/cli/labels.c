#include "cli/labels.h"

#include "api/jobs.h"
#include "api/limits.h"
#include "api/routes.h"
#include "core/metrics.h"
#include "remote/peers.h"
#include "store/store.h"

const char *const lane_names[LANE_COUNT] = {
    [LANE_LOOP] = "loop", [LANE_STORE] = "store",       [LANE_WRITE] = "write",
    [LANE_HASH] = "hash", [LANE_REMOTE] = "remote",     [LANE_EVENT] = "event",
    [LANE_JOB] = "job",   [LANE_OPERATOR] = "operator",
};

void labels_name(void *mem, unsigned loops)
{
    static const char *const peers[] = {PEER_NAMES};
    const char **numbers = mem_array(mem, const char *, loops);

    for (unsigned i = 0; i < loops; i++)
        numbers[i] = mem_printf(mem, "%u", i);
    metric_name_values(LABEL_loop, numbers, loops);
    metric_name_values(LABEL_lane, &lane_names[LANE_STORE], LANE_LABEL(LANE_COUNT));
    metric_name_values(LABEL_peer, peers, count_of(peers));
    limits_name_metrics(mem, routes);
    store_name_metrics();
    app_jobs_name_metrics();
}
