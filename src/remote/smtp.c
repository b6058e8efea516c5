#include "remote/smtp.h"

#include "core/address.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

enum { TIMEOUT_MS = 30000, SUBMISSION_PORT = 587, TLS_PORT = 465 };

struct upload {
    const char *at;
    size_t left;
};

static size_t on_read(char *to, size_t one, size_t count, void *argument)
{
    struct upload *upload = argument;
    size_t len = one * count < upload->left ? one * count : upload->left;

    memcpy(to, upload->at, len);
    upload->at += len;
    upload->left -= len;
    return len;
}

static bool is_this_machine(const char *host)
{
    struct address address;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (!address_parse(host, strlen(host), &address))
        return false;
    return address_is_v4(&address)
               ? address.bytes[12] == 127
               : memcmp(address.bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16) == 0;
}

static int64_t port_of(const struct settings *settings)
{
    return settings->email_port == 0 ? SUBMISSION_PORT : settings->email_port;
}

static void set_up(CURL *curl, const struct settings *settings, const char *url, const char *from,
                   struct curl_slist *to, struct upload *upload)
{
    bool may_be_plain = settings->email_plain || is_this_machine(settings->email_host);

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(may_be_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (settings->email_username != NULL && settings->email_password != NULL) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, settings->email_username);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, (const char *)settings->email_password->bytes);
    }
    if (settings->ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca_file);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, upload);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
}

static const char *explain(CURLcode code, long status)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "the mail server's name is not known";
    case CURLE_COULDNT_CONNECT:
        return "the mail server does not accept connections";
    case CURLE_OPERATION_TIMEDOUT:
        return "the mail server does not answer in time";
    case CURLE_LOGIN_DENIED:
        return "the mail server refuses the user or the password";
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return "the mail server has no TLS, or no right certificate";
    default:
        return status >= 400 ? "the mail server refuses the mail"
                             : "the connection to the mail server was lost";
    }
}

const char *smtp_send(const struct settings *settings, const char *from, const char *to,
                      const char *content, bool *ret_for_good)
{
    auto_tree void *mem = mem_tree(1024);
    int64_t port = port_of(settings);
    const char *url = mem_printf(
        mem, strchr(settings->email_host, ':') == NULL ? "%s://%s:%d" : "%s://[%s]:%d",
        port == TLS_PORT ? "smtps" : "smtp", settings->email_host, (int)port);
    struct curl_slist *recipients = curl_slist_append(NULL, mem_printf(mem, "<%s>", to));
    struct upload upload = {content, strlen(content)};
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long status = 0;

    if (curl != NULL && recipients != NULL) {
        set_up(curl, settings, url, mem_printf(mem, "<%s>", from), recipients, &upload);
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_slist_free_all(recipients);
    curl_easy_cleanup(curl);
    /* 5xx to a recipient or a message is for good; to a login it is mended by an operator. */
    *ret_for_good = code != CURLE_OK && code != CURLE_LOGIN_DENIED && status >= 500;
    return code == CURLE_OK ? NULL : explain(code, status);
}
