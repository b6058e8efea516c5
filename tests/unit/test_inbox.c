#include "billing/inbox.h"

#include "unit.h"

#define EVENT(type, object)                                                                        \
    "{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"" type "\",\"data\":{\"object\":" object "}}"

static void test_a_delivery_is_read_once_and_knows_what_is_to_be_done(void **state)
{
    static const struct {
        const char *body;
        bool is_event;
        const char *state, *customer_id;
    } rows[] = {
        {EVENT("invoice.paid", "{\"customer\":\"cus_1\",\"subscription\":\"sub_1\"}"), true,
         EVENT_WAITING, "cus_1"},
        {EVENT("customer.subscription.updated", "{\"object\":\"subscription\"}"), true,
         EVENT_WAITING, NULL},
        {EVENT("invoice.paid", "{\"customer\":{\"id\":\"cus_1\"}}"), true, EVENT_IGNORED, "cus_1"},
        {EVENT("customer.source.updated", "{\"note\":\"\\ud800 \\u0000\"}"), true, EVENT_IGNORED,
         NULL},
        {EVENT("", "{}"), false, NULL, NULL},
        {EVENT("invoice.paid", "[]"), false, NULL, NULL},
        {"", false, NULL, NULL},
        {"{\"id\":", false, NULL, NULL},
    };
    const struct settings settings = {0};

    for (size_t i = 0; i < count_of(rows); i++) {
        struct task task = {.mem = mem_tree(1024), .settings = &settings};
        struct inbox_delivery delivery = {0};
        char *body = mem_string(task.mem, rows[i].body);

        talloc_steal(*state, task.mem);
        inbox_read(&task, body, strlen(body), &delivery);
        assert_int_equal(delivery.is_event, rows[i].is_event);
        memset(body, ' ', strlen(body)); /* nobody needs it any more */
        if (!rows[i].is_event)
            continue;
        assert_string_equal(delivery.event.state, rows[i].state);
        assert_string_equal(delivery.event.id, "evt_1");
        assert_true(json_is_object(*delivery.json));
        if (rows[i].customer_id == NULL)
            assert_null(delivery.event.customer_id);
        else
            assert_string_equal(delivery.event.customer_id, rows[i].customer_id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_a_delivery_is_read_once_and_knows_what_is_to_be_done),
    };

    return RUN_UNITS(tests);
}
