"""Events that no delivery has brought: found by asking Stripe, soon after the start, and after Stripe was away."""
import json
import time

import pytest

from letters import rows
from manus import SLOW, wait_until
from stripe_double import Stripe
from test_operating import command
from world import World, events_of

RIGHTS = {"customers": "write", "checkout": "write", "billing_portal": "write", "subscriptions": "write", "invoices": "write", "prices": "read",
          "webhook_endpoints": "read"}
TOKEN = "a-token-of-the-metrics-with-32-characters"


def mark_of(world):
    found = rows(world.manus, "SELECT at FROM marks WHERE name = 'events'")
    return found[0][0] if found else None


def kill(world):
    """Once it has a mark from which to look."""
    wait_until(lambda: mark_of(world))
    world.manus.kill()


def asked(world):
    return world.stripe.asked("GET /v1/events")


def found(world):
    return next(int(line.split()[1]) for line in world.manus.get("/metrics", TOKEN).text.splitlines() if line.startswith("manus_billing_events_found_total "))


def test_what_happened_while_it_was_down_is_in_force_soon_after_the_start(tmp_path):
    with World(tmp_path, METRICS_TOKEN=TOKEN) as world:
        kept, ended = world.subscriber(), world.subscriber()
        buyer = world.user()
        person, session = world.checkout(buyer)
        assert not asked(world), "a store that is new begins now"
        kill(world)
        assert person.pay(session)
        kept[1].switches(world.pro)
        ended[1].cancels()
        world.manus.start()
        for user, one in (kept, ended, (buyer, person)):
            world.settle(user, one)
        assert found(world) > 0
        assert len(asked(world)) == 1


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "a\udc00\ud800\\u0000"])
def test_an_odd_text_of_one_keeps_back_neither_them_nor_others(world, text):
    user, person = world.subscriber()
    other, another = world.subscriber()
    with world.stripe.lock:
        for invoice in world.stripe.every("invoice", customer=person.customer):
            invoice["customer_name"] = text
        for event in world.stripe.events("invoice.paid"):
            event["data"]["object"]["customer_name"] = text
    odd = next(event for event in events_of(world.stripe, person) if event["type"] == "invoice.paid")
    assert world.send(json.dumps({**odd, "id": odd["id"] + "again"}).encode()).json()["status"] == "success"
    person.cancels()
    assert world.send(events_of(world.stripe, person)[-1]).json()["status"] == "success"
    assert world.subscription(user)["cancel_at_period_end"] and world.get(user, "invoices").status_code == 200
    assert world.post(user, "resume").status_code == 200
    kill(world)
    another.cancels()
    person.switches(world.pro)
    world.manus.start()
    world.settle(other, another)
    world.settle(user, person)
    wait_until(lambda: not rows(world.manus, "SELECT 1 FROM events WHERE state IN ('waiting', 'dead')"))


def test_an_answer_that_cannot_be_read_says_why(world):
    user, _ = world.subscriber()
    world.stripe.garbles(b'{"data": ' + b"[" * 100 + b"]" * 100 + b"}", "GET /v1/invoices", times=9)
    assert world.get(user, "invoices").status_code == 503
    world.manus.wait_for_log(lambda line: "Stripe's answer cannot be read: nested too deeply" in line.get("detail", ""))


def test_all_pages_are_read_and_the_mark_is_moved_when_they_are(world):
    user, person = world.subscriber()
    kill(world)
    before = mark_of(world)
    time.sleep(1.1)
    for _ in range(250):
        world.stripe.emit("customer.subscription.updated", person.live())
    person.cancels()
    world.stripe.fails(500, on="GET /v1/events", times=1)
    world.manus.start()
    wait_until(lambda: asked(world))
    time.sleep(0.5)
    assert mark_of(world) == before, "nothing was read"
    world.manus.kill()
    world.manus.start()
    world.settle(user, person)
    wait_until(lambda: mark_of(world) > before)
    assert [len([key for key in one["params"] if key == "starting_after"]) for one in asked(world)[1:]] == [0, 1, 1]
    told = {event["id"] for event in events_of(world.stripe) if event["type"].startswith("customer.subscription")}
    wait_until(lambda: {name for name, in rows(world.manus, "SELECT event_id FROM events WHERE state = 'done'")} >= told)


