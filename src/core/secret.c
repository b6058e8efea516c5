#include "core/secret.h"

#include "core/unicode.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#define MEND "; give a random one: openssl rand -base64 48"

enum { KEY_CHARACTERS = 32, KEY_DISTINCT = 8 };

static int wipe(struct secret *secret)
{
    sodium_free(secret->bytes);
    return 0;
}

struct secret *secret_new(void *mem, const char *bytes, size_t len)
{
    struct secret *secret = mem_new(mem, struct secret);

    secret->len = len;
    secret->bytes = sodium_malloc(len + 1);
    if (secret->bytes == NULL)
        abort();
    memcpy(secret->bytes, bytes, len);
    secret->bytes[len] = '\0';
    talloc_set_destructor(secret, wipe);
    return secret;
}

/* Values from samples and tutorials. The text is compared by its letters and digits in lower case,
 * so the rows hold nothing else. */
static bool is_placeholder(const char *text)
{
    static const char *const known[] = {
        "changeme",      "changethis",   "replaceme", "replacethis",    "replacewith",
        "yoursecret",    "yourjwt",      "yoursuper", "yourkey",        "secretkeyhere",
        "placeholder",   "insertyour",   "putyour",   "generatesecure", "supersecretkey",
        "thisisasecret", "256bitsecret", "donotuse",  "todogenerate",   "qwertyuiop",
        "asdfghjkl",
    };
    char squeezed[256];
    size_t len = 0;

    for (; *text != '\0' && len < sizeof squeezed - 1; text++) {
        if (isalnum((unsigned char)*text))
            squeezed[len++] = (char)tolower((unsigned char)*text);
    }
    squeezed[len] = '\0';
    for (size_t i = 0; i < count_of(known); i++) {
        if (strstr(squeezed, known[i]) != NULL)
            return true;
    }
    return false;
}

static size_t distinct_bytes(const char *text)
{
    bool seen[256] = {0};
    size_t count = 0;

    for (; *text != '\0'; text++) {
        count += !seen[(unsigned char)*text];
        seen[(unsigned char)*text] = true;
    }
    return count;
}

/* Whether one piece is repeated, perhaps with something before or behind it: abcabcabc1. */
static bool repeats(const char *text, size_t len)
{
    for (size_t period = 1; period <= len / 2; period++) {
        size_t alike = 0;

        for (size_t i = period; i < len; i++)
            alike += text[i] == text[i - period];
        if (alike * 4 >= (len - period) * 3)
            return true;
    }
    return false;
}

/* Whether most characters are next to the one before: abcdefgh…, 87654321…. */
static bool runs(const char *text, size_t len)
{
    size_t steps = 0;

    for (size_t i = 1; i < len; i++)
        steps += abs(text[i] - text[i - 1]) <= 1;
    return steps * 2 > len;
}

/* The length of the name at the start of the text; 0: there is none. */
static size_t name_len(const char *text)
{
    size_t len = 0;

    while (isalnum((unsigned char)text[len]) || text[len] == '_')
        len++;
    return isdigit((unsigned char)*text) ? 0 : len;
}

static bool is_framed(const char *text, const char *open, const char *close)
{
    size_t len = strlen(text), head = strlen(open), tail = strlen(close);

    return len > head + tail && strncmp(text, open, head) == 0 &&
           strcmp(text + len - tail, close) == 0;
}

/* Whether the text has `open`, then a name or a path, then `close`. */
static bool has_opened(const char *text, const char *open, const char *close)
{
    for (; (text = strstr(text, open)) != NULL; text++) {
        const char *name = text + strlen(open);

        name += strspn(name, " \t.-!$<=/~\"'");
        if (name_len(name) > 0 && strstr(name, close) != NULL)
            return true;
    }
    return false;
}

/* Whether the text names a place where some tool would have looked the value up. */
static bool is_reference(const char *text)
{
    static const char *const schemes[] = {
        "op://",    "vault:",       "vault://",   "ref+",      "arn:aws:secretsmanager:",
        "awssm://", "arn:aws:ssm:", "secretref:", "secret://", "@Microsoft.KeyVault(",
        "ENC[",     "keyvault://",  "sm://",      "bws://",    "gcpsm://",
        "file:///", "env:",
    };

    for (size_t i = 0; i < count_of(schemes); i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return true;
    }
    return strncmp(text, "projects/", 9) == 0 && strstr(text, "/secrets/") != NULL;
}

/* Whether the text begins with $NAME or $env:NAME. A hash in PHC form does not: a small letter or a
 * digit follows its $. */
static bool is_variable(const char *text)
{
    size_t name, capitals = 1;

    if (*text != '$' || strncmp(text, "$env:", 5) == 0)
        return *text == '$';
    name = 1 + name_len(text + 1);
    while (isupper((unsigned char)text[capitals]) || text[capitals] == '_' ||
           isdigit((unsigned char)text[capitals]))
        capitals++;
    return name > 1 && (text[name] == '\0' || (name > 3 && capitals == name));
}

/* Whether the text is one name between `open` and `close`, such as {NAME} or __NAME-OF-IT__. */
static bool frames_name(const char *text, const char *open, const char *close)
{
    size_t len = strlen(text), head = strlen(open), tail = strlen(close), at = head;

    if (!is_framed(text, open, close))
        return false;
    while (isalnum((unsigned char)text[at]) ||
           (text[at] != '\0' && strchr("_-.", text[at]) != NULL))
        at++;
    return at >= len - tail;
}

/* Whether the text is a placeholder such as <your key>, perhaps in quotes or with a full stop. */
static bool is_instruction(const char *text)
{
    static const char around[] = " \t\"'.";
    size_t len;

    text += strspn(text, around);
    len = strlen(text);
    while (len > 0 && strchr(around, text[len - 1]) != NULL)
        len--;
    return len > 2 && text[0] == '<' && text[len - 1] == '>';
}

bool secret_is_template(const char *text)
{
    size_t len = strlen(text);

    /* Documents shorten values so: whsec_... */
    if (len >= 3 && strcmp(text + len - 3, "...") == 0)
        return true;
    return has_opened(text, "${", "") || has_opened(text, "$(", ")") ||
           has_opened(text, "{{", "}}") || has_opened(text, "<%", "%>") ||
           has_opened(text, "#{", "}") || has_opened(text, "[[", "]]") ||
           has_opened(text, "%(", ")s") || is_reference(text) || is_instruction(text) ||
           is_variable(text) || frames_name(text, "((", "))") || frames_name(text, "{", "}") ||
           is_framed(text, "`", "`") || is_framed(text, "@@", "@@") ||
           frames_name(text, "%%", "%%") || frames_name(text, "%", "%") ||
           frames_name(text, "@", "@") || frames_name(text, "__", "__");
}

const char *secret_weakness(const char *text)
{
    size_t len = strlen(text);

    if (text[strspn(text, " \t\r\n\v\f")] == '\0')
        return "is blank" MEND;
    if (is_placeholder(text))
        return "is a known placeholder" MEND;
    if (unicode_length(text) < KEY_CHARACTERS)
        return "is shorter than 32 characters" MEND;
    if (distinct_bytes(text) < KEY_DISTINCT || repeats(text, len) || runs(text, len))
        return "is too easy to guess (its characters repeat or run in order)" MEND;
    return NULL;
}
