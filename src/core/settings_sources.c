#include "core/settings_parts.h"

#include "core/crypto.h"
#include "core/dotenv.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { FILE_BYTES = 1 << 20, SECRET_FILE_BYTES = 64 << 10 };

static void give(struct loading *l, const char *name, const char *value, const char *origin)
{
    l->given = mem_grow(l->mem, l->given, (l->count + 1) * sizeof *l->given);
    l->given[l->count++] = (struct given){name, value, origin};
}

bool setting_is_template(const char *value)
{
    return secret_is_template(value) && (*value != '<' || strchr(value, '@') == NULL);
}

/* The value may be a secret of somebody else's, and is not shown. */
static void warn_of_line(struct loading *l, const struct dotenv_line *line)
{
    const struct setting_row *row = setting_row_of(line->name);

    if (line->is_odd)
        warning(l,
                "%s line %u: the value of %s begins with # and is taken with it; put it in "
                "quotes to say so, or a blank in front of a comment",
                l->file, line->number, line->name);
    /* A secret that is a template is refused. */
    if (setting_is_template(line->value) && (row == NULL || !setting_is_secret(row)))
        warning(l,
                "%s line %u: the value of %s is a template, and nothing in this file is "
                "expanded; write the value itself",
                l->file, line->number, line->name);
}

/* The last line counts, and whoever corrects another one wonders. */
static void warn_if_set_again(struct loading *l, const struct dotenv_line *line)
{
    const struct setting_row *row = setting_row_of(line->name);
    size_t *last = row == NULL ? NULL : &l->lines[row - setting_rows];

    if (last == NULL)
        return;
    if (*last != 0 && strcmp(l->given[*last - 1].value, line->value) != 0)
        warning(l, "%s line %u: %s is set again, so %s has no effect; remove one of the two",
                l->file, line->number, line->name, l->given[*last - 1].origin);
    *last = l->count + 1;
}

static void give_line(void *context, const struct dotenv_line *line)
{
    struct loading *l = context;

    if (line->name == NULL) {
        problem(l, "%s line %u: %s", l->file, line->number, line->problem);
        return;
    }
    warn_of_line(l, line);
    warn_if_set_again(l, line);
    give(l, line->name, line->value, mem_printf(l->mem, "%s line %u", l->file, line->number));
}

/* The file's bytes with a NUL behind them, or NULL and errno. */
static char *settings_read_file(void *mem, const char *path, size_t limit, size_t *ret_len)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    char *bytes;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) != 0)
        return NULL;
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return NULL;
    }
    bytes = mem_zero(mem, limit + 2);
    for (*ret_len = 0; *ret_len <= limit; *ret_len += (size_t)n) {
        n = read(fd, bytes + *ret_len, limit + 1 - *ret_len);
        if (n <= 0)
            break;
    }
    if (n < 0)
        return NULL;
    if (*ret_len > limit) {
        errno = EFBIG;
        return NULL;
    }
    return bytes;
}

static void warn_if_readable(struct loading *l)
{
    struct stat st;

    if (stat(l->file, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
        warning(l, "%s: other users may read it, and it holds secrets; run: chmod 600 %s", l->file,
                l->file);
}

void settings_give_file(struct loading *l, const char *path)
{
    size_t len = 0;
    char *bytes;

    l->file = path == NULL ? ".env" : path;
    bytes = settings_read_file(l->mem, l->file, FILE_BYTES, &len);
    if (bytes == NULL) {
        if (path != NULL || errno != ENOENT)
            problem(l, "%s: cannot be read (%s); correct the file, or the name after --env-file",
                    l->file, strerror(errno));
        return;
    }
    l->folder = settings_folder_of(l->mem, l->file);
    warn_if_readable(l);
    dotenv_read(l->mem, bytes, len, give_line, l);
    crypto_wipe(bytes, len);
}

void settings_give_environment(struct loading *l, char **environment)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');

        if (equals != NULL)
            give(l, mem_copy(l->mem, *environment, (size_t)(equals - *environment)), equals + 1,
                 "environment");
    }
}

const struct given *settings_find(const struct loading *l, const char *name)
{
    const struct given *found = NULL;

    for (size_t i = 0; i < l->count; i++) {
        const struct given *g = &l->given[i];

        if (strcasecmp(g->name, name) == 0 &&
            (found == NULL || strcmp(g->name, name) == 0 || strcmp(found->name, name) != 0 ||
             strcmp(found->origin, g->origin) != 0))
            found = g;
    }
    return found;
}

