#include "mail/letter.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/text.h"
#include "core/unicode.h"
#include "templates.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

enum { BASE64_LINE = 76, SUBJECT_CHUNK = 42, SUBJECT_LINE = 66 };

/* EMAIL_FROM as it is set, else EMAIL_USERNAME; NULL if neither can be a sender. */
static const char *sender_of(const struct settings *settings)
{
    const char *from = settings->email_from == NULL || *settings->email_from == '\0'
                           ? settings->email_username
                           : settings->email_from;

    return from == NULL || strchr(from, '@') == NULL ? NULL : from;
}

const char *letter_sender(void *mem, const struct settings *settings)
{
    const char *from = sender_of(settings), *open = from == NULL ? NULL : strrchr(from, '<');

    return open == NULL ? from : mem_copy(mem, open + 1, strcspn(open + 1, ">"));
}

bool letter_has_sender(const struct settings *settings)
{
    return sender_of(settings) != NULL;
}

bool letter_has_server(const struct settings *settings)
{
    return settings->email_host != NULL && *settings->email_host != '\0' &&
           sender_of(settings) != NULL;
}

bool letter_is_file(const struct settings *settings)
{
    return !letter_has_server(settings) && strcasecmp(settings->environment, "production") != 0;
}

static char *base64(void *mem, const char *bytes, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    char *text = mem_zero(mem, size);

    sodium_bin2base64(text, size, (const uint8_t *)bytes, len, sodium_base64_VARIANT_ORIGINAL);
    return text;
}

/* RFC 2047: words of at most 75 bytes, none of which cuts a character; each on a line of its own.
 */
static void put_words(struct text *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strnlen(text, SUBJECT_CHUNK);

        while (len > 1 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
        text_printf(out, " =?UTF-8?B?%s?=\r\n", base64(out->mem, text, len));
        text += len;
    }
}

/* A short one in ASCII stands as it is, for who reads the file. */
static void put_subject(struct text *out, const char *subject)
{
    size_t len = strlen(subject);

    assert(*subject != '\0');
    text_add(out, "Subject:");
    for (size_t i = 0; i < len; i++) {
        if (subject[i] < ' ' || subject[i] > '~' || len > SUBJECT_LINE) {
            put_words(out, subject);
            return;
        }
    }
    text_printf(out, " %s\r\n", subject);
}

/* What stands before <ADDRESS> in EMAIL_FROM, without quotes; may be empty. */
static const char *sender_name(void *mem, const struct settings *settings)
{
    const char *from = sender_of(settings), *open = from == NULL ? NULL : strrchr(from, '<');
    const char *name = open == NULL ? ""
                                    : unicode_trim(mem, mem_copy(mem, from, (size_t)(open - from)));
    size_t len = strlen(name);

    if (len >= 2 && name[0] == '"' && name[len - 1] == '"')
        return mem_copy(mem, name + 1, len - 2);
    return name;
}

static void put_base64(struct text *out, const char *body)
{
    const char *encoded = base64(out->mem, body, strlen(body));

    while (*encoded != '\0') {
        size_t len = strnlen(encoded, BASE64_LINE);

        text_put(out, encoded, len);
        text_add(out, "\r\n");
        encoded += len;
    }
}

static void put_lines(struct text *out, const char *body)
{
    for (; *body != '\0'; body++) {
        if (*body == '\n')
            text_char(out, '\r');
        text_char(out, *body);
    }
}

/* `plain`: as people read it, for a file; servers may change what is not ASCII, or has long lines.
 */
static void put_part(struct text *out, const char *boundary, const char *type, const char *body,
                     bool plain)
{
    text_printf(out,
                "--%s\r\nContent-Type: %s; charset=utf-8\r\n"
                "Content-Transfer-Encoding: %s\r\n\r\n",
                boundary, type, plain ? "8bit" : "base64");
    if (plain)
        put_lines(out, body);
    else
        put_base64(out, body);
}

/* RFC 5322's date is the HTTP one but for the name of the zone. */
static void put_date(struct text *out)
{
    char date[TEXT_HTTP_DATE_SIZE];

    text_http_date(date, clock_wall_ms());
    date[strlen(date) - 3] = '\0';
    text_printf(out, "Date: %s+0000\r\n", date);
}

static const char *as_text(void *mem, enum language language, const struct template_letter *letter)
{
    struct text out = text_open(mem, 512);

    template_letter_txt(&out, language, letter);
    return out.s;
}

static const char *as_html(void *mem, enum language language, const struct template_letter *letter)
{
    struct text out = text_open(mem, 1024);

    template_letter_html(&out, language, letter);
    return out.s;
}

