"""Deliveries of every form: which signatures are believed, which single event is enough, and what a failing Stripe delays."""
import time

import pytest

from manus import API, SLOW
from stripe_courier import forged, payload, signature
from stripe_spec import NEW, OLD
from world import SECRET, events_of, unknown


def event(kind="customer.created", **values):
    return forged(kind, {"id": unknown("cus"), "object": "customer"}, **values)


# Who is believed

@pytest.mark.parametrize("change", [
    lambda header: header.replace("v1=", "v0="),
    lambda header: header.replace("v1=", "v2="),
    lambda header: header.replace("t=", "T="),
    lambda header: header.split(",", 1)[1],
    lambda header: header.split(",")[0],
    lambda header: f"t=1,{header}",
    lambda header: f"{header},t=1",
    lambda header: f"{header},{header.split(',')[0]}",
    lambda header: header.replace("t=", "t=0"),
    lambda header: header.replace("t=", "t=+"),
    lambda header: header.replace(",", ".5,", 1),
    lambda header: header.replace("t=", "t=99999999999999999999"),
    lambda header: header[:-70].replace("v1=", "v1=0")[:-1],
    lambda header: "t=,v1=",
    lambda header: ",",
    lambda header: "=",
    lambda header: "v1",
    lambda header: "x" * 6000,
    lambda header: header.split(",")[0] + ",v1=" * 500,
    lambda header: "\u00e9" * 20,
])
def test_a_header_of_another_form_is_not_believed(shared, change):
    body = payload(event())
    header = change(signature(body, [SECRET])).encode("latin-1")
    reply = shared.send(body, header=header)
    assert reply.status_code == 401, (header[:100], reply.text)


@pytest.mark.parametrize("form", ["{t},v1={bad},v1={good}", "v0={bad},v9=x,{t},v1={good}", "v1={good},{t}", "{t},v1={bad},v1={bad},v1={good},v1={bad}"])
def test_any_right_v1_is_enough(shared, form):
    body = payload(event())
    stamp, good = signature(body, [SECRET]).split(",")[:2]
    assert shared.send(body, header=form.format(t=stamp, good=good[3:], bad="0" * 64)).status_code == 200


@pytest.mark.parametrize("off,status", [(-290, 200), (290, 200), (-310, 401), (310, 401), (-86400 * 365, 401), (86400 * 365, 401)])
def test_a_delivery_is_fresh_within_five_minutes(shared, off, status):
    assert shared.send(event(), at=int(time.time()) + off).status_code == status


def test_the_signature_is_over_the_raw_bytes(shared):
    body = payload(event())
    header = signature(body, [SECRET])
    assert shared.send(body.replace(b", ", b","), header=header).status_code == 401
    assert shared.send(b"\xef\xbb\xbf" + body, header=header).status_code == 401
    assert shared.send(body, header=header).status_code == 200


# What is not ours, and nonsense

@pytest.mark.parametrize("kind", ["customer.created", "charge.succeeded", "invoice.upcoming", "some.new.thing", "payment_method.attached"])
def test_types_that_matter_to_nothing_are_recorded_and_ignored(shared, kind):
    reply = shared.send(event(kind))
    assert (reply.status_code, reply.json()["status"]) == (200, "ignored")
    assert reply.json().get("event_type", kind) == kind


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"nonsense", b'{"object":"event"}', b"\xff\xfe", b'{"id":"evt_1","object":"event","type":5}', b"[" * 10_000,
                                  b'{"id":"evt_1","object":"event","type":"invoice.paid","data":{}}', b'{"id":"../x","object":"event","type":"invoice.paid","data":{"object":{}}}',
                                  b'{"id":"evt_2","object":"event","type":"invoice.paid","data":{"object":{"id":"in_1","customer":{"a":1}}}}',
                                  b'{"id":"evt_3","object":"v2.core.event","type":"v1.billing.meter.no_meter_found"}'])
def test_signed_nonsense_gets_a_clear_answer(shared, body):
    reply = shared.send(body)
    assert reply.status_code in (200, 400, 422), reply.text
    assert shared.manus.get(f"{API}/live").status_code == 200


# What is done

