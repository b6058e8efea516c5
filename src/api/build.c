#include "api/build.h"

#include "build_info.h"
#include "core/mem.h"

#include <string.h>

/* "COMMIT TIME" */
static const char info[] = MANUS_BUILD_INFO;

const char *build_commit(void *mem)
{
    return mem_copy(mem, info, strcspn(info, " "));
}

const char *build_time(void *mem)
{
    const char *space = strchr(info, ' ');

    return space == NULL ? "unknown" : mem_string(mem, space + 1);
}
