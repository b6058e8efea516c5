"""What Stripe refuses: the operator reads why, and people read what to do."""
import json

import pytest

from letters import rows
from manus import API
from stripe_courier import forged
from test_subscription import admin

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
