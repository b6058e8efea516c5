#include "core/settings_parts.h"

#include <string.h>
#include <sys/stat.h>

/* NULL: the working folder was removed. */
static const char *working_folder(void *mem)
{
    char *path = getcwd(NULL, 0);
    const char *copy = path == NULL ? NULL : mem_string(mem, path);

    free(path);
    return copy;
}

static const char *absolute(void *mem, const char *folder, const char *path)
{
    while (strncmp(path, "./", 2) == 0 && path[2] != '/')
        path += 2;
    if (*path == '/' || folder == NULL)
        return path;
    return strcmp(path, ".") == 0 ? folder : mem_printf(mem, "%s/%s", folder, path);
}

const char *settings_folder_of(void *mem, const char *file)
{
    const char *path = absolute(mem, working_folder(mem), file), *slash = strrchr(path, '/');
    struct stat st;

    if (stat(file, &st) != 0 || !S_ISREG(st.st_mode) || slash == NULL)
        return NULL;
    return mem_copy(mem, path, slash == path ? 1 : (size_t)(slash - path));
}

/* Without "." and "..", where its folder is there; what the path itself names may be a link. */
static const char *tidy(void *mem, const char *path)
{
    const char *slash = strrchr(path, '/'), *found;
    char *real;

    if (slash == NULL || (strstr(path, "/./") == NULL && strstr(path, "/../") == NULL &&
                          strcmp(slash, "/..") != 0 && strcmp(slash, "/.") != 0))
        return path;
    if (strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0)
        slash = path + strlen(path);
    real = realpath(mem_copy(mem, path, slash == path ? 1 : (size_t)(slash - path)), NULL);
    if (real == NULL)
        return path;
    found = mem_printf(mem, "%s%s", strcmp(real, "/") == 0 && *slash != '\0' ? "" : real, slash);
    free(real);
    return found;
}

const char *settings_place(const struct loading *l, const char *origin, const char *path)
{
    const char *from = l->folder;

    if (path == NULL || *path == '\0')
        return path;
    if (from == NULL || (origin != NULL && strcmp(origin, "environment") == 0))
        from = working_folder(l->mem);
    return tidy(l->mem, absolute(l->mem, from, path));
}

/* A link is followed as Linux does in /tmp (protected_symlinks): one of our own, of root, or of
 * whose the folder is. Anybody else could point it elsewhere. */
static void check_link(struct loading *l, const struct stat *link, const struct stat *folder)
{
    const char *path = l->settings->data_dir;

    if (link->st_uid != geteuid() && link->st_uid != 0 && link->st_uid != folder->st_uid)
        problem(l,
                "DATA_DIR: %s is a symbolic link of another user, who can point it elsewhere; name "
                "the folder itself",
                path);
    else
        warning(l, "DATA_DIR: %s is a symbolic link; the store is where it points", path);
}

/* Who may write in the folder may put another store into it. */
void settings_check_data_dir(struct loading *l)
{
    const char *path = l->settings->data_dir;
    size_t len = path == NULL ? 0 : strlen(path);
    struct stat link, st;

    /* What ends in / is followed even by lstat(). */
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0 || lstat(mem_copy(l->mem, path, len), &link) != 0 || stat(path, &st) != 0 ||
        !S_ISDIR(st.st_mode))
        return;
    if (S_ISLNK(link.st_mode))
        check_link(l, &link, &st);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        warning(l,
                "DATA_DIR: other users may write in %s, and could replace the store; run: "
                "chmod 700 %s",
                path, path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        warning(l,
                "DATA_DIR: %s belongs to another user, who can replace the store; run manus as "
                "that user, or give it a folder of its own",
                path);
}

static bool holds_store(void *mem, const char *folder)
{
    struct stat st;

    return stat(mem_printf(mem, "%s/manus.sqlite", folder), &st) == 0 && st.st_size > 0;
}

/* Where a store lies in the working folder, an empty one elsewhere is not what is meant. */
static void check_place(struct loading *l, const char *given)
{
    const char *counts = l->settings->data_dir, *here;

    if (given == NULL || *given == '\0' || *given == '/')
        return;
    here = tidy(l->mem, absolute(l->mem, working_folder(l->mem), given));
    if (holds_store(l->mem, here) && !holds_store(l->mem, counts))
        problem(l,
                "DATA_DIR: %s counts from the folder of %s, and there is no store in %s, but there "
                "is one in %s: set DATA_DIR=%s, or move it",
                given, l->file, counts, here, here);
}

void settings_place_paths(struct loading *l)
{
    struct settings *s = l->settings;
    const char *given = s->data_dir;

    s->data_dir = settings_place(l, s->sources[SETTING_INDEX_data_dir].origin, s->data_dir);
    s->plans_file = settings_place(l, s->sources[SETTING_INDEX_plans_file].origin, s->plans_file);
    s->ca_file = settings_place(l, s->sources[SETTING_INDEX_ca_file].origin, s->ca_file);
    check_place(l, given);
}
