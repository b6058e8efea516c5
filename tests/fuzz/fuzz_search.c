/* Searches in a real store: page by page they find whom the words say, each once, and nobody else.
 * The first byte is the size of a page; the second, where the search begins. */
#include "core/clock.h"
#include "core/crypto.h"
#include "core/settings.h"
#include "core/unicode.h"
#include "scratch.h"
#include "store/search.h"
#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct {
    const char *email, *fullname;
} people[] = {
    {"ann@example.com", "Ann Lee"},
    {"zoe@b\xc3\xbc"
     "cher.example",
     "Zo\xc3\xab M\xc3\xbcller"},
    {"u1@x.example", "\xd8\xb9\xd8\xa8\xd8\xaf \xd8\xa7\xd9\x84\xd9\x84\xd9\x87"},
    {"u2@x.example", "\xc4\xb0stanbul I\xcc\x87i"},
    {"u3@x.example", "\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82"},
    {"u4@x.example", "\xef\xac\x81sh OR NOT near"},
    {"o'hara@x.example", "Zaynab O'Hara \"the\" * rareword"},
    {"u5+tag@x.example", "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xf0\x9f\x98\x80"},
};
enum { PEOPLE = count_of(people), MANY = 150 };

static struct store *store;

static void add(const char *email, const char *fullname)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .id = "fuzz", .deadline_ms = clock_mono_ms() + 60000};
    const char *id = crypto_id(mem);
    const struct user user = {.id = id,
                              .fullname = fullname,
                              .email = email,
                              .password_hash = "x",
                              .is_active = true,
                              .created_ms = 1,
                              .updated_ms = 1};
    const struct session_record session = scratch_session(mem, id);
    enum user_created created;

    assert(store_user_create(&task, store, &user, &session, NULL, &created) == OK &&
           created == USER_CREATED);
}

static void open_store(void)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .id = "fuzz"};
    const struct settings settings = {.data_dir = scratch_folder(mem)};

    crypto_start();
    store = store_open(&task, NULL, &settings);
    assert(store != NULL);
    for (int i = 0; i < MANY; i++)
        add(mem_printf(mem, "c%d@common.example", i), "Common Name");
    for (int i = 0; i < PEOPLE; i++)
        add(people[i].email, people[i].fullname);
}

/* How many times everybody is on this page and all behind it; each person once at most. */
static void read_all(struct task *task, const char *text, struct store_page page,
                     unsigned char seen[PEOPLE + MANY])
{
    for (int pages = 0; pages < 2000; pages++) {
        struct user *users;
        size_t count;
        const char *next;

        task->deadline_ms = clock_mono_ms() + 60000;
        assert(store_users(task, store, text, &page, &users, &count, &next) == OK);
        assert(page.limit == 0 || count <= page.limit);
        for (size_t i = 0; i < count; i++) {
            unsigned number = MANY;

            if (sscanf(users[i].email, "c%u@common.example", &number) != 1) {
                while (strcmp(people[number - MANY].email, users[i].email) != 0)
                    number++;
            }
            assert(number < PEOPLE + MANY && seen[number]++ == 0);
        }
        if (next == NULL)
            return;
        page.cursor = next;
    }
    abort();
}

static bool is_found(void *mem, const char *text, unsigned number)
{
    struct search search = search_parse(mem, text);
    const char *email = number < MANY ? mem_printf(mem, "c%u@common.example", number)
                                      : people[number - MANY].email;

    return search_matches(&search, email,
                          number < MANY ? "Common Name" : people[number - MANY].fullname);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .id = "fuzz"};
    unsigned char seen[PEOPLE + MANY] = {0};
    const char *text;

    if (store == NULL)
        open_store();
    if (len < 2)
        return 0;
    text = mem_copy(mem, (const char *)bytes + 2, len - 2);
    if (!unicode_is_valid(text, strlen(text)))
        return 0;
    read_all(&task, text,
             (struct store_page){bytes[1] == 0 ? NULL : mem_printf(mem, "%u", bytes[1]),
                                 bytes[0] % 40 + 10},
             seen);
    for (unsigned i = 0; i < PEOPLE + MANY; i++) {
        if (bytes[1] == 0)
            assert(seen[i] == is_found(mem, text, i));
        else
            assert(seen[i] <= is_found(mem, text, i));
    }
    return 0;
}