static const char *compose(void *mem, const struct settings *settings, const char *to,
                           enum language language, const char *subject,
                           const struct template_letter *letter)
{
    const char *from = letter_sender(mem, settings), *wire = email_wire(mem, to);
    const char *boundary = crypto_id(mem), *domain;
    bool plain = letter_is_file(settings);
    struct text out = text_open(mem, 4096);

    if (from == NULL)
        from = "manus@localhost";
    domain = strrchr(from, '@') + 1;
    text_add(&out, "From:");
    put_words(&out, sender_name(mem, settings));
    text_printf(&out, " <%s>\r\nTo: %s\r\n", from,
                wire == NULL ? "undisclosed-recipients:;" : wire);
    put_subject(&out, subject);
    put_date(&out);
    text_printf(&out,
                "Message-ID: <%s@%s>\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n"
                "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n",
                crypto_id(mem), domain, boundary);
    put_part(&out, boundary, "text/plain", as_text(mem, language, letter), plain);
    put_part(&out, boundary, "text/html", as_html(mem, language, letter), plain);
    text_printf(&out, "--%s--\r\n", boundary);
    return out.s;
}

const char *letter_reset_code(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *code, int minutes)
{
    struct template_letter letter = {
        .opening = words_letter_reset_opening(language),
        .code = code,
        .closing = words_letter_reset_closing(mem, language, .minutes = minutes),
    };

    return compose(mem, settings, to, language, words_letter_reset_subject(language), &letter);
}

const char *letter_verify(void *mem, const struct settings *settings, const char *to,
                          enum language language, const char *code, int minutes, const char *link,
                          int hours)
{
    struct template_letter letter = {
        .opening = words_letter_verify_by_code(language),
        .link = link,
        .code = code,
        .closing = words_letter_verify_closing_by_code(mem, language, .minutes = minutes),
    };

    if (link != NULL) {
        letter.closing = words_letter_verify_closing(mem, language, .minutes = minutes,
                                                     .hours = hours);
        letter.opening = words_letter_verify_by_link(language);
        letter.before_code = words_letter_verify_or_by_code(language);
    }
    return compose(mem, settings, to, language, words_letter_verify_subject(language), &letter);
}

const char *letter_password_changed(void *mem, const struct settings *settings, const char *to,
                                    enum language language, int64_t at_ms)
{
    char at[TEXT_TIME_SIZE];
    struct template_letter letter = {.closing = words_letter_password_closing(language)};

    text_time(at, at_ms);
    letter.opening = words_letter_password_opening(mem, language, .account = to, .at = at);
    return compose(mem, settings, to, language, words_letter_password_subject(language), &letter);
}

const char *letter_new_device(void *mem, const struct settings *settings, const char *to,
                              enum language language, int64_t at_ms, const char *address,
                              const char *agent)
{
    char at[TEXT_TIME_SIZE];
    struct template_letter letter = {.closing = words_letter_device_closing(language)};

    text_time(at, at_ms);
    letter.opening = words_letter_device_opening(mem, language, .account = to, .at = at,
                                                 .address = address, .agent = agent);
    return compose(mem, settings, to, language, words_letter_device_subject(language), &letter);
}

const char *letter_payment_failed(void *mem, const struct settings *settings, const char *to,
                                  enum language language, const char *url, int grace_days)
{
    struct template_letter letter = {
        .opening = words_letter_payment_opening(language),
        .link = url,
        .closing = words_letter_payment_closing(mem, language, .days = grace_days),
    };

    return compose(mem, settings, to, language, words_letter_payment_subject(language), &letter);
}

/* Operators are told in English, as by the log. */
const char *letter_given_up(void *mem, const struct settings *settings, const char *to,
                            const char *event_id, const char *type, const char *why)
{
    struct template_letter letter = {
        .opening = mem_printf(
            mem,
            "manus could not apply an event from Stripe. It needs your decision:\n\n%s\n%s (%s)",
            why, event_id, type),
        .closing = "Fix the cause, then run: manus billing inbox replay dead",
    };

    return compose(mem, settings, to, LANGUAGE_ENGLISH, "Billing needs a decision", &letter);
}

const char *letter_trial_ends(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *url, int64_t end_ms,
                              bool is_bought)
{
    char at[TEXT_TIME_SIZE];
    struct template_letter letter = {.link = url};

    text_time(at, end_ms);
    if (is_bought) {
        letter.opening = words_letter_trial_goes_on(mem, language, .at = at);
    } else {
        letter.opening = words_letter_trial_ends(mem, language, .at = at);
        letter.closing = words_letter_trial_closing(language);
    }
    return compose(mem, settings, to, language, words_letter_trial_subject(language), &letter);
}
