#include "core/settings.h"

#include "core/crypto.h"
#include "core/dotenv.h"
#include "core/settings_check.h"
#include "core/text.h"
#include "core/unicode.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    FILE_BYTES = 1 << 20,
    SECRET_FILE_BYTES = 64 << 10,
    VALUE_BYTES = 4096,
    LOCAL_PASSWORD_BYTES = 1024,
    WEBHOOK_SECRETS = 3,
};

#define LIVE SETTING_LIVE
#define AHEAD SETTING_AHEAD
#define EXAMPLE SETTING_EXAMPLE
#define REQUIRED SETTING_REQUIRED
#define REFUSE_BLANK SETTING_REFUSE_BLANK
#define MAY_BE_NONE SETTING_MAY_BE_NONE
#define TYPE_integer SETTING_INTEGER
#define TYPE_boolean SETTING_BOOLEAN
#define TYPE_rate SETTING_RATE
#define TYPE_text SETTING_TEXT
#define TYPE_choice SETTING_CHOICE
#define TYPE_list SETTING_LIST
#define TYPE_networks SETTING_NETWORKS
#define TYPE_secret SETTING_SECRET
#define TYPE_secrets SETTING_SECRETS

const struct setting_row setting_rows[SETTING_COUNT] = {
#define SETTING(member, type, name, standard, low, high, choices, check, flags, section, help)     \
    {#name,                                                                                        \
     TYPE_##type,                                                                                  \
     standard,                                                                                     \
     low,                                                                                          \
     high,                                                                                         \
     choices,                                                                                      \
     check,                                                                                        \
     (flags),                                                                                      \
     section,                                                                                      \
     help,                                                                                         \
     offsetof(struct settings, member)},
#include "core/settings.def"
#undef SETTING
};

/* What is loaded from, and what is found wrong on the way. */
struct loading {
    void *mem;
    struct settings *settings;
    struct settings_report *report;
    struct given {
        const char *name, *value, *origin;
    } *given;
    size_t count;
    const char *file;
    const char *folder; /* the file's; NULL: there is none */
};

static void add_line(void *mem, const char ***lines, size_t *count, const char *line)
{
    *lines = mem_grow(mem, *lines, (*count + 1) * sizeof **lines);
    (*lines)[(*count)++] = line;
}

#define problem(l, ...)                                                                            \
    add_line((l)->mem, &(l)->report->problems, &(l)->report->problem_count,                        \
             mem_printf((l)->mem, __VA_ARGS__))
#define warning(l, ...)                                                                            \
    add_line((l)->mem, &(l)->report->warnings, &(l)->report->warning_count,                        \
             mem_printf((l)->mem, __VA_ARGS__))

static void give(struct loading *l, const char *name, const char *value, const char *origin)
{
    l->given = mem_grow(l->mem, l->given, (l->count + 1) * sizeof *l->given);
    l->given[l->count++] = (struct given){name, value, origin};
}

static const struct setting_row *row_of(const char *name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strcasecmp(name, setting_rows[i].name) == 0)
            return &setting_rows[i];
    }
    return NULL;
}

/* <ann@example.com> is a sender. */
static bool is_template(const char *value)
{
    return secret_is_template(value) && (*value != '<' || strchr(value, '@') == NULL);
}

/* The value may be a secret of somebody else's, and is not shown. */
static void warn_of_line(struct loading *l, const struct dotenv_line *line)
{
    const struct setting_row *row = row_of(line->name);

    if (line->is_odd)
        warning(l,
                "%s line %u: the value of %s begins with # and is taken with it; put it in "
                "quotes to say so, or a blank in front of a comment",
                l->file, line->number, line->name);
    /* A secret that is a template is refused. */
    if (is_template(line->value) && (row == NULL || !setting_is_secret(row)))
        warning(l,
                "%s line %u: the value of %s is a template, and nothing in this file is "
                "expanded; write the value itself",
                l->file, line->number, line->name);
}

