#include "remote/smtp.h"

#include "core/address.h"
#include "core/clock.h"
#include "core/email.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/text.h"
#include "remote/peers.h"

#include <string.h>
#include <strings.h>

enum { TIMEOUT_MS = 20000, SUBMISSION_PORT = 587, TLS_PORT = 465, SAID_BYTES = 200 };

struct upload {
    const char *at;
    size_t left;
    bool judged;     /* what was said last is about this mail: who sends it to whom, or what */
    bool of_sender;  /* the same, and it is about who sends it */
    bool takes_utf8; /* the server offers SMTPUTF8 */
    bool greets;     /* it was asked in this transfer what it offers */
    bool has_login;  /* it offers AUTH */
    char said[SAID_BYTES]; /* the last line of that */
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

static bool begins(const char *bytes, size_t len, const char *word)
{
    return len > strlen(word) && strncasecmp(bytes, word, strlen(word)) == 0;
}

/* Whatever the server says is one line of printable text in a log. */
static void note_answer(struct upload *upload, const char *bytes, size_t len)
{
    size_t kept = 0;

    for (size_t i = 0; i < len && kept < sizeof upload->said - 1; i++) {
        if (bytes[i] >= ' ' && bytes[i] <= '~')
            upload->said[kept++] = bytes[i];
    }
    upload->said[kept] = '\0';
}

/* Of one line, which is no offer if it is the server's name. */
static bool offers(const char *line, size_t len, const char *what)
{
    return begins(line, len, "250") && begins(line + 4, len - 4, what) &&
           strchr(" =\r\n", line[4 + strlen(what)]) != NULL;
}

static void note_offers(struct upload *upload, const char *line, size_t len)
{
    if (len <= 4)
        return;
    upload->takes_utf8 = upload->takes_utf8 || offers(line, len, "SMTPUTF8");
    upload->has_login = upload->has_login || offers(line, len, "AUTH");
}

static void note_command(struct upload *upload, const char *command, size_t len)
{
    if (begins(command, len, "QUIT")) {
        upload->judged = false; /* after the answer that counts */
        return;
    }
    upload->of_sender = begins(command, len, "MAIL");
    upload->judged = upload->of_sender || begins(command, len, "RCPT") ||
                     begins(command, len, "DATA");
    if (begins(command, len, "EHLO")) {
        upload->greets = true;
        upload->takes_utf8 = upload->has_login = false;
    }
}

/* Notes by the last command what the server's answer is about. */
static int on_debug(CURL *curl, curl_infotype type, char *bytes, size_t len, void *argument)
{
    struct upload *upload = argument;

    (void)curl;
    if (type == CURLINFO_HEADER_IN && upload->judged)
        note_answer(upload, bytes, len);
    if (type == CURLINFO_HEADER_IN)
        note_offers(upload, bytes, len);
    if (type == CURLINFO_HEADER_OUT)
        note_command(upload, bytes, len);
    return 0;
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

static bool logs_in(const struct settings *settings)
{
    return settings->email_username != NULL && settings->email_password != NULL;
}

static void set_up(CURL *curl, const struct settings *settings, const char *url, const char *from,
                   struct curl_slist *to, struct upload *upload)
{
    bool may_be_plain = settings->email_plain || is_this_machine(settings->email_host);

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(may_be_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (logs_in(settings)) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, settings->email_username);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, (const char *)settings->email_password->bytes);
    }
    if (settings->ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca_file);
    if (to != NULL) {
        curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from);
        curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    }
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, upload);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(curl, CURLOPT_DEBUGDATA, upload);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
}

static const char no_login[] = "the mail server offers no login (AUTH), but EMAIL_USERNAME is set";

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
        return "the mail server does not speak TLS on this port";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return "the certificate of the mail server cannot be verified";
    default:
        return status >= 400 ? "the mail server refuses the mail"
                             : "the connection to the mail server was lost";
    }
}

void smtp_close(CURL **curl)
{
    curl_easy_cleanup(*curl);
    *curl = NULL;
}

/* The mailbox is at fault: RFC 3463's 5.1.x, but for what is said of the sender. */
static bool is_no_mailbox(const char *said)
{
    return said[0] == '5' && strlen(said) > 9 && strncmp(said + 4, "5.1.", 4) == 0 &&
           strchr("78", said[8]) == NULL;
}

/* libcurl goes on without a login where none is offered. */
static bool lacks_login(const struct settings *settings, const struct upload *upload)
{
    return logs_in(settings) && upload->greets && !upload->has_login;
}

static bool is_no_sender(const struct upload *upload)
{
    return upload->of_sender && upload->said[0] == '5';
}

