"""One customer whom Stripe answers slowly, and many whom it answers at once: the many do not feel it."""
import concurrent.futures
import time

import pytest

from manus import SLOW
from stripe_courier import forged, payload
from world import World, events_of

OTHERS, SLOWNESS, EVENTS = 49, 8, 50


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """(world, the slow one, the others): all have paid."""
    with World(tmp_path_factory.mktemp("crowd")) as world:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            people = list(pool.map(lambda _: world.subscriber(), range(OTHERS + 1)))
        yield world, people[0], people[1:]


def flood(pool, world, person):
    """So many events of this customer at once; their deliveries."""
    kinds = ("customer.subscription.updated", "invoice.paid", "checkout.session.async_payment_failed", "customer.subscription.trial_will_end")
    mine = events_of(world.stripe, person)
    things = [next(event["data"]["object"] for event in mine if event["type"].startswith(kind.rsplit(".", 1)[0])) for kind in kinds]
    return [pool.submit(world.send, forged(kinds[i % len(kinds)], things[i % len(kinds)])) for i in range(EVENTS)]


def asked_about(world, person):
    return len([one for one in list(world.stripe.log) if person.customer in one["query"] or person.customer in one["path"]])


def test_others_are_in_force_at_once_while_one_is_answered_slowly(crowd):
    world, (_, slow), others = crowd
    world.stripe.slow_for(slow.customer, SLOWNESS)
    before = asked_about(world, slow)
    with concurrent.futures.ThreadPoolExecutor(EVENTS) as pool:
        deliveries = flood(pool, world, slow)
        time.sleep(0.5)
        for i, (user, person) in enumerate(others):
            person.cancels()
            started = time.monotonic()
            assert world.send(payload(events_of(world.stripe, person)[-1])).status_code == 200
            world.settle(user, person, seconds=2)
            assert time.monotonic() - started < 2 * SLOW, i
            if i % 8 == 0:
                assert world.post(world.user(), "create-checkout-session", {"plan": "basic"}).status_code == 200
            time.sleep(0.2)
        assert {one.result().status_code for one in deliveries} == {200}
    assert asked_about(world, slow) - before <= 4, "one try for each wait, however many events there are"


def test_others_are_answered_while_all_requests_of_one_wait_for_stripe(crowd):
    world, (user, slow), others = crowd
    session = world.stripe.every("checkout.session", customer=slow.customer)[0]["id"]
    world.stripe.slow_for(slow.customer, SLOWNESS)
    with concurrent.futures.ThreadPoolExecutor(EVENTS) as pool:
        started = time.monotonic()
        asked = [pool.submit(world.post, user, f"checkout-sessions/{session}/fulfil", timeout=60) for _ in range(EVENTS)]
        time.sleep(0.5)
        for other, _ in others[:8]:
            assert world.get(other, "invoices").status_code == 200
            assert world.post(other, "create-portal-session").status_code == 200
        assert time.monotonic() - started < SLOWNESS * SLOW, "they were not kept waiting until the slow one was done"
        statuses = [one.result().status_code for one in asked]
    assert statuses.count(409) >= EVENTS - 2 * 3 and set(statuses) <= {200, 409, 503}, statuses
    world.stripe.slow_for(slow.customer, 0)
    assert world.post(user, f"checkout-sessions/{session}/fulfil").status_code == 200


def test_the_slow_one_is_applied_when_stripe_is_quick_again(crowd):
    world, (user, slow), _ = crowd
    world.stripe.slow_for(slow.customer, 0)
    slow.cancels()
    assert world.send(payload(events_of(world.stripe, slow)[-1])).status_code == 200
    world.settle(user, slow, seconds=10)
