#include "http/proxy_protocol.h"

#include <string.h>

enum { V1_BYTES = 107, V2_HEAD_BYTES = 16, V4_BYTES = 12, V6_BYTES = 36 };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static bool is_beginning(const char *bytes, size_t len, const char *of, size_t of_len)
{
    return memcmp(bytes, of, len < of_len ? len : of_len) == 0;
}

/* The next word of a line, and the single blank behind it; false if there is none. */
static bool next_word(const char **at, const char *end, const char **ret_word, size_t *ret_len)
{
    const char *blank = memchr(*at, ' ', (size_t)(end - *at));

    *ret_word = *at;
    *ret_len = (size_t)((blank == NULL ? end : blank) - *at);
    *at = blank == NULL ? end : blank + 1;
    return *ret_len > 0;
}

static bool is_port(const char *word, size_t len)
{
    unsigned port = 0;

    if (len == 0 || len > 5 || (len > 1 && word[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (word[i] < '0' || word[i] > '9')
            return false;
        port = port * 10 + (unsigned)(word[i] - '0');
    }
    return port <= 65535;
}

/* "TCP4 SOURCE DESTINATION PORT PORT", or "UNKNOWN" and whatever follows. */
static enum proxy_read read_line(const char *at, const char *end, struct address *client)
{
    const char *word[5];
    size_t len[5];
    struct address source, destination;
    bool is_v4;

    if (!next_word(&at, end, &word[0], &len[0]))
        return PROXY_READ_WRONG;
    if (len[0] == 7 && memcmp(word[0], "UNKNOWN", 7) == 0)
        return PROXY_READ_NOBODY;
    is_v4 = len[0] == 4 && memcmp(word[0], "TCP4", 4) == 0;
    if (!is_v4 && (len[0] != 4 || memcmp(word[0], "TCP6", 4) != 0))
        return PROXY_READ_WRONG;
    for (int i = 1; i < 5; i++) {
        if (!next_word(&at, end, &word[i], &len[i]))
            return PROXY_READ_WRONG;
    }
    if (at != end || end[-1] == ' ' || !address_parse(word[1], len[1], &source) ||
        !address_parse(word[2], len[2], &destination) || !is_port(word[3], len[3]) ||
        !is_port(word[4], len[4]) || (memchr(word[1], ':', len[1]) == NULL) != is_v4 ||
        (memchr(word[2], ':', len[2]) == NULL) != is_v4)
        return PROXY_READ_WRONG;
    *client = source;
    return PROXY_READ_DONE;
}

static enum proxy_read read_v1(const char *bytes, size_t len, size_t *ret_used,
                               struct address *client)
{
    const char *end = memmem(bytes, len < V1_BYTES ? len : V1_BYTES, "\r\n", 2);

    if (end == NULL)
        return len < V1_BYTES ? PROXY_READ_MORE : PROXY_READ_WRONG;
    *ret_used = (size_t)(end - bytes) + 2;
    return read_line(bytes + 6, end, client);
}

static enum proxy_read read_v2(const char *bytes, size_t len, size_t *ret_used,
                               struct address *client)
{
    const uint8_t *head = (const uint8_t *)bytes;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    size_t rest;

    if (len < V2_HEAD_BYTES)
        return PROXY_READ_MORE;
    rest = (size_t)head[14] << 8 | head[15];
    if (head[12] >> 4 != 2 || (head[12] & 0xf) > 1 || rest > PROXY_HEADER_BYTES - V2_HEAD_BYTES)
        return PROXY_READ_WRONG;
    if (len < V2_HEAD_BYTES + rest)
        return PROXY_READ_MORE;
    *ret_used = V2_HEAD_BYTES + rest;
    /* LOCAL, or a family that is none of IP; the transport does not matter. */
    if ((head[12] & 0xf) == 0 || (head[13] >> 4 != 1 && head[13] >> 4 != 2))
        return PROXY_READ_NOBODY;
    if (rest < (head[13] >> 4 == 1 ? V4_BYTES : V6_BYTES))
        return PROXY_READ_WRONG;
    if (head[13] >> 4 == 1) {
        memcpy(client->bytes, mapped, sizeof mapped);
        memcpy(client->bytes + 12, head + V2_HEAD_BYTES, 4);
    } else {
        memcpy(client->bytes, head + V2_HEAD_BYTES, 16);
    }
    return PROXY_READ_DONE;
}

enum proxy_read proxy_read(const char *bytes, size_t len, size_t *ret_used, struct address *client)
{
    if (is_beginning(bytes, len, v2_signature, sizeof v2_signature))
        return len < sizeof v2_signature ? PROXY_READ_MORE : read_v2(bytes, len, ret_used, client);
    if (is_beginning(bytes, len, "PROXY ", 6))
        return len < 6 ? PROXY_READ_MORE : read_v1(bytes, len, ret_used, client);
    return PROXY_READ_WRONG;
}