/* Without the recipient's name, which belongs in no log. */
static const char *complain(void *mem, const struct settings *settings, const struct upload *upload,
                            const char *to, CURLcode code, long status)
{
    const char *at = strchr(to, '@');
    size_t name = at == NULL ? 0 : (size_t)(at - to);
    struct text out = text_open(mem, 256);

    if (*upload->said == '\0' || status < 400)
        return explain(code, status);
    if (lacks_login(settings, upload))
        text_printf(&out, "%s: ", no_login);
    else
        text_printf(&out, "the mail server refuses the %s to %s: ",
                    is_no_sender(upload) ? "sender of a mail" : "mail", at == NULL ? "" : at);
    for (const char *said = upload->said; *said != '\0';) {
        if (name > 0 && strncasecmp(said, to, name) == 0 && said[name] == '@')
            said += name;
        text_char(&out, *said++);
    }
    return out.s;
}

/* Who can only be written to by SMTPUTF8 is written to where the server offers that: libcurl would
 * send the bytes all the same. *ret_known: it said what it offers. */
static bool takes_utf8(CURL *curl, const struct settings *settings, const char *url,
                       bool *ret_known)
{
    struct upload nothing = {.at = ""};
    CURLcode code;

    curl_easy_reset(curl);
    set_up(curl, settings, url, NULL, NULL, &nothing);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 0L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    code = curl_easy_perform(curl);
    *ret_known = code == CURLE_OK || nothing.takes_utf8;
    return nothing.takes_utf8;
}

const char *smtp_shown(void *mem, const struct settings *settings)
{
    int64_t port = port_of(settings);

    return mem_printf(mem,
                      strchr(settings->email_host, ':') == NULL ? "%s://%s:%d" : "%s://[%s]:%d",
                      port == TLS_PORT ? "smtps" : "smtp", settings->email_host, (int)port);
}

/* Whether such an address can be written to; else what is wrong with that. */
static const char *refuse_address(CURL *curl, const struct settings *settings, const char *url,
                                  const char *to, bool *ret_for_good)
{
    bool known;

    if (to == NULL) {
        *ret_for_good = true;
        return "the address is not valid in mails";
    }
    if (email_is_ascii(to) || takes_utf8(curl, settings, url, &known) || !known)
        return NULL;
    *ret_for_good = true;
    return "the mail server takes no addresses beyond ASCII (SMTPUTF8)";
}

const char *smtp_send(void *mem, CURL **curl, const struct settings *settings, const char *from,
                      const char *to, const char *content, bool *ret_for_good)
{
    const char *url = smtp_shown(mem, settings), *wire = email_wire(mem, to), *wrong;
    struct curl_slist *recipients;
    struct upload upload = {.at = content, .left = strlen(content)};
    int64_t began_us = clock_mono_us();
    CURLcode code;
    long status = 0;

    assert_off_loops();
    *ret_for_good = false;
    if (*curl == NULL)
        *curl = curl_easy_init();
    if (*curl == NULL)
        return explain(CURLE_OUT_OF_MEMORY, 0);
    wrong = refuse_address(*curl, settings, url, wire, ret_for_good);
    if (wrong != NULL)
        return wrong;
    recipients = curl_slist_append(NULL, mem_printf(mem, "<%s>", wire));
    curl_easy_reset(*curl);
    set_up(*curl, settings, url, mem_printf(mem, "<%s>", from), recipients, &upload);
    code = curl_easy_perform(*curl);
    metric_observe(METRIC_remote_seconds, PEER_MAIL, clock_mono_us() - began_us);
    curl_easy_getinfo(*curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(recipients);
    if (code == CURLE_OK)
        return NULL;
    smtp_close(curl);
    *ret_for_good = is_no_mailbox(upload.said);
    return complain(mem, settings, &upload, wire, code, status);
}

const char *smtp_probe(void *mem, const struct settings *settings, const char *from,
                       int64_t timeout_ms)
{
    auto_smtp CURL *curl = curl_easy_init();
    const char *wire = email_wire(mem, from), *sender = wire == NULL ? from : wire;
    struct upload nothing = {.at = ""};
    bool is_refused;
    long status = 0;
    CURLcode code;

    assert_off_loops();
    if (curl == NULL)
        return explain(CURLE_OUT_OF_MEMORY, 0);
    set_up(curl, settings, smtp_shown(mem, settings), NULL, NULL, &nothing);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 0L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    /* As libcurl says it when it sends a mail. */
    curl_easy_setopt(
        curl, CURLOPT_CUSTOMREQUEST,
        mem_printf(mem, "MAIL FROM:<%s>%s", sender, email_is_ascii(sender) ? "" : " SMTPUTF8"));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    /* What the server says of a sender does not always fail the transfer. */
    is_refused = nothing.said[0] == '4' || nothing.said[0] == '5';
    if (*nothing.said != '\0' && lacks_login(settings, &nothing))
        return is_refused ? mem_printf(mem, "%s: %s", no_login, nothing.said) : no_login;
    if (is_refused)
        return mem_printf(mem, "the mail server refuses the %s: %s",
                          is_no_sender(&nothing) ? "sender" : "mail", nothing.said);
    if (code == CURLE_OK)
        return NULL;
    return status >= 400 && code != CURLE_LOGIN_DENIED ? "the mail server rejects this machine"
                                                       : explain(code, status);
}
