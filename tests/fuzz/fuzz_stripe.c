/* Stripe's events, and what people do about plans, through the inbox, the comparison and a real
 * store, while Stripe answers anything. The first byte says what is done; parts behind it end with
 * 0x1e: of an event the first is its body, the others are Stripe's answers one after the other,
 * each behind a byte for its status. */
#include "billing/change.h"
#include "billing/checkout.h"
#include "billing/inbox.h"
#include "billing/portal.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/json.h"
#include "core/unicode.h"
#include "remote/transfer.h"
#include "scratch.h"
#include "store/store.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum {
    DEADLINE_MS = 500 /* too short for Stripe to be asked again */,
    PARTS = 16,
    HEAD_BYTES = 16 << 10
};

static struct {
    pthread_mutex_t lock;
    int listener;
    unsigned next, count;
    struct part {
        const uint8_t *bytes;
        size_t len;
    } parts[PARTS];
} peer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct settings settings;
static struct billing *billing;
static struct inbox *inbox;
static const struct user user = {.id = "U1",
                                 .fullname = "Ann Lee",
                                 .email = "ann@example.com",
                                 .password_hash = "x",
                                 .is_active = true,
                                 .created_ms = 1,
                                 .updated_ms = 1};

/* Stripe */

static bool is_whole(const char *request)
{
    const char *body = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");

    return body != NULL &&
           (length == NULL || length > body || strlen(body + 4) >= strtoul(length + 16, NULL, 10));
}

static void read_request(int fd)
{
    static char request[HEAD_BYTES];
    size_t len = 0;
    ssize_t n;

    do {
        n = recv(fd, request + len, sizeof request - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
        request[len] = '\0';
    } while (n > 0 && !is_whole(request));
}

/* Without an answer of its own, an empty list. */
static void send_next(int fd)
{
    static const int statuses[] = {404, 400, 402, 409, 429, 200, 200, 500};
    static const char nothing[] = "\5{\"object\":\"list\",\"data\":[],\"id\":\"cus_1\"}";
    struct part part = {(const uint8_t *)nothing, sizeof nothing - 1};
    char head[160];
    int n;

    pthread_mutex_lock(&peer.lock);
    if (peer.next < peer.count)
        part = peer.parts[peer.next++];
    if (part.len > 0) {
        n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n"
                     "Stripe-Should-Retry: false\r\n\r\n",
                     statuses[part.bytes[0] % count_of(statuses)], part.len - 1);
        (void)!send(fd, head, (size_t)n, MSG_NOSIGNAL);
        (void)!send(fd, part.bytes + 1, part.len - 1, MSG_NOSIGNAL);
    }
    pthread_mutex_unlock(&peer.lock);
}

static void *answer(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(peer.listener, NULL, NULL);

        read_request(fd);
        send_next(fd);
        close(fd);
    }
    return NULL;
}

static unsigned listen_here(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    pthread_t thread;

    peer.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert(bind(peer.listener, (struct sockaddr *)&here, size) == 0);
    assert(listen(peer.listener, 100) == 0);
    assert(getsockname(peer.listener, (struct sockaddr *)&here, &size) == 0);
    assert(pthread_create(&thread, NULL, answer, NULL) == 0);
    return ntohs(here.sin_port);
}

/* The house behind */

static void open_all(void)
{
    static const char *basic[] = {"price_b"}, *pro[] = {"price_p"};
    static char base[64];
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .id = "fuzz", .deadline_ms = clock_mono_ms() + 60000};
    struct texts problems = {0};
    enum user_created created;
    struct store *store;

    crypto_start();
    transfer_start();
    snprintf(base, sizeof base, "http://127.0.0.1:%u", listen_here());
    settings = (struct settings){.stripe_secret = secret_new(NULL, "sk_test_1", 9),
                                 .stripe_api_base = base,
                                 .stripe_price_basic = {basic, 1},
                                 .stripe_price_pro = {pro, 1},
                                 .public_url = "https://app.example.com",
                                 .past_due_grace_days = 3};
    settings.data_dir = scratch_folder(mem);
    store = store_open(&task, NULL, &settings);
    assert(store != NULL);
    billing = billing_open(NULL, store, &settings, plans_load(NULL, &settings, &problems));
    assert(billing->plans != NULL);
    inbox = inbox_open(NULL, billing);
    {
        const struct session_record session = scratch_session(mem, user.id);

        assert(store_user_create(&task, store, &user, &session, NULL, &created) == OK);
    }
}

/* What is done */

