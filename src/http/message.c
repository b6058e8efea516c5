#include "http/message.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    LEAST_BODY_ROOM = 4 << 10,
    OVERHEAD_BYTES = 16 << 10,
    RAW_HEAD_BYTES = HTTP_REQUEST_LINE_BYTES + HTTP_HEADERS_BYTES
};

static struct message *message_of(llhttp_t *parser)
{
    return parser->data;
}

/* Ends the parsing; the reason is in `refused`. */
static int refuse(struct message *m, enum err why)
{
    m->refused = why;
    return HPE_USER;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct message *m = message_of(parser);

    if (m->text.len + len > HTTP_REQUEST_LINE_BYTES - sizeof "OPTIONS  HTTP/1.1\r\n")
        return refuse(m, ERR_URI_TOO_LONG);
    text_put(&m->text, at, len);
    return 0;
}

static int on_url_complete(llhttp_t *parser)
{
    struct message *m = message_of(parser);

    m->has_target = true;
    text_char(&m->text, '\0');
    return 0;
}

/* Names and values share the bound on all headers; those of trailers, which are dropped, another.
 */
static int put_header_bytes(struct message *m, const char *at, size_t len)
{
    if (m->in_body) {
        m->overhead += len;
        return m->overhead > OVERHEAD_BYTES ? refuse(m, ERR_HEADERS_TOO_LARGE) : 0;
    }
    if (m->text.len + len > RAW_HEAD_BYTES)
        return refuse(m, ERR_HEADERS_TOO_LARGE);
    text_put(&m->text, at, len);
    return 0;
}

static int on_header_bytes(llhttp_t *parser, const char *at, size_t len)
{
    return put_header_bytes(message_of(parser), at, len);
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct message *m = message_of(parser);

    if (!m->in_body) {
        text_char(&m->text, '\0');
        m->value_at = m->text.len;
    }
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct message *m = message_of(parser);

    if (m->in_body)
        return ++m->field_count > 2 * HTTP_HEADERS ? refuse(m, ERR_HEADERS_TOO_LARGE) : 0;
    if (m->field_count == HTTP_HEADERS)
        return refuse(m, ERR_HEADERS_TOO_LARGE);
    while (m->text.len > m->value_at && strchr(" \t", m->text.s[m->text.len - 1]) != NULL)
        m->text.len--;
    text_char(&m->text, '\0');
    m->field_count++;
    return 0;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t len)
{
    struct message *m = message_of(parser);

    (void)at;
    m->overhead += len;
    return m->overhead > OVERHEAD_BYTES ? refuse(m, ERR_BODY_TOO_LARGE) : 0;
}

/* RFC 9110 section 5.3: several fields of one name are one list. */
static void join(struct text *list, const char *value)
{
    if (list->s != NULL)
        text_char(list, ',');
    text_add(list, value);
}

static void sort_header(struct request *req, const char *name, const char *value)
{
    static const struct {
        const char *name;
        size_t len;
    } known[] = {
#define ROW(id, text) [HEADER_##id] = {text, sizeof(text) - 1},
        HTTP_KNOWN_HEADERS(ROW)
#undef ROW
    };
    size_t len = strlen(name);

    for (size_t i = 0; i < KNOWN_HEADERS; i++) {
        if (known[i].len != len || strcasecmp(known[i].name, name) != 0)
            continue;
        if (req->headers[i].count++ == 0)
            req->headers[i].value = value;
        if (i == HEADER_FORWARDED_FOR)
            join(&req->forwarded_for, value);
        else if (i == HEADER_FORWARDED)
            join(&req->forwarded, value);
        return;
    }
}

static bool is_host(const char *host)
{
    size_t name = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

    if (*host == '[') {
        struct address address;

        if (host[name - 1] != ']' || !address_parse(host + 1, name - 2, &address))
            return false;
    } else {
        for (size_t i = 0; i < name; i++) {
            if (!isalnum((unsigned char)host[i]) && strchr("-._~%!$&'()*+,;=", host[i]) == NULL)
                return false;
        }
    }
    return host[name] == '\0' ||
           (host[name] == ':' && strspn(host + name + 1, "0123456789") == strlen(host + name + 1) &&
            strlen(host + name + 1) <= 5);
}

/* A piece of received bytes: pointer and length travel together, and pieces are cut from pieces. */
struct slice {
    const char *at;
    size_t len;
};

/* Cuts off and returns what stands before the first byte that is one of `marks`, or all of it. */
static struct slice cut_before(struct slice *from, const char *marks)
{
    struct slice head = {from->at, strcspn(from->at, marks)};