@pytest.mark.parametrize("kind", ["customer.subscription.created", "customer.subscription.updated", "invoice.paid", "invoice.payment_succeeded", "checkout.session.completed"])
@pytest.mark.parametrize("version", [NEW, OLD])
def test_any_one_event_of_a_purchase_is_enough(shared, kind, version):
    user = shared.user()
    person, session = shared.checkout(user)
    person.pay(session)
    one = [event for event in events_of(shared.stripe, person) if event["type"] == kind][-1]
    assert shared.send(payload(one, version)).status_code == 200
    shared.settle(user, person)


def test_a_plan_is_what_is_paid_for_not_what_metadata_says(shared):
    user = shared.user()
    person, session = shared.checkout(user)
    person.pay(session)
    sub = person.live()
    sub["metadata"] = {**sub["metadata"], "plan": "enterprise"}
    shared.stripe.things[session]["metadata"]["plan"] = "enterprise"
    shared.deliver(person)
    assert shared.settle(user, person)["plan"] == "basic"


def test_a_debit_opens_the_plan_when_it_has_come(shared):
    user = shared.user()
    person, session = shared.checkout(user)
    person.pay_by_debit(session)
    shared.deliver(person)
    assert shared.subscription(user)["plan"] == "free", "nothing has been paid"
    person.debit_comes(session)
    shared.deliver(person)
    shared.settle(user, person)


@pytest.mark.parametrize("status", ["incomplete_expired", "paused", "some_new_status"])
def test_statuses_beyond_the_six_are_shown_as_one_of_them_and_give_nothing(shared, status):
    user = shared.user()
    person, session = shared.checkout(user)
    person.pay(session)
    shared.stripe.change(person.live(), "customer.subscription.updated", status=status)
    shared.deliver(person)
    time.sleep(0.3)
    shown = shared.subscription(user)
    assert shown["status"] in ("active", "past_due", "canceled", "unpaid", "trialing", "incomplete")
    assert (shown["status"], shown["monthly_agent_runs_limit"]) not in (("active", 1000), ("trialing", 1000))


def test_the_old_events_are_harmless_when_they_come_again(shared):
    user, person = shared.subscriber()
    before = shared.subscription(user)
    for _ in range(2):
        shared.deliver(person)
    after = shared.subscription(user)
    assert {**after, "updated_at": None} == {**before, "updated_at": None}


# What is kept

def test_one_later_event_heals_what_was_lost(world):
    user, person = world.subscriber()
    person.card_fails()
    person.waits_for_the_next_period()
    person.pays_what_is_due()
    person.switches(world.pro)
    world.send(events_of(world.stripe, person)[-1])
    world.settle(user, person)


@pytest.mark.parametrize("lie", [
    lambda stripe: stripe.fails(500, on="GET .*", times=3),
    lambda stripe: stripe.fails(429, on="GET .*", times=3, retry_after=1),
    lambda stripe: stripe.garbles(on="GET .*", times=3),
    lambda stripe: stripe.garbles(b'{"object":"list","data":[]}', on="GET .*", times=1),
    lambda stripe: stripe.garbles(b'{"id":"sub_x","object":"subscription"}', on="GET .*", times=3),
    lambda stripe: stripe.cuts(on="GET .*", times=3),
    lambda stripe: stripe.hangs_up(on="GET .*", times=3),
    lambda stripe: stripe.fails(404, on="GET /v1/(invoices|checkout)/.*", times=1000),
], ids=["500", "429", "garbage", "an empty list", "half an object", "cut", "hangs up", "404"])
def test_events_are_applied_in_the_end_however_stripe_answers(world, lie):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    lie(world.stripe)
    for one in events_of(world.stripe, person):
        assert world.send(one).status_code == 200
    world.settle(user, person, seconds=60)


def test_an_event_is_answered_in_time_though_stripe_is_silent(world):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    world.stripe.hangs(60, on="GET .*", times=1000)
    started = time.monotonic()
    assert world.send(events_of(world.stripe, person)[-1]).status_code == 200
    assert time.monotonic() - started < 10 * SLOW
    world.stripe.honest()
    world.settle(user, person, seconds=90)
