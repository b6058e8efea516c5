/* What holds before Redis was heard of: nobody is let in, and if it is away, for a share of the
 * limit. */
#include "limit/limiter_parts.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIVE_MOST = 10000,
    LOOK_MS = 3000, /* a link has found Redis in one second, and is greeted in another */
};

/* Waiting */

void limiter_has_looked(struct limiter_link *link)
{
    struct limiter *limiter = link->limiter;

    if (link->has_looked)
        return;
    link->has_looked = true;
    pthread_mutex_lock(&limiter->start_lock);
    limiter->have_looked++;
    pthread_cond_signal(&limiter->looked);
    pthread_mutex_unlock(&limiter->start_lock);
}

/* False: the time is up. */
static bool wait_once(struct limiter *limiter, const struct timespec *until)
{
    while (limiter->have_looked < limiter->link_count) {
        if (pthread_cond_timedwait(&limiter->looked, &limiter->start_lock, until) != 0)
            return limiter->have_looked == limiter->link_count;
    }
    return true;
}

void limiter_wait_for_redis(struct limiter *limiter)
{
    if (limiter->settings.target == NULL)
        return;
    pthread_mutex_lock(&limiter->start_lock);
    for (int i = 0; i < LIMITER_STOOD_STILL_MOST; i++) {
        struct timespec until = clock_deadline(LOOK_MS);

        if (wait_once(limiter, &until) || clock_late_ms(&until) < LIMITER_STILL_MS)
            break;
    }
    pthread_mutex_unlock(&limiter->start_lock);
}

/* How many live */

static uint32_t bounded(long long live)
{
    return live < 1 ? 1 : live > LIVE_MOST ? LIVE_MOST : (uint32_t)live;
}

/* Who has never heard of the others goes by how many there were: a start while Redis is away takes
 * no larger share. */
void limiter_read_live(struct limiter *limiter)
{
    const char *path = limiter->settings.instances_file;
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    char line[24] = "";

    if (file != NULL && fgets(line, sizeof line, file) == NULL)
        line[0] = '\0';
    if (file != NULL)
        fclose(file);
    limiter->live = limiter->remembered = bounded(strtoll(line, NULL, 10));
}

static void write_live(struct job *job)
{
    struct limiter *limiter = container_of(job, struct limiter, remember);
    char line[24];

    limiter->writing = atomic_load(&limiter->live);
    snprintf(line, sizeof line, "%u\n", limiter->writing);
    if (!file_replace(limiter->settings.instances_file, line, strlen(line)))
        log_warning(NULL, "the number of instances cannot be saved for the next start",
                    LOG_S("error", strerror(errno)));
}

static void on_written(struct job *job, enum err outcome)
{
    struct limiter *limiter = container_of(job, struct limiter, remember);

    if (outcome == OK)
        limiter->remembered = limiter->writing;
    limiter->remembers = false;
}

void limiter_take_live(struct limiter *limiter, long long live)
{
    atomic_store(&limiter->live, bounded(live));
    if (limiter->remembers || limiter->remembered == bounded(live) ||
        limiter->settings.instances_file == NULL)
        return;
    limiter->remember.run = write_live;
    limiter->remember.done = on_written;
    limiter->remembers = lane_submit(limiter->lane, &limiter->remember) == OK;
}