static void give_line(void *context, const struct dotenv_line *line)
{
    struct loading *l = context;

    if (line->name == NULL) {
        problem(l, "%s line %u: %s", l->file, line->number, line->problem);
        return;
    }
    warn_of_line(l, line);
    give(l, line->name, line->value, mem_printf(l->mem, "%s line %u", l->file, line->number));
}

/* The file's bytes with a NUL behind them, or NULL and errno. */
static char *read_file(void *mem, const char *path, size_t limit, size_t *ret_len)
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

/* NULL: the working folder was removed. */
static const char *working_folder(void *mem)
{
    char *path = getcwd(NULL, 0);
    const char *copy = path == NULL ? NULL : mem_string(mem, path);

    free(path);
    return copy;
}

static const char *absolute(void *mem, const char *folder, const char *path)
{
    while (strncmp(path, "./", 2) == 0 && path[2] != '/')
        path += 2;
    if (*path == '/' || folder == NULL)
        return path;
    return strcmp(path, ".") == 0 ? folder : mem_printf(mem, "%s/%s", folder, path);
}

/* Of a file that is one: what comes by a pipe has no folder. */
static const char *folder_of(void *mem, const char *file)
{
    const char *path = absolute(mem, working_folder(mem), file), *slash = strrchr(path, '/');
    struct stat st;

    if (stat(file, &st) != 0 || !S_ISREG(st.st_mode) || slash == NULL)
        return NULL;
    return mem_copy(mem, path, slash == path ? 1 : (size_t)(slash - path));
}

/* Without "." and "..", where its folder is there; what the path itself names may be a link. */
static const char *tidy(void *mem, const char *path)
{
    const char *slash = strrchr(path, '/'), *found;
    char *real;

    if (slash == NULL || (strstr(path, "/./") == NULL && strstr(path, "/../") == NULL &&
                          strcmp(slash, "/..") != 0 && strcmp(slash, "/.") != 0))
        return path;
    if (strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0)
        slash = path + strlen(path);
    real = realpath(mem_copy(mem, path, slash == path ? 1 : (size_t)(slash - path)), NULL);
    if (real == NULL)
        return path;
    found = mem_printf(mem, "%s%s", strcmp(real, "/") == 0 && *slash != '\0' ? "" : real, slash);
    free(real);
    return found;
}

/* Where a setting names a path, in the environment from the working folder, else from the file's:
 * so a command means the same store wherever it is run. */
static const char *place(const struct loading *l, const char *origin, const char *path)
{
    const char *from = l->folder;

    if (path == NULL || *path == '\0')
        return path;
    if (from == NULL || (origin != NULL && strcmp(origin, "environment") == 0))
        from = working_folder(l->mem);
    return tidy(l->mem, absolute(l->mem, from, path));
}

static void warn_if_readable(struct loading *l)
{
    struct stat st;

    if (stat(l->file, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
        warning(l, "%s: other users may read it, and it holds secrets; run: chmod 600 %s", l->file,
                l->file);
}

static void give_file(struct loading *l, const char *path)
{
    size_t len = 0;
    char *bytes;

    l->file = path == NULL ? ".env" : path;
    bytes = read_file(l->mem, l->file, FILE_BYTES, &len);
    if (bytes == NULL) {
        if (path != NULL || errno != ENOENT)
            problem(l, "%s: cannot be read (%s); mend the file, or the name after --env-file",
                    l->file, strerror(errno));
        return;
    }
    l->folder = folder_of(l->mem, l->file);
    warn_if_readable(l);
    dotenv_read(l->mem, bytes, len, give_line, l);
    crypto_wipe(bytes, len);
}

static void give_environment(struct loading *l, char **environment)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');

        if (equals != NULL)
            give(l, mem_copy(l->mem, *environment, (size_t)(equals - *environment)), equals + 1,
                 "environment");
    }
}

/* The last of the given that has this name: the environment stands behind the file. A name spelled
 * exactly wins over one in other letter case from the same place. */
static const struct given *find(const struct loading *l, const char *name)
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

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n\v\f")] == '\0';
}

