#include "limit/bans.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define KEPT_MS (367 * DAY_MS)       /* longer than any ban; one that would last longer is over */
#define LATEST_MS (INT64_C(1) << 52) /* exact in Lua too */

static int compare_networks(const struct network *a, const struct network *b)
{
    int order = memcmp(a->address.bytes, b->address.bytes, sizeof a->address.bytes);

    return order != 0 ? order : (a->bits > b->bits) - (a->bits < b->bits);
}

static bool is_later(const struct ban *a, const struct ban *b)
{
    return a->decided_ms != b->decided_ms ? a->decided_ms > b->decided_ms
                                          : a->until_ms > b->until_ms;
}

static int compare_bans(const void *a, const void *b)
{
    return compare_networks(&((const struct ban *)a)->network, &((const struct ban *)b)->network);
}

bool ban_holds(const struct ban *ban, int64_t now_ms)
{
    return clock_holds(ban->until_ms, now_ms, KEPT_MS);
}

static struct bans *new_bans(void *mem, size_t room)
{
    return mem_zero(mem, sizeof(struct bans) + room * sizeof(struct ban));
}

/* Keeps the decisions that are in force, or not, to what is allowed; those decided first go. */
static void bound(struct bans *bans, bool in_force, int64_t now_ms)
{
    for (;;) {
        size_t first = 0, count = 0;

        for (size_t i = 0; i < bans->count; i++) {
            if (ban_holds(&bans->of[i], now_ms) != in_force)
                continue;
            if (count++ == 0 || bans->of[i].decided_ms < bans->of[first].decided_ms)
                first = i;
        }
        if (count <= BANS_MOST)
            return;
        bans->count--;
        memmove(&bans->of[first], &bans->of[first + 1], (bans->count - first) * sizeof bans->of[0]);
    }
}

static void add(struct bans *bans, const struct ban *ban, int64_t now_ms)
{
    if (ban_holds(ban, now_ms) || ban->decided_ms + KEPT_MS > now_ms)
        bans->of[bans->count++] = *ban;
}

struct bans *bans_merge(void *mem, const struct bans *a, const struct bans *b, int64_t now_ms)
{
    struct bans *merged = new_bans(mem, a->count + b->count);
    size_t i = 0, j = 0;

    while (i < a->count || j < b->count) {
        int order = i == a->count ? 1 : j == b->count ? -1 : compare_bans(&a->of[i], &b->of[j]);

        if (order < 0 || (order == 0 && is_later(&a->of[i], &b->of[j])))
            add(merged, &a->of[i], now_ms);
        else
            add(merged, &b->of[j], now_ms);
        i += order <= 0;
        j += order >= 0;
    }
    bound(merged, true, now_ms);
    bound(merged, false, now_ms);
    return merged;
}

struct bans *bans_new(void *mem)
{
    return new_bans(mem, BANS_READ);
}

void bans_sort(struct bans *bans)
{
    size_t count = 0;

    qsort(bans->of, bans->count, sizeof bans->of[0], compare_bans);
    for (size_t i = 0; i < bans->count; i++) {
        struct ban *last = count == 0 ? NULL : &bans->of[count - 1];

        if (last == NULL || compare_bans(last, &bans->of[i]) != 0)
            bans->of[count++] = bans->of[i];
        else if (is_later(&bans->of[i], last))
            *last = bans->of[i];
    }
    bans->count = count;
}

struct bans *bans_in_force(void *mem, const struct bans *bans, int64_t now_ms)
{
    struct bans *copy = new_bans(mem, bans->count);

    for (size_t i = 0; i < bans->count; i++) {
        if (ban_holds(&bans->of[i], now_ms))
            copy->of[copy->count++] = bans->of[i];
    }
    return copy;
}

bool bans_same(const struct bans *a, const struct bans *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (compare_bans(&a->of[i], &b->of[i]) != 0 || a->of[i].until_ms != b->of[i].until_ms ||
            a->of[i].decided_ms != b->of[i].decided_ms)
            return false;
    }
    return true;
}

const struct ban *bans_about(const struct bans *bans, const struct network *network)
{
    const struct ban wanted = {.network = *network};

    return bsearch(&wanted, bans->of, bans->count, sizeof bans->of[0], compare_bans);
}

const struct ban *bans_find(const struct bans *bans, const struct address *address, int64_t now_ms)
{
    const struct address behind = address_behind(address);

    for (size_t i = 0; i < bans->count; i++) {
        const struct network *network = &bans->of[i].network;

        if (ban_holds(&bans->of[i], now_ms) &&
            (network_has(network, address) || network_has(network, &behind)))
            return &bans->of[i];
    }
    return NULL;
}

bool ban_makes_sense(const struct ban *ban)
{
    return ban->until_ms >= 0 && ban->until_ms < LATEST_MS && ban->decided_ms >= 0 &&
           ban->decided_ms < LATEST_MS;
}

bool ban_read_times(const char *text, struct ban *ret)
{
    char *end;

    ret->until_ms = strtoll(text, &end, 10);
    ret->decided_ms = strtoll(end, NULL, 10);
    return end != text && ban_makes_sense(ret);
}

static void close_file(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

struct bans *bans_read(void *mem, const char *path, int64_t now_ms)
{
    __attribute__((cleanup(close_file))) FILE *file = fopen(path, "re");
    auto_tree void *scratch = mem_tree(1024);
    struct bans *bans = bans_new(scratch);
    char line[160];
    unsigned odd = 0;

    while (bans->count < BANS_READ && file != NULL && fgets(line, sizeof line, file) != NULL) {
        size_t len = strcspn(line, " ");
        struct ban ban;

        if (line[len] == ' ')
            line[len++] = '\0';
        if (network_parse(line, &ban.network) && ban_read_times(line + len, &ban))
            bans->of[bans->count++] = ban;
        else
            odd++;
    }
    if (odd > 0)
        log_warning(NULL, "some bans cannot be read, and are lifted", LOG_S("path", path),
                    LOG_I("lines", odd),
                    LOG_S("mend", "see `manus limits bans`, and ban again who is missing"));
    bans_sort(bans);
    return bans_merge(mem, bans, new_bans(scratch, 0), now_ms);
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

bool bans_write(const struct bans *bans, const char *path)
{
    auto_tree void *mem = mem_tree(4096);
    struct text lines = text_open(mem, 1024);

    for (size_t i = 0; i < bans->count; i++)
        text_printf(&lines, "%s %lld %lld\n", ban_text(mem, &bans->of[i].network),
                    (long long)bans->of[i].until_ms, (long long)bans->of[i].decided_ms);
    return file_replace(path, lines.s, lines.len);
}