    if (head.len > from->len)
        head.len = from->len;
    from->at += head.len;
    from->len -= head.len;
    return head;
}

static bool skip_scheme(struct slice *target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i]);

        if (target->len < len || strncasecmp(target->at, schemes[i], len) != 0)
            continue;
        target->at += len;
        target->len -= len;
        return true;
    }
    return false;
}

/* RFC 9112 section 3.2: the origin form and the absolute form. The host of the latter is as good as
 * any, since nothing is derived from it, but it must be one; an empty path is "/". */
static enum err set_target(struct request *req)
{
    struct slice rest = {req->target, strlen(req->target)}, path, host;

    if (strcmp(req->method, "OPTIONS") == 0 && strcmp(req->target, "*") == 0) {
        req->path = "*";
        return OK;
    }
    if (strchr(req->target, '#') != NULL)
        return ERR_BAD_REQUEST;
    if (*req->target != '/') {
        if (!skip_scheme(&rest))
            return ERR_BAD_REQUEST;
        host = cut_before(&rest, "/?");
        if (host.len == 0 || !is_host(mem_copy(req->task.mem, host.at, host.len)))
            return ERR_BAD_REQUEST;
    }
    path = cut_before(&rest, "?");
    req->path = path.len == 0   ? "/"
                : rest.len == 0 ? path.at
                                : mem_copy(req->task.mem, path.at, path.len);
    req->query = rest.len == 0 ? NULL : rest.at + 1;
    return OK;
}

static enum err check_host_header(const struct request *req, unsigned minor)
{
    const char *host = req->headers[HEADER_HOST].value;
    unsigned count = req->headers[HEADER_HOST].count;

    if (count == 0)
        return minor == 0 ? OK : ERR_BAD_REQUEST;
    return count == 1 && *host != '\0' && is_host(host) ? OK : ERR_BAD_REQUEST;
}

static enum err check_coding(const struct request *req, unsigned minor)
{
    const char *coding = req->headers[HEADER_TRANSFER_ENCODING].value;

    if (req->headers[HEADER_CONTENT_ENCODING].count > 0 &&
        strcasecmp(req->headers[HEADER_CONTENT_ENCODING].value, "identity") != 0)
        return ERR_ENCODING;
    if (coding == NULL)
        return OK;
    if (minor == 0 || req->headers[HEADER_TRANSFER_ENCODING].count > 1)
        return ERR_BAD_REQUEST;
    return strcasecmp(coding, "chunked") == 0 ? OK : ERR_NOT_IMPLEMENTED;
}

static enum err check_expect(struct request *req, unsigned minor)
{
    const char *expect = req->headers[HEADER_EXPECT].value;

    if (expect == NULL)
        return OK;
    if (strcasecmp(expect, "100-continue") != 0)
        return ERR_EXPECTATION;
    req->expects_continue = minor >= 1;
    return OK;
}

/* What llhttp leaves to its user. */
static enum err check_head(struct message *m)
{
    struct request *req = m->req;
    unsigned minor = m->parser.http_minor;
    enum err e;

    if (!m->has_target)
        return ERR_BAD_REQUEST;
    if (m->parser.http_major != 1)
        return m->parser.http_major == 0 ? ERR_BAD_REQUEST : ERR_VERSION;
    if (m->parser.method == HTTP_CONNECT)
        return ERR_NOT_IMPLEMENTED;
    e = check_host_header(req, minor);
    if (e == OK)
        e = set_target(req);
    if (e == OK)
        e = check_coding(req, minor);
    if (e == OK)
        e = check_expect(req, minor);
    return e;
}

static void fill_request(struct message *m)
{
    struct request *req = m->req;
    const char *at = m->text.s;

    assert(m->field_count <= HTTP_HEADERS);
    req->method = llhttp_method_name((llhttp_method_t)m->parser.method);
    req->target = at;
    req->forwarded_for.mem = req->forwarded.mem = req->task.mem;
    at += strlen(at) + 1;
    for (size_t i = 0; i < m->field_count; i++) {
        const char *value = at + strlen(at) + 1;

        sort_header(req, at, value);
        at = value + strlen(value) + 1;
    }
    /* A client of HTTP/1.0 may wait for the end of the connection, whatever it asked for. */
    req->keep_alive = m->parser.http_minor >= 1 && llhttp_should_keep_alive(&m->parser) != 0;
    if ((m->parser.flags & F_CHUNKED) != 0)
        req->content_length = -1;
    else
        req->content_length = m->parser.content_length > INT64_MAX
                                  ? INT64_MAX
                                  : (int64_t)m->parser.content_length;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct message *m = message_of(parser);
    enum err e;

    fill_request(m);
    e = check_head(m);
    if (e != OK)
        return refuse(m, e);
    /* An upgrade that is asked for is not granted: what follows stays HTTP/1.1. */
    parser->upgrade = 0;
    m->in_body = true;
    m->field_count = 0;
    m->event = MESSAGE_HEAD;
    return HPE_PAUSED;
}