/* At most 60 bytes of a value, with what would disturb a terminal made visible. */
static const char *shown(void *mem, const char *value)
{
    struct text out = text_open(mem, 96);
    size_t len = strlen(value);

    text_json(&out, value, len > 60 ? 60 : len);
    if (len > 60)
        text_add(&out, "…");
    return out.s;
}

/* tcp://10.0.0.7:80, as Kubernetes and Docker links write the place of a service. */
static bool is_service(const char *value)
{
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 ||
           strncmp(value, "sctp://", 7) == 0;
}

static bool parse_integer(struct loading *l, const struct setting_row *row, const char *value)
{
    int64_t *out = (void *)((char *)l->settings + row->offset);
    char *end;

    errno = 0;
    *out = strtoll(value, &end, 10);
    if (is_service(value))
        problem(l,
                "%s: %s is what Kubernetes sets for a service of that name; set "
                "enableServiceLinks: false in the pod, or %s to a number",
                row->name, shown(l->mem, value), row->name);
    else if (end == value || *end != '\0' || errno != 0 || isspace((unsigned char)*value) ||
             *value == '+' || *out < row->low || *out > row->high)
        problem(l, "%s: %s is not a whole number from %lld to %lld; give one", row->name,
                shown(l->mem, value), (long long)row->low, (long long)row->high);
    else
        return true;
    return false;
}

static bool parse_boolean(struct loading *l, const struct setting_row *row, const char *value)
{
    static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no",
                                                                                "off"};
    bool *out = (void *)((char *)l->settings + row->offset);

    for (size_t i = 0; i < count_of(yes); i++) {
        if (text_same_ascii(value, yes[i]) || text_same_ascii(value, no[i])) {
            *out = text_same_ascii(value, yes[i]);
            return true;
        }
    }
    problem(l, "%s: %s is neither true nor false; give one of them", row->name,
            shown(l->mem, value));
    return false;
}

static bool parse_rate(struct loading *l, const struct setting_row *row, const char *value)
{
    double *out = (void *)((char *)l->settings + row->offset);
    size_t len = strlen(value);
    char *end;

    *out = strtod(value, &end);
    if (len > 0 && len < 32 && strspn(value, "0123456789.") == len && *end == '\0' && *out >= 0 &&
        *out <= 1)
        return true;
    problem(l, "%s: %s is not a rate from 0 to 1; give one such as 0.25", row->name,
            shown(l->mem, value));
    return false;
}

/* The position of `word` among words separated by |, or -1. */
static int position(const char *choices, const char *word)
{
    size_t len = strlen(word);
    int i = 0;

    for (const char *at = choices;; at++, i++) {
        size_t width = strcspn(at, "|");

        if (width == len && strncasecmp(at, word, len) == 0)
            return i;
        at += width;
        if (*at == '\0')
            return -1;
    }
}

static const char *words(void *mem, const char *choices)
{
    struct text out = text_open(mem, 96);

    for (; *choices != '\0'; choices++) {
        if (*choices == '|')
            text_add(&out, ", ");
        else
            text_char(&out, *choices);
    }
    return out.s;
}

#define UNFILLED "is a template that nothing has filled in; give the value itself"

static bool check_value(struct loading *l, const struct setting_row *row, const char *value)
{
    const char *wrong = NULL;

    if (setting_is_secret(row) && secret_is_template(value))
        wrong = UNFILLED;
    else if (row->check != NULL)
        wrong = row->check(value);
    if (wrong == NULL)
        return true;
    if (setting_is_secret(row))
        problem(l, "%s: %s", row->name, wrong);
    else
        problem(l, "%s: %s %s", row->name, shown(l->mem, value), wrong);
    return false;
}

/* Origins without the port that their scheme has anyway, as browsers send them. */
static const char *normal(void *mem, const struct setting_row *row, const char *value)
{
    return mem_copy(mem, value, row->check == check_origin ? origin_length(value) : strlen(value));
}

