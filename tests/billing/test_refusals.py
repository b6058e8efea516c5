"""What Stripe refuses: the operator reads why, and people read what to do."""
import json
import time

import pytest

from letters import rows
from manus import API, SLOW, run
from stripe_courier import forged
from stripe_double import Stripe
from test_subscription import admin
from world import World

CUSTOMERS, SUBSCRIPTION = "POST /v1/customers", "POST /v1/subscriptions/[^/]+"


def refuses(world, on, status, message="The double refuses.", kind="invalid_request_error", times=1, **more):
    world.stripe.garbles(json.dumps({"error": {"type": kind, "message": message, **more}}).encode(), on=on, times=times, status=status)


def checkout(world, user):
    return world.post(user, "create-checkout-session", {"plan": "basic"})


def line_of(world, path="/v1/customers"):
    return world.manus.wait_for_log(lambda line: line["msg"] == "stripe" and line["path"] == path and line.get("status", 0) >= 400)


# For operators

def test_the_log_says_why_stripe_refused(world):
    refuses(world, CUSTOMERS, 400, "Received unknown parameter: name", code="parameter_unknown", param="nonsense")
    assert checkout(world, world.user()).status_code == 502
    line = line_of(world)
    assert (line["type"], line["code"], line["param"], line["said"]) == ("invalid_request_error", "parameter_unknown", "nonsense", "Received unknown parameter: name")
    assert "decline_code" not in line
    failed = world.manus.wait_for_log(lambda line: "Stripe refuses POST /v1/customers: 400" in line.get("detail", ""))
    assert all(text in failed["detail"] for text in ("code parameter_unknown", "param nonsense", "Received unknown parameter: name"))


def test_the_declines_code_and_stripes_request_are_in_the_log(world):
    user, person = world.subscriber()
    person.card_fails()
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 402
    line = line_of(world, f"/v1/subscriptions/{person.subscription['id']}")
    assert (line["code"], line["decline_code"], line["said"]) == ("card_declined", "generic_decline", "Your card was declined.")
    assert line["stripe_request"].startswith("req_")


def test_the_operators_view_of_an_event_says_why_stripe_refused(world):
    user, person = world.subscriber()
    boss = admin(world.manus)["access_token"]
    refuses(world, "GET /v1/subscriptions", 403, "The provided key does not have the required permissions", code="more_permissions_required", times=9)
    world.send(forged("customer.subscription.updated", person.subscription))
    (event,) = [one for one in world.manus.get(f"{API}/billing/admin/events", boss).json()["data"]["events"] if one["state"] == "waiting"]
    assert "403" in event["error"] and "more_permissions_required" in event["error"] and "does not have the required permissions" in event["error"]


def test_a_failure_that_passes_leaves_nothing_of_itself_in_the_next_line(world):
    refuses(world, CUSTOMERS, 500, "Something is wrong on our side", code="lock_timeout")
    assert checkout(world, world.user()).status_code == 200
    line = world.manus.wait_for_log(lambda line: line["msg"] == "stripe" and line["path"] == "/v1/customers" and line["status"] == 200)
    assert "code" not in line and "said" not in line


@pytest.mark.parametrize("said, logged", [
    ("Invalid email address: ann@exämple.com.", "Invalid email address: …"),
    ("No key: sk_live_51AbcdefGHIJ (rk_test_abc), whsec_abcdef.", "No key: sk_… (rk_… whsec_…"),
    ("Secret pi_1_secret_XYZ and https://checkout.stripe.com/c/pay/cs_test_a1b2#fid", "Secret pi_1_secret_… and https://checkout.stripe.com/c/pay/…"),
    ("two\nlines\x1b[31m\ttab\x7f", "two lines [31m tab "),
    ("é" * 5000, "é" * 150 + "…"),
    (["no", "text"], None),
], ids=["address", "keys", "secrets", "control characters", "length", "no text"])
def test_what_stripe_says_is_bounded_and_cleaned(world, said, logged):
    refuses(world, CUSTOMERS, 400, said, code="any")
    checkout(world, world.user())
    line = line_of(world)
    assert line.get("said") == logged
    for secret in ("51Abcdef", "abcdef", "XYZ", "a1b2"):
        assert secret not in world.manus.log_path.read_text()


