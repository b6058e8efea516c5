#include "limit/bans.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool same_network(const struct network *a, const struct network *b)
{
    return a->bits == b->bits &&
           memcmp(a->address.bytes, b->address.bytes, sizeof a->address.bytes) == 0;
}

struct bans *bans_with(void *mem, const struct bans *bans, const struct network *network,
                       int64_t until_ms, int64_t now_ms)
{
    size_t count = bans == NULL ? 0 : bans->count;
    struct bans *copy = mem_zero(mem, sizeof *copy + (count + 1) * sizeof copy->of[0]);

    for (size_t i = 0; i < count; i++) {
        if (bans->of[i].until_ms > now_ms && !same_network(&bans->of[i].network, network))
            copy->of[copy->count++] = bans->of[i];
    }
    if (until_ms <= now_ms)
        return copy;
    copy->of[copy->count++] = (struct ban){*network, until_ms};
    return copy->count > BANS_MOST ? NULL : copy;
}

bool bans_same(const struct bans *a, const struct bans *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!same_network(&a->of[i].network, &b->of[i].network) ||
            a->of[i].until_ms != b->of[i].until_ms)
            return false;
    }
    return true;
}

int64_t bans_find(const struct bans *bans, const struct address *address, int64_t now_ms)
{
    for (size_t i = 0; i < bans->count; i++) {
        if (bans->of[i].until_ms > now_ms && network_has(&bans->of[i].network, address))
            return bans->of[i].until_ms;
    }
    return 0;
}

static void close_file(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

struct bans *bans_read(void *mem, const char *path, int64_t now_ms)
{
    __attribute__((cleanup(close_file))) FILE *file = fopen(path, "re");
    struct bans *bans = mem_zero(mem, sizeof *bans);
    char line[160];

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        size_t len = strcspn(line, " ");
        struct network network;
        struct bans *more;

        if (line[len] == '\0')
            continue;
        line[len] = '\0';
        if (!network_parse(line, &network))
            continue;
        more = bans_with(mem, bans, &network, strtoll(line + len + 1, NULL, 10), now_ms);
        if (more != NULL)
            bans = more;
    }
    return bans;
}

const char *ban_text(void *mem, const struct network *network)
{
    char text[ADDRESS_TEXT_SIZE];
    bool is_v4 = address_is_v4(&network->address) && network->bits >= 96;
    unsigned bits = is_v4 ? network->bits - 96 : network->bits;

    address_text(text, &network->address);
    return bits == (is_v4 ? 32 : 128) ? mem_string(mem, text)
                                      : mem_printf(mem, "%s/%u", text, bits);
}

static bool write_lines(const struct bans *bans, FILE *file)
{
    auto_tree void *mem = mem_tree(1024);

    for (size_t i = 0; i < bans->count; i++)
        fprintf(file, "%s %lld\n", ban_text(mem, &bans->of[i].network),
                (long long)bans->of[i].until_ms);
    return fflush(file) == 0 && fsync(fileno(file)) == 0;
}

bool bans_write(const struct bans *bans, const char *path)
{
    auto_tree void *mem = mem_tree(256);
    const char *fresh = mem_printf(mem, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    __attribute__((cleanup(close_file))) FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    return file != NULL && write_lines(bans, file) && rename(fresh, path) == 0;
}
