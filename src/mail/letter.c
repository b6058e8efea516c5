#include "mail/letter.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/text.h"

#include <sodium.h>
#include <string.h>

enum { BASE64_LINE = 76, SUBJECT_CHUNK = 42 };

struct letter {
    const char *subject, *text, *html;
};

const char *letter_sender(const struct settings *settings)
{
    const char *from = settings->email_from == NULL || *settings->email_from == '\0'
                           ? settings->email_username
                           : settings->email_from;

    return from == NULL || strchr(from, '@') == NULL ? NULL : from;
}

static char *base64(void *mem, const char *bytes, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    char *text = mem_zero(mem, size);

    sodium_bin2base64(text, size, (const uint8_t *)bytes, len, sodium_base64_VARIANT_ORIGINAL);
    return text;
}

/* RFC 2047: words of at most 75 bytes, none of which cuts a character. */
static void put_subject(struct text *out, const char *subject)
{
    text_add(out, "Subject:");
    while (*subject != '\0') {
        size_t len = strnlen(subject, SUBJECT_CHUNK);

        while (len > 1 && ((unsigned char)subject[len] & 0xc0) == 0x80)
            len--;
        text_printf(out, " =?UTF-8?B?%s?=\r\n", base64(out->mem, subject, len));
        subject += len;
    }
}

static void put_part(struct text *out, const char *boundary, const char *type, const char *body)
{
    const char *encoded = base64(out->mem, body, strlen(body));

    text_printf(out,
                "--%s\r\nContent-Type: %s; charset=utf-8\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\n",
                boundary, type);
    while (*encoded != '\0') {
        size_t len = strnlen(encoded, BASE64_LINE);

        text_put(out, encoded, len);
        text_add(out, "\r\n");
        encoded += len;
    }
}

/* RFC 5322's date is the HTTP one but for the name of the zone. */
static void put_date(struct text *out)
{
    char date[TEXT_HTTP_DATE_SIZE];

    text_http_date(date, clock_wall_ms());
    date[strlen(date) - 3] = '\0';
    text_printf(out, "Date: %s+0000\r\n", date);
}

static const char *compose(void *mem, const struct settings *settings, const char *to,
                           const struct letter *letter)
{
    const char *from = letter_sender(settings);
    const char *boundary = crypto_id(mem), *domain;
    struct text out = text_open(mem, 4096);

    if (from == NULL)
        from = "manus@localhost";
    domain = strrchr(from, '@') + 1;
    text_printf(&out, "From: %s\r\nTo: %s\r\n", from, to);
    put_subject(&out, letter->subject);
    put_date(&out);
    text_printf(&out,
                "Message-ID: <%s@%s>\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n"
                "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n",
                crypto_id(mem), domain, boundary);
    put_part(&out, boundary, "text/plain", letter->text);
    put_part(&out, boundary, "text/html", letter->html);
    text_printf(&out, "--%s--\r\n", boundary);
    return out.s;
}

const char *letter_reset_code(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *code, int minutes)
{
    static const char english[] =
        "Your code to choose a new password is %s.\n\n"
        "It is good for %d minutes and for one use. If you did not ask for it, ignore this mail: "
        "nothing was changed.\n";
    static const char english_html[] =
        "<!doctype html><html lang=\"en\"><body><p>Your code to choose a new password is</p>"
        "<p style=\"font-size:2em;letter-spacing:.2em\"><b>%s</b></p>"
        "<p>It is good for %d minutes and for one use. If you did not ask for it, ignore this "
        "mail: nothing was changed.</p></body></html>\n";
    static const char arabic[] =
        "رمزك لاختيار كلمة مرور جديدة هو %s.\n\n"
        "يصلح لمدة %d دقائق ولمرة واحدة. إن لم تطلبه فتجاهل هذه الرسالة: لم يتغير شيء.\n";
    static const char arabic_html[] =
        "<!doctype html><html lang=\"ar\" dir=\"rtl\"><body><p>رمزك لاختيار كلمة مرور جديدة هو</p>"
        "<p dir=\"ltr\" style=\"font-size:2em;letter-spacing:.2em\"><b>%s</b></p>"
        "<p>يصلح لمدة %d دقائق ولمرة واحدة. إن لم تطلبه فتجاهل هذه الرسالة: لم يتغير شيء.</p>"
        "</body></html>\n";
    struct letter letter = {"Password Reset Verification Code",
                            mem_printf(mem, english, code, minutes),
                            mem_printf(mem, english_html, code, minutes)};

    if (language == LANGUAGE_ARABIC)
        letter = (struct letter){"رمز التحقق لإعادة تعيين كلمة المرور",
                                 mem_printf(mem, arabic, code, minutes),
                                 mem_printf(mem, arabic_html, code, minutes)};
    return compose(mem, settings, to, &letter);
}
