#include "remote/transfer.h"

#include "core/loop.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

static pthread_key_t share_key;

static void close_share(void *share)
{
    curl_share_cleanup(share);
}

void transfer_start(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        pthread_key_create(&share_key, close_share) != 0)
        abort();
}

/* This thread's, with the connections that it has; NULL if there is no memory. */
static CURLSH *own_share(void)
{
    CURLSH *share = pthread_getspecific(share_key);

    if (share != NULL)
        return share;
    share = curl_share_init();
    if (share == NULL)
        return NULL;
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    pthread_setspecific(share_key, share);
    return share;
}

/* A new one for each exchange: a used one of libcurl 7.88 still has a pointer to the freed header
 * of the answer before, which a next answer that begins with a continued line is appended to. */
static CURL *new_handle(void)
{
    CURL *curl = curl_easy_init();

    if (curl != NULL)
        curl_easy_setopt(curl, CURLOPT_SHARE, own_share());
    return curl;
}

struct exchange {
    CURL *curl;
    struct transfer *transfer;
    size_t sent;
    bool is_refused; /* an address that `allowed` has not */
};

static size_t on_bytes(char *bytes, size_t one, size_t count, void *argument)
{
    struct exchange *exchange = argument;
    struct transfer *transfer = exchange->transfer;
    size_t len = one * count;

    assert(transfer->reply_len <= transfer->max_reply);
    if (len > transfer->max_reply - transfer->reply_len)
        return CURL_WRITEFUNC_ERROR;
    transfer->reply_len += len;
    curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &transfer->status);
    if (transfer->write != NULL && transfer->status / 100 == 2)
        return transfer->write(transfer, bytes, len) ? len : CURL_WRITEFUNC_ERROR;
    text_put(&transfer->reply, bytes, len);
    return len;
}

static size_t on_room(char *to, size_t one, size_t count, void *argument)
{
    struct exchange *exchange = argument;
    struct transfer *transfer = exchange->transfer;
    size_t left = transfer->body_len - exchange->sent, len;

    assert(exchange->sent <= transfer->body_len);
    if (left == 0)
        return 0;
    len = transfer->read(transfer, to, one * count < left ? one * count : left);
    assert(len <= left);
    exchange->sent += len;
    return len == 0 ? CURL_READFUNC_ABORT : len;
}

/* Of each address that a name has, so that no name leads where nobody is allowed to go. */
static curl_socket_t on_connecting(void *argument, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct exchange *exchange = argument;
    struct address address;

    (void)purpose;
    if (!address_from_socket(&to->addr, &address) ||
        !networks_have(exchange->transfer->allowed, &address)) {
        exchange->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* One line of the reply's head. */
static size_t on_head(char *bytes, size_t one, size_t count, void *argument)
{
    struct transfer *transfer = argument;
    size_t len = one * count, name = 0, end = len;
    char line[512];

    /* RFC 9112 section 5.2: nobody continues a line any more. */
    if (len > 0 && (bytes[0] == ' ' || bytes[0] == '\t'))
        return CURL_WRITEFUNC_ERROR;
    if (transfer->on_header == NULL || len >= sizeof line)
        return len;
    memcpy(line, bytes, len);
    while (end > 0 && strchr("\r\n \t", line[end - 1]) != NULL)
        end--;
    line[end] = '\0';
    name = strcspn(line, ":");
    if (line[name] == ':') {
        line[name++] = '\0';
        transfer->on_header(transfer, line, line + name + strspn(line + name, " \t"));
    }
    return len;
}

static bool is_hopeless(CURLcode code)
{
    return code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CACERT_BADFILE || code == CURLE_URL_MALFORMAT ||
           code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WRITE_ERROR ||
           code == CURLE_ABORTED_BY_CALLBACK;
}

/* Before the request was sent, whether the connection was new or not. */
static bool is_unconnected(CURL *curl, CURLcode code)
{
    curl_off_t sent_us = 0;

    return code != CURLE_OK &&
           curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &sent_us) == CURLE_OK &&
           sent_us == 0;
}

static const char *explain(const struct exchange *exchange, CURLcode code)
{
    if (exchange->is_refused)
        return "OUTBOUND_NETWORKS does not have its address";
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "Host not found";
    case CURLE_COULDNT_CONNECT:
        return "Cannot connect";
    case CURLE_OPERATION_TIMEDOUT:
        return "No answer in time";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return "TLS failed: is the certificate right, and are the roots installed?";
    case CURLE_WRITE_ERROR:
        return "Answer too long or malformed";
    case CURLE_ABORTED_BY_CALLBACK:
        return "What was to be sent cannot be read";
    default:
        return "Connection lost";
    }
}

static CURLcode set_up_body(CURL *curl, struct exchange *exchange)
{
    struct transfer *transfer = exchange->transfer;
    CURLcode code = CURLE_OK;

    if (transfer->read != NULL) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)transfer->body_len);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_room);
        curl_easy_setopt(curl, CURLOPT_READDATA, exchange);
    } else if (transfer->body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body_len);
        code = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, transfer->body);
    }
    /* Behind what sets a method of its own. */
    if (transfer->method != NULL && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, transfer->method);
    return code;
}

static CURLcode set_up(CURL *curl, struct exchange *exchange)
{
    struct transfer *transfer = exchange->transfer;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, transfer->url);

    if (code == CURLE_OK)
        code = set_up_body(curl, exchange);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    if (transfer->bearer != NULL && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    if (transfer->bearer != NULL && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, (char *)transfer->bearer->bytes);
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_USERAGENT, "manus/" MANUS_VERSION);
    if (transfer->ca_file != NULL && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_CAINFO, transfer->ca_file);
    if (transfer->allowed != NULL && transfer->allowed->count > 0) {
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_connecting);
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, exchange);
    }
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)transfer->connect_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)transfer->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    return code;
}

static struct curl_slist *headers_of(const struct transfer *transfer)
{
    struct curl_slist *list = NULL;

    for (size_t i = 0; i < TRANSFER_HEADERS && transfer->headers[i] != NULL; i++)
        list = curl_slist_append(list, transfer->headers[i]);
    return list;
}

enum err transfer_run(void *mem, struct transfer *transfer)
{
    struct curl_slist *headers = headers_of(transfer);
    CURL *curl = new_handle();
    struct exchange exchange = {.curl = curl, .transfer = transfer};
    CURLcode code = curl == NULL ? CURLE_OUT_OF_MEMORY : set_up(curl, &exchange);

    assert_off_loops();
    assert(transfer->url != NULL && transfer->timeout_ms > 0);
    transfer->reply = text_open(mem, 1024);
    transfer->reply_len = 0;
    if (code == CURLE_OK && headers != NULL)
        code = curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (code == CURLE_OK)
        code = curl_easy_perform(curl);
    transfer->status = 0;
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer->status);
    transfer->is_unconnected = curl != NULL && is_unconnected(curl, code);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    transfer->problem = code == CURLE_OK ? NULL : explain(&exchange, code);
    transfer->is_hopeless = exchange.is_refused || is_hopeless(code);
    return code == CURLE_OK ? OK : ERR_REMOTE;
}
