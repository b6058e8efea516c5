"""The double of Stripe: what it promises to the tests that stand on it."""
import concurrent.futures
import datetime
import hashlib
import hmac
import http.server
import json
import subprocess
import threading
import time

import pytest
import requests

import stripe_courier
import stripe_spec
from manus import ROOT
from stripe_calendar import later, next_after
from stripe_double import Stripe
from stripe_person import Person
from stripe_spec import NEW, OLD
from stripe_state import in_version

DAY = 86400


@pytest.fixture
def stripe():
    with Stripe() as one:
        one.basic, one.pro = one.plan("basic", 1900), one.plan("pro", 4900)
        yield one


def call(stripe, method, path, params=None, key=None, version=NEW, timeout=10, **headers):
    headers = {"Authorization": f"Bearer {stripe.key}", "Stripe-Version": version, **({"Idempotency-Key": key} if key else {}), **headers}
    where = {"data" if method == "POST" else "params": params or {}}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, stripe.base + path, headers={name: value for name, value in headers.items() if value}, timeout=timeout, **where)


def made(stripe, path, **params):
    reply = call(stripe, "POST", path, params)
    assert reply.status_code == 200, reply.text
    return reply.json()


def checkout(stripe, price=None, **more):
    customer = made(stripe, "/v1/customers", email="ann@example.com")["id"]
    session = made(stripe, "/v1/checkout/sessions", **{"mode": "subscription", "customer": customer, "line_items[0][price]": price or stripe.basic,
                   "line_items[0][quantity]": 1, "success_url": "https://app.example.com/ok", **more})
    return Person(stripe, customer), session["id"]


def subscriber(stripe, **more):
    person, session = checkout(stripe, **more)
    assert person.pay(session)
    return person


def error(reply, status):
    assert reply.status_code == status, reply.text
    return reply.json()["error"]


def kinds(stripe, since=0):
    return [event["type"] for event in stripe.events()][since:]


def stamp(text):
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp())


def conforms(stripe):
    """Every object and event, by Stripe's document."""
    for thing in stripe.things.values():
        assert stripe_spec.problems(thing) == [], json.dumps(thing)[:2000]
        if thing["object"] == "event":
            assert stripe_spec.problems(thing["data"]["object"]) == [], json.dumps(thing)[:2000]


def paying(stripe, *items, since=None, **more):
    """A customer with a good card, and their subscription to [(price, quantity)]."""
    customer = made(stripe, "/v1/customers")["id"]
    stripe.cards[customer] = "good"
    with stripe.back_then(since or stripe.now()):
        return Person(stripe, customer), stripe.start_subscription(customer, list(items), **more)


def period(item):
    return item["current_period_start"], item["current_period_end"]


# The contract of a request

def test_only_the_right_key_and_a_known_version_are_served(stripe):
    assert call(stripe, "GET", "/v1/balance").status_code == 200
    error(call(stripe, "GET", "/v1/balance", Authorization=None), 401)
    error(call(stripe, "GET", "/v1/balance", Authorization="Bearer sk_test_other"), 401)
    error(call(stripe, "GET", "/v1/balance", version=None), 400)
    error(call(stripe, "GET", "/v1/balance", version="2020-01-01"), 400)


def test_a_restricted_key_does_what_it_may(stripe):
    stripe.rights = {"customers": "write", "subscriptions": "read"}
    person = made(stripe, "/v1/customers")
    assert call(stripe, "GET", "/v1/subscriptions", {"customer": person["id"]}).status_code == 200
    error(call(stripe, "GET", "/v1/invoices"), 403)
    error(call(stripe, "DELETE", "/v1/subscriptions/sub_1"), 403)


@pytest.mark.parametrize("path,params,param", [
    ("/v1/customers", {"emial": "a@b.c"}, "emial"),
    ("/v1/customers", {"metadata[a][b]": "c"}, "metadata[a]"),
    ("/v1/customers", {"balance": "12.5"}, "balance"),
    ("/v1/customers", {"email": ["a@b.c", "d@b.c"]}, "email"),
    ("/v1/customers", {"email[]": "a@b.c"}, "email"),
    ("/v1/checkout/sessions", {"mode": "subscribe"}, "mode"),
    ("/v1/checkout/sessions", {"mode": "subscription", "line_items": "price_1"}, "line_items"),
    ("/v1/checkout/sessions", {"mode": "subscription", "line_items[0][price]": ""}, "line_items[0][price]"),
    ("/v1/checkout/sessions", {"mode": "subscription", "ui_mode": "hosted"}, "ui_mode"),
    ("/v1/checkout/sessions", {"mode": "subscription", "subscription_data[metdata][a]": "b"}, "subscription_data[metdata]"),
    ("/v1/checkout/sessions", {"mode": "subscription", "client_reference_id": "x" * 201}, "client_reference_id"),
    ("/v1/checkout/sessions", {"mode": "subscription", "customer": "cus_none"}, "customer"),
    ("/v1/webhook_endpoints", {"url": "https://a.example"}, "enabled_events"),
    ("/v1/billing_portal/sessions", {"customer": "cus_none"}, "customer"),
])
def test_what_the_document_does_not_allow_is_refused_and_named(stripe, path, params, param):
    assert error(call(stripe, "POST", path, params), 400)["param"] == param


def test_bodies_are_forms(stripe):
    error(call(stripe, "POST", "/v1/customers", json.dumps({"email": "a@b.c"}), **{"Content-Type": "application/json"}), 400)


def test_unknown_paths_and_objects_are_404(stripe):
    error(call(stripe, "GET", "/v1/subscribers"), 404)
    assert error(call(stripe, "GET", "/v1/subscriptions/sub_none"), 404)["code"] == "resource_missing"
    assert error(call(stripe, "GET", f"/v1/customers/{stripe.basic}"), 404)["code"] == "resource_missing"


@pytest.mark.parametrize("values", [{"line_items[0][quantity]": None}, {"line_items[0][price]": "price_none"}, {"success_url": "javascript:alert(1)"},
                                    {"success_url": None}, {"customer_email": "a@b.c"}, {"expires_at": 1}, {"automatic_tax[enabled]": "true"},
                                    {"subscription_data[trial_period_days]": 0}, {"allow_promotion_codes": "true", "discounts[0][coupon]": "c"}])
def test_a_checkout_that_stripe_would_refuse_is_refused(stripe, values):
    customer = made(stripe, "/v1/customers")["id"]
    good = {"mode": "subscription", "customer": customer, "line_items[0][price]": stripe.basic, "line_items[0][quantity]": 1, "success_url": "https://a.example"}
    assert call(stripe, "POST", "/v1/checkout/sessions", good).status_code == 200
    error(call(stripe, "POST", "/v1/checkout/sessions", {**good, **values}), 400)


def test_pages_follow_each_other_without_gap(stripe):
    names = [made(stripe, "/v1/customers")["id"] for _ in range(7)]
    seen, more = [], {}
    while True:
        page = call(stripe, "GET", "/v1/customers", {"limit": 3, **more}).json()
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        more = {"starting_after": seen[-1]}
    assert seen == names[::-1]
    back = call(stripe, "GET", "/v1/customers", {"limit": 2, "ending_before": names[0]}).json()
    assert [one["id"] for one in back["data"]] == [names[2], names[1]] and back["has_more"]
    error(call(stripe, "GET", "/v1/customers", {"limit": 101}), 400)
    error(call(stripe, "GET", "/v1/customers", {"starting_after": "cus_none"}), 400)


def test_what_can_be_expanded_is_and_the_rest_refused(stripe):
    person = subscriber(stripe)
    path = f"/v1/subscriptions/{person.subscription['id']}"
    assert isinstance(call(stripe, "GET", path).json()["latest_invoice"], str)
    wide = call(stripe, "GET", path, {"expand[0]": "latest_invoice.payments", "expand[1]": "customer"}).json()
    assert wide["customer"]["email"] == "ann@example.com"
    assert wide["latest_invoice"]["payments"]["data"][0]["status"] == "paid"
    assert "payments" not in call(stripe, "GET", path, {"expand[]": "latest_invoice"}).json()["latest_invoice"]
    error(call(stripe, "GET", path, {"expand[]": "status"}), 400)
    listed = call(stripe, "GET", "/v1/subscriptions", {"customer": person.customer, "expand[]": "data.latest_invoice"}).json()
    assert listed["data"][0]["latest_invoice"]["status"] == "paid"


