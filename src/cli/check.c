#include "account/password.h"
#include "api/limits.h"
#include "api/routes.h"
#include "cli/cli.h"
#include "core/clock.h"
#include "limit/probe.h"
#include "mail/letter.h"
#include "remote/smtp.h"
#include "remote/stripe.h"
#include "store/sqlite.h"

#include <stdio.h>

enum { HASHES = 3, PROBE_MS = 3000, MAIL_MS = 10000 };

/* Each part says what serve would do with it; false if serve could not, or not well. */

static bool check_listening(const struct settings *settings)
{
    printf("listen     http://%s:%d\n", settings->host, (int)settings->port);
    return true;
}

static bool check_store(void *mem, const struct settings *settings)
{
    struct task task = {.mem = mem, .id = "check"};
    const char *fault, *notice;
    int version;

    if (sqlite_inspect(&task, settings->data_dir, &version, &fault, &notice) != OK) {
        printf("store      SQLite in %s: %s\n", settings->data_dir, task.text);
        return false;
    }
    if (fault != NULL)
        printf("store      SQLite in %s: damaged: %s; restore a backup\n", settings->data_dir,
               fault);
    else if (notice != NULL)
        printf("store      SQLite in %s: %s\n", settings->data_dir, notice);
    else if (version == 0)
        printf("store      SQLite in %s: will be made\n", settings->data_dir);
    else
        printf("store      SQLite in %s: sound, schema %d\n", settings->data_dir, version);
    return fault == NULL && notice == NULL;
}

static bool check_hash(void *mem, const struct settings *settings)
{
    struct task task = {.mem = mem, .id = "check"};
    int64_t started_us = clock_mono_us();
    const char *hash;

    for (int i = 0; i < HASHES; i++) {
        if (password_hash(&task, settings, "correct horse battery staple", &hash) != OK) {
            puts("passwords  no memory for a hash; lower PASSWORD_ARGON2_MEMORY_KIB");
            return false;
        }
    }
    printf("passwords  Argon2id, %d KiB, %d passes: %.1f ms each\n", (int)settings->argon2_memory,
           (int)settings->argon2_passes, (double)(clock_mono_us() - started_us) / 1000 / HASHES);
    return true;
}

static bool report(const char *name, bool configured, const char *wrong)
{
    printf("%-10s %s\n", name, !configured ? "not configured" : wrong == NULL ? "answers" : wrong);
    return wrong == NULL;
}

static bool check_mail(void *mem, const struct settings *settings)
{
    bool configured = settings->email_host != NULL && *settings->email_host != '\0';

    return report("mail", configured,
                  !configured                    ? NULL
                  : !letter_has_sender(settings) ? "no sender: set EMAIL_FROM"
                                                 : smtp_probe(mem, settings, MAIL_MS));
}

static bool check_redis(void *mem, const struct settings *settings)
{
    const char *wrong;
    const struct redis_target *redis = redis_target_new(mem, settings, &wrong);

    if (redis != NULL)
        wrong = limit_probe(redis, PROBE_MS);
    return report("redis", redis_is_configured(settings), wrong);
}

static bool check_stripe(const struct settings *settings)
{
    bool configured = stripe_is_configured(settings);

    return report("stripe", configured, configured ? stripe_probe(settings, PROBE_MS) : NULL);
}

int command_check(const struct arguments *arguments)
{
    auto_tree void *mem = mem_tree(0);
    const struct settings *settings = cli_load_settings(mem, arguments, true);
    const struct plans *plans;
    const char *wrong;
    bool good;

    if (settings == NULL)
        return EX_CONFIG;
    plans = cli_load_plans(mem, settings);
    if (plans == NULL)
        return EX_CONFIG;
    if (limits_compile(mem, settings, routes, plans, &wrong) == NULL) {
        fprintf(stderr, "manus: %s\n", wrong);
        return EX_CONFIG;
    }
    good = check_listening(settings);
    good = check_store(mem, settings) && good;
    printf("limits     %s\n", !settings->rate_limit_enabled   ? "off"
                              : redis_is_configured(settings) ? "counted in Redis"
                                                              : "counted in memory");
    good = check_hash(mem, settings) && good;
    good = check_redis(mem, settings) && good;
    good = check_stripe(settings) && good;
    good = check_mail(mem, settings) && good;
    puts(good ? "all is well" : "something is wrong: see above");
    return good ? EX_OK : EX_UNAVAILABLE;
}
