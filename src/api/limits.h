/* The rate limits of the routes table: compiled with the settings, asked on the loop before a
 * request costs anything, told in the headers of every reply of a limited route.
 *
 * Headers: X-RateLimit-Limit, -Remaining, -Reset (epoch seconds, as SlowAPI has it) of the tightest
 * window; RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10); Retry-After. */
#pragma once

#include "http/request.h"
#include "limit/limiter.h"

struct limits;
struct app;
struct plans;

/* RATE_LIMIT_DEFAULT, the overrides of single routes and those of the plans against the rows. NULL,
 * and what is wrong with which setting. */
const struct limits *limits_compile(void *mem, const struct settings *settings,
                                    const struct route *rows, const struct plans *plans,
                                    const char **ret_wrong);

/* The names of the routes for the limiter, by their number; the last is that of failed logins. */
const char *const *limits_names(void *mem, const struct route *rows, size_t *ret_count);

/* The same names for /metrics: of the routes, behind "none" for requests that have none, and of
 * their limits. */
void limits_name_metrics(void *mem, const struct route *rows);

/* RATE_LIMIT_AUTH_LOGIN. The second and later routes of one path have their method in it. */
const char *limits_setting_name(void *mem, const struct route *rows, const struct route *row);

enum limits_answer {
    LIMITS_ADMITTED,
    LIMITS_ANSWERED, /* the reply is set */
    LIMITS_WAIT,     /* request_go_on() comes; then the same is asked again */
};

/* Before all else: true if the client is banned, and answered. */
bool limits_bar(struct request *req);

/* After the head, with the claims of a token that verified. */
enum limits_answer limits_admit(struct request *req);

/* After the body, for the routes that count by what is in it; by the client alone if it will not
 * do, and the reply is set. */
enum limits_answer limits_admit_body(struct request *req);

/* Counts a request of a route that is LIMITED_BY_REFUSALS by its head; after LIMITS_WAIT it is
 * counted, and limits_admit() has the answer. */
enum limits_answer limits_charge_head(struct request *req);

/* Counts a request of a route that is LIMITED_BY_REFUSALS, on a lane. False: there were too many,
 * and it is answered. */
bool limits_charge_refused(struct request *req);

/* What begins the name by which failures of all unknown devices of an account are counted. */
#define LIMITS_STRANGERS "unknown:"

/* Failed logins: whether they are counted for this client at all. */
bool limits_count_failures(const struct request *req);

/* Counts one, on a lane. False: too many, and the request is answered. */
struct limit_charge {
    struct limit_key key;
    struct verdict verdict;
    bool charged;
};
bool limits_charge_failure(struct request *req, const char *name, struct limit_charge *ret);
void limits_forgive_failure(struct request *req, const struct limit_charge *charge);

/* Who asks most: {"talkers":[…]} as /limits/top and `manus limits show --top` tell it. */
json_t *limits_top(const struct app *app, unsigned most);