# Idempotency

def test_a_key_used_again_gets_the_first_reply(stripe):
    first = call(stripe, "POST", "/v1/customers", {"email": "a@b.c"}, key="k1")
    again = call(stripe, "POST", "/v1/customers", {"email": "a@b.c"}, key="k1")
    assert first.json() == again.json() and again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    assert len(stripe.every("customer")) == 1


def test_a_key_with_other_parameters_is_refused(stripe):
    call(stripe, "POST", "/v1/customers", {"email": "a@b.c"}, key="k1")
    assert error(call(stripe, "POST", "/v1/customers", {"email": "d@b.c"}, key="k1"), 400)["type"] == "idempotency_error"
    error(call(stripe, "POST", "/v1/customers", key="k" * 256), 400)


def test_a_key_in_use_is_a_conflict(stripe):
    stripe.slowness = 0.5
    with concurrent.futures.ThreadPoolExecutor() as pool:
        replies = list(pool.map(lambda _: call(stripe, "POST", "/v1/customers", {}, key="k1"), range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]
    assert {error(reply, 409)["code"] for reply in replies if reply.status_code == 409} == {"idempotency_key_in_use"}
    assert len(stripe.every("customer")) == 1


def test_a_refused_request_does_not_use_up_its_key_but_a_failed_deed_does(stripe):
    error(call(stripe, "POST", "/v1/customers", {"emial": "x"}, key="k1"), 400)
    assert call(stripe, "POST", "/v1/customers", {"email": "a@b.c"}, key="k1").status_code == 200
    form = {"customer": "cus_none"}
    error(call(stripe, "POST", "/v1/billing_portal/sessions", form, key="k2"), 400)
    assert call(stripe, "POST", "/v1/billing_portal/sessions", form, key="k2").headers["Idempotent-Replayed"] == "true"


def test_keys_mean_nothing_to_get_and_delete(stripe):
    person = subscriber(stripe)
    path = f"/v1/subscriptions/{person.subscription['id']}"
    assert call(stripe, "DELETE", path, key="k1").json()["status"] == "canceled"
    error(call(stripe, "DELETE", path, key="k1"), 404)


# Failing and lying

def test_it_fails_as_told_and_as_often(stripe):
    stripe.fails(500, on="POST /v1/customers", times=2)
    stripe.fails(429, on="GET /v1/balance", retry_after=7)
    stripe.fails(503, on="GET /v1/balance", should_retry="false")
    error(call(stripe, "POST", "/v1/customers"), 500)
    error(call(stripe, "POST", "/v1/customers"), 500)
    assert call(stripe, "POST", "/v1/customers").status_code == 200
    assert len(stripe.every("customer")) == 1
    assert call(stripe, "GET", "/v1/balance").headers["Retry-After"] == "7"
    assert call(stripe, "GET", "/v1/balance").headers["Stripe-Should-Retry"] == "false"


@pytest.mark.parametrize("status,more", [(400, {"code": "email_invalid", "param": "email"}), (400, {}), (402, {"code": "card_declined", "kind": "card_error",
                                                                                            "decline_code": "do_not_honor"}), (403, {"kind": "api_error"})])
def test_it_refuses_in_stripes_words(stripe, status, more):
    stripe.refuses("POST /v1/customers", status, "No.", times=2, **more)
    for _ in range(2):
        reply = call(stripe, "POST", "/v1/customers")
        said = {("type" if name == "kind" else name): value for name, value in more.items()}
        assert error(reply, status) == {"type": "invalid_request_error", "message": "No.", **said} and reply.headers["Request-Id"].startswith("req_")
    reply = call(stripe, "POST", "/v1/customers", key="k1")
    assert stripe.events()[0]["request"] == {"id": reply.headers["Request-Id"], "idempotency_key": "k1"}
    assert stripe.log[-1]["request"] == reply.headers["Request-Id"]
    stripe.refuses("POST /v1/customers", 400, "No.", stored=True)
    assert [call(stripe, "POST", "/v1/customers", key="k2").status_code for _ in range(2)] == [400, 400]


def test_an_address_that_is_none_is_refused(stripe):
    stripe.bad_addresses.add("ann@example.com")
    for address in ("ann", "ann@example", "a b@example.com", "Ann@example.com", "ann@@example.com"):
        for path, name in (("/v1/customers", "email"), ("/v1/checkout/sessions", "customer_email")):
            refused = error(call(stripe, "POST", path, {name: address, **({"mode": "subscription"} if name != "email" else {})}), 400)
            assert (refused["code"], refused["param"]) == ("email_invalid", name)
    customer = made(stripe, "/v1/customers", email="eve@example.com")["id"]
    error(call(stripe, "POST", f"/v1/customers/{customer}", {"email": "eve"}), 400)
    assert stripe.things[customer]["email"] == "eve@example.com"


@pytest.mark.parametrize("card,status,code,decline,words", [
    ("authentication", 402, "subscription_payment_intent_requires_action", None, "requires additional user action"),
    ("insufficient_funds", 402, "card_declined", "insufficient_funds", "insufficient funds"), ("expired_card", 402, "expired_card", "expired_card", "expired"),
    ("declined", 402, "card_declined", "generic_decline", "declined"), (None, 400, "resource_missing", None, "no attached payment source")])
def test_a_card_that_fails_says_why(stripe, card, status, code, decline, words):
    person = subscriber(stripe)
    person.card_fails(card)
    sub = person.subscription
    form = {"items[0][id]": sub["items"]["data"][0]["id"], "items[0][price]": stripe.pro, "proration_behavior": "always_invoice",
            "payment_behavior": "error_if_incomplete"}
    refused = error(call(stripe, "POST", f"/v1/subscriptions/{sub['id']}", form), status)
    assert (refused["code"], refused.get("decline_code")) == (code, decline) and words in refused["message"]
    assert refused["type"] == ("card_error" if status == 402 else "invalid_request_error") and person.subscription == sub
    assert stripe_spec.problems({**refused}, name="api_errors") == []
    person.waits_for_the_next_period()
    assert person.subscription["status"] == "past_due"
    paid = error(call(stripe, "POST", f"/v1/invoices/{person.subscription['latest_invoice']}/pay"), status)
    assert paid["code"] == code.replace("subscription_", "invoice_")


def test_a_failure_after_the_deed_leaves_the_deed_to_the_key(stripe):
    stripe.fails(500, on="POST /v1/customers", after=True)
    error(call(stripe, "POST", "/v1/customers", key="k1"), 500)
    assert call(stripe, "POST", "/v1/customers", key="k1").headers["Idempotent-Replayed"] == "true"
    assert len(stripe.every("customer")) == 1
    stripe.fails(500, on="POST /v1/customers", after=True, stored=True)
    assert [call(stripe, "POST", "/v1/customers", key="k2").status_code for _ in range(3)] == [500, 500, 500]
    assert len(stripe.every("customer")) == 2
    stripe.fails(500, on="POST /v1/customers", stored=True)
    assert [call(stripe, "POST", "/v1/customers", key="k3").status_code for _ in range(3)] == [500, 500, 500]
    assert len(stripe.every("customer")) == 2 and call(stripe, "POST", "/v1/customers", key="k4").status_code == 200


def test_it_is_slow_for_one_and_not_for_the_others(stripe):
    slow, quick = subscriber(stripe), subscriber(stripe)
    stripe.slow_for(slow.customer, 1)

    def seconds(*request):
        began = time.monotonic()
        assert call(stripe, *request).status_code == 200
        return time.monotonic() - began

    def asked(person):
        return [("GET", f"/v1/customers/{person.customer}"), ("GET", "/v1/subscriptions", {"customer": person.customer}),
                ("GET", f"/v1/subscriptions/{person.subscription['id']}"), ("GET", f"/v1/invoices/{person.subscription['latest_invoice']}"),
                ("GET", "/v1/invoices", {"subscription": person.subscription["id"]}),
                ("POST", "/v1/billing_portal/sessions", {"customer": person.customer, "return_url": "https://app.example.com"})]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        slowly = [pool.submit(seconds, *request) for request in asked(slow)]
        time.sleep(0.1)
        quickly = [pool.submit(seconds, *request) for request in [*asked(quick), ("GET", "/v1/events"), ("POST", "/v1/customers")]]
        assert max(one.result() for one in quickly) < 0.9 < 1 <= min(one.result() for one in slowly)
    stripe.slow_for(slow.customer, 0)
    assert seconds(*asked(slow)[0]) < 0.9


def test_something_can_happen_while_a_request_is_under_way(stripe):
    customer = made(stripe, "/v1/customers")["id"]
    stripe.meanwhile(lambda: stripe.forget(customer), on="GET /v1/customers/.*")
    assert call(stripe, "GET", f"/v1/customers/{customer}").status_code == 404


def test_it_hangs_hangs_up_cuts_and_garbles(stripe):
    stripe.hangs(30, on="GET /v1/balance")
    with pytest.raises(requests.Timeout):
        call(stripe, "GET", "/v1/balance", timeout=0.3)
    stripe.hangs_up(on="POST /v1/customers", after=True)
    with pytest.raises(requests.ConnectionError):
        call(stripe, "POST", "/v1/customers")
    assert len(stripe.every("customer")) == 1
    stripe.cuts(on="GET /v1/balance")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError, ValueError)):
        call(stripe, "GET", "/v1/balance").json()
    stripe.garbles(on="GET /v1/balance")
    with pytest.raises(ValueError):
        call(stripe, "GET", "/v1/balance").json()
    assert call(stripe, "GET", "/v1/balance").json()["object"] == "balance"


