/* Files that are there as a whole or not at all, also after a loss of power. Any thread; they
 * wait for the disk. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Replaces the file, or creates it: first its content is durable (in PATH.new, for its owner
 * alone), then its name. False if it cannot, and errno says why; the old one may be there still. */
bool file_replace(const char *path, const void *content, size_t len);

/* Makes the names in the folder of the path durable: of what was created there or renamed. */
bool file_sync_folder(const char *path);
