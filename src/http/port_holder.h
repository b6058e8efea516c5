/* Who listens on a port of this machine, as far as this user may see. On the main thread. */
#pragma once

#include "core/mem.h"

/* "process 812 (nginx)"; NULL: nobody, or somebody else's process. */
const char *port_holder(void *mem, unsigned port);