/* Room for so many bytes and some of those to come: what is announced costs no memory yet. */
static size_t body_room(const struct request *req, size_t len)
{
    size_t room = 2 * len < LEAST_BODY_ROOM ? LEAST_BODY_ROOM : 2 * len;

    return req->content_length > 0 && (size_t)req->content_length < room
               ? (size_t)req->content_length
               : room;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct message *m = message_of(parser);
    struct request *req = m->req;
    size_t size;

    assert(req->body_len <= m->max_body);
    if (len > m->max_body - req->body_len ||
        (!m->discard_body && req->content_length > (int64_t)m->max_body))
        return refuse(m, ERR_BODY_TOO_LARGE);
    if (m->discard_body) {
        req->body_len += len;
        return 0;
    }
    if (req->body == NULL || talloc_get_size(req->body) < req->body_len + len + 1) {
        size = body_room(req, req->body_len + len);
        req->body = mem_grow(req->task.mem, req->body, size + 1);
    }
    memcpy(req->body + req->body_len, at, len);
    req->body_len += len;
    req->body[req->body_len] = '\0';
    return 0;
}

/* A chunk that is announced larger than what may still come is refused by its head: nobody waits
 * for the bytes. */
static int on_chunk_header(llhttp_t *parser)
{
    struct message *m = message_of(parser);

    return parser->content_length > m->max_body - m->req->body_len ? refuse(m, ERR_BODY_TOO_LARGE)
                                                                   : 0;
}

static int on_message_complete(llhttp_t *parser)
{
    message_of(parser)->event = MESSAGE_END;
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_bytes,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_bytes,
    .on_header_value_complete = on_header_value_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void message_open(struct message *m)
{
    llhttp_init(&m->parser, HTTP_REQUEST, &callbacks);
    /* Every HTTP/1.x is served and other versions get a reply of their own: see check_head(). */
    llhttp_set_lenient_version(&m->parser, 1);
    m->parser.data = m;
}

static void begin(struct message *m)
{
    assert(m->req != NULL);
    m->text = text_open(m->req->task.mem, 1000);
    m->value_at = m->field_count = m->raw_head_bytes = m->overhead = 0;
    m->in_body = m->has_target = m->discard_body = false;
    m->refused = OK;
}

static enum err why_refused(const struct message *m)
{
    if (m->refused != OK)
        return m->refused;
    switch (llhttp_get_errno(&m->parser)) {
    case HPE_INVALID_METHOD:
        /* What came before is the beginning of a known method: this is where another one goes on.
         * No more is looked at, since more may not have come yet. */
        return isupper((unsigned char)*llhttp_get_error_pos(&m->parser)) ? ERR_NOT_IMPLEMENTED
                                                                         : ERR_BAD_REQUEST;
    case HPE_PAUSED_H2_UPGRADE:
        return ERR_VERSION;
    default:
        return ERR_BAD_REQUEST;
    }
}

enum message_event message_feed(struct message *m, const char *bytes, size_t len, size_t *ret_used)
{
    llhttp_errno_t error;

    assert(m->parser.data == m);
    if (m->text.s == NULL)
        begin(m);
    m->event = MESSAGE_MORE;
    error = llhttp_execute(&m->parser, bytes, len);
    *ret_used = len;
    if (error == HPE_PAUSED) {
        *ret_used = (size_t)(llhttp_get_error_pos(&m->parser) - bytes);
        llhttp_resume(&m->parser);
    } else if (error != HPE_OK) {
        m->refused = why_refused(m);
        return MESSAGE_REFUSED;
    }
    if (!m->in_body) {
        m->raw_head_bytes += *ret_used;
        if (m->raw_head_bytes > RAW_HEAD_BYTES) {
            m->refused = ERR_HEADERS_TOO_LARGE;
            return MESSAGE_REFUSED;
        }
    }
    if (m->event == MESSAGE_END)
        m->text = (struct text){0};
    return m->event;
}
