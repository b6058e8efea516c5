#include "remote/transfer.h"

#include <curl/curl.h>
#include <string.h>

void transfer_start(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
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
        return "Answer too long";
    default:
        return "Connection lost";
    }
}

static CURLcode set_up(CURL *curl, struct transfer *transfer)
{
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, transfer->url);

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

enum err transfer_run(void *mem, struct transfer *transfer)
{
    CURL *curl = curl_easy_init();
    CURLcode code = curl == NULL ? CURLE_OUT_OF_MEMORY : set_up(curl, transfer);

    transfer->reply = text_open(mem, 1024);
    if (code == CURLE_OK)
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer->status);
    curl_easy_cleanup(curl);
    transfer->problem = code == CURLE_OK ? NULL : explain(code);
    return code == CURLE_OK ? OK : ERR_REMOTE;
}
