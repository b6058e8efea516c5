#include "billing/notice.h"

#include "billing/return_url.h"
#include "core/clock.h"
#include "core/log.h"
#include "mail/letter.h"
#include "mail/outbox.h"

#include <assert.h>
#include <string.h>

static bool find_reader(struct task *task, struct billing *billing, const struct settings *settings,
                        const char *user_id, struct user *ret)
{
    bool found = false;

    if (!settings->email_notices || !outbox_is_configured(settings))
        return false;
    if (store_user_by_id(task, billing->store, user_id, &found, ret) != OK)
        log_bounded(LOG_WARNING, task, "a notice could not be mailed", LOG_S("user", user_id),
                    LOG_S("detail", task->text));
    return found;
}

static const struct mail *mail_to(struct task *task, const struct user *user, const char *content)
{
    struct mail *mail = mem_new(task->mem, struct mail);

    assert(user->email != NULL && content != NULL);
    mail->to = user->email;
    mail->created_ms = clock_wall_ms();
    mail->content = content;
    return mail;
}

const struct mail *notice_of_change(struct task *task, struct billing *billing,
                                    const struct settings *settings,
                                    const struct subscription *before,
                                    const struct subscription *after)
{
    bool was_late = strcmp(before->status, "past_due") == 0 && before->past_due_ms != 0;
    struct user user;

    /* One letter for each debt, however many invoices it grows to. A debt that began before the
     * former one was last read is what is left of that one. */
    if (strcmp(after->status, "past_due") != 0 || after->past_due_ms == 0 ||
        (was_late && after->past_due_ms <= before->synced_ms) ||
        !find_reader(task, billing, settings, after->user_id, &user))
        return NULL;
    return mail_to(task, &user,
                   letter_payment_failed(task->mem, settings, user.email,
                                         language_of_choice(user.language, LANGUAGE_ENGLISH),
                                         return_url_default(task->mem, settings),
                                         (int)settings->past_due_grace_days));
}

const struct mail *notice_for_operator(struct task *task, const struct settings *settings,
                                       const struct event *event, const char *why)
{
    struct user operator= {.email = settings->operator_email};

    if (operator.email == NULL || * operator.email == '\0' || !outbox_is_configured(settings))
        return NULL;
    return mail_to(task, &operator, letter_given_up(task->mem, settings, operator.email, event->id,
                                                    event->type, why));
}

static const struct mail *trial_letter(struct task *task, const struct settings *settings,
                                       const struct user *user, int64_t end_ms, bool is_bought)
{
    return mail_to(task, user,
                   letter_trial_ends(task->mem, settings, user->email,
                                     language_of_choice(user->language, LANGUAGE_ENGLISH),
                                     return_url_default(task->mem, settings), end_ms, is_bought));
}

const struct mail *notice_of_trial(struct task *task, struct billing *billing,
                                   const struct settings *settings,
                                   const struct subscription *subscription)
{
    struct user user;

    if (!find_reader(task, billing, settings, subscription->user_id, &user))
        return NULL;
    return trial_letter(task, settings, &user, subscription->trial_end_ms, false);
}

const struct mail *notice_of_bought_trial(struct task *task, struct billing *billing,
                                          const struct settings *settings, const char *user_id,
                                          int64_t end_ms)
{
    struct user user;

    if (!find_reader(task, billing, settings, user_id, &user))
        return NULL;
    return trial_letter(task, settings, &user, end_ms, true);
}
