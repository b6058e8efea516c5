#include "core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEE_EACH_PIECE true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEE_EACH_PIECE true
#endif
#endif
#ifndef SEE_EACH_PIECE
#define SEE_EACH_PIECE false
#endif

enum { LARGE_BYTES = 64 << 10 };

static void *never_null(void *memory)
{
    if (memory == NULL) {
        static const char text[] = "manus: out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        abort();
    }
    return memory;
}

void *mem_tree(size_t pool_bytes)
{
    return never_null(SEE_EACH_PIECE ? talloc_new(NULL) : talloc_pool(NULL, pool_bytes));
}

/* Names of trees. */
static const char capped[] = "capped", over_cap[] = "over its cap";

void mem_cap(void *tree)
{
    talloc_set_name_const(tree, capped);
}

bool mem_is_over_cap(const void *tree)
{
    const char *name = talloc_get_name(tree);

    return name == over_cap || (name == capped && talloc_total_size(tree) > MEM_CAP_BYTES);
}

/* Whether so many bytes more take a tree beyond its cap. Counted for large pieces only: small ones
 * are counted with the next large one, or at the end. */
static bool breaks_cap(const void *parent, size_t bytes)
{
    const void *root = parent;

    if (bytes < LARGE_BYTES)
        return false;
    for (const void *above = parent; above != NULL; above = talloc_parent(above))
        root = above;
    if (root == NULL || talloc_get_name(root) == over_cap)
        return root != NULL;
    if (talloc_get_name(root) != capped || talloc_total_size(root) + bytes <= MEM_CAP_BYTES)
        return false;
    talloc_set_name_const(root, over_cap);
    return true;
}

void *mem_zero(void *parent, size_t bytes)
{
    (void)breaks_cap(parent, bytes);
    return memset(never_null(talloc_size(parent, bytes)), 0, bytes);
}

void *mem_try_grow(void *parent, void *old, size_t bytes)
{
    return breaks_cap(parent, bytes) ? NULL : never_null(talloc_realloc_size(parent, old, bytes));
}

void *mem_grow(void *parent, void *old, size_t bytes)
{
    (void)breaks_cap(parent, bytes);
    return never_null(talloc_realloc_size(parent, old, bytes));
}

char *mem_copy(void *parent, const char *text, size_t len)
{
    char *copy;

    (void)breaks_cap(parent, len);
    copy = never_null(talloc_size(parent, len + 1));
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_string(void *parent, const char *text)
{
    return mem_copy(parent, text, strlen(text));
}

char *mem_printf(void *parent, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = never_null(talloc_vasprintf(parent, format, args));
    va_end(args);
    return text;
}

void *mem_malloc(size_t bytes)
{
    return never_null(malloc(bytes));
}
