/* Memory helpers: cleanup by attribute, and talloc allocation that never returns NULL.
 *
 * Small allocations do not fail in a way a caller could handle: out of memory reports and aborts,
 * which is safe because everything that a stranger can size is bounded before it is allocated, and
 * a request's tree has a cap besides.
 * A talloc tree has one owner thread at a time and moves whole (loop to lane and back). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <talloc.h>
#include <unistd.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(at, first) __attribute__((format(printf, at, first)))
#define count_of(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* A tree for one request or job. Pooled, so that its small pieces cost one malloc together;
 * not pooled under sanitizers, so that they see each piece. */
void *mem_tree(size_t pool_bytes);

/* Caps a tree at MEM_CAP_BYTES. A piece beyond that is refused to texts, which then stop to grow,
 * and given to everybody else, who could not go on without it. Whoever runs the request looks
 * whether its tree is over the cap, and ends it. */
enum { MEM_CAP_BYTES = 16 << 20 };
void mem_cap(void *tree);
bool mem_is_over_cap(const void *tree);

/* As mem_grow(), but NULL, with `old` as it was, where the cap of its tree forbids it. */
void *mem_try_grow(void *parent, void *old, size_t bytes);

/* Never NULL; zeroed. */
void *mem_zero(void *parent, size_t bytes);
void *mem_grow(void *parent, void *old, size_t bytes);
char *mem_copy(void *parent, const char *text, size_t len);
char *mem_string(void *parent, const char *text);
char *mem_printf(void *parent, const char *format, ...) printf_like(2, 3);

#define mem_new(parent, type) ((type *)mem_zero((parent), sizeof(type)))
#define mem_array(parent, type, count) ((type *)mem_zero((parent), sizeof(type) * (count)))

/* For memory outside of any tree; never NULL. */
void *mem_malloc(size_t bytes);

static inline void mem_free_text(char **text)
{
    free(*text);
}

static inline void mem_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void mem_free_json(json_t **json)
{
    json_decref(*json);
}

static inline void mem_free_tree(void *tree)
{
    talloc_free(*(void **)tree);
}

#define auto_text __attribute__((cleanup(mem_free_text)))
#define auto_close __attribute__((cleanup(mem_close_fd)))
#define auto_json __attribute__((cleanup(mem_free_json)))
#define auto_tree __attribute__((cleanup(mem_free_tree)))

/* Moves ownership out of a variable that cleans up after itself. */
#define take_ptr(variable)                                                                         \
    ({                                                                                             \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    })
