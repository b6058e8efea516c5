/* What a mail server and Stripe may answer, over a real socket: somebody there sends the bytes,
 * whatever is asked. The first byte chooses the service, and whether the recipient needs SMTPUTF8.
 */
#include "billing/sync.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "remote/smtp.h"
#include "remote/stripe.h"
#include "remote/transfer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum {
    DEADLINE_MS = 500, /* too short for Stripe to be asked again */
    KEPT = 16,         /* connections */
};

static struct {
    pthread_mutex_t lock;
    int listener;
    uint16_t port;
    const uint8_t *bytes;
    size_t len;
} peer = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Sends all and says that no more comes. Closing waits, since it would take back what is not read
 * yet. */
static void *answer(void *unused)
{
    int kept[KEPT];

    (void)unused;
    memset(kept, -1, sizeof kept);
    for (unsigned i = 0;; i = (i + 1) % KEPT) {
        if (kept[i] >= 0)
            close(kept[i]);
        kept[i] = accept(peer.listener, NULL, NULL);
        pthread_mutex_lock(&peer.lock);
        if (peer.len > 0)
            (void)!send(kept[i], peer.bytes, peer.len, MSG_NOSIGNAL);
        pthread_mutex_unlock(&peer.lock);
        shutdown(kept[i], SHUT_WR);
    }
    return NULL;
}

static void listen_here(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    pthread_t thread;

    crypto_start();
    transfer_start();
    peer.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert(bind(peer.listener, (struct sockaddr *)&here, size) == 0);
    assert(listen(peer.listener, 100) == 0);
    assert(getsockname(peer.listener, (struct sockaddr *)&here, &size) == 0);
    peer.port = ntohs(here.sin_port);
    assert(pthread_create(&thread, NULL, answer, NULL) == 0);
}

/* One printable line at most, and no recipient's name in it. */
static void try_smtp(void *mem, const char *to)
{
    const struct settings settings = {.email_host = "127.0.0.1", .email_port = peer.port};
    auto_smtp CURL *curl = NULL;
    bool for_good;
    const char *wrong = smtp_send(mem, &curl, &settings, "manus@example.com", to,
                                  "Subject: x\r\n\r\nText\r\n", &for_good);

    assert(wrong != NULL || !for_good);
    if (wrong == NULL)
        return;
    for (const char *at = wrong; *at != '\0'; at++)
        assert(*at >= ' ' && *at <= '~');
    assert(strcasestr(wrong, mem_printf(mem, " %s", to)) == NULL);
}

static void try_time(int64_t ms)
{
    assert(ms >= 0 && ms <= INT64_C(253402300799999));
}

/* What becomes of an answer as a subscription: all of one or nothing, with times of a calendar. */
static void try_subscription(void *mem, const json_t *reply)
{
    static const char *prices[] = {"price_b"};
    static struct plan of[] = {{.name = "free"}, {.name = "basic", .price_ids = {prices, 1}}};
    const struct plans plans = {of, count_of(of), 0, 0};
    const struct subscription stored = {
        .id = "1", .user_id = "u", .plan = "free", .status = "active", .customer_id = "cus_1"};
    struct subscription found;
    struct debt debt = {0};

    reading_debt(&plans, json_object_get(reply, "data"), &debt);
    try_time(debt.due_ms);
    try_time(debt.service_ms);
    (void)reading_take(&plans, reply, &debt, &stored, mem, &found);
    assert(found.plan != NULL && found.status != NULL && found.customer_id == stored.customer_id);
    assert(found.stripe_id != NULL || (found.price_id == NULL && found.period_end_ms == 0));
    try_time(found.period_start_ms);
    try_time(found.period_end_ms);
    try_time(found.canceled_ms);
    try_time(found.past_due_ms);
    try_time(found.anchor_ms);
    try_time(found.ends_ms);
    try_time(found.unpaid_from_ms);
}

static void try_stripe(void *mem)
{
    const struct settings settings = {
        .stripe_secret = secret_new(mem, "sk_test_1", 9),
        .stripe_api_base = mem_printf(mem, "http://127.0.0.1:%u", peer.port)};
    struct task task = {.mem = mem, .id = "fuzz", .deadline_ms = clock_mono_ms() + DEADLINE_MS};
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/subscriptions/sub_1"};
    enum err e = stripe_ask(&task, stripe_open(mem, &settings), &call);

    assert((e == OK) == (call.status >= 200 && call.status < 300));
    assert(call.code != NULL && call.param != NULL);
    assert(call.status == 0 || json_is_object(call.reply));
    if (e == OK)
        try_subscription(mem, call.reply);
    else
        stripe_is_missing(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);

    if (peer.port == 0)
        listen_here();
    if (len == 0)
        return 0;
    pthread_mutex_lock(&peer.lock);
    peer.bytes = bytes + 1;
    peer.len = len - 1;
    pthread_mutex_unlock(&peer.lock);
    if (bytes[0] % 4 == 0)
        try_smtp(mem, "bob@example.org");
    else if (bytes[0] % 4 == 1)
        try_smtp(mem, "b\xc3\xb3"
                      "b@example.org");
    else
        try_stripe(mem);
    /* Nobody sends them any more. */
    pthread_mutex_lock(&peer.lock);
    peer.len = 0;
    pthread_mutex_unlock(&peer.lock);
    return 0;
}
