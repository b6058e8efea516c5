#include "cli/check.h"

#include "account/password.h"
#include "billing/doctor.h"
#include "cli/admin_socket.h"
#include "core/clock.h"
#include "mail/letter.h"
#include "remote/mend.h"
#include "remote/redis.h"
#include "remote/smtp.h"
#include "remote/stripe.h"
#include "store/store.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { HASHES = 3, MAIL_MS = 10000, STRIPE_MS = 3000 };

bool check_listening(void *mem, const struct settings *settings)
{
    const char *why;
    struct listeners *listeners = program_listen(mem, settings, 1, &why);
    pid_t server = admin_socket_server(settings->data_dir);
    bool by_systemd = listeners == NULL && strstr(why, "(systemd)") != NULL;

    if (listeners != NULL) {
        printf("listen     %s: free%s%s\n", listeners->shown,
               listeners->left_out == NULL ? "" : "; not all addresses of HOST: ",
               listeners->left_out == NULL ? "" : listeners->left_out);
        listeners_close(listeners);
    } else if (server > 0) {
        printf("listen     http://%s:%d: in use by the server of %s (process %d)\n", settings->host,
               (int)settings->port, settings->data_dir, (int)server);
    } else if (by_systemd) {
        printf("listen     http://%s:%d: in use by systemd: correct if this is the socket of "
               "manus.socket\n",
               settings->host, (int)settings->port);
    } else {
        printf("listen     http://%s:%d: %s\n", settings->host, (int)settings->port, why);
    }
    return listeners != NULL || server > 0 || by_systemd;
}

static int64_t free_mib(void *mem, const char *folder)
{
    struct statvfs fs;

    if (statvfs(folder, &fs) != 0 && statvfs(dirname(mem_string(mem, folder)), &fs) != 0)
        return 0;
    return (int64_t)((uint64_t)fs.f_bavail * fs.f_frsize >> 20);
}

/* In a line of its own, which the finding takes the place of. */
static void show_progress(void *unused, const char *part, int64_t rows)
{
    (void)unused;
    printf("\rstore      reading %s", part);
    if (rows > 0)
        printf(": %lld rows", (long long)rows);
    fputs("\033[K", stdout);
    fflush(stdout);
}

bool check_store(void *mem, const struct settings *settings)
{
    struct task task = {.mem = mem, .settings = settings, .job = "check"};
    const struct store_progress progress = {.tell = show_progress};
    bool on_terminal = isatty(STDOUT_FILENO) == 1;
    int64_t started_ms = clock_mono_ms();
    struct store_inspection found;
    enum err e = store_inspect(&task, settings, on_terminal ? &progress : NULL, &found);

    printf("%sstore      %s: ", on_terminal ? "\r\033[K" : "", found.name);
    if (e != OK) {
        puts(task.text);
        return false;
    }
    if (found.fault != NULL)
        printf("damaged: %s; restore a backup", found.fault);
    else if (found.notice != NULL)
        fputs(found.notice, stdout);
    else if (found.version == 0)
        fputs("no store yet; serve creates one", stdout);
    else
        printf("sound, schema %d%s", found.version,
               found.in_parts ? ", read in parts beside the server" : "");
    printf(" (%lld ms, %lld MiB free)\n", (long long)(clock_mono_ms() - started_ms),
           (long long)free_mib(mem, settings->data_dir));
    return found.fault == NULL && found.notice == NULL;
}

bool check_hash(void *mem, const struct settings *settings)
{
    struct task task = {.mem = mem, .settings = settings, .job = "check"};
    int64_t started_us = clock_mono_us();
    const char *hash;

    for (int i = 0; i < HASHES; i++) {
        if (password_hash(&task, "correct horse battery staple", &hash) != OK) {
            puts("passwords  no memory for a hash; lower PASSWORD_ARGON2_MEMORY_KIB");
            return false;
        }
    }
    printf("passwords  Argon2id, %d KiB, %d passes: %.1f ms each\n", (int)settings->argon2_memory,
           (int)settings->argon2_passes, (double)(clock_mono_us() - started_us) / 1000 / HASHES);
    return true;
}

