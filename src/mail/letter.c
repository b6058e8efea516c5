#include "mail/letter.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/text.h"
#include "core/unicode.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

enum { BASE64_LINE = 76, SUBJECT_CHUNK = 42, SUBJECT_LINE = 66 };

/* In the order in which they are read; NULL leaves one out. */
struct letter {
    const char *subject;
    const char *opening;
    const char *link;
    const char *before_code, *code;
    const char *closing;
};

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

static const char *as_text(void *mem, const struct letter *letter)
{
    const char *const parts[] = {letter->opening, letter->link, letter->before_code, letter->code,
                                 letter->closing};
    struct text out = text_open(mem, 512);

    for (size_t i = 0; i < count_of(parts); i++) {
        if (parts[i] != NULL)
            text_printf(&out, "%s%s\n", out.len == 0 ? "" : "\n", parts[i]);
    }
    return out.s;
}

static void put_paragraph(struct text *out, const char *prose)
{
    if (prose == NULL)
        return;
    text_add(out, "<p>");
    text_html(out, prose);
    text_add(out, "</p>");
}

static const char *as_html(void *mem, const struct letter *letter, enum language language)
{
    struct text out = text_open(mem, 1024);

    text_printf(&out, "<!doctype html><html lang=\"%s\" dir=\"%s\"><body>",
                language_names[language], language == LANGUAGE_ARABIC ? "rtl" : "ltr");
    put_paragraph(&out, letter->opening);
    if (letter->link != NULL) {
        text_add(&out, "<p dir=\"ltr\"><a href=\"");
        text_html(&out, letter->link);
        text_add(&out, "\">");
        text_html(&out, letter->link);
        text_add(&out, "</a></p>");
    }
    put_paragraph(&out, letter->before_code);
    if (letter->code != NULL)
        text_printf(&out,
                    "<p dir=\"ltr\" style=\"font-size:2em;letter-spacing:.2em\"><b>%s</b></p>",
                    letter->code);
    put_paragraph(&out, letter->closing);
    text_add(&out, "</body></html>\n");
    return out.s;
}

static const char *compose(void *mem, const struct settings *settings, const char *to,
                           enum language language, const struct letter *letter)
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
    put_subject(&out, letter->subject);
    put_date(&out);
    text_printf(&out,
                "Message-ID: <%s@%s>\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n"
                "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n",
                crypto_id(mem), domain, boundary);
    put_part(&out, boundary, "text/plain", as_text(mem, letter), plain);
    put_part(&out, boundary, "text/html", as_html(mem, letter, language), plain);
    text_printf(&out, "--%s--\r\n", boundary);
    return out.s;
}

const char *letter_reset_code(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *code, int minutes)
{
    struct letter letter = {
        .subject = "Password Reset Verification Code",
        .before_code = "Your code to choose a new password is",
        .code = code,
        .closing = mem_printf(mem,
                              "It is good for %d minutes and for one use. If you did not ask for "
                              "it, ignore this mail: nothing was changed.",
                              minutes),
    };

    if (language == LANGUAGE_ARABIC)
        letter = (struct letter){
            .subject = "رمز التحقق لإعادة تعيين كلمة المرور",
            .before_code = "رمزك لاختيار كلمة مرور جديدة هو",
            .code = code,
            .closing = mem_printf(
                mem,
                "يصلح لمدة %d دقائق ولمرة واحدة. إن لم تطلبه فتجاهل هذه الرسالة: لم يتغير شيء.",
                minutes),
        };
    return compose(mem, settings, to, language, &letter);
}

static struct letter verify_in_arabic(void *mem, const char *code, int minutes, const char *link,
                                      int hours)
{
    return (struct letter){
        .subject = "تأكيد عنوان بريدك الإلكتروني",
        .opening = link == NULL ? NULL : "لتأكيد أن هذا العنوان لك، افتح الرابط:",
        .link = link,
        .before_code = link == NULL ? "لتأكيد أن هذا العنوان لك، أدخل الرمز" : "أو أدخل الرمز",
        .code = code,
        .closing = mem_printf(mem,
                              "يصلح الرمز لمدة %d دقائق، والرابط لمدة %d ساعة، ولمرة واحدة. ستطلب "
                              "منك كلمة مرور الحساب ما لم تكن قد سجلت الدخول. إن لم تسجل بهذا "
                              "العنوان فتجاهل هذه الرسالة.",
                              minutes, hours),
    };
}

const char *letter_verify(void *mem, const struct settings *settings, const char *to,
                          enum language language, const char *code, int minutes, const char *link,
                          int hours)
{
    struct letter letter = {
        .subject = "Confirm your e-mail address",
        .opening = link == NULL ? NULL : "To confirm that this address is yours, open this link:",
        .link = link,
        .before_code = link == NULL ? "To confirm that this address is yours, enter this code"
                                    : "Or enter this code",
        .code = code,
        .closing = mem_printf(mem,
                              "The code is good for %d minutes, a link for %d hours, and either "
                              "for one use. You will be asked for the password of the account, "
                              "unless you are logged in. If you did not register with this "
                              "address, ignore this mail.",
                              minutes, hours),
    };

    if (language == LANGUAGE_ARABIC)
        letter = verify_in_arabic(mem, code, minutes, link, hours);
    return compose(mem, settings, to, language, &letter);
}

