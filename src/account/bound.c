#include "account/bound.h"

#include "core/email.h"
#include "core/log.h"
#include "core/metrics.h"
#include "limit/rule.h"

#include <string.h>

enum { BOUNDS = 2, KEY_BYTES = 16 };

static const char *wrong_with(void *mem, const char *name, const char *text)
{
    struct rule rule;
    const char *wrong = rule_parse(text, &rule);

    return wrong == NULL ? NULL : mem_printf(mem, "%s: %s", name, wrong);
}

const char *bound_check(void *mem, const struct settings *settings)
{
    const char *wrong = wrong_with(mem, "EMAIL_LIMIT_MAILBOX", settings->email_limit_mailbox);

    return wrong != NULL ? wrong
                         : wrong_with(mem, "EMAIL_LIMIT_DOMAIN", settings->email_limit_domain);
}

static struct mail_bound bound_of(struct task *task, const char *kind, const char *what,
                                  const char *limits)
{
    const char *text = mem_printf(task->mem, "mails of strangers\n%s\n%s", kind, what);
    uint8_t hash[CRYPTO_HASH_BYTES];
    struct mail_bound bound;
    struct rule rule;

    crypto_hmac(hash, task->settings->jwt_secret->bytes, task->settings->jwt_secret->len, text,
                strlen(text));
    (void)rule_parse(limits, &rule); /* bound_check() has found it good */
    bound = (struct mail_bound){.key = text_base64url(task->mem, hash, KEY_BYTES),
                                .window_count = rule.count};
    for (unsigned i = 0; i < rule.count; i++)
        bound.windows[i] = (struct mail_window){rule.windows[i].limit, rule.windows[i].seconds};
    return bound;
}

void bound_mail(struct task *task, const char *kind, const char *email, struct mail *mail)
{
    struct mail_bound *bounds = mem_array(task->mem, struct mail_bound, BOUNDS);
    const char *mailbox = email_mailbox(task->mem, email_key(task->mem, email));
    const char *at = strrchr(mailbox, '@');

    if (*mail->to == '\0')
        kind = mem_printf(task->mem, "%s to nobody", kind);
    bounds[0] = bound_of(task, kind, mailbox, task->settings->email_limit_mailbox);
    bounds[1] = bound_of(task, kind, at == NULL ? "@" : at, task->settings->email_limit_domain);
    mail->bounds = bounds;
    mail->bound_count = BOUNDS;
}

void bound_tell(struct task *task, const char *kind, const struct mail *mail)
{
    if (*mail->to == '\0')
        return;
    metric_add(METRIC_mails_withheld, 1);
    log_warning(task, "a mail was withheld: its mailbox or domain has reached its limit",
                LOG_S("kind", kind));
}
