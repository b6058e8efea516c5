/* The reader's language. */
#pragma once

#include "http/request.h"
#include "mail/letter.h"

/* ?lang=ar or ?lang=en decides; else the first of the two that Accept-Language names; else English.
 */
enum language language_of(const struct request *req);