def test_more_connections_than_it_has_room_for_are_closed(stripe):
    assert stripe.server.room._value == 256
    reply = requests.post(stripe.base + "/v1/customers", data=b"x" * (1 << 20 | 1), timeout=10)
    assert reply.status_code == 400


# A subscription's life

def test_a_paid_checkout_makes_a_subscription_with_stripes_events(stripe):
    person, session = checkout(stripe, **{"client_reference_id": "u1", "metadata[user_id]": "u1", "subscription_data[metadata][user_id]": "u2"})
    assert not person.pay(session, card="declined") and person.subscription is None
    since = len(kinds(stripe))
    assert person.pay(session)
    assert person.subscription["status"] == "active" and person.subscription["metadata"] == {"user_id": "u2"}
    done = call(stripe, "GET", f"/v1/checkout/sessions/{session}").json()
    assert (done["status"], done["payment_status"], done["subscription"], done["url"]) == ("complete", "paid", person.subscription["id"], None)
    assert kinds(stripe, since) == ["customer.subscription.created", "invoice.created", "invoice.finalized", "charge.succeeded", "customer.subscription.updated",
                                    "invoice.paid", "invoice.payment_succeeded", "checkout.session.completed"]
    created = stripe.events("customer.subscription.created")[0]
    assert created["data"]["object"]["status"] == "incomplete", "events tell how it was, not how it is"
    assert stripe.events("customer.subscription.updated")[0]["data"]["previous_attributes"] == {"status": "incomplete"}


def test_periods_follow_each_other_and_are_billed(stripe):
    person = subscriber(stripe)
    first = stripe.period_of(person.subscription)
    person.waits_for_the_next_period()
    second = stripe.period_of(person.subscription)
    assert second[0] > first[0] and abs(second[0] - time.time()) < 5 and person.subscription["status"] == "active"
    invoices = call(stripe, "GET", "/v1/invoices", {"subscription": person.subscription["id"]}).json()["data"]
    assert [one["billing_reason"] for one in invoices] == ["subscription_cycle", "subscription_create"]
    person.waits(95 * DAY)
    assert len(stripe.every("invoice")) == 5


def test_a_card_that_fails_is_past_due_until_it_pays(stripe):
    person = subscriber(stripe)
    person.card_fails()
    person.waits_for_the_next_period()
    assert person.subscription["status"] == "past_due"
    assert kinds(stripe)[-2:] == ["invoice.payment_failed", "customer.subscription.updated"]
    person.pays_what_is_due()
    assert person.subscription["status"] == "active"
    person.card_fails("authentication")
    person.waits_for_the_next_period()
    assert "invoice.payment_action_required" in kinds(stripe)
    person.retries_are_exhausted()
    assert person.subscription["status"] == "unpaid"
    stripe.after_failures = "canceled"
    person.pays_what_is_due()
    person.retries_are_exhausted()
    assert person.subscription["status"] == "canceled" and person.subscription["cancellation_details"]["reason"] == "payment_failed"


@pytest.mark.parametrize("style,shown", [("portal", (True, False)), ("flag", (False, True)), ("both", (True, True))])
def test_a_cancelled_subscription_ends_with_its_period(stripe, style, shown):
    person = subscriber(stripe)
    person.cancels(style)
    assert (person.subscription["cancel_at"] is not None, person.subscription["cancel_at_period_end"]) == shown
    person.thinks_again()
    assert person.subscription["cancel_at"] is None and not person.subscription["cancel_at_period_end"]
    person.cancels(style)
    assert person.subscription["status"] == "active"
    person.waits_for_the_next_period()
    assert person.subscription["status"] == "canceled" and kinds(stripe)[-1] == "customer.subscription.deleted"
    assert call(stripe, "GET", "/v1/subscriptions", {"customer": person.customer}).json()["data"] == []
    assert len(call(stripe, "GET", "/v1/subscriptions", {"customer": person.customer, "status": "all"}).json()["data"]) == 1


def test_a_subscription_ends_on_the_day_that_was_named(stripe):
    person = subscriber(stripe)
    at = stripe.now() + 75 * DAY
    person.cancels_at(at)
    person.waits(74 * DAY)
    assert (person.subscription["status"], person.subscription["cancel_at"], len(stripe.every("invoice"))) == ("active", at - 74 * DAY, 3)
    person.waits(2 * DAY)
    assert person.subscription["status"] == "canceled" and person.subscription["ended_at"] == at - 76 * DAY


def test_subscriptions_are_found_by_method_and_period(stripe):
    monthly, yearly = paying(stripe, (stripe.basic, 1))[1], paying(stripe, (stripe.plan("yearly", 19000, "year"), 1))[1]
    invoiced = paying(stripe, (stripe.basic, 1), collection_method="send_invoice", days_until_due=7)[1]

    def found(**params):
        return {one["id"] for one in call(stripe, "GET", "/v1/subscriptions", params).json()["data"]}

    assert found() == {monthly["id"], yearly["id"], invoiced["id"]} and found(collection_method="send_invoice") == {invoiced["id"]}
    assert found(**{"current_period_end[gt]": stripe.now() + 40 * DAY}) == {yearly["id"]} and found(price=stripe.basic) == {monthly["id"], invoiced["id"]}
    assert found(**{"current_period_start[gt]": stripe.now() + DAY}) == set()


def test_the_api_cancels_and_takes_it_back_by_the_field_that_was_set(stripe):
    person = subscriber(stripe)
    path = f"/v1/subscriptions/{person.subscription['id']}"
    assert call(stripe, "POST", path, {"cancel_at_period_end": "true"}).json()["cancel_at_period_end"]
    assert call(stripe, "POST", path, {"cancel_at_period_end": "false"}).json()["cancel_at"] is None
    assert call(stripe, "POST", path, {"cancel_at": "min_period_end"}).json()["cancel_at"] == stripe.period_of(person.subscription)[1]
    assert call(stripe, "POST", path, {"cancel_at_period_end": "false"}).json()["cancel_at"] is not None
    assert call(stripe, "POST", path, {"cancel_at": ""}).json()["cancel_at"] is None
    error(call(stripe, "POST", path, {"cancel_at": "", "cancel_at_period_end": "false"}), 400)


def test_a_switch_costs_what_its_preview_said(stripe):
    person = subscriber(stripe)
    person.waits(10 * DAY)
    sub = person.subscription
    item, when = sub["items"]["data"][0]["id"], stripe.now()
    preview = made(stripe, "/v1/invoices/create_preview", **{"customer": person.customer, "subscription": sub["id"], "subscription_details[items][0][id]": item,
                   "subscription_details[items][0][price]": stripe.pro, "subscription_details[proration_behavior]": "always_invoice",
                   "subscription_details[proration_date]": when})
    assert 0 < preview["total"] < 3000 and len(preview["lines"]["data"]) == 2
    assert len(stripe.every("invoice")) == 1, "a preview is kept nowhere"
    made(stripe, f"/v1/subscriptions/{sub['id']}", **{"items[0][id]": item, "items[0][price]": stripe.pro, "proration_behavior": "always_invoice",
         "proration_date": when})
    assert stripe.every("invoice")[0]["amount_paid"] == preview["total"]
    assert [one["price"]["id"] for one in person.subscription["items"]["data"]] == [stripe.pro]


