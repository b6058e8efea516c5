/* Writes JSON (RFC 8259) as text: commas, quotes and brackets are the writer's, so that what comes
 * out is JSON whatever is put. `name` is the member's; NULL in a list and for the whole. What only
 * a fault of ours can break (a name missing, a bracket left open) is asserted. One thread at a
 * time.
 *
 *     struct json_writer w = json_write(&text);
 *     put_object(&w, NULL);
 *     put_string(&w, "id", id);
 *     put_list(&w, "names");
 *     put_string(&w, NULL, "Ann");
 *     put_end(&w);
 *     put_end(&w);
 */
#pragma once

#include "core/text.h"

struct json_writer {
    struct text *out;
    unsigned depth;         /* brackets that are open */
    uint32_t lists, filled; /* a bit for each depth: it is a list; it has something */
};

struct json_writer json_write(struct text *out);

void put_object(struct json_writer *w, const char *name);
void put_list(struct json_writer *w, const char *name);

/* Closes what was opened last. */
void put_end(struct json_writer *w);

/* Bytes that are not UTF-8 become U+FFFD; NULL is null. */
void put_string(struct json_writer *w, const char *name, const char *value);
void put_number(struct json_writer *w, const char *name, int64_t value);
void put_boolean(struct json_writer *w, const char *name, bool value);
void put_null(struct json_writer *w, const char *name);

/* "2026-03-01T10:00:00.123Z"; 0 is null. */
void put_time(struct json_writer *w, const char *name, int64_t ms);

/* What is JSON already. */
void put_json(struct json_writer *w, const char *name, const char *json);