# What a customer can do without

@pytest.mark.parametrize("code", ["email_invalid", None])
def test_who_has_an_address_that_stripe_refuses_buys_all_the_same(world, code):
    user = world.user()
    refuses(world, CUSTOMERS, 400, f"Invalid email address: {user['email']}", param="email", **({"code": code} if code else {}))
    assert checkout(world, user).status_code == 200
    (customer,) = world.stripe.every("customer")
    assert (customer["email"], customer["name"], customer["metadata"]) == (None, user["fullname"], {"user_id": user["id"]})
    first, second = (one["key"] for one in world.stripe.asked(CUSTOMERS))
    assert first != second
    warning = world.manus.wait_for_log(lambda line: line["level"] == "warning" and line.get("param") == "email")
    assert warning["user_id"] == user["id"]
    assert user["email"] not in world.manus.log_path.read_text()


def test_a_customer_without_an_address_is_made_once_though_the_answer_is_lost(world):
    user = world.user()
    refuses(world, CUSTOMERS, 400, "Invalid email address", param="email")
    world.stripe.meanwhile(lambda: world.stripe.hangs_up(on=CUSTOMERS, after=True), on=CUSTOMERS)
    assert checkout(world, user).status_code == 200
    assert len(world.stripe.every("customer")) == 1


def test_who_has_a_name_and_an_address_that_stripe_refuses_buys_all_the_same(world):
    user = world.user()
    refuses(world, CUSTOMERS, 400, "Invalid string", param="name")
    refuses(world, CUSTOMERS, 400, "Invalid email address", param="email")
    assert checkout(world, user).status_code == 200
    (customer,) = world.stripe.every("customer")
    assert (customer["email"], customer["name"]) == (None, None)


def test_an_address_that_stays_refused_is_a_502_after_few_questions(world):
    refuses(world, CUSTOMERS, 400, "Invalid email address", param="email", times=99)
    assert checkout(world, world.user()).status_code == 502
    assert len(world.stripe.asked(CUSTOMERS)) == 2


def test_a_name_is_cut_at_what_stripe_takes(world):
    user = world.user()
    world.manus.stop()
    rows(world.manus, "UPDATE users SET fullname = ? WHERE user_id = ?", "🦆" * 300, user["id"])
    world.manus.start()
    assert checkout(world, user).status_code == 200
    assert world.stripe.every("customer")[0]["name"] == "🦆" * 256


# For people

CHANGES = [("change-plan", SUBSCRIPTION), ("cancel", SUBSCRIPTION)]
CARDS = [
    ({"code": "authentication_required", "decline_code": "authentication_required"}, "Your bank wants you to confirm the payment: confirm it in the portal, then try again", "تأكيد"),
    ({"code": "subscription_payment_intent_requires_action"}, "Your bank wants you to confirm the payment: confirm it in the portal, then try again", "تأكيد"),
    ({"code": "card_declined", "decline_code": "insufficient_funds"}, "The card does not have enough funds: use another card in the portal, or try again later", "رصيد"),
    ({"code": "expired_card"}, "The card has expired: add a valid one in the portal, then try again", "انتهت"),
    ({"code": "card_declined", "decline_code": "stolen_card"}, "The payment was declined: use another card in the portal, or ask your bank", "رُفضت"),
    ({}, "The payment was declined: use another card in the portal, or ask your bank", "رُفضت"),
    ({"code": "a_code_to_come"}, "The payment was declined: use another card in the portal, or ask your bank", "رُفضت"),
]
OTHERS = [
    (400, {"code": "resource_missing", "message": "This customer has no attached payment source or default payment method."}, "No payment method is stored: add one in the portal, then try again", True),
    (404, {"code": "resource_missing", "param": "default_payment_method"}, "No payment method is stored: add one in the portal, then try again", True),
    (400, {"message": "The currency of the selected prices (eur) does not match the customer currency (usd)."},
     "This plan is sold in another currency than what you have already: ask for help to change the currency", False),
    (400, {"message": "The price specified supports currencies of `eur`. This doesn't match the expected currency: `usd`."},
     "This plan is sold in another currency than what you have already: ask for help to change the currency", False),
    (400, {"message": "You cannot combine currencies on a single customer."}, "This plan is sold in another currency than what you have already: ask for help to change the currency", False),
    (400, {"param": "items[0][price]", "message": "The price specified is inactive. This field only accepts active prices."},
     "This plan cannot be bought at the moment, and that is ours to mend: ask for help", False),
    (400, {"code": "parameter_unknown"}, "The payment provider refused the request", False),
]
DEVELOPERS = "Payment for this subscription requires additional user action before it can be completed: see https://stripe.com/docs/billing/migration"


