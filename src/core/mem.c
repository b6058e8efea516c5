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

void *mem_zero(void *parent, size_t bytes)
{
    return memset(never_null(talloc_size(parent, bytes)), 0, bytes);
}

void *mem_grow(void *parent, void *old, size_t bytes)
{
    return never_null(talloc_realloc_size(parent, old, bytes));
}

char *mem_copy(void *parent, const char *text, size_t len)
{
    char *copy = never_null(talloc_size(parent, len + 1));

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