/* An event has an id of its own each time, since a known one is not looked at. */
static void send_event(struct task *task, const struct part *part)
{
    static unsigned number;
    struct json_problem problem;
    auto_json json_t *event = json_read((const char *)part->bytes, part->len, &problem);
    auto_text char *body = NULL;
    struct inbox_delivery delivery = {0};

    if (json_is_string(json_object_get(event, "id")))
        json_object_set_new(event, "id", json_sprintf("evt_%u", ++number));
    body = event == NULL ? strndup((const char *)part->bytes, part->len)
                         : json_dumps(event, JSON_COMPACT | JSON_ENCODE_ANY);
    if (body == NULL)
        return;
    inbox_read(task, body, strlen(body), &delivery);
    if (inbox_accept(task, inbox, &delivery) == OK)
        assert(delivery.verdict.result <= EVENT_UNREADABLE);
}

static void act(struct task *task, unsigned what)
{
    static const struct checkout_wanted wanted = {.plan = "pro"};
    const struct sync_links links = {"cus_1", "sub_1", user.id};
    struct checkout_session session = {0};
    auto_json json_t *list = NULL;
    struct sync_outcome outcome;
    struct subscription found;
    const char *text = NULL;
    int64_t date_s;
    enum err e;

    switch (what) {
    case 1:
        e = sync_subscription(task, billing, &links, &outcome);
        break;
    case 2:
        e = portal_open(task, billing, user.id, "https://app.example.com/x", &text);
        assert(e != OK || text != NULL);
        break;
    case 3:
        e = portal_invoices(task, billing, user.id, &list);
        break;
    case 4:
        e = change_preview(task, billing, user.id, "pro", &date_s, &list);
        break;
    case 5:
        e = change_switch(task, billing, user.id, "pro", 0, &found);
        break;
    case 6:
        e = checkout_begin(task, billing, &user, &wanted, &session);
        assert(e != OK || (session.id != NULL && session.url != NULL));
        break;
    case 7:
        e = change_cancel(task, billing, user.id, &found);
        break;
    case 8:
        e = checkout_fulfil(task, billing, "cs_1", user.id, &text, &outcome);
        assert(e != OK || text != NULL);
        break;
    default:
        e = change_resume(task, billing, user.id, &found);
        break;
    }
    assert(e == OK || task->err == e);
}

static void check_time(int64_t ms)
{
    assert(ms >= 0 && ms <= INT64_C(253402300799999));
}

/* Whatever has happened, what is stored is all of a subscription or none. */
static void check_stored(struct task *task)
{
    struct subscription stored;
    bool found;

    task->deadline_ms = clock_mono_ms() + 60000;
    assert(store_subscription_by_user(task, billing->store, user.id, &found, &stored) == OK);
    if (!found)
        return;
    assert(stored.customer_id != NULL || stored.stripe_id == NULL);
    assert(stored.stripe_id != NULL || stored.price_id == NULL);
    assert(stored.customer_id == NULL || stripe_is_id(stored.customer_id, "cus_"));
    assert(stored.stripe_id == NULL || stripe_is_id(stored.stripe_id, "sub_"));
    check_time(stored.period_start_ms);
    check_time(stored.period_end_ms);
    check_time(stored.canceled_ms);
    check_time(stored.past_due_ms);
    assert(entitlement_of(billing->plans, &settings, &stored, clock_wall_ms()).plan != NULL);
}

static void split(const uint8_t *bytes, size_t len)
{
    peer.next = peer.count = 0;
    for (size_t at = 0; at < len && peer.count < PARTS; peer.count++) {
        const uint8_t *end = memchr(bytes + at, 0x1e, len - at);
        size_t part = end == NULL ? len - at : (size_t)(end - bytes) - at;

        peer.parts[peer.count] = (struct part){bytes + at, part};
        at += part + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem, .settings = &settings, .id = "fuzz"};
    struct part first;

    if (billing == NULL)
        open_all();
    if (len == 0)
        return 0;
    /* A new one, since one that has failed often is not asked for a while. */
    billing->stripe = stripe_open(mem, &settings);
    task.deadline_ms = clock_mono_ms() + DEADLINE_MS;
    pthread_mutex_lock(&peer.lock);
    split(bytes + 1, len - 1);
    first = peer.parts[0];
    peer.next = bytes[0] % 10 == 0 && peer.count > 0;
    pthread_mutex_unlock(&peer.lock);
    if (bytes[0] % 10 != 0)
        act(&task, bytes[0] % 10);
    else if (len > 1)
        send_event(&task, &first);
    check_stored(&task);
    pthread_mutex_lock(&peer.lock);
    peer.count = 0;
    pthread_mutex_unlock(&peer.lock);
    return 0;
}