const char *letter_password_changed(void *mem, const struct settings *settings, const char *to,
                                    enum language language, int64_t at_ms)
{
    char at[TEXT_TIME_SIZE];
    struct letter letter = {
        .subject = "Your password was changed",
        .closing = "If it was not you, choose a new password at once by way of a forgotten "
                   "password: that ends every session.",
    };

    text_time(at, at_ms);
    letter.opening = mem_printf(mem, "The password of your account %s was changed at %s.", to, at);
    if (language == LANGUAGE_ARABIC)
        letter = (struct letter){
            .subject = "تم تغيير كلمة مرورك",
            .opening = mem_printf(mem, "تم تغيير كلمة مرور حسابك %s في %s.", to, at),
            .closing = "إن لم تكن أنت من غيّرها فاختر كلمة مرور جديدة فورًا عن طريق «نسيت كلمة "
                       "المرور»: فذلك ينهي جميع الجلسات.",
        };
    return compose(mem, settings, to, language, &letter);
}

const char *letter_new_device(void *mem, const struct settings *settings, const char *to,
                              enum language language, int64_t at_ms, const char *address,
                              const char *agent)
{
    char at[TEXT_TIME_SIZE];
    struct letter letter = {
        .subject = "A login on a new device",
        .closing = "If it was not you, change your password at once: that ends every other "
                   "session.",
    };

    text_time(at, at_ms);
    letter.opening = mem_printf(mem,
                                "Somebody logged in to your account %s on a device or in a network "
                                "that was not seen before.\n\nTime: %s\nAddress: %s\nDevice: %s",
                                to, at, address, agent);
    if (language == LANGUAGE_ARABIC)
        letter = (struct letter){
            .subject = "تسجيل دخول من جهاز جديد",
            .opening = mem_printf(mem,
                                  "تم تسجيل الدخول إلى حسابك %s من جهاز أو شبكة لم يسبق "
                                  "استخدامهما.\n\nالوقت: %s\nالعنوان: %s\nالجهاز: %s",
                                  to, at, address, agent),
            .closing = "إن لم تكن أنت فغيّر كلمة مرورك فورًا: فذلك ينهي كل جلسة أخرى.",
        };
    return compose(mem, settings, to, language, &letter);
}

const char *letter_payment_failed(void *mem, const struct settings *settings, const char *to,
                                  enum language language, const char *url, int grace_days)
{
    struct letter letter = {
        .subject = "Your payment has failed",
        .opening = "The payment for your subscription did not go through. Please open this page, "
                   "choose to manage billing, and check or change the payment method:",
        .link = url,
        .closing = mem_printf(mem,
                              "The payment will be tried again. Your plan goes on for %d days from "
                              "the unpaid invoice; after that it rests until the invoice is paid.",
                              grace_days),
    };

    if (language == LANGUAGE_ARABIC)
        letter = (struct letter){
            .subject = "تعذّر إتمام الدفع",
            .opening = "لم يتم دفع اشتراكك. يُرجى فتح هذه الصفحة واختيار إدارة الفوترة، ثم التحقق "
                       "من وسيلة الدفع أو تغييرها:",
            .link = url,
            .closing = mem_printf(
                mem,
                "ستُعاد محاولة الدفع. تستمر خطتك لمدة %d أيام من تاريخ الفاتورة غير "
                "المدفوعة، ثم تتوقف إلى أن تُدفع الفاتورة.",
                grace_days),
        };
    return compose(mem, settings, to, language, &letter);
}

const char *letter_given_up(void *mem, const struct settings *settings, const char *to,
                            const char *event_id, const char *type, const char *why)
{
    struct letter letter = {
        .subject = "Billing needs a decision",
        .opening = mem_printf(
            mem, "An event of Stripe's could not be applied, and waits for you:\n\n%s\n%s (%s)",
            why, event_id, type),
        .closing = "Set right what it says, then run: manus billing inbox replay dead",
    };

    return compose(mem, settings, to, LANGUAGE_ENGLISH, &letter);
}

const char *letter_trial_ends(void *mem, const struct settings *settings, const char *to,
                              enum language language, const char *url, int64_t end_ms,
                              bool is_bought)
{
    char at[TEXT_TIME_SIZE];
    struct letter letter = {
        .subject = "Your trial ends soon",
        .link = url,
        .closing = "Nothing is charged without your order.",
    };

    text_time(at, end_ms);
    letter.opening = mem_printf(
        mem,
        is_bought
            ? "Your trial ends at %s. Your plan goes on after that and is paid by the payment "
              "method that you gave; change or cancel it on this page:"
            : "Your trial ends at %s. To go on after that, choose a plan on this page:",
        at);
    if (is_bought)
        letter.closing = NULL;
    if (language == LANGUAGE_ARABIC)
        letter = (struct letter){
            .subject = "فترتك التجريبية تنتهي قريبًا",
            .opening = mem_printf(
                mem,
                is_bought
                    ? "تنتهي فترتك التجريبية في %s. تستمر خطتك بعد ذلك وتُدفع بوسيلة الدفع التي "
                      "قدمتها؛ يمكنك تغييرها أو إلغاؤها في هذه الصفحة:"
                    : "تنتهي فترتك التجريبية في %s. للاستمرار بعد ذلك اختر خطة في هذه الصفحة:",
                at),
            .link = url,
            .closing = is_bought ? NULL : "لن يُخصم أي مبلغ دون طلب منك.",
        };
    return compose(mem, settings, to, language, &letter);
}