static bool parse_choice(struct loading *l, const struct setting_row *row, const char *value)
{
    int *out = (void *)((char *)l->settings + row->offset);

    *out = position(row->choices, value);
    if (*out < 0)
        problem(l, "%s: %s is not known; give one of %s", row->name, shown(l->mem, value),
                words(l->mem, row->choices));
    return *out >= 0 && check_value(l, row, value);
}

static bool check_size(struct loading *l, const struct setting_row *row, const char *value)
{
    size_t len = strlen(value);
    size_t high = row->high > 0 ? (size_t)row->high : VALUE_BYTES;

    if (len < (size_t)row->low)
        problem(l, "%s: is empty; give a value, or remove the line", row->name);
    else if (len > high)
        problem(l, "%s: is %zu bytes long; give at most %zu", row->name, len, high);
    else if (unicode_has_control(value) || !unicode_is_valid(value, len))
        problem(l, "%s: holds a control character or is not UTF-8; give plain text", row->name);
    else
        return true;
    return false;
}

/* The items between commas, trimmed; empty ones are passed over. */
static struct texts split(void *mem, const char *value)
{
    struct texts items = {0};

    for (const char *at = value; *at != '\0';) {
        size_t len = strcspn(at, ",");
        char *item = unicode_trim(mem, mem_copy(mem, at, len));

        if (*item != '\0')
            add_line(mem, &items.of, &items.count, item);
        at += len + (at[len] == ',');
    }
    return items;
}

static size_t count_items(const char *value)
{
    size_t count = 1;

    for (; *value != '\0'; value++)
        count += *value == ',';
    return count;
}

static bool parse_list(struct loading *l, const struct setting_row *row, const char *value)
{
    struct texts *out = (void *)((char *)l->settings + row->offset);
    bool fine = true;

    *out = split(l->mem, value);
    for (size_t i = 0; i < out->count; i++) {
        if (row->choices != NULL && position(row->choices, out->of[i]) < 0) {
            problem(l, "%s: %s is not known; give some of %s", row->name, shown(l->mem, out->of[i]),
                    words(l->mem, row->choices));
            fine = false;
        }
        fine = check_value(l, row, out->of[i]) && fine;
        out->of[i] = normal(l->mem, row, out->of[i]);
    }
    return fine;
}

static bool parse_networks(struct loading *l, const struct setting_row *row, const char *value)
{
    struct networks *out = (void *)((char *)l->settings + row->offset);
    struct texts items = split(l->mem, value);
    bool fine = true;

    out->of = mem_array(l->mem, struct network, items.count + 1);
    for (size_t i = 0; i < items.count; i++) {
        if (!network_parse(items.of[i], &out->of[out->count++])) {
            problem(l,
                    "%s: %s is no network; give one such as 10.0.0.0/8 (host bits zero) or an "
                    "address",
                    row->name, shown(l->mem, items.of[i]));
            fine = false;
        }
    }
    return fine;
}

static bool parse_secret(struct loading *l, const struct setting_row *row, const char *value)
{
    struct secret **out = (void *)((char *)l->settings + row->offset);

    if (!check_value(l, row, value))
        return false;
    *out = secret_new(l->mem, value, strlen(value));
    return true;
}

static bool parse_secrets(struct loading *l, const struct setting_row *row, const char *value)
{
    struct secrets *out = (void *)((char *)l->settings + row->offset);
    struct texts items = split(l->mem, value);

    /* A template may have commas of its own. */
    if (secret_is_template(value)) {
        problem(l, "%s: " UNFILLED, row->name);
        return false;
    }
    if ((row->flags & SETTING_REFUSE_BLANK) != 0 && items.count != count_items(value)) {
        problem(l, "%s: one of its values is blank; remove its comma", row->name);
        return false;
    }
    out->of = mem_array(l->mem, struct secret *, items.count + 1);
    for (size_t i = 0; i < items.count; i++) {
        if (!check_value(l, row, items.of[i]))
            return false;
        out->of[out->count++] = secret_new(l->mem, items.of[i], strlen(items.of[i]));
        crypto_wipe((char *)items.of[i], strlen(items.of[i]));
    }
    return true;
}