def test_an_event_that_was_delivered_too_is_applied_once(world):
    user, person = world.subscriber()
    world.deliver(person)
    kill(world)
    before = rows(world.manus, "SELECT event_id, state, attempts FROM events ORDER BY number")
    person.disputes()
    world.manus.start()
    wait_until(lambda: asked(world))
    replies = world.deliver(person)
    assert all(reply.status_code == 200 for reply in replies)
    wait_until(lambda: not rows(world.manus, "SELECT 1 FROM events WHERE state = 'waiting'"))
    after = rows(world.manus, "SELECT event_id, state, attempts FROM events ORDER BY number")
    assert after[:len(before)] == before and len(after) == len({one[0] for one in after})


def test_what_stripe_could_not_deliver_while_it_was_away_is_found_when_it_is_back(world):
    people = [world.subscriber() for _ in range(3)]
    wait_until(lambda: mark_of(world))
    world.stripe.fails(500, times=100_000)
    for _ in range(3):
        for user, _ in people:
            world.get(user, "invoices")
    people[0][1].cancels()
    world.stripe.honest()
    wait_until(lambda: world.get(people[1][0], "invoices").status_code == 200, seconds=20)
    world.settle(*people[0])


@pytest.mark.parametrize("body", [b'{"object":"list","data":{}}', b'{"object":"list","has_more":true,"data":[]}', b'{"object":"list","has_more":true,"data":[{"id":1}]}',
                                  b"[]", b'{"object":"list","has_more":false,"data":[1,{"id":"evt_1","object":"event","type":5}]}'])
def test_an_answer_that_is_no_page_of_events_disturbs_nothing(world, body):
    user, _ = world.subscriber()
    kill(world)
    world.stripe.garbles(body, on="GET /v1/events", times=100)
    world.manus.start()
    wait_until(lambda: asked(world))
    time.sleep(1.5)
    assert len(asked(world)) == 1
    assert world.subscription(user)["plan"] == "basic"


def test_a_key_without_the_right_is_told_and_nothing_breaks(tmp_path):
    with World(tmp_path, Stripe(key="rk_test_double", rights=RIGHTS)) as world:
        user, person = world.subscriber()
        kill(world)
        world.manus.start()
        wait_until(lambda: "Events: read" in world.manus.log_path.read_text())
        time.sleep(1)
        assert len(asked(world)) == 1
        person.cancels()
        world.deliver(person)
        world.settle(user, person)
        assert "give the key the permission Events: read" in command(world, "doctor").stdout
        world.stripe.rights = {**RIGHTS, "events": "read"}
        assert "ok     events can be read" in command(world, "doctor").stdout


def test_it_looks_no_further_back_than_stripe_tells_and_for_the_types_that_it_needs(world):
    kill(world)
    rows(world.manus, "UPDATE marks SET at = 1000")
    world.manus.start()
    wait_until(lambda: asked(world) and asked(world)[0]["params"])
    (one,) = asked(world)
    params = one["params"]
    assert abs(params["created"]["gte"] - (time.time() - 30 * 86400)) < 60 * SLOW
    assert 10 < len(params["types"]) <= 20 and "invoice.paid" in params["types"] and params["limit"] == 100
    wait_until(lambda: mark_of(world) == 1000, seconds=2)


def test_a_mark_that_a_clock_ahead_has_set_hides_no_event(world):
    kill(world)
    rows(world.manus, "UPDATE marks SET at = (unixepoch() + 86400) * 1000")
    world.manus.start()
    wait_until(lambda: asked(world) and asked(world)[0]["params"])
    assert asked(world)[0]["params"]["created"]["gte"] <= time.time() - 29 * 86400
    wait_until(lambda: mark_of(world) <= time.time() * 1000)
