#include "store/store.h"

#include "core/clock.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "store/implementation.h"

#include <assert.h>

/* So long what has happened elsewhere is tried for, although the deadline has passed. */
enum { LATE_MS = 250 };

/* Of rows of store/operations.def. */
enum when { IN_TIME, ALSO_LATE };
enum { NONE = 0, MAILS = 1 << STORE_WORK_MAILS, EVENTS = 1 << STORE_WORK_EVENTS };

struct call {
    enum store_operation operation;
    int64_t began_us;
    int64_t deadline_ms; /* the task's */
};

static enum err refuse(struct task *task, enum store_operation operation)
{
    metric_add_of(METRIC_store_failures, operation, 0, 1);
    return fail(task, ERR_BUSY, "the deadline passed before the store was asked");
}

static enum err begin(struct task *task, enum when when, struct call *call)
{
    int64_t now_ms;

    assert(loop_current() == NULL && "operations wait, and loops must not");
    call->began_us = clock_mono_us();
    call->deadline_ms = task->deadline_ms;
    now_ms = call->began_us / 1000;
    if (task->deadline_ms == 0)
        return OK;
    if (when == ALSO_LATE && task->deadline_ms < now_ms + LATE_MS)
        task->deadline_ms = now_ms + LATE_MS;
    return task->deadline_ms > now_ms ? OK : refuse(task, call->operation);
}

static enum err end(struct task *task, const struct call *call, enum err e)
{
    task->deadline_ms = call->deadline_ms;
    metric_observe(METRIC_store_seconds, call->operation, clock_mono_us() - call->began_us);
    if (e != OK)
        metric_add_of(METRIC_store_failures, call->operation, 0, 1);
    return e;
}

static void tell(struct store *store, unsigned works)
{
    for (unsigned work = 0; works >> work != 0 && store->tell != NULL; work++) {
        if (works >> work & 1)
            store->tell(store->tell_arg, (enum store_work)work);
    }
}

/* On a loop: its turn has one time. */
static enum err begin_later(struct task *task, enum store_operation operation,
                            struct store_later *later)
{
    later->operation = operation;
    later->began_us = clock_turn_mono_us();
    return task->deadline_ms == 0 || task->deadline_ms > later->began_us / 1000
               ? OK
               : refuse(task, operation);
}

void store_later_end(struct store_later *later, enum err e)
{
    metric_observe(METRIC_store_seconds, later->operation, clock_mono_us() - later->began_us);
    if (e != OK)
        metric_add_of(METRIC_store_failures, later->operation, 0, 1);
    later->done(later, e);
}

#define STORE_OPERATION(topic, name, when, work, parameters, arguments)                            \
    enum err store_##name parameters                                                               \
    {                                                                                              \
        struct call call = {.operation = OPERATION_##name};                                        \
        enum err e = begin(task, when, &call);                                                     \
                                                                                                   \
        if (e != OK)                                                                               \
            return e;                                                                              \
        e = end(task, &call, store->operations->topic->name arguments);                            \
        if (e == OK)                                                                               \
            tell(store, work);                                                                     \
        return e;                                                                                  \
    }
#define STORE_OPERATION_LATER(topic, name, operation, parameters, arguments)                       \
    enum err store_##name parameters                                                               \
    {                                                                                              \
        enum err e = begin_later(task, OPERATION_##operation, later);                              \
                                                                                                   \
        return e == OK ? store->operations->topic->name arguments : e;                             \
    }
#include "store/operations.def"

void store_name_metrics(void)
{
    static const char *const names[] = {
#define STORE_OPERATION(topic, name, when, work, parameters, arguments) #name,
#define STORE_OPERATION_LATER(topic, name, operation, parameters, arguments)
#include "store/operations.def"
    };

    metric_name_values(LABEL_operation, names, count_of(names));
}

void store_tell(struct store *store, void (*tell_of)(void *arg, enum store_work work), void *arg)
{
    store->tell = tell_of;
    store->tell_arg = arg;
}

const char *store_name(const struct store *store)
{
    return store->name;
}

const char *store_notice(const struct store *store)
{
    return store->notice;
}

void store_expire(struct store *store)
{
    store->operations->expire(store);
}

void store_close(struct store *store)
{
    store->operations->close(store);
}
