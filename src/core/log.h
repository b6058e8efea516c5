/* Log lines: JSON objects (or text on a terminal), one a line, on standard output.
 *
 * A message is constant and its fields are typed, so that lines group and grep, and no text of a
 * stranger is ever a format. Secrets have no field type.
 * Any thread. Nobody waits for the reader: lines go through a buffer of 1 MiB that one thread
 * writes out; beyond it lines are dropped, and a line tells how many. */
#pragma once

#include "core/task.h"

#include <stdatomic.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };
enum log_format { LOG_JSON, LOG_TEXT };

struct log_field {
    const char *name;
    size_t name_len;
    const char *text; /* NULL: the number counts, unless is_text */
    int64_t number;
    bool is_text;
};

/* Names are literals. A NULL text leaves the field out. */
#define LOG_NAME(field) .name = "" field, .name_len = sizeof(field) - 1
#define LOG_S(field, value) ((struct log_field){LOG_NAME(field), .text = (value), .is_text = true})
#define LOG_I(field, value) ((struct log_field){LOG_NAME(field), .number = (int64_t)(value)})
/* Left out if it is 0. */
#define LOG_COUNT(field, value)                                                                    \
    ((struct log_field){LOG_NAME(field), .number = (int64_t)(value), .is_text = (value) == 0})

/* task may be NULL. */
#define log_at(level, task, message, ...)                                                          \
    do {                                                                                           \
        if (log_wants(level)) {                                                                    \
            const struct log_field fields_[] = {{0}, ##__VA_ARGS__};                               \
            log_write((level), (task), (message), fields_ + 1, count_of(fields_) - 1);             \
        }                                                                                          \
    } while (0)

#define log_debug(task, ...) log_at(LOG_DEBUG, task, __VA_ARGS__)
#define log_info(task, ...) log_at(LOG_INFO, task, __VA_ARGS__)
#define log_warning(task, ...) log_at(LOG_WARNING, task, __VA_ARGS__)
#define log_error(task, ...) log_at(LOG_ERROR, task, __VA_ARGS__)
#define log_critical(task, ...) log_at(LOG_CRITICAL, task, __VA_ARGS__)

/* Of one cause that comes again with each request or tick: 20 lines a minute. */
struct log_bound {
    _Atomic(int64_t) since_ms; /* monotonic; 0: never */
    atomic_uint count, left_out;
};

/* false: there were as many in this minute. *ret_left_out: how many the minute before went without
 * one, told once. */
bool log_bound_admits(struct log_bound *bound, unsigned *ret_left_out);

/* As log_at(), so bounded at each place where it stands. */
#define log_bounded(level, task, message, ...)                                                     \
    do {                                                                                           \
        static struct log_bound bound_;                                                            \
        unsigned left_out_;                                                                        \
        if (log_wants(level) && log_bound_admits(&bound_, &left_out_))                             \
            log_at(level, task, message, ##__VA_ARGS__, LOG_COUNT("left_out", left_out_));         \
    } while (0)

/* Before it starts, lines go nowhere. */
void log_start(int fd, enum log_format format, enum log_level level);

/* Writes out what is there, for a second at most. */
void log_stop(void);

void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
void log_write(enum log_level level, const struct task *task, const char *message,
               const struct log_field *fields, size_t count);

/* A thread that logs much may gather its lines and hand them over in one go. */
void log_gather(void);
void log_hand_over(void);
void log_gather_end(void);