static bool parse_text(struct loading *l, const struct setting_row *row, const char *value)
{
    const char **out = (void *)((char *)l->settings + row->offset);

    *out = normal(l->mem, row, value);
    return check_value(l, row, value);
}

static bool parse(struct loading *l, const struct setting_row *row, const char *value)
{
    bool (*const parsers[])(struct loading *, const struct setting_row *, const char *) = {
        [SETTING_INTEGER] = parse_integer,   [SETTING_BOOLEAN] = parse_boolean,
        [SETTING_RATE] = parse_rate,         [SETTING_TEXT] = parse_text,
        [SETTING_CHOICE] = parse_choice,     [SETTING_LIST] = parse_list,
        [SETTING_NETWORKS] = parse_networks, [SETTING_SECRET] = parse_secret,
        [SETTING_SECRETS] = parse_secrets,
    };
    bool sized = row->type == SETTING_INTEGER || check_size(l, row, value);

    return sized && parsers[row->type](l, row, value);
}

/* Such as /dev/null. */
static bool is_device(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

/* The secret in the file that NAME_FILE names, without its closing newline. */
static const char *read_secret_file(struct loading *l, const struct setting_row *row,
                                    const char *path)
{
    size_t len = 0;
    char *bytes = read_file(l->mem, path, SECRET_FILE_BYTES, &len);

    if (bytes == NULL) {
        problem(l, "%s_FILE: %s cannot be read (%s); mend the path or the file's rights", row->name,
                shown(l->mem, path), strerror(errno));
        return NULL;
    }
    if (len > 0 && bytes[len - 1] == '\n')
        bytes[--len] = '\0';
    if (len > 0 && bytes[len - 1] == '\r')
        bytes[--len] = '\0';
    if (strlen(bytes) == len && len > 0)
        return bytes;
    if (len == 0 && is_device(path))
        problem(l, "%s_FILE: %s is no file; name the file that holds the secret", row->name,
                shown(l->mem, path));
    else
        problem(l, "%s_FILE: %s %s; write the secret into it as text", row->name,
                shown(l->mem, path), len == 0 ? "is empty" : "holds a NUL byte");
    return NULL;
}

/* Chooses between NAME and NAME_FILE: the one given in the stronger place. */
static const struct given *choose(struct loading *l, const struct setting_row *row, bool *ret_file)
{
    const struct given *plain = find(l, row->name), *file = NULL;

    if (setting_is_secret(row))
        file = find(l, mem_printf(l->mem, "%s_FILE", row->name));
    if (file != NULL && *file->value == '\0')
        file = NULL;
    if (plain != NULL && file != NULL && strcmp(plain->origin, "environment") == 0 &&
        strcmp(file->origin, "environment") == 0 && *plain->value != '\0')
        problem(l, "%s: is given twice, also as %s_FILE; remove one of them", row->name, row->name);
    *ret_file = file != NULL && (plain == NULL || *plain->value == '\0' || file > plain);
    return *ret_file ? file : plain;
}

static void set_source(struct loading *l, size_t index, const char *value, const char *origin)
{
    struct setting_source *source = &l->settings->sources[index];

    source->origin = origin;
    if (value == NULL)
        return;
    source->shown = setting_is_secret(&setting_rows[index]) ? "(secret)"
                                                            : mem_string(l->mem, value);
    crypto_sha256(source->digest, value, strlen(value));
}

static bool means_none(const struct setting_row *row, const char *value)
{
    return (row->flags & SETTING_MAY_BE_NONE) != 0 &&
           (text_same_ascii(value, "none") || text_same_ascii(value, "no-password"));
}

/* Empty means unset, but for lists, where it means none of them. */
static bool is_left_out(struct loading *l, const struct setting_row *row, const char *value)
{
    if (value == NULL || means_none(row, value))
        return true;
    if (!is_blank(value) || row->type == SETTING_LIST || row->type == SETTING_NETWORKS)
        return false;
    if ((row->flags & (SETTING_REFUSE_BLANK | SETTING_REQUIRED)) != 0 ||
        (*value != '\0' && setting_is_secret(row)))
        problem(l, "%s: is blank; give its value, or remove it", row->name);
    else if (row->default_text != NULL && row->type != SETTING_TEXT)
        problem(l, "%s: is empty; give a value, or remove it", row->name);
    return true;
}

static void use_value(struct loading *l, size_t index, const char *value, const char *origin)
{
    parse(l, &setting_rows[index], value);
    set_source(l, index, value, origin);
}

static void load_row(struct loading *l, size_t index)
{
    const struct setting_row *row = &setting_rows[index];
    bool from_file;
    const struct given *given = choose(l, row, &from_file);
    const char *value = given == NULL ? NULL : given->value;
    size_t problems = l->report->problem_count;

    if (value != NULL && from_file)
        value = read_secret_file(l, row, place(l, given->origin, value));
    if (given != NULL && value == NULL)
        return; /* the file's problem is told */

    if (given != NULL && !setting_is_secret(row) && strcmp(given->origin, "environment") == 0 &&
        is_template(value))
        warning(l, "%s: %s is a template that nothing has filled in; give the value itself",
                row->name, shown(l->mem, value));
    if (!is_left_out(l, row, value))
        use_value(l, index, value, given->origin);
    else if (row->default_text != NULL)
        use_value(l, index, row->default_text, "default");
    else if ((row->flags & SETTING_REQUIRED) != 0 && l->report->problem_count == problems)
        problem(l,
                "%s: is not set; run `manus init`, or set it to a random text: openssl rand "
                "-base64 48",
                row->name);
    if (from_file && value != NULL)
        crypto_wipe((char *)value, strlen(value));
}

static bool is_setting(const char *name)
{
    if (row_of(name) != NULL)
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

/* What Kubernetes and Docker links set for a service named redis or mongodb. */
static bool is_service_link(const struct given *g)
{
    const char *port = strstr(g->name, "_PORT_");
    size_t len = strlen(g->name);

    return strstr(g->name, "_SERVICE_") != NULL ||
           (port != NULL && isdigit((unsigned char)port[6])) ||
           (len > 5 && strcasecmp(g->name + len - 5, "_PORT") == 0 && is_service(g->value)) ||
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

static void warn_of_unknown(struct loading *l)
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

static void check_local_password(struct loading *l)
{
    const struct secret *password = l->settings->local_password;

    if (l->settings->auth_provider != PROVIDER_LOCAL)
        return;
    if (password == NULL)
        problem(l, "LOCAL_AUTH_PASSWORD: is not set, but AUTH_PROVIDER is local; set it to the "
                   "administrator's password");
    else if (!unicode_is_valid((const char *)password->bytes, password->len) ||
             (int64_t)unicode_length((const char *)password->bytes) < l->settings->password_min ||
             password->len > LOCAL_PASSWORD_BYTES)
        problem(l,
                "LOCAL_AUTH_PASSWORD: has to be %lld characters (PASSWORD_MIN_LENGTH)"
                " to %d bytes long",
                (long long)l->settings->password_min, LOCAL_PASSWORD_BYTES);
}

static void check_mail(struct loading *l)
{
    const struct settings *s = l->settings;
    bool has_host = s->email_host != NULL && *s->email_host != '\0';
    bool has_from = (s->email_from != NULL && *s->email_from != '\0') ||
                    (s->email_username != NULL && strchr(s->email_username, '@') != NULL);
    bool only_by_server = strcasecmp(s->environment, "production") == 0;

    if (has_host && !has_from)
        warning(l, "EMAIL_HOST: is set, but there is no sender: set EMAIL_FROM, or nothing is "
                   "handed to that server");
    if (!only_by_server || (has_host && has_from))
        return;
    if (s->email_verification)
        warning(l, "EMAIL_VERIFICATION: is on, but no mail can be sent: set EMAIL_HOST and "
                   "EMAIL_FROM");
    if (s->unverified_may > 0)
        problem(l,
                "UNVERIFIED_MAY: nobody could confirm an address, since no mail can be sent; set "
                "EMAIL_HOST and EMAIL_FROM, or leave it at everything");
}

static void warn_of_openness(struct loading *l)
{
    const struct settings *s = l->settings;
    struct address address;

    if (s->auth_provider == PROVIDER_NONE && s->host != NULL && strcmp(s->host, "localhost") != 0 &&
        (!address_parse(s->host, strlen(s->host), &address) ||
         (address_is_v4(&address) ? address.bytes[12] != 127 : strcmp(s->host, "::1") != 0)))
        warning(l, "AUTH_PROVIDER: is none, and HOST lets other machines in: nobody has to log in");
}

/* A link is followed as Linux does in /tmp (protected_symlinks): one of our own, of root, or of
 * whose the folder is. Anybody else could point it elsewhere. */
static void check_link(struct loading *l, const struct stat *link, const struct stat *folder)
{
    const char *path = l->settings->data_dir;

    if (link->st_uid != geteuid() && link->st_uid != 0 && link->st_uid != folder->st_uid)
        problem(l,
                "DATA_DIR: %s is a symbolic link of another user, who can point it elsewhere; name "
                "the folder itself",
                path);
    else
        warning(l, "DATA_DIR: %s is a symbolic link; the store is where it points", path);
}

/* Who may write in the folder may put another store into it. */
static void check_data_dir(struct loading *l)
{
    const char *path = l->settings->data_dir;
    size_t len = path == NULL ? 0 : strlen(path);
    struct stat link, st;

    /* What ends in / is followed even by lstat(). */
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0 || lstat(mem_copy(l->mem, path, len), &link) != 0 || stat(path, &st) != 0 ||
        !S_ISDIR(st.st_mode))
        return;
    if (S_ISLNK(link.st_mode))
        check_link(l, &link, &st);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        warning(l,
                "DATA_DIR: other users may write in %s, and could replace the store; run: "
                "chmod 700 %s",
                path, path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        warning(l,
                "DATA_DIR: %s belongs to another user, who can replace the store; run manus as "
                "that user, or give it a folder of its own",
                path);
}

static void check_together(struct loading *l)
{
    const struct settings *s = l->settings;

    if (s->stripe_secret != NULL && s->stripe_webhook_secret.count == 0 &&
        strstr((const char *)s->stripe_secret->bytes, "_live_") != NULL)
        problem(l, "STRIPE_WEBHOOK_SECRET: is not set, but STRIPE_SECRET_KEY is a live key; set it "
                   "to the signing secret of the webhook endpoint, or anybody could send events");
    if (s->stripe_secret != NULL && strncmp(s->stripe_api_base, "https://", 8) != 0 &&
        strstr((const char *)s->stripe_secret->bytes, "_live_") != NULL)
        problem(l, "STRIPE_API_BASE: is not https://, but STRIPE_SECRET_KEY is a live key, which "
                   "anybody on the way could read; unset it, or use a test key");
    if (s->stripe_secret != NULL && strncmp((const char *)s->stripe_secret->bytes, "sk_", 3) != 0 &&
        strncmp((const char *)s->stripe_secret->bytes, "rk_", 3) != 0)
        warning(l, "STRIPE_SECRET_KEY: begins neither with sk_ nor with rk_, so nothing is billed; "
                   "give a secret or restricted key, or unset it");
    if (s->stripe_webhook_secret.count > WEBHOOK_SECRETS)
        problem(l, "STRIPE_WEBHOOK_SECRET: has %zu values; give %d at most",
                s->stripe_webhook_secret.count, WEBHOOK_SECRETS);
    check_local_password(l);
    check_mail(l);
    warn_of_openness(l);
    check_data_dir(l);
}

/* Everything that is kept was copied. */
static void wipe_given(struct loading *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->given[i].origin, "environment") != 0)
            crypto_wipe((char *)l->given[i].value, strlen(l->given[i].value));
    }
}