def test_a_price_without_the_items_id_is_billed_beside_the_old_one(stripe):
    person = subscriber(stripe)
    made(stripe, f"/v1/subscriptions/{person.subscription['id']}", **{"items[0][price]": stripe.pro})
    assert len(person.subscription["items"]["data"]) == 2


def test_a_switch_that_cannot_be_paid_changes_nothing_if_so_asked(stripe):
    person = subscriber(stripe)
    person.card_fails()
    sub = person.subscription
    form = {"items[0][id]": sub["items"]["data"][0]["id"], "items[0][price]": stripe.pro, "proration_behavior": "always_invoice"}
    assert error(call(stripe, "POST", f"/v1/subscriptions/{sub['id']}", {**form, "payment_behavior": "error_if_incomplete"}), 402)["type"] == "card_error"
    assert person.subscription == sub
    assert call(stripe, "POST", f"/v1/subscriptions/{sub['id']}", form).json()["status"] == "past_due"


def test_who_cancels_at_once_gets_the_rest_back_only_by_an_invoice(stripe):
    for form, balance in (({}, 0), ({"prorate": "true"}, 0), ({"prorate": "true", "invoice_now": "true"}, -1900)):
        person = subscriber(stripe)
        assert call(stripe, "DELETE", f"/v1/subscriptions/{person.subscription['id']}", form).json()["status"] == "canceled"
        assert abs(call(stripe, "GET", f"/v1/customers/{person.customer}").json()["balance"] - balance) < 10
    again = made(stripe, "/v1/checkout/sessions", **{"mode": "subscription", "customer": person.customer, "line_items[0][price]": stripe.pro,
                 "line_items[0][quantity]": 1, "success_url": "https://app.example.com/ok"})
    assert person.pay(again["id"])
    assert abs(stripe.every("invoice")[0]["amount_paid"] - 3000) < 10 and stripe.things[person.customer]["balance"] == 0


