#include "core/task.h"

enum err task_fail(struct task *task, enum err code, const char *text, const char *where)
{
    task->err = code;
    task->text = text;
    task->where = where;
    task->phrase = NULL;
    return code;
}