def is_portal(world, data):
    return set(data) == {"portal_url"} and data["portal_url"] in [one["url"] for one in world.stripe.every("billing_portal.session")]


@pytest.mark.parametrize("path, on", CHANGES, ids=[path for path, _ in CHANGES])
@pytest.mark.parametrize("words, english, arabic", CARDS, ids=[(words.get("decline_code") or words.get("code") or "no code") for words, _, _ in CARDS])
def test_who_cannot_pay_is_told_what_to_do_and_where(shared, path, on, words, english, arabic):
    user, _ = shared.subscriber()
    for accepted, text in (("en", english), ("ar-EG,ar;q=0.9", arabic)):
        refuses(shared, on, 402, DEVELOPERS, kind="card_error", **words)
        reply = shared.post(user, path, {"plan": "pro"}, headers={"Accept-Language": accepted})
        assert (reply.status_code, reply.json()["code"]) == (402, 402) and text in reply.json()["msg"], reply.text
        assert "additional user action" not in reply.text and "stripe.com/docs" not in reply.text
        assert is_portal(shared, reply.json()["data"])
        assert reply.json()["data"]["portal_url"] not in shared.manus.log_path.read_text()
    shared.post(user, "resume")


@pytest.mark.parametrize("status, words, msg, in_portal", OTHERS, ids=["no source", "no method", "prices of a currency", "expected currency", "currencies", "price", "anything else"])
def test_what_else_stripe_refuses_is_told_in_our_words(shared, status, words, msg, in_portal):
    user, _ = shared.subscriber()
    refuses(shared, SUBSCRIPTION, status, **words)
    reply = shared.post(user, "change-plan", {"plan": "pro"})
    assert (reply.status_code, reply.json()["msg"]) == (502, msg)
    assert is_portal(shared, reply.json()["data"]) if in_portal else reply.json()["data"] is None


@pytest.mark.parametrize("method, path, on", [
    ("post", "change-plan/preview", "POST /v1/invoices/create_preview"), ("post", "create-portal-session", "POST /v1/billing_portal/sessions"),
    ("get", "invoices", "GET /v1/invoices"), ("post", "create-checkout-session", "POST /v1/checkout/sessions")])
def test_wherever_stripe_refuses_the_text_is_ours_in_the_readers_language(shared, method, path, on):
    user = shared.user() if "checkout" in path else shared.subscriber()[0]
    for accepted, msg in (("en", "The payment provider refused the request"), ("ar", "رفض مزوّد الدفع الطلب")):
        refuses(shared, on, 400, DEVELOPERS)
        reply = getattr(shared, method)(user, path, headers={"Accept-Language": accepted}, **({"body": {"plan": "pro"}} if method == "post" else {}))
        assert (reply.status_code, reply.json()["msg"]) == (502, msg)


def test_a_plan_whose_price_is_no_more_is_ours_to_mend_at_the_checkout_too(shared):
    refuses(shared, "POST /v1/checkout/sessions", 400, "The price specified is inactive. This field only accepts active prices.", param="line_items[0][price]")
    reply = checkout(shared, shared.user())
    assert (reply.status_code, reply.json()["msg"]) == (502, "This plan cannot be bought at the moment, and that is ours to mend: ask for help")


def test_who_asks_too_much_is_told_to_wait(shared):
    user, _ = shared.subscriber()
    shared.stripe.fails(429, on="GET /v1/invoices", times=99)
    reply = shared.get(user, "invoices", headers={"Accept-Language": "ar"})
    shared.stripe.honest()
    assert reply.status_code == 503 and "انتظر دقيقة" in reply.json()["msg"] and reply.json()["data"] is None


