#include "core/task.h"

#include <assert.h>

enum err task_fail(struct task *task, enum err code, const char *text, const char *where)
{
    assert(code != OK && code < ERR_COUNT);
    assert(where != NULL);
    task->err = code;
    task->text = text;
    task->where = where;
    task->phrase = NULL;
    return code;
}