/* Such as /dev/null. */
static bool is_device(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

const char *settings_read_secret(struct loading *l, const struct setting_row *row, const char *path)
{
    size_t len = 0;
    char *bytes = settings_read_file(l->mem, path, SECRET_FILE_BYTES, &len);

    if (bytes == NULL) {
        problem(l,
                "%s_FILE: %s cannot be read (%s); correct the path, or the permissions of the file",
                row->name, settings_shown(l->mem, path), strerror(errno));
        return NULL;
    }
    if (len > 0 && bytes[len - 1] == '\n')
        bytes[--len] = '\0';
    if (len > 0 && bytes[len - 1] == '\r')
        bytes[--len] = '\0';
    if (strlen(bytes) == len && len > 0)
        return bytes;
    if (len == 0 && is_device(path))
        problem(l, "%s_FILE: %s is not a file; name the file that holds the secret", row->name,
                settings_shown(l->mem, path));
    else
        problem(l, "%s_FILE: %s %s; write the secret into it as text", row->name,
                settings_shown(l->mem, path), len == 0 ? "is empty" : "holds a NUL byte");
    return NULL;
}

void settings_wipe_given(struct loading *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->given[i].origin, "environment") != 0)
            crypto_wipe((char *)l->given[i].value, strlen(l->given[i].value));
    }
}

/* Names that no setting has */

static bool is_setting(const char *name)
{
    if (setting_row_of(name) != NULL)
        return true;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const char *own = setting_rows[i].name;
        size_t len = strlen(own);

        if (setting_is_secret(&setting_rows[i]) && strncasecmp(name, own, len) == 0 &&
            strcasecmp(name + len, "_FILE") == 0)
            return true;
    }
    return false;
}

/* Prefixes that nobody else uses for names in an environment that manus runs in. */
static bool has_our_prefix(const char *name)
{
    static const char *const prefixes[] = {
        "JWT_",          "CORS_",       "TRUSTED_PROX", "RATE_LIMIT", "PASSWORD_",  "SESSION_MAX",
        "STRIPE_",       "SENTRY_",     "EMAIL_",       "MONGODB_",   "REDIS_",     "READY_",
        "AUTH_PROVIDER", "LOCAL_AUTH_", "SHUTDOWN_",    "LOG_LEVEL",  "LOG_FORMAT", "PLANS_FILE",
        "BILLING_URL",   "GATE_PROX",   "GATE_STALE",   "PAST_DUE_",
    };

    for (size_t i = 0; i < count_of(prefixes); i++) {
        if (strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

bool settings_is_service(const char *value)
{
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 ||
           strncmp(value, "sctp://", 7) == 0;
}

/* What Kubernetes and Docker links set for a service named redis or mongodb. */
static bool is_service_link(const struct given *g)
{
    const char *port = strstr(g->name, "_PORT_");
    size_t len = strlen(g->name);

    return strstr(g->name, "_SERVICE_") != NULL ||
           (port != NULL && isdigit((unsigned char)port[6])) ||
           (len > 5 && strcasecmp(g->name + len - 5, "_PORT") == 0 &&
            settings_is_service(g->value)) ||
           strcasecmp(g->name, "MONGODB_PORT") == 0;
}

static const char *nearest(const char *name, unsigned *ret_distance)
{
    const char *best = NULL;

    *ret_distance = 1000;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        unsigned distance = text_distance(name, setting_rows[i].name, 12);

        if (distance < *ret_distance) {
            *ret_distance = distance;
            best = setting_rows[i].name;
        }
    }
    return best;
}

/* Kept for whoever knows the routes. */
static bool keep_override(struct loading *l, const struct given *g)
{
    static const char prefix[] = "RATE_LIMIT_";
    struct settings *s = l->settings;

    if (strncasecmp(g->name, prefix, sizeof prefix - 1) != 0)
        return false;
    s->limit_overrides = mem_grow(l->mem, s->limit_overrides,
                                  (s->limit_override_count + 1) * sizeof *s->limit_overrides);
    s->limit_overrides[s->limit_override_count++] = (struct setting_override){
        mem_string(l->mem, g->name), mem_string(l->mem, g->value), mem_string(l->mem, g->origin)};
    return true;
}

void settings_warn_of_unknown(struct loading *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct given *g = &l->given[i];
        bool in_file = strcmp(g->origin, "environment") != 0;
        unsigned distance;
        const char *near;

        if (is_setting(g->name) || is_service_link(g) || keep_override(l, g))
            continue;
        near = nearest(g->name, &distance);
        if (has_our_prefix(g->name) || (in_file && distance <= 2))
            warning(l, "%s (%s): no setting has this name%s%s; see `manus settings`", g->name,
                    g->origin, distance > 12 ? "" : "; did you mean ", distance > 12 ? "" : near);
    }
}
