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
                       struct store_inspection *ret)
{
    ret->name = mem_printf(task->mem, "SQLite in %s", settings->data_dir);
    return sqlite_inspect(task, settings->data_dir, &ret->version, &ret->fault, &ret->notice);
}