/* `wrong`: what the probe that began then says; NULL if it is content. */
static bool report(const char *peer, const char *place, const char *wrong, int64_t started_ms)
{
    long long ms = clock_mono_ms() - started_ms;

    if (wrong == NULL)
        printf("%-10s %s: answers (%lld ms)\n", peer, place, ms);
    else
        printf("%-10s %s: %s (%lld ms): %s\n", peer, place, wrong, ms, mend_of(peer, wrong));
    return wrong == NULL;
}

static bool report_absent(const char *peer)
{
    printf("%-10s not configured\n", peer);
    return true;
}

bool check_mail(void *mem, const struct settings *settings)
{
    int64_t started_ms = clock_mono_ms();
    const char *wrong = "no sender";

    if (settings->email_host == NULL || *settings->email_host == '\0')
        return report_absent("mail");
    if (letter_has_sender(settings))
        wrong = smtp_probe(mem, settings, letter_sender(mem, settings), MAIL_MS);
    return report("mail", smtp_shown(mem, settings), wrong, started_ms);
}

/* What lies where a thing of another kind will be made. */

bool check_admin_socket(void *mem, const struct settings *settings)
{
    const char *socket = mem_printf(mem, "%s/admin.sock", settings->data_dir);
    struct stat st;

    if (lstat(socket, &st) != 0 || S_ISSOCK(st.st_mode))
        return true;
    printf("admin      %s is not a socket: move it away\n", socket);
    return false;
}

bool check_outbox(void *mem, const struct settings *settings)
{
    const char *outbox = mem_printf(mem, "%s/outbox", settings->data_dir);
    struct stat st;

    if (!letter_is_file(settings) || stat(outbox, &st) != 0 ||
        (S_ISDIR(st.st_mode) && access(outbox, W_OK | X_OK) == 0))
        return true;
    printf("outbox     %s: %s\n", outbox, mend_of("mail", "the file of a mail"));
    return false;
}

bool check_limits(void *mem, const struct settings *settings)
{
    (void)mem;
    printf("limits     %s\n", !settings->rate_limit_enabled   ? "off"
                              : redis_is_configured(settings) ? "counted in Redis"
                                                              : "counted in memory");
    return true;
}

bool check_stripe(void *mem, const struct settings *settings)
{
    int64_t started_ms = clock_mono_ms();

    if (!stripe_is_configured(settings) && settings->stripe_secret != NULL) {
        puts("stripe     STRIPE_SECRET_KEY is not a secret key (sk_… or rk_…), so nothing is "
             "billed: copy one from Stripe's dashboard");
        return false;
    }
    if (!stripe_is_configured(settings))
        return report_absent("stripe");
    return report("stripe", settings->stripe_api_base, doctor_probe(mem, settings, STRIPE_MS),
                  started_ms);
}

static bool probe(const struct part *part, const struct program *p)
{
    int64_t started_ms = clock_mono_ms();

    if (!part_is_configured(part, p->settings))
        return report_absent(part->name);
    return report(part->name, part->place(p->mem, p), part->probe(p, part->probe_ms), started_ms);
}

static bool examine(const struct part *part, const struct program *p)
{
    if (part->examine != NULL && !part->examine(p->mem, p->settings))
        return false;
    return part->probe_ms == 0 || probe(part, p);
}

int command_check(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    struct program *p = mem_new(mem, struct program);
    int status = program_load(mem, arguments, p);
    bool good = true;

    if (status != EX_OK)
        return status;
    for (size_t i = 0; i < part_count; i++)
        good = examine(&parts[i], p) && good;
    puts(!good ? "some checks failed: the lines above say how to fix them"
         : p->settings->warning_count > 0 ? "all checks passed, but see the warnings above"
                                          : "all is well");
    return good ? EX_OK : EX_UNAVAILABLE;
}
