/* Which store the settings choose. There is the embedded one so far: no setting asks for another.
 */
#include "core/settings.h"
#include "store/sqlite.h"

struct store *store_open(struct task *task, void *mem, const struct settings *settings)
{
    return sqlite_open(task, mem, settings->data_dir);
}

bool store_is_there(struct task *task, const struct settings *settings)
{
    return sqlite_is_there(task, settings->data_dir);
}

enum err store_inspect(struct task *task, const struct settings *settings,
                       const struct store_progress *progress, struct store_inspection *ret)
{
    struct sqlite_integrity how = {.progress = progress};
    enum err e;

    ret->name = mem_printf(task->mem, "SQLite in %s", settings->data_dir);
    e = sqlite_inspect(task, settings->data_dir, &ret->version, &ret->fault, &ret->notice, &how);
    ret->in_parts = how.in_parts;
    return e;
}
