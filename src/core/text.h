/* A text that grows: bytes on talloc, always NUL-terminated. And the small encoders that log lines,
 * reply heads and tokens share. One thread at a time. */
#pragma once

#include "core/mem.h"

#include <stdint.h>
#include <string.h>

struct text {
    void *mem;
    char *s; /* NULL until something is put */
    size_t len;
    size_t capacity;
    bool borrowed; /* s is the caller's buffer, left behind when the text outgrows it */
};

/* `capacity` bytes are reserved at once, so that what fits costs one allocation. */
struct text text_open(void *mem, size_t capacity);

/* Begins in a buffer of the caller's, such as one on the stack. */
struct text text_borrow(void *mem, char *buffer, size_t size);

/* Makes room for so many bytes more. False: the cap of its tree forbids it, and what was to be put
 * is left out; whoever runs the request sees that and ends it. */
bool text_reserve(struct text *text, size_t more);

/* Replies and log lines are made of these: what fits is copied in place. */
static inline void text_put(struct text *text, const char *bytes, size_t len)
{
    if ((text->s == NULL || text->capacity - text->len < len) && !text_reserve(text, len))
        return;
    memcpy(text->s + text->len, bytes, len);
    text->len += len;
    text->s[text->len] = '\0';
}

static inline void text_add(struct text *text, const char *string)
{
    text_put(text, string, strlen(string));
}

static inline void text_char(struct text *text, char c)
{
    text_put(text, &c, 1);
}

void text_int(struct text *text, int64_t number);
void text_printf(struct text *text, const char *format, ...) printf_like(2, 3);

/* As a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void text_json(struct text *text, const char *bytes, size_t len);

/* By byte: ASCII that stands for itself in a string of JSON. */
extern const bool text_json_plain[0x100];

/* 2026-03-01T10:00:00.123Z; 24 bytes and a NUL. Years 0 to 9999, others are clamped. */
#define TEXT_TIME_SIZE 25
void text_time(char out[TEXT_TIME_SIZE], int64_t wall_ms);

/* RFC 9110 IMF-fixdate, as Date headers have it; 29 bytes and a NUL. */
#define TEXT_HTTP_DATE_SIZE 30
void text_http_date(char out[TEXT_HTTP_DATE_SIZE], int64_t wall_ms);

/* Base64url without padding (RFC 4648 section 5). */
char *text_base64url(void *mem, const void *bytes, size_t len);

/* Strict: no padding, no blanks, no bits beyond the last byte. NULL if it is anything else. */
uint8_t *text_base64url_decode(void *mem, const char *text, size_t len, size_t *ret_len);

/* Case-insensitive for ASCII letters only. */
bool text_same_ascii(const char *a, const char *b);

/* Levenshtein distance of two short names, ignoring ASCII case; `limit` + 1 when it is beyond it.
 */
unsigned text_distance(const char *a, const char *b, unsigned limit);