static bool holds_store(void *mem, const char *folder)
{
    struct stat st;

    return stat(mem_printf(mem, "%s/manus.sqlite", folder), &st) == 0 && st.st_size > 0;
}

/* Where a store lies in the working folder, an empty one elsewhere is not what is meant. */
static void check_place(struct loading *l, const char *given)
{
    const char *counts = l->settings->data_dir, *here;

    if (given == NULL || *given == '\0' || *given == '/')
        return;
    here = tidy(l->mem, absolute(l->mem, working_folder(l->mem), given));
    if (holds_store(l->mem, here) && !holds_store(l->mem, counts))
        problem(l,
                "DATA_DIR: %s counts from the folder of %s, and there is no store in %s, but there "
                "is one in %s: set DATA_DIR=%s, or move it",
                given, l->file, counts, here, here);
}

static void place_paths(struct loading *l)
{
    struct settings *s = l->settings;
    const char *given = s->data_dir;

    s->data_dir = place(l, s->sources[SETTING_INDEX_data_dir].origin, s->data_dir);
    s->plans_file = place(l, s->sources[SETTING_INDEX_plans_file].origin, s->plans_file);
    s->ca_file = place(l, s->sources[SETTING_INDEX_ca_file].origin, s->ca_file);
    check_place(l, given);
}

