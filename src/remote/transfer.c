#include "remote/transfer.h"

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

static size_t on_bytes(char *bytes, size_t one, size_t count, void *argument)
{
    struct transfer *transfer = argument;
    size_t len = one * count;

    if (transfer->reply.len + len > transfer->max_reply)
        return CURL_WRITEFUNC_ERROR;
    text_put(&transfer->reply, bytes, len);
    return len;
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
           code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WRITE_ERROR;
}

/* Before the request was sent, whether the connection was new or not. */
static bool is_unconnected(CURL *curl, CURLcode code)
{
    curl_off_t sent_us = 0;

    return code != CURLE_OK &&
           curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &sent_us) == CURLE_OK &&
           sent_us == 0;
}

static const char *explain(CURLcode code)
{
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
    default:
        return "Connection lost";
    }
}

static CURLcode set_up(CURL *curl, struct transfer *transfer)
{
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, transfer->url);

    if (transfer->method != NULL && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, transfer->method);
    if (transfer->body != NULL && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, transfer->body);
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
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)transfer->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
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
    CURLcode code = curl == NULL ? CURLE_OUT_OF_MEMORY : set_up(curl, transfer);

    transfer->reply = text_open(mem, 1024);
    if (code == CURLE_OK && headers != NULL)
        code = curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (code == CURLE_OK)
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer->status);
    transfer->is_unconnected = curl != NULL && is_unconnected(curl, code);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    transfer->problem = code == CURLE_OK ? NULL : explain(code);
    transfer->is_hopeless = is_hopeless(code);
    return code == CURLE_OK ? OK : ERR_REMOTE;
}
