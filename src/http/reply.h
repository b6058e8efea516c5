/* Replies in the wire's forms. Each function sets the reply of a request and returns OK, so that a
 * handler ends in `return reply_…`. Whoever owns the request may call them. */
#pragma once

#include "core/json_writer.h"
#include "core/spool.h"
#include "http/request.h"

/* Takes over `json` (a new reference); it is the whole body. */
enum err reply_json(struct request *req, int status, json_t *json);

/* The same for a text that is JSON already and lives as long as the request. */
enum err reply_json_text(struct request *req, int status, const char *body, size_t len);

/* The envelope {"code":0,"msg":"success","data":…}; takes over `data`. */
enum err reply_ok(struct request *req, json_t *data);

/* An object whose members are put between the two calls. */
struct json_writer reply_begin(struct request *req, struct text *body);
enum err reply_end(struct request *req, int status, struct json_writer *w);

/* The envelope; its member "data" is put between the two calls. */
struct json_writer reply_begin_ok(struct request *req, struct text *body);
enum err reply_end_ok(struct request *req, struct json_writer *w);
enum err reply_end_spool(struct request *req, struct spool *body, struct json_writer *w);

/* The envelope {"code":status,"msg":…,"data":null}. */
enum err reply_error(struct request *req, int status, const char *msg);

/* What the task's failure says, or the handler of it (req->failure); the text of failures that are
 * not the caller's stays inside. */
enum err reply_failure(struct request *req, enum err e);

enum err reply_empty(struct request *req, int status);

/* Adds a header line. The value is ours or was checked: no control characters. */
void reply_header(struct request *req, const char *name, const char *value);

/* The phrase behind the status code, which clients show; never empty. */
const char *reply_reason(int status);
