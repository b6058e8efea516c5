#include "billing/notice.h"

#include "billing/return_url.h"
#include "core/clock.h"
#include "core/log.h"
#include "mail/letter.h"
#include "mail/outbox.h"

#include <assert.h>
#include <string.h>

static bool find_reader(struct task *task, struct billing *billing, const char *user_id,
                        struct user *ret)
{
    bool found = false;

    if (!task->settings->email_notices || !outbox_is_configured(task->settings))
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
                                    const struct subscription *before,
                                    const struct subscription *after)
{
    bool was_late = strcmp(before->status, "past_due") == 0 && before->past_due_ms != 0;
    struct user user;

    /* One letter for each debt, however many invoices it grows to. A debt that began before the
     * former one was last read is what is left of that one. */
    if (strcmp(after->status, "past_due") != 0 || after->past_due_ms == 0 ||
        (was_late && after->past_due_ms <= before->synced_ms) ||
        !find_reader(task, billing, after->user_id, &user))
        return NULL;
    return mail_to(task, &user,
                   letter_payment_failed(task->mem, task->settings, user.email,
                                         language_of_choice(user.language, LANGUAGE_ENGLISH),
                                         return_url_default(task->mem, task->settings),
                                         (int)task->settings->past_due_grace_days));
}

const struct mail *notice_for_operator(struct task *task, const struct event *event,
                                       const char *why)
{
    struct user operator= {.email = task->settings->operator_email};

    if (operator.email == NULL || * operator.email == '\0' || !outbox_is_configured(task->settings))
        return NULL;
    return mail_to(task, &operator, letter_given_up(task->mem, task->settings, operator.email,
                                                    event->id, event->type, why));
}

static const struct mail *trial_letter(struct task *task, const struct user *user, int64_t end_ms,
                                       bool is_bought)
{
    return mail_to(task, user,
                   letter_trial_ends(task->mem, task->settings, user->email,
                                     language_of_choice(user->language, LANGUAGE_ENGLISH),
                                     return_url_default(task->mem, task->settings), end_ms,
                                     is_bought));
}

const struct mail *notice_of_trial(struct task *task, struct billing *billing,
                                   const struct subscription *subscription)
{
    struct user user;

    if (!find_reader(task, billing, subscription->user_id, &user))
        return NULL;
    return trial_letter(task, &user, subscription->trial_end_ms, false);
}

const struct mail *notice_of_bought_trial(struct task *task, struct billing *billing,
                                          const char *user_id, int64_t end_ms)
{
    struct user user;

    if (!find_reader(task, billing, user_id, &user))
        return NULL;
    return trial_letter(task, &user, end_ms, true);
}
