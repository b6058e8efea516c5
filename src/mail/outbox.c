#include "mail/outbox.h"

#include "core/clock.h"
#include "core/log.h"
#include "mail/letter.h"
#include "remote/smtp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    LOOK_MS = 500,
    BATCH = 50,
    LEASE_MS = 60000, /* longer than one delivery may take */
    FIRST_WAIT_MS = 30000,
    LONGEST_WAIT_MS = 3600000,
    GIVE_UP_MS = 3 * 86400000,
};

struct outbox {
    struct store *store;
    struct lane *lane;
    const struct settings *(*settings)(void *app);
    void *app;
    struct job job;
    atomic_bool running;
    int64_t looked_ms;
};

static bool has_server(const struct settings *settings)
{
    return settings->email_host != NULL && *settings->email_host != '\0' &&
           letter_sender(settings) != NULL;
}

bool outbox_is_configured(const struct settings *settings)
{
    return has_server(settings) || strcasecmp(settings->environment, "production") != 0;
}

/* A file that is there is whole. */
static const char *write_file(struct task *task, const struct settings *settings,
                              const struct mail *mail)
{
    const char *folder = mem_printf(task->mem, "%s/outbox", settings->data_dir);
    const char *path = mem_printf(task->mem, "%s/%lld.eml", folder, (long long)mail->number);
    const char *unfinished = mem_printf(task->mem, "%s.part", path);
    size_t len = strlen(mail->content);
    auto_close int fd = -1;

    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return "the folder of mails cannot be made";
    fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, mail->content, len) != (ssize_t)len || fsync(fd) != 0 ||
        rename(unfinished, path) != 0)
        return "the file of a mail cannot be written";
    log_info(task, "no mail server is configured: a mail was written to a file",
             LOG_S("path", path));
    return NULL;
}

static int64_t wait_after(unsigned attempts)
{
    int64_t wait_ms = FIRST_WAIT_MS;

    while (--attempts > 0 && wait_ms < LONGEST_WAIT_MS)
        wait_ms *= 2;
    return wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS;
}

/* What is wrong; NULL: it is delivered. */
static const char *deliver(struct task *task, const struct settings *settings,
                           const struct mail *mail, bool *ret_for_good)
{
    *ret_for_good = false;
    if (*mail->to == '\0')
        return NULL;
    if (has_server(settings))
        return smtp_send(settings, letter_sender(settings), mail->to, mail->content, ret_for_good);
    return outbox_is_configured(settings) ? write_file(task, settings, mail)
                                          : "no mail server is configured";
}

static enum err handle(struct task *task, struct outbox *outbox, const struct mail *mail)
{
    bool for_good;
    const char *wrong = deliver(task, outbox->settings(outbox->app), mail, &for_good);
    int64_t now_ms = clock_wall_ms();

    if (wrong == NULL)
        return store_mail_done(task, outbox->store, mail->number);
    if (for_good || now_ms - mail->created_ms > GIVE_UP_MS) {
        log_error(task, "a mail was given up", LOG_I("number", mail->number),
                  LOG_S("detail", wrong));
        return store_mail_done(task, outbox->store, mail->number);
    }
    log_warning(task, "a mail was not taken, and will be tried again",
                LOG_I("number", mail->number), LOG_I("attempts", mail->attempts),
                LOG_S("detail", wrong));
    return store_mail_postpone(task, outbox->store, mail->number,
                               now_ms + wait_after(mail->attempts), wrong);
}

static void run(struct job *job)
{
    struct outbox *outbox = container_of(job, struct outbox, job);

    for (int i = 0; i < BATCH; i++) {
        auto_tree void *mem = mem_tree(8192);
        struct task task = {.mem = mem, .id = "outbox", .deadline_ms = clock_mono_ms() + LEASE_MS};
        struct mail mail;
        bool found = false;
        enum err e = store_mail_take(&task, outbox->store, clock_wall_ms(), LEASE_MS, &found,
                                     &mail);

        if (e == OK && !found)
            return;
        if (e == OK)
            e = handle(&task, outbox, &mail);
        if (e != OK) {
            log_warning(&task, "the outbox cannot be read", LOG_S("detail", task.text));
            return;
        }
    }
}

static void done(struct job *job, enum err outcome)
{
    (void)outcome;
    atomic_store(&container_of(job, struct outbox, job)->running, false);
}

struct outbox *outbox_open(void *mem, struct store *store, struct lane *lane,
                           const struct settings *(*settings)(void *app), void *app)
{
    struct outbox *outbox = mem_new(mem, struct outbox);

    outbox->store = store;
    outbox->lane = lane;
    outbox->settings = settings;
    outbox->app = app;
    outbox->job.run = run;
    outbox->job.done = done;
    return outbox;
}

void outbox_tick(struct outbox *outbox)
{
    int64_t now_ms = clock_mono_ms();

    if (now_ms - outbox->looked_ms < LOOK_MS || atomic_exchange(&outbox->running, true))
        return;
    outbox->looked_ms = now_ms;
    if (lane_submit(outbox->lane, &outbox->job) != OK)
        atomic_store(&outbox->running, false);
}
