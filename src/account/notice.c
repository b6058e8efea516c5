#include "account/notice.h"

#include "account/bound.h"
#include "core/email.h"
#include "core/log.h"
#include "mail/outbox.h"

#define BOUND_KIND "notice"

static bool wanted(const struct settings *settings)
{
    return settings->email_notices && outbox_is_configured(settings);
}

const char *notice_recipient(struct task *task, const struct user *user)
{
    if (email_wire(task->mem, user->email) != NULL)
        return user->email;
    log_warning(task, "a mail was not sent: its address is not valid in mails",
                LOG_S("user", user->id));
    return "";
}

/* Whoever registered an address that they have not confirmed may be a stranger to it. */
static void put(struct task *task, const struct accounts *accounts, const struct user *user,
                const char *content, int64_t at_ms)
{
    struct mail mail = {
        .to = notice_recipient(task, user), .content = content, .created_ms = at_ms};
    bool withheld = false;

    if (user->verified_ms == 0)
        bound_mail(task, BOUND_KIND, user->email, &mail);
    if (store_mail_put(task, accounts->sessions.store, &mail, &withheld) == OK) {
        if (withheld)
            bound_tell(task, BOUND_KIND, &mail);
    } else {
        log_bounded(LOG_WARNING, task, "a notice could not be mailed", LOG_S("user", user->id),
                    LOG_S("detail", task->text));
    }
}

void notice_password_changed(struct task *task, const struct accounts *accounts,
                             const struct user *user, int64_t at_ms, enum language language)
{
    if (!wanted(task->settings))
        return;
    put(task, accounts, user,
        letter_password_changed(task->mem, task->settings, user->email,
                                language_of_choice(user->language, language), at_ms),
        at_ms);
}

void notice_new_device(struct task *task, const struct accounts *accounts, const struct user *user,
                       const struct session_record *session, enum language language)
{
    if (!wanted(task->settings))
        return;
    put(task, accounts, user,
        letter_new_device(task->mem, task->settings, user->email,
                          language_of_choice(user->language, language), session->created_ms,
                          session->address, session->agent),
        session->created_ms);
}
