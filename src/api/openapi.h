/* The OpenAPI 3.1 document of a routes table: what each route takes comes from its row and the rows
 * of its body, what it says from api/schemas.json by name. Pure; any thread. */
#pragma once

#include "core/settings.h"
#include "http/route.h"

/* As these settings (NULL: the defaults) have it: how long a new password is, what AUTH_PROVIDER
 * offers and asks for. A new reference. Rows without a tag are left out. Aborts on a reply that
 * schemas.json does not have: a defect of the table. */
json_t *openapi_document(void *mem, const struct settings *settings, const struct route *rows);
