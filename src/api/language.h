/* The reader's language. */
#pragma once

#include "core/language.h"
#include "http/request.h"

/* ?lang=ar or ?lang=en decides; else the first of the two that Accept-Language names; else English.
 */
enum language language_of(const struct request *req);

/* What the user chose, else that. */
enum language language_of_user(const struct request *req);
