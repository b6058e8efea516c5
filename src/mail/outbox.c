#include "mail/outbox.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "mail/letter.h"
#include "remote/mend.h"
#include "remote/smtp.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
    LEASE_MS = 60000, /* longer than one delivery may take */
    FIRST_WAIT_MS = 30000,
    LONGEST_WAIT_MS = 3600000,
    GIVE_UP_MS = 3 * 86400000,
};

struct outbox {
    struct store *store;
};

bool outbox_is_configured(const struct settings *settings)
{
    return letter_has_server(settings) || letter_is_file(settings);
}

/* The line of a readable mail that is a link; NULL: it has none. */
static const char *link_in(struct task *task, const struct mail *mail)
{
    const char *at = strstr(mail->content, "\r\nhttp");

    return at == NULL ? NULL : mem_copy(task->mem, at + 2, strcspn(at + 2, "\r"));
}

/* What letter.c composes for a server has no such part: its links lead to who is not here. */
static bool is_readable(const struct mail *mail)
{
    return strstr(mail->content, "\r\nContent-Transfer-Encoding: 8bit\r\n") != NULL;
}

/* With the ends of lines that files have here. */
static struct text as_file(struct task *task, const struct mail *mail)
{
    struct text out = text_open(task->mem, strlen(mail->content));

    for (const char *at = mail->content; *at != '\0'; at++) {
        if (at[0] != '\r' || at[1] != '\n')
            text_char(&out, *at);
    }
    return out;
}

/* A file that is there is whole. */
static const char *write_file(struct task *task, const struct mail *mail)
{
    const char *folder = mem_printf(task->mem, "%s/outbox", task->settings->data_dir);
    const char *path = mem_printf(task->mem, "%s/%s.eml", folder, mail->id);
    struct text content = as_file(task, mail);
    /* The log may go elsewhere: the link is for who tries this out. */
    bool is_private = strcmp(task->settings->environment, "development") == 0;

    if (mkdir(folder, 0700) == 0 ? !file_sync_folder(folder) : errno != EEXIST)
        return "the folder of mails cannot be made";
    if (!file_replace(path, content.s, content.len))
        return "the file of a mail cannot be written";
    log_info(
        task,
        letter_has_server(task->settings)
            ? "a mail was written to a file, because no mail server was configured when it was made"
            : "no mail server is configured: a mail was written to a file",
        LOG_S("path", path), LOG_S("link", is_private ? link_in(task, mail) : NULL));
    return NULL;
}

static int64_t wait_after(unsigned attempts)
{
    int64_t wait_ms = FIRST_WAIT_MS;

    assert(attempts > 0);
    while (--attempts > 0 && wait_ms < LONGEST_WAIT_MS)
        wait_ms *= 2;
    return wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS;
}

/* What is wrong; NULL: it is delivered. */
static const char *deliver(struct task *task, CURL **curl, const struct mail *mail,
                           bool *ret_for_good)
{
    *ret_for_good = false;
    if (*mail->to == '\0')
        return NULL;
    if (is_readable(mail))
        return write_file(task, mail);
    if (letter_has_server(task->settings))
        return smtp_send(task->mem, curl, task->settings, letter_sender(task->mem, task->settings),
                         mail->to, mail->content, ret_for_good);
    return outbox_is_configured(task->settings) ? write_file(task, mail)
                                                : "no mail server is configured";
}

/* Nobody needs it any more. */
static bool is_late(const struct mail *mail, int64_t now_ms)
{
    return now_ms - mail->created_ms > GIVE_UP_MS ||
           (mail->expires_ms != 0 && now_ms > mail->expires_ms);
}

static enum err give_up(struct task *task, struct outbox *outbox, const struct mail *mail,
                        const char *why)
{
    metric_add(METRIC_mails_given_up, 1);
    log_error(task, "a mail was given up", LOG_S("mail", mail->id), LOG_S("detail", why));
    return store_mail_done(task, outbox->store, mail->id);
}

static enum err handle(struct task *task, struct outbox *outbox, CURL **curl,
                       const struct mail *mail)
{
    bool for_good = false;
    int64_t now_ms = clock_wall_ms();
    const char *wrong;

    if (*mail->to != '\0' && is_late(mail, now_ms))
        return give_up(task, outbox, mail,
                       *mail->error == '\0' ? "it was too late to send it" : mail->error);
    wrong = deliver(task, curl, mail, &for_good);
    if (wrong == NULL && *mail->to != '\0')
        metric_add(METRIC_mails_sent, 1);
    if (wrong == NULL)
        return store_mail_done(task, outbox->store, mail->id);
    if (for_good)
        return give_up(task, outbox, mail, wrong);
    metric_add(METRIC_mails_postponed, 1);
    log_warning(task, "a mail was not accepted and will be retried", LOG_S("mail", mail->id),
                LOG_I("attempts", mail->attempts), LOG_S("detail", wrong),
                LOG_S("mend", mend_of("mail", wrong)));
    return store_mail_postpone(task, outbox->store, mail->id,
                               clock_wall_ms() + wait_after(mail->attempts), wrong);
}

enum err outbox_run(struct task *task, struct outbox *outbox, struct job_run *run)
{
    auto_smtp CURL *curl = NULL;

    assert_off_loops();
    while (job_goes_on(run)) {
        auto_tree void *mem = mem_tree(8192);
        struct task one = {.mem = mem,
                           .settings = job_settings(run),
                           .job = "outbox",
                           .deadline_ms = clock_mono_ms() + LEASE_MS};
        struct mail mail;
        bool found = false;
        enum err e = store_mail_take(&one, outbox->store, clock_wall_ms(), LEASE_MS, &found, &mail);

        if (e == OK && !found)
            return OK;
        if (e == OK) {
            job_needs_help(run);
            e = handle(&one, outbox, &curl, &mail);
        }
        if (e != OK) {
            log_bounded(LOG_WARNING, &one, "the outbox cannot be read", LOG_S("detail", one.text));
            return fail(task, e, mem_string(task->mem, one.text));
        }
    }
    return OK;
}

struct outbox *outbox_open(void *mem, struct store *store)
{
    struct outbox *outbox = mem_new(mem, struct outbox);

    outbox->store = store;
    return outbox;
}