@pytest.mark.parametrize("missing,after", [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")])
def test_a_trial_ends_as_its_settings_say(stripe, missing, after):
    person, session = checkout(stripe, **{"subscription_data[trial_period_days]": 14, "payment_method_collection": "if_required",
                               "subscription_data[trial_settings][end_behavior][missing_payment_method]": missing})
    person.start_trial_without_card(session)
    assert person.subscription["status"] == "trialing"
    person.waits(12 * DAY)
    assert kinds(stripe)[-1] == "customer.subscription.trial_will_end" and person.subscription["status"] == "trialing"
    person.waits(3 * DAY)
    assert person.subscription["status"] == after
    if after == "paused":
        person.card_works()
        assert made(stripe, f"/v1/subscriptions/{person.subscription['id']}/resume")["status"] == "active"


def test_a_debit_is_completed_long_before_it_is_paid(stripe):
    person, session = checkout(stripe)
    person.pay_by_debit(session)
    assert kinds(stripe)[-1] == "checkout.session.completed" and person.subscription is None
    person.debit_comes(session)
    assert kinds(stripe)[-1] == "checkout.session.async_payment_succeeded" and person.subscription["status"] == "active"


def test_an_abandoned_session_expires(stripe):
    person, session = checkout(stripe)
    person.abandon(session)
    assert call(stripe, "GET", f"/v1/checkout/sessions/{session}").json()["status"] == "expired" and kinds(stripe)[-1] == "checkout.session.expired"


def test_a_deleted_customer_takes_the_subscriptions_along(stripe):
    person = subscriber(stripe)
    person.is_deleted()
    assert kinds(stripe)[-2:] == ["customer.subscription.deleted", "customer.deleted"]
    assert call(stripe, "GET", f"/v1/customers/{person.customer}").json()["deleted"] is True
    error(call(stripe, "POST", "/v1/billing_portal/sessions", {"customer": person.customer}), 400)


def test_money_back_and_disputes_change_no_subscription(stripe):
    person = subscriber(stripe)
    person.disputes()
    person.is_refunded()
    assert {"charge.dispute.created", "charge.refunded", "refund.created"} <= set(kinds(stripe)) and person.subscription["status"] == "active"


# Periods

@pytest.mark.parametrize("interval,count,anchor,ends", [
    ("day", 3, "2024-02-27T10:00", ["2024-03-01T10:00", "2024-03-04T10:00"]),
    ("week", 1, "2024-02-27T10:00", ["2024-03-05T10:00"]),
    ("month", 1, "2024-01-31T10:00", ["2024-02-29T10:00", "2024-03-31T10:00", "2024-04-30T10:00", "2024-05-31T10:00"]),
    ("month", 1, "2023-01-30T10:00", ["2023-02-28T10:00", "2023-03-30T10:00"]),
    ("month", 3, "2023-11-30T10:00", ["2024-02-29T10:00", "2024-05-30T10:00"]),
    ("year", 1, "2024-02-29T10:00", ["2025-02-28T10:00", "2026-02-28T10:00", "2027-02-28T10:00", "2028-02-29T10:00"]),
])
def test_periods_are_reckoned_from_the_anchor(interval, count, anchor, ends):
    assert [later(stamp(anchor), interval, count, k + 1) for k in range(len(ends))] == [stamp(end) for end in ends]
    assert [next_after(stamp(anchor), interval, count, stamp(at)) for at in [anchor, *ends[:-1]]] == [stamp(end) for end in ends]
    assert next_after(stamp(anchor), interval, count, stamp(ends[-1]) - 1) == stamp(ends[-1])


def test_a_subscription_of_long_ago_has_been_billed_on_its_days(stripe):
    person, sub = paying(stripe, (stripe.basic, 1), since=stamp("2025-12-31T10:00"))
    starts = [invoice["lines"]["data"][0]["period"]["start"] for invoice in reversed(stripe.every("invoice"))]
    assert starts[:5] == [stamp(f"2026-{day}T10:00") if day != "12-31" else stamp("2025-12-31T10:00") for day in ("12-31", "01-31", "02-28", "03-31", "04-30")]
    assert [invoice["created"] for invoice in reversed(stripe.every("invoice"))] == starts and sub["billing_cycle_anchor"] == starts[0]
    assert [event["created"] for event in stripe.events()[1:]] == sorted(event["created"] for event in stripe.events()[1:])


@pytest.mark.parametrize("interval,count,days", [("day", 1, 1), ("week", 2, 14), ("month", 3, 90), ("year", 1, 365)])
def test_a_price_of_any_interval_is_billed_by_it(stripe, interval, count, days):
    price = stripe.plan("other", 500, interval, count)
    person, sub = paying(stripe, (price, 3))
    start, end = stripe.period_of(sub)
    assert abs(end - start - days * DAY) <= 3 * DAY and end == later(start, interval, count)
    assert stripe.every("invoice")[0]["amount_paid"] == 1500 and sub["billing_cycle_anchor"] == start
    person.waits_for_the_next_period()
    sub = person.subscription
    start, end = stripe.period_of(sub)
    assert abs(start - time.time()) < 5 and end == later(start, interval, count) and len(stripe.every("invoice")) == 2
    conforms(stripe)


def test_the_anchor_of_a_trial_is_its_end(stripe):
    yearly = stripe.plan("yearly", 19000, "year")
    person, sub = paying(stripe, (yearly, 1), trial_end=stripe.now() + 14 * DAY)
    assert sub["billing_cycle_anchor"] == sub["trial_end"] == stripe.period_of(sub)[1]
    person.waits(15 * DAY)
    sub = person.subscription
    assert (sub["status"], stripe.period_of(sub)) == ("active", (sub["trial_end"], later(sub["trial_end"], "year", 1)))
    assert stripe.every("invoice")[0]["amount_paid"] == 19000
    sub = made(stripe, f"/v1/subscriptions/{sub['id']}", trial_end=stripe.now() + 5 * DAY)
    assert (sub["status"], sub["billing_cycle_anchor"]) == ("trialing", sub["trial_end"])
    sub = made(stripe, f"/v1/subscriptions/{sub['id']}", trial_end="now")
    assert (sub["status"], sub["billing_cycle_anchor"]) == ("active", sub["items"]["data"][0]["current_period_start"])


def test_items_of_different_intervals_have_periods_of_their_own(stripe):
    yearly, newsletter = stripe.plan("yearly", 19000, "year"), stripe.plan("newsletter", 100)
    person, sub = paying(stripe, (yearly, 1), (newsletter, 2))
    assert stripe.every("invoice")[0]["amount_paid"] == 19200
    year, first = period(sub["items"]["data"][0]), period(sub["items"]["data"][1])
    assert year[1] == later(year[0], "year", 1) and first[1] == later(first[0], "month", 1)
    for _ in range(11):
        person.waits(min(item["current_period_end"] for item in person.subscription["items"]["data"]) - stripe.now())
        assert stripe.every("invoice")[0]["amount_paid"] == 200
    ends = [item["current_period_end"] for item in person.subscription["items"]["data"]]
    assert ends[0] == ends[1], "the twelfth month ends with the year"
    person.waits(ends[0] - stripe.now())
    assert stripe.every("invoice")[0]["amount_paid"] == 19200 and len(stripe.every("invoice")) == 13


def test_a_switch_to_another_interval_begins_anew_and_is_paid_at_once(stripe):
    yearly = stripe.plan("yearly", 19000, "year")
    person, sub = paying(stripe, (stripe.basic, 1))
    person.waits(10 * DAY)
    person.switches(yearly)
    sub = person.subscription
    assert period(sub["items"]["data"][0]) == (sub["billing_cycle_anchor"], later(sub["billing_cycle_anchor"], "year", 1))
    assert abs(sub["billing_cycle_anchor"] - time.time()) < 5 and 17000 < stripe.every("invoice")[0]["amount_paid"] < 18000
    conforms(stripe)


# Invoices

def sent(stripe, *items, **more):
    return paying(stripe, *items or ((stripe.basic, 1),), collection_method="send_invoice", days_until_due=7, **more)


def invoices(stripe, **params):
    reply = call(stripe, "GET", "/v1/invoices", params)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def test_a_sent_invoice_is_due_later_and_the_subscription_active_at_once(stripe):
    since = len(kinds(stripe))
    person, sub = sent(stripe)
    assert (sub["status"], sub["days_until_due"]) == ("active", 7) and stripe.events("customer.subscription.created")[0]["data"]["object"]["status"] == "active"
    assert kinds(stripe, since) == ["customer.created", "customer.subscription.created", "invoice.created", "invoice.finalized", "invoice.sent"]
    invoice = invoices(stripe, subscription=sub["id"], status="open", collection_method="send_invoice")[0]
    assert invoice["due_date"] == invoice["created"] + 7 * DAY and invoice["amount_remaining"] == 1900
    person.waits(6 * DAY)
    assert person.subscription["status"] == "active"
    person.waits(2 * DAY)
    assert person.subscription["status"] == "past_due" and kinds(stripe)[-1] == "customer.subscription.updated"
    assert stripe.events()[-1]["created"] == stripe.every("invoice")[0]["due_date"]
    person.pays_what_is_due()
    assert person.subscription["status"] == "active" and kinds(stripe)[-3:] == ["customer.subscription.updated", "invoice.paid", "invoice.payment_succeeded"]
    person.waits_for_the_next_period()
    assert person.subscription["status"] == "active" and kinds(stripe)[-3:] == ["invoice.created", "invoice.finalized", "invoice.sent"]
    conforms(stripe)


def test_invoices_are_found_by_due_date_status_and_method_page_by_page(stripe):
    person, sub = sent(stripe)
    paying(stripe, (stripe.basic, 1))
    person.waits(95 * DAY)
    due = [one["due_date"] for one in invoices(stripe, collection_method="send_invoice")]
    assert len(due) == 4 and [one["due_date"] for one in invoices(stripe, **{"due_date[gt]": due[-1], "due_date[lte]": due[1]})] == due[1:3]
    assert len(invoices(stripe, due_date=due[0])) == 1 and len(invoices(stripe, status="paid")) == 4 and len(invoices(stripe, status="draft")) == 0
    first = call(stripe, "GET", "/v1/invoices", {"subscription": sub["id"], "status": "open", "limit": 3}).json()
    rest = call(stripe, "GET", "/v1/invoices", {"subscription": sub["id"], "status": "open", "limit": 3, "starting_after": first["data"][-1]["id"]}).json()
    assert first["has_more"] and not rest["has_more"] and [one["due_date"] for one in first["data"] + rest["data"]] == due
    error(call(stripe, "GET", "/v1/invoices", {"due_date[since]": 1}), 400)


def test_the_newest_invoice_decides_whatever_the_older_ones_are(stripe):
    person, sub = sent(stripe)
    person.waits(65 * DAY)
    assert person.subscription["status"] == "past_due" and len(invoices(stripe, status="open")) == 3
    oldest = stripe.every("invoice")[-1]
    stripe.charge(oldest)
    assert oldest["status"] == "paid" and person.subscription["status"] == "past_due"
    person.pays_the_newest()
    assert person.subscription["status"] == "active" and len(invoices(stripe, status="open")) == 1
    person.waits(8 * DAY)
    assert person.subscription["status"] == "active", "what is overdue is told once"


def test_an_unpaid_subscriptions_invoices_stay_drafts(stripe):
    person = subscriber(stripe)
    person.card_fails()
    person.waits_for_the_next_period()
    person.retries_are_exhausted()
    person.waits_for_the_next_period()
    draft = invoices(stripe)[0]
    assert (person.subscription["status"], draft["status"], person.subscription["latest_invoice"]) == ("unpaid", "draft", draft["id"])
    person.pays_what_is_due()
    assert person.subscription["status"] == "unpaid" and invoices(stripe, status="open") == []
    assert made(stripe, f"/v1/invoices/{draft['id']}/finalize")["status"] == "paid" and person.subscription["status"] == "active"
    error(call(stripe, "POST", f"/v1/invoices/{draft['id']}/void"), 400)
    conforms(stripe)


@pytest.mark.parametrize("act,status,event", [("void", "void", "invoice.voided"), ("write_off", "uncollectible", "invoice.marked_uncollectible")])
def test_an_invoice_is_given_up(stripe, act, status, event):
    person = subscriber(stripe)
    person.card_fails()
    person.waits_for_the_next_period()
    invoice = invoices(stripe)[0]
    getattr(stripe, act)(invoice)
    assert invoices(stripe)[0]["status"] == status and kinds(stripe)[-2:] == [event, "customer.subscription.updated"]
    assert person.subscription["status"] == "active"
    conforms(stripe)


def test_who_does_not_pay_the_first_invoice_in_a_day_has_it_voided(stripe):
    customer = made(stripe, "/v1/customers")["id"]
    sub = stripe.start_subscription(customer, [(stripe.basic, 1)], pays=False)
    assert sub["status"] == "incomplete"
    stripe.pass_time(DAY)
    assert stripe.every("subscription")[0]["status"] == "incomplete_expired" and stripe.every("invoice")[0]["status"] == "void"
    assert kinds(stripe)[-2:] == ["customer.subscription.updated", "invoice.voided"]


def test_a_credit_note_lets_less_be_due_and_nothing_left_is_paid(stripe):
    person, sub = sent(stripe)
    invoice = stripe.every("invoice")[0]
    note = stripe.credit(invoice, 900)
    assert (invoice["status"], invoice["amount_due"], invoice["amount_remaining"], invoice["pre_payment_credit_notes_amount"]) == ("open", 1000, 1000, 900)
    assert kinds(stripe)[-2:] == ["credit_note.created", "invoice.updated"] and call(stripe, "GET", f"/v1/credit_notes/{note}").json()["type"] == "pre_payment"
    stripe.credit(invoice, 1500)
    assert (invoice["status"], invoice["amount_paid"], stripe.things[person.customer]["balance"]) == ("paid", 0, -500) and stripe.every("charge") == []
    assert "invoice.paid" in kinds(stripe) and len(call(stripe, "GET", "/v1/credit_notes", {"invoice": invoice["id"]}).json()["data"]) == 2
    conforms(stripe)
    for thing in stripe.things.values():
        if thing["object"] in ("credit_note", "invoice"):
            assert stripe_spec.problems(in_version(thing, OLD), OLD) == []


def test_a_subscription_is_changed_to_sent_invoices_and_back(stripe):
    path = f"/v1/subscriptions/{subscriber(stripe).subscription['id']}"
    error(call(stripe, "POST", path, {"collection_method": "send_invoice"}), 400)
    error(call(stripe, "POST", path, {"days_until_due": 7}), 400)
    assert call(stripe, "POST", path, {"collection_method": "send_invoice", "days_until_due": 7}).json()["days_until_due"] == 7
    assert call(stripe, "POST", path, {"collection_method": "charge_automatically"}).json()["days_until_due"] is None


# Paused collection

@pytest.mark.parametrize("behavior,status,events", [("void", "void", ["invoice.finalized", "invoice.voided"]), ("keep_as_draft", "draft", []),
                                                    ("mark_uncollectible", "uncollectible", ["invoice.finalized", "invoice.marked_uncollectible"])])
def test_collection_is_paused_while_the_periods_go_on(stripe, behavior, status, events):
    person = subscriber(stripe)
    stripe.pauses(person.subscription, behavior)
    assert stripe.events()[-1]["data"]["previous_attributes"] == {"pause_collection": None}
    since = len(kinds(stripe))
    before = stripe.period_of(person.subscription)
    person.waits_for_the_next_period()
    sub = person.subscription
    assert (sub["status"], sub["pause_collection"]) == ("active", {"behavior": behavior, "resumes_at": None}) and stripe.period_of(sub)[0] > before[0]
    assert invoices(stripe)[0]["status"] == status and kinds(stripe, since) == ["customer.subscription.updated", "invoice.created", *events]
    conforms(stripe)
    stripe.unpauses(sub)
    person.waits_for_the_next_period()
    assert [one["status"] for one in invoices(stripe)] == ["paid", status, "paid"] and person.subscription["pause_collection"] is None


def test_a_pause_ends_by_itself(stripe):
    person = subscriber(stripe)
    stripe.pauses(person.subscription, "void", stripe.now() + 40 * DAY)
    person.waits(39 * DAY)
    assert person.subscription["pause_collection"] and stripe.every("invoice")[0]["status"] == "void"
    person.waits(2 * DAY)
    assert person.subscription["pause_collection"] is None and kinds(stripe)[-1] == "customer.subscription.updated"
    person.waits(31 * DAY)
    assert stripe.every("invoice")[0]["status"] == "paid"


def test_the_api_pauses_collection(stripe):
    person = subscriber(stripe)
    path = f"/v1/subscriptions/{person.subscription['id']}"
    assert call(stripe, "POST", path, {"pause_collection[behavior]": "void"}).json()["pause_collection"] == {"behavior": "void", "resumes_at": None}
    assert call(stripe, "POST", path, {"pause_collection": ""}).json()["pause_collection"] is None
    later = stripe.now() + DAY
    assert call(stripe, "POST", path,
                {"pause_collection[behavior]": "keep_as_draft", "pause_collection[resumes_at]": later}).json()["pause_collection"]["resumes_at"] == later
    for form, param in (({"pause_collection[behavior]": "stop"}, "pause_collection[behavior]"),
                        ({"pause_collection[resumes_at]": later}, "pause_collection[behavior]"),
                        ({"pause_collection[behavior]": "void", "pause_collection[resumes_at]": later - 2 * DAY}, "pause_collection[resumes_at]")):
        assert error(call(stripe, "POST", path, form), 400)["param"] == param


# Who was not sent by manus

def test_a_payment_link_makes_a_new_customer_and_names_whom_its_address_named(stripe):
    person, old = Person(stripe), made(stripe, "/v1/customers")["id"]
    since = len(kinds(stripe))
    session = person.pays_a_link(stripe.basic, "user-1", "ann@example.com")
    assert kinds(stripe, since) == ["customer.created", "customer.subscription.created", "invoice.created", "invoice.finalized", "charge.succeeded",
                                    "customer.subscription.updated", "invoice.paid", "invoice.payment_succeeded", "checkout.session.completed"]
    assert person.customer != old and person.subscription["metadata"] == {} and person.subscription["status"] == "active"
    found = call(stripe, "GET", "/v1/checkout/sessions", {"subscription": person.subscription["id"]}).json()["data"]
    assert [(one["id"], one["mode"], one["client_reference_id"], one["customer"], one["metadata"], one["customer_details"]["email"]) for one in found] == [
        (session, "subscription", "user-1", person.customer, {}, "ann@example.com")]
    assert call(stripe, "GET", f"/v1/payment_links/{found[0]['payment_link']}").json()["active"]
    assert len(call(stripe, "GET", "/v1/checkout/sessions", {"payment_link": found[0]["payment_link"]}).json()["data"]) == 1
    assert call(stripe, "GET", "/v1/checkout/sessions", {"customer_details[email]": "eve@example.com"}).json()["data"] == []
    conforms(stripe)


def test_a_customer_of_the_dashboard_subscribes_without_a_page(stripe):
    person = Person(stripe, stripe.customer({"user_id": "user-1"}, "ann@example.com"))
    sub = person.subscribes(stripe.pro, 2, metadata={"team": "1"})
    assert call(stripe, "GET", f"/v1/customers/{person.customer}").json()["metadata"] == {"user_id": "user-1"}
    assert (person.subscription["id"], person.subscription["items"]["data"][0]["quantity"], person.subscription["metadata"]) == (sub, 2, {"team": "1"})
    assert call(stripe, "GET", "/v1/checkout/sessions", {"subscription": sub}).json()["data"] == []
    session = person.checks_out(stripe.basic, reference="user-2")
    assert stripe.things[session]["customer"] == person.customer and stripe.things[session]["payment_link"] is None
    conforms(stripe)


def test_another_product_is_not_what_a_persons_acts_concern(stripe):
    newsletter, person = stripe.product("newsletter", 100), subscriber(stripe)
    plan, other = person.subscription["id"], person.also_subscribes(newsletter)
    assert person.subscription["id"] == plan != other and stripe.truth(person.customer, [newsletter])["id"] == other
    person.card_fails(sub=other)
    person.waits_for_the_next_period()
    assert (stripe.things[plan]["status"], stripe.things[other]["status"]) == ("active", "past_due")
    person.retries_are_exhausted(other)
    person.pays_what_is_due(other)
    assert stripe.things[other]["status"] == "active"
    person.cancels_now()
    assert person.subscription["id"] == plan and stripe.things[plan]["status"] == "canceled" and stripe.things[other]["status"] == "active"
    person.cancels(sub=other)
    assert stripe.things[other]["cancel_at"] and stripe.truth(person.customer, ["price_none"]) is None


# What is agreed on and not there yet

def test_a_schedule_takes_over_with_the_period_and_then_lets_go(stripe):
    person = subscriber(stripe)
    since = len(kinds(stripe))
    schedule = stripe.schedules(person.subscription, stripe.pro)
    assert kinds(stripe, since) == ["subscription_schedule.created", "customer.subscription.updated"] and person.subscription["schedule"] == schedule
    shown = call(stripe, "GET", f"/v1/subscription_schedules/{schedule}").json()
    assert (shown["status"], [phase["items"][0]["price"] for phase in shown["phases"]]) == ("active", [stripe.basic, stripe.pro])
    assert person.subscription["items"]["data"][0]["price"]["id"] == stripe.basic
    conforms(stripe)
    person.waits_for_the_next_period()
    sub = person.subscription
    assert sub["items"]["data"][0]["price"]["id"] == stripe.pro and stripe.every("invoice")[0]["amount_paid"] == 4900
    shown = call(stripe, "GET", f"/v1/subscription_schedules/{schedule}").json()
    assert (shown["current_phase"]["start_date"], shown["current_phase"]["end_date"]) == stripe.period_of(sub)
    assert "subscription_schedule.updated" in kinds(stripe)
    person.waits_for_the_next_period()
    assert person.subscription["schedule"] is None and call(stripe, "GET", f"/v1/subscription_schedules/{schedule}").json()["status"] == "released"
    assert "subscription_schedule.released" in kinds(stripe) and stripe.every("invoice")[0]["amount_paid"] == 4900
    conforms(stripe)
    assert stripe_spec.problems(in_version(shown, OLD), OLD) == []


def test_who_has_a_schedule_is_cancelled_by_it_alone(stripe):
    person = subscriber(stripe)
    schedule = stripe.schedules(person.subscription, stripe.plan("yearly", 19000, "year"))
    path = f"/v1/subscriptions/{person.subscription['id']}"
    for form in ({"cancel_at_period_end": "true"}, {"cancel_at": ""}):
        refused = error(call(stripe, "POST", path, form), 400)
        assert "code" not in refused and refused["type"] == "invalid_request_error"
        assert f"managed by the subscription schedule `{schedule}`" in refused["message"]
    assert call(stripe, "POST", path, {"metadata[a]": "b"}).status_code == 200
    made(stripe, f"/v1/subscription_schedules/{schedule}/release")
    assert call(stripe, "POST", path, {"cancel_at_period_end": "true"}).json()["cancel_at_period_end"]
    error(call(stripe, "POST", f"/v1/subscription_schedules/{schedule}/release"), 400)


def test_a_schedule_ends_with_its_subscription(stripe):
    person = subscriber(stripe)
    schedule = stripe.schedules(person.subscription, stripe.pro)
    person.cancels_now()
    assert kinds(stripe)[-2:] == ["customer.subscription.deleted", "subscription_schedule.canceled"] and stripe.things[schedule]["status"] == "canceled"


def test_a_schedule_may_go_to_another_interval(stripe):
    person = subscriber(stripe)
    stripe.schedules(person.subscription, stripe.plan("yearly", 19000, "year"))
    person.waits_for_the_next_period()
    start, end = stripe.period_of(person.subscription)
    assert end == later(start, "year", 1) and person.subscription["billing_cycle_anchor"] == start and stripe.every("invoice")[0]["amount_paid"] == 19000


def test_a_pending_update_is_applied_when_it_is_paid(stripe):
    person = subscriber(stripe)
    since = len(kinds(stripe))
    stripe.pends(person.subscription, stripe.pro)
    sub = person.subscription
    assert sub["items"]["data"][0]["price"]["id"] == stripe.basic and sub["pending_update"]["subscription_items"][0]["price"]["id"] == stripe.pro
    conforms(stripe)
    person.pays_what_is_due()
    assert kinds(stripe, since) == ["customer.subscription.updated", "invoice.created", "invoice.finalized", "invoice.payment_action_required",
                                    "charge.succeeded", "invoice.paid", "invoice.payment_succeeded", "customer.subscription.updated",
                                    "customer.subscription.pending_update_applied"]
    assert person.subscription["items"]["data"][0]["price"]["id"] == stripe.pro and person.subscription["pending_update"] is None
    conforms(stripe)


def test_a_pending_update_expires_and_its_invoice_with_it(stripe):
    person = subscriber(stripe)
    person.card_fails("authentication")
    item = person.subscription["items"]["data"][0]["id"]
    sub = made(stripe, f"/v1/subscriptions/{person.subscription['id']}", **{"items[0][id]": item, "items[0][price]": stripe.pro,
               "proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"})
    assert (sub["status"], sub["pending_update"]["expires_at"] > stripe.now(), sub["items"]["data"][0]["price"]["id"]) == ("active", True, stripe.basic)
    person.waits(DAY)
    assert person.subscription["pending_update"] is None and person.subscription["items"]["data"][0]["price"]["id"] == stripe.basic
    assert kinds(stripe)[-2:] == ["customer.subscription.pending_update_expired", "invoice.voided"] and person.subscription["status"] == "active"


# Events

def events(stripe, **params):
    reply = call(stripe, "GET", "/v1/events", params)
    assert reply.status_code == 200, reply.text
    return [one["type"] for one in reply.json()["data"]]


def test_events_are_listed_by_type_time_and_page(stripe):
    person = subscriber(stripe)
    assert events(stripe, **{"types[0]": "invoice.paid", "types[1]": "checkout.session.*"}) == ["checkout.session.completed", "invoice.paid"]
    assert events(stripe, type="invoice.paid") == ["invoice.paid"] == events(stripe, **{f"types[{i}]": "invoice.paid" for i in range(20)})
    error(call(stripe, "GET", "/v1/events", {f"types[{i}]": "invoice.paid" for i in range(21)}), 400)
    error(call(stripe, "GET", "/v1/events", {"type": "invoice.paid", "types[]": "invoice.paid"}), 400)
    person.waits(10 * DAY)
    since = stripe.now()
    person.cancels_now()
    assert events(stripe, **{"created[gte]": since}) == ["customer.subscription.deleted"]
    assert events(stripe, **{"created[lt]": since, "limit": 100}) == kinds(stripe)[-2::-1]
    first = call(stripe, "GET", "/v1/events", {"limit": 4}).json()
    assert first["has_more"] and events(stripe, limit=2, starting_after=first["data"][1]["id"]) == [one["type"] for one in first["data"][2:]]


def test_what_time_brings_happens_in_its_order(stripe):
    checkout(stripe)
    people = [subscriber(stripe), sent(stripe)[0], subscriber(stripe)]
    people[2].cancels()
    since = len(kinds(stripe))
    stripe.pass_time(95 * DAY)
    stamps = [event["created"] for event in stripe.events()[since:]]
    assert stamps == sorted(stamps) and len(set(stamps)) > 4 and kinds(stripe, since)[0] == "checkout.session.expired"


def test_events_of_more_than_30_days_ago_are_gone(stripe):
    person = subscriber(stripe)
    old = stripe.events()[0]["id"]
    person.waits(29 * DAY)
    assert call(stripe, "GET", f"/v1/events/{old}").status_code == 200 and "customer.created" in events(stripe, limit=100)
    person.waits(2 * DAY)
    assert error(call(stripe, "GET", f"/v1/events/{old}"), 404)["code"] == "resource_missing"
    assert "customer.created" not in events(stripe, limit=100) and "invoice.paid" in events(stripe, limit=100)


def test_what_could_not_be_delivered_is_listed(stripe, hook):
    stripe.endpoint(hook.url, events=["customer.created", "customer.updated"])
    stripe.courier.work = True
    customer = made(stripe, "/v1/customers")["id"]
    stripe.courier.drain()
    hook.answers += [500] * (len(stripe_courier.GAPS) + 1)
    stripe_courier.GAPS, gaps = (0.01,) * len(stripe_courier.GAPS), stripe_courier.GAPS
    try:
        made(stripe, f"/v1/customers/{customer}", name="Ann")
        stripe.courier.drain()
    finally:
        stripe_courier.GAPS = gaps
    assert events(stripe, delivery_success="true") == ["customer.created"] and events(stripe, delivery_success="false") == ["customer.updated"]


@pytest.mark.parametrize("whose", ["account", "context"])
def test_events_of_others_are_forged(stripe, whose):
    event = stripe_courier.forged("customer.subscription.updated", subscriber(stripe).subscription, **{whose: "acct_1Other"})
    assert stripe_spec.problems(event) == [] and event[whose] == "acct_1Other"


def test_only_the_charge_of_a_dispute_names_the_customer(stripe):
    person = subscriber(stripe)
    dispute = call(stripe, "GET", f"/v1/disputes/{person.disputes()}").json()
    person.is_refunded(900)
    charge = call(stripe, "GET", f"/v1/charges/{dispute['charge']}").json()
    assert "customer" not in dispute
    assert (charge["customer"], charge["disputed"], charge["refunded"], charge["amount_refunded"]) == (person.customer, True, False, 900)
    refund = stripe.events("refund.created")[0]["data"]["object"]
    assert (refund["customer"], refund["charge"]) == (person.customer, charge["id"]) and "customer" not in in_version(refund, OLD)
    person.is_refunded()
    assert call(stripe, "GET", f"/v1/charges/{charge['id']}").json()["refunded"]
    person.dispute_ends(dispute["id"])
    assert kinds(stripe)[-1] == "charge.dispute.closed" and call(stripe, "GET", f"/v1/disputes/{dispute['id']}").json()["status"] == "lost"
    conforms(stripe)


# The shapes

def whole_life(stripe):
    person = subscriber(stripe)
    person.switches(stripe.pro, "always_invoice")
    person.card_fails()
    person.waits_for_the_next_period()
    person.pays_what_is_due()
    person.disputes()
    person.is_refunded()
    person.cancels()
    person.waits_for_the_next_period()
    trial, session = checkout(stripe, **{"subscription_data[trial_period_days]": 14})
    trial.pay(session)
    made(stripe, "/v1/billing_portal/sessions", customer=trial.customer, return_url="https://app.example.com")
    stripe.endpoint("https://app.example.com/hook")
    foreign_life(stripe)


def foreign_life(stripe):
    """What manus did not begin."""
    person = Person(stripe)
    person.pays_a_link(stripe.basic, "user-1")
    person.also_subscribes(stripe.product("newsletter", 100, "week"), 3)
    stripe.pauses(person.subscription, "void", stripe.now() + 40 * DAY)
    person.waits(35 * DAY)
    stripe.schedules(person.subscription, stripe.plan("yearly", 19000, "year"))
    stripe.pends(person.subscription, stripe.pro)
    stripe.pass_time(35 * DAY)
    invoiced = Person(stripe, stripe.customer({"user_id": "user-2"}))
    invoiced.subscribes(stripe.pro, collection_method="send_invoice", days_until_due=7)
    stripe.credit(stripe.every("invoice")[0], 1000)
    stripe.pass_time(40 * DAY)
    for act, invoice in zip((stripe.void, stripe.write_off), stripe.invoices_of(invoiced.subscription, "open"), strict=True):
        act(invoice)


@pytest.mark.parametrize("version", [NEW, OLD])
def test_every_object_and_event_has_the_shape_of_stripes_document(stripe, version):
    whole_life(stripe)
    things = [thing for thing in stripe.things.values() if version == NEW or thing["object"] != "invoice_payment"]  # there was none
    for thing in things:
        shown = in_version(thing, version)
        assert stripe_spec.problems(shown, version) == [], json.dumps(shown)[:2000]
        if thing["object"] == "event":
            assert stripe_spec.problems(shown["data"]["object"], version) == []
    assert {thing["object"] for thing in things} >= {"customer", "checkout.session", "billing_portal.session", "subscription", "invoice", "charge", "refund",
                                                     "dispute", "event", "price", "product", "webhook_endpoint", "payment_intent", "payment_link",
                                                     "credit_note",
                                                     "subscription_schedule"}
    assert {event["type"] for event in stripe.events()} >= {"invoice.voided", "invoice.marked_uncollectible", "subscription_schedule.updated", "invoice.sent",
                                                            "customer.subscription.pending_update_expired", "credit_note.created"}
    for path in ("/v1/balance", "/v1/account"):
        assert stripe_spec.problems(call(stripe, "GET", path).json()) == []


def test_fields_stand_where_each_version_has_them(stripe):
    person = subscriber(stripe)
    path = f"/v1/subscriptions/{person.subscription['id']}"
    new, old = call(stripe, "GET", path).json(), call(stripe, "GET", path, version=OLD).json()
    assert "current_period_end" not in new and "current_period_end" not in old["items"]["data"][0]
    assert old["current_period_end"] == new["items"]["data"][0]["current_period_end"]
    path = f"/v1/invoices/{new['latest_invoice']}"
    new, old = call(stripe, "GET", path).json(), call(stripe, "GET", path, version=OLD).json()
    assert "subscription" not in new and "parent" not in old
    assert old["subscription"] == new["parent"]["subscription_details"]["subscription"] == person.subscription["id"]


def test_stripe_mock_accepts_and_refuses_the_same_requests(stripe, mock):
    whole_life(stripe)
    sub = stripe.every("subscription")[0]
    for method, path, params in [
            ("GET", "/v1/subscriptions", {"customer": sub["customer"], "status": "all", "limit": 100, "expand[]": "data.latest_invoice"}),
            ("GET", "/v1/events", {"types[]": "invoice.paid", "created[gt]": 5, "delivery_success": "false"}),
            ("GET", "/v1/subscriptions", {"state": "all"}), ("POST", "/v1/customers", {"emial": "x"}), ("POST", "/v1/customers", {"balance": "many"}),
            ("POST", f"/v1/subscriptions/{sub['id']}", {"cancel_at_period_end": "maybe"}), ("GET", "/v1/nothing", {}),
            ("POST", f"/v1/subscriptions/{sub['id']}", {"items[0][id]": sub["items"]["data"][0]["id"], "items[0][price]": stripe.pro})]:
        call(stripe, method, path, params)
    assert len(stripe.log) > 10
    for one in stripe.log:
        reply = mock.send(one["method"], one["path"], one["query"], one["body"], one["headers"])
        assert (reply.status_code == 200) == (one["status"] == 200), (one, reply.text)


def test_stripes_own_library_is_at_home_here(stripe):
    """Its forms, pages, idempotency, errors and signatures."""
    body = stripe_courier.payload(subscriber(stripe) and stripe.events()[-1])
    script = f"""
import stripe
stripe.api_key, stripe.api_base, stripe.max_network_retries = {stripe.key!r}, {stripe.base!r}, 2
customer = stripe.Customer.create(email="ann@example.com", metadata={{"user_id": "u1"}}, idempotency_key="k1")
assert stripe.Customer.create(email="ann@example.com", metadata={{"user_id": "u1"}}, idempotency_key="k1").id == customer.id
session = stripe.checkout.Session.create(mode="subscription", customer=customer.id, success_url="https://a.example/?s={{CHECKOUT_SESSION_ID}}",
    line_items=[{{"price": {stripe.basic!r}, "quantity": 1}}], subscription_data={{"metadata": {{"user_id": "u1"}}}})
assert session.status == "open" and session.success_url.endswith("{{CHECKOUT_SESSION_ID}}")
sub = stripe.Subscription.list(status="all", expand=["data.latest_invoice.payments"]).data[0]
assert sub.latest_invoice.payments.data[0].status == "paid"
assert len(list(stripe.Event.list(limit=3).auto_paging_iter())) == {len(stripe.events()) + 1}
try:
    stripe.Subscription.retrieve("sub_none")
    raise SystemExit("found what is not there")
except stripe.InvalidRequestError as error:
    assert error.code == "resource_missing" and error.http_status == 404
event = stripe.Webhook.construct_event({body!r}, {stripe_courier.signature(body, ["whsec_new", "whsec_old"])!r}, "whsec_old")
assert event.type == "checkout.session.completed"
"""
    stripe.fails(500, on="POST /v1/customers", after=True)
    done = subprocess.run([ROOT / "build-tools" / "venv" / "bin" / "python", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(stripe.every("customer")) == 2


# Deliveries

class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((json.loads(body), self.headers["Stripe-Signature"], body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.answers = [], []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield server
    server.shutdown()
    server.server_close()


def test_events_are_delivered_signed_and_again_until_they_are_taken(stripe, hook):
    stripe.endpoint(hook.url, "whsec_1")
    stripe.courier.work = True
    hook.answers += [500, 302, 404]
    made(stripe, "/v1/customers", email="ann@example.com")
    stripe.courier.drain()
    assert [status for *_, status in stripe.courier.done] == [500, 302, 404, 200] and stripe.courier.succeeded(stripe.events()[0]["id"])
    _, header, body = hook.got[-1]
    stamp, sign = header.split(",")[0][2:], header.split(",")[1][3:]
    assert sign == hmac.new(b"whsec_1", stamp.encode() + b"." + body, hashlib.sha256).hexdigest() and abs(int(stamp) - time.time()) < 5


def test_an_endpoint_gets_what_it_asked_for_in_its_version(stripe, hook):
    name = stripe.endpoint(hook.url, events=["customer.subscription.updated"], version=OLD)
    stripe.courier.work = True
    stripe.courier.roll(name, "whsec_2")
    subscriber(stripe)
    stripe.courier.drain()
    assert [event["type"] for event, *_ in hook.got] == ["customer.subscription.updated"]
    assert hook.got[0][0]["api_version"] == OLD and "current_period_end" in hook.got[0][0]["data"]["object"]
    assert hook.got[0][1].count("v1=") == 2


def test_deliveries_are_lost_doubled_and_out_of_order_if_so_asked(stripe, hook):
    stripe.endpoint(hook.url)
    stripe.courier.work, stripe.courier.doubled, stripe.courier.late = True, 1.0, 0.3
    subscriber(stripe)
    stripe.courier.drain()
    every, came = [event["id"] for event in stripe.events()], [event["id"] for event, *_ in hook.got]
    assert sorted(came) == sorted(every * 2) and came != [one for one in every for _ in range(2)]
    stripe.courier.lost = 1.0
    made(stripe, "/v1/customers")
    stripe.courier.drain()
    assert len(hook.got) == 2 * len(every)
