"""When nothing is asked of Stripe any more: when it is away, and never because of one customer."""
import socket
import time

import pytest

from letters import rows
from manus import API, SLOW
from test_stripe_failures import buy
from world import World, events_of


def ask_in_vain(world, user, times):
    for _ in range(times):
        assert world.get(user, "invoices").status_code in (502, 503)


def test_what_fails_for_one_customer_stops_nobody_else(world):
    user, _ = world.subscriber()
    world.stripe.fails(500, on="GET /v1/invoices", times=100_000)
    ask_in_vain(world, user, 12)
    before = len(world.stripe.asked("GET /v1/invoices"))
    ask_in_vain(world, user, 1)
    assert len(world.stripe.asked("GET /v1/invoices")) > before, "it is asked on"
    assert buy(world, world.user()).status_code == 200
    assert not world.stripe.asked("GET /v1/balance")


def test_what_fails_for_several_stops_all_until_a_question_about_nobody_is_answered(world):
    users = [world.subscriber()[0] for _ in range(3)]
    bystander = world.user()
    world.stripe.fails(500, times=100_000)
    for _ in range(3):
        for user in users:
            world.get(user, "invoices")
    asked = len(world.stripe.log)
    assert buy(world, bystander).status_code == 503
    assert len(world.stripe.log) == asked, "told at once"
    # Whoever comes first after the break only asks whether Stripe is there.
    time.sleep(2 * SLOW)
    asked = len(world.stripe.log)
    assert buy(world, bystander).status_code == 503
    assert [one["path"] for one in list(world.stripe.log)[asked:]] == ["/v1/balance"]
    world.stripe.honest()
    deadline = time.monotonic() + 10 * SLOW
    while buy(world, bystander).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("count", [1, 4])
def test_what_has_failed_in_a_long_outage_is_tried_as_soon_as_stripe_is_back(world, count):
    people = [world.subscriber() for _ in range(count)]
    for _, person in people:
        person.cancels()
    world.stripe.fails(500, times=100_000)
    for _, person in people:
        world.deliver(person)
    waiting = "SELECT count(*) FROM events WHERE state = 'waiting' AND waits > 0"
    deadline = time.monotonic() + 30 * SLOW
    while rows(world.manus, waiting)[0][0] < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for user, _ in people * 6:
        world.get(user, "invoices")
    rows(world.manus, "UPDATE events SET next_at = next_at + 3600000 WHERE state = 'waiting'")
    world.stripe.honest()
    bystander = world.user()
    while buy(world, bystander).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for user, person in people:
        world.settle(user, person)
    while rows(world.manus, "SELECT 1 FROM events WHERE state = 'waiting'"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_key_that_may_not_read_the_balance_still_finds_stripe_back(world):
    users = [world.subscriber()[0] for _ in range(3)]
    world.stripe.fails(500, times=100_000)
    for _ in range(3):
        for user in users:
            world.get(user, "invoices")
    world.stripe.honest()
    world.stripe.fails(403, on="GET /v1/balance", times=100_000)
    deadline = time.monotonic() + 10 * SLOW
    while world.get(users[0], "invoices").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_stripe_that_nobody_can_connect_to_is_away_whoever_asks(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        with World(tmp_path, STRIPE_API_BASE=f"http://127.0.0.1:{taken.getsockname()[1]}") as world:
            user = world.user()
            for _ in range(7):
                started = time.monotonic()
                assert buy(world, user).status_code == 503
            assert time.monotonic() - started < 0.3 * SLOW
            assert world.manus.get(f"{API}/auth/me", user["token"]).status_code == 200


def test_what_is_tried_again_by_itself_asks_once_each_time_and_leaves_the_retries_to_others(world):
    _, person = world.subscriber()
    person.cancels()
    event = events_of(world.stripe, person)[-1]
    world.stripe.fails(500, on="GET .*", times=1000)
    assert world.send(event).json()["status"] == "received"
    first = len(world.stripe.asked("GET .*"))
    deadline = time.monotonic() + 20 * SLOW
    while (tries := rows(world.manus, "SELECT waits FROM events WHERE event_id = ?", event["id"])[0][0]) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(world.stripe.asked("GET .*")) == first + tries - 1
