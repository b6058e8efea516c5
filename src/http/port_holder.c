#include "http/port_holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTENS = 0x0a, INODES = 64, LINE_BYTES = 512, COMMAND_BYTES = 32 };

/* The sockets that listen on the port. */
struct sockets {
    unsigned long inodes[INODES];
    unsigned count;
};

/* The word at a place among those that blanks separate, counted from 0; NULL: there are fewer. */
static const char *word_at(const char *line, unsigned place)
{
    line += strspn(line, " ");
    for (; place > 0 && *line != '\0'; place--) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    return *line == '\0' ? NULL : line;
}

/* A line of /proc/net/tcp, as proc(5) has it: number, address:port, those of the peer, state, …, as
 * the tenth word the inode. */
static void read_line(const char *line, unsigned port, struct sockets *sockets)
{
    const char *local = word_at(line, 1), *state = word_at(line, 3), *inode = word_at(line, 9);
    const char *colon = local == NULL ? NULL : strchr(local, ':');

    if (inode == NULL || colon == NULL || strtoul(colon + 1, NULL, 16) != port ||
        strtoul(state, NULL, 16) != LISTENS || sockets->count == INODES)
        return;
    sockets->inodes[sockets->count] = strtoul(inode, NULL, 10);
    if (sockets->inodes[sockets->count] != 0)
        sockets->count++;
}

static void read_table(const char *path, unsigned port, struct sockets *sockets)
{
    FILE *table = fopen(path, "re");
    char line[LINE_BYTES];

    if (table == NULL)
        return;
    while (fgets(line, sizeof line, table) != NULL)
        read_line(line, port, sockets);
    fclose(table);
}

static bool is_one_of(const struct sockets *sockets, const char *link)
{
    static const char prefix[] = "socket:[";
    unsigned long inode;

    if (strncmp(link, prefix, sizeof prefix - 1) != 0)
        return false;
    inode = strtoul(link + sizeof prefix - 1, NULL, 10);
    for (unsigned i = 0; i < sockets->count; i++) {
        if (sockets->inodes[i] == inode)
            return true;
    }
    return false;
}

static bool holds_one(void *mem, const char *pid, const struct sockets *sockets)
{
    const char *folder = mem_printf(mem, "/proc/%s/fd", pid);
    DIR *fds = opendir(folder);
    const struct dirent *entry;
    bool found = false;

    while (fds != NULL && !found && (entry = readdir(fds)) != NULL) {
        char link[LINE_BYTES];
        ssize_t len = readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1);

        link[len < 0 ? 0 : len] = '\0';
        found = is_one_of(sockets, link);
    }
    if (fds != NULL)
        closedir(fds);
    return found;
}

static const char *describe(void *mem, const char *pid)
{
    FILE *file = fopen(mem_printf(mem, "/proc/%s/comm", pid), "re");
    char command[COMMAND_BYTES] = "";

    if (file != NULL && fgets(command, sizeof command, file) != NULL)
        command[strcspn(command, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
    for (char *at = command; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
    return *command == '\0' ? mem_printf(mem, "process %s", pid)
                            : mem_printf(mem, "process %s (%s)", pid, command);
}

const char *port_holder(void *mem, unsigned port)
{
    auto_tree void *scratch = mem_tree(0);
    struct sockets sockets = {0};
    const struct dirent *entry;
    const char *found = NULL;
    DIR *processes;

    read_table("/proc/net/tcp", port, &sockets);
    read_table("/proc/net/tcp6", port, &sockets);
    processes = sockets.count == 0 ? NULL : opendir("/proc");
    while (processes != NULL && found == NULL && (entry = readdir(processes)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            holds_one(scratch, entry->d_name, &sockets))
            found = describe(mem, entry->d_name);
    }
    if (processes != NULL)
        closedir(processes);
    return found;
}