static void derive_keys(void *mem, struct settings *s)
{
    s->signing_key_count = 1 + s->jwt_previous.count;
    s->signing_keys = mem_array(mem, const struct signing_key *, s->signing_key_count);
    s->signing_keys[0] = signing_key_of(mem, s->jwt_secret);
    for (size_t i = 0; i < s->jwt_previous.count; i++)
        s->signing_keys[i + 1] = signing_key_of(mem, s->jwt_previous.of[i]);
}

struct settings *settings_load(void *mem, const struct settings_input *input,
                               struct settings_report *report)
{
    struct loading l = {.mem = mem, .report = report, .settings = mem_new(mem, struct settings)};

    *report = (struct settings_report){0};
    give_file(&l, input->env_file);
    give_environment(&l, input->environment);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        load_row(&l, i);
    place_paths(&l);
    check_together(&l);
    warn_of_unknown(&l);
    wipe_given(&l);
    if (report->problem_count > 0)
        return NULL;
    derive_keys(mem, l.settings);
    return l.settings;
}

static size_t value_size(enum setting_type type)
{
    static const size_t sizes[] = {
#define SIZE(upper, lower) [SETTING_##upper] = sizeof(SETTING_C_##lower)
        SIZE(INTEGER, integer), SIZE(BOOLEAN, boolean),   SIZE(RATE, rate),
        SIZE(TEXT, text),       SIZE(CHOICE, choice),     SIZE(LIST, list),
        SIZE(SECRET, secret),   SIZE(NETWORKS, networks), SIZE(SECRETS, secrets),
#undef SIZE
    };

    return sizes[type];
}

struct settings *settings_reload(void *mem, const struct settings_input *input,
                                 const struct settings *old, struct settings_report *report)
{
    struct settings *new = settings_load(mem, input, report);

    if (new == NULL)
        return NULL;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_row *row = &setting_rows[i];

        if ((row->flags & SETTING_LIVE) != 0 ||
            memcmp(new->sources[i].digest, old->sources[i].digest, 32) == 0)
            continue;
        add_line(mem, &report->warnings, &report->warning_count,
                 mem_printf(mem, "%s: has changed, and takes effect at the next start", row->name));
        memcpy((char *)new + row->offset, (const char *)old + row->offset, value_size(row->type));
        new->sources[i] = old->sources[i];
    }
    return new;
}

const char *settings_served_url(void *mem, const struct settings *settings)
{
    static const char *const here[] = {"127.0.0.1", "0.0.0.0", "::", "::1", "localhost"};
    const char *host = settings->host;

    for (size_t i = 0; i < count_of(here); i++) {
        if (strcmp(host, here[i]) == 0)
            host = "localhost";
    }
    return mem_printf(mem, strchr(host, ':') == NULL ? "http://%s:%d" : "http://[%s]:%d", host,
                      (int)settings->port);
}