def test_the_language_that_somebody_chose_comes_before_the_browsers(shared):
    user, person = shared.subscriber()
    assert shared.manus.post(f"{API}/auth/change-language", {"language": "ar"}, user["token"]).status_code == 200
    person.card_fails()
    assert "رُفضت" in shared.post(user, "change-plan", {"plan": "pro"}, headers={"Accept-Language": "en"}).json()["msg"]


def test_who_owes_gets_the_portals_address_with_the_refusal(shared):
    user, person = shared.subscriber()
    person.card_fails()
    person.waits_for_the_next_period()
    shared.deliver(person)
    for path in ("change-plan", "change-plan/preview"):
        reply = shared.post(user, path, {"plan": "pro"})
        assert (reply.status_code, reply.json()["msg"]) == (402, "A payment is due: pay it in the portal, then change the plan")
        assert is_portal(shared, reply.json()["data"])


def test_a_portal_that_cannot_be_had_is_left_out_soon(shared):
    user, person = shared.subscriber()
    person.card_fails()
    shared.stripe.hangs(30, on="POST /v1/billing_portal/sessions", times=9)
    began = time.monotonic()
    reply = shared.post(user, "change-plan", {"plan": "pro"})
    shared.stripe.honest()
    assert (reply.status_code, reply.json()["data"]) == (402, None) and "declined" in reply.json()["msg"]
    assert time.monotonic() - began < 6 * SLOW


# Money that goes back

@pytest.mark.parametrize("deed, kind", [("disputes", "charge.dispute.created"), ("is_refunded", "charge.refunded")])
def test_money_that_goes_back_is_told_with_whose_it_is_and_how_much(world, deed, kind):
    user, person = world.subscriber()
    getattr(person, deed)()
    event = next(one for one in world.stripe.events() if one["type"] == kind)
    assert world.send(event).status_code == 200
    line = world.manus.wait_for_log(lambda line: line["msg"].startswith("a refund or a dispute"))
    assert (line["type"], line["user"], line["customer"], line["amount"], line["currency"]) == (kind, user["id"], person.customer, 1900, "usd")
    assert rows(world.manus, "SELECT state, user_id, error FROM events WHERE event_id = ?", event["id"]) == [("done", user["id"], f"1900 usd, customer {person.customer}")]
    shown = run("billing", "inbox", "list", cwd=world.manus.folder, **world.manus.settings).stdout
    assert f"user {user['id']}  1900 usd" in shown
    assert world.subscription(user)["plan"] == "basic"


def test_a_dispute_is_told_without_its_name_if_the_key_may_not_read_charges(tmp_path):
    rights = {"customers": "write", "checkout": "write", "subscriptions": "write", "prices": "read", "invoices": "write"}
    with World(tmp_path, Stripe(key="rk_test_double", rights=rights)) as world:
        _, person = world.subscriber()
        person.disputes()
        event = next(one for one in world.stripe.events() if one["type"] == "charge.dispute.created")
        world.send(event)
        line = world.manus.wait_for_log(lambda line: line["msg"].startswith("a refund or a dispute"))
        assert (line["amount"], line["missing_right"]) == (1900, "Charges: read") and "user" not in line
        ((state, error),) = rows(world.manus, "SELECT state, error FROM events WHERE event_id = ?", event["id"])
        assert state == "done" and "Charges: read" in error


def test_a_dispute_while_stripe_is_down_is_told_once_it_answers(world):
    user, person = world.subscriber()
    person.disputes()
    world.stripe.fails(500, on="GET /v1/charges/[^/]+", times=1, should_retry="false")
    event = next(one for one in world.stripe.events() if one["type"] == "charge.dispute.created")
    assert world.send(event).json()["status"] == "received"
    line = world.manus.wait_for_log(lambda line: line["msg"].startswith("a refund or a dispute"))
    assert line["user"] == user["id"]


def test_money_of_a_stranger_that_goes_back_names_the_customer(world):
    world.send(forged("charge.refunded", {"id": "ch_1", "object": "charge", "customer": "cus_stranger", "amount": 900, "amount_refunded": 500, "currency": "eur"}))
    line = world.manus.wait_for_log(lambda line: line["msg"].startswith("a refund or a dispute"))
    assert (line["customer"], line["amount"], line["currency"]) == ("cus_stranger", 500, "eur") and "user" not in line
