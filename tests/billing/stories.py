"""Stories of customers, told at Stripe while manus hears nothing; then its events are replayed to manus in any order.

Many customers live the same story at once, so that one replay is as many orders. Time is everybody's.
"""
import random
import threading
import time

import requests

from manus import SLOW
from stripe_courier import payload
from world import SECRET, customer_of

NEXT_PERIOD = "the next period begins"
DAY = 86400


def buys(plan):
    """A page of Stripe's that somebody sent them to, by this customer."""
    def act(world, person):
        person.pay(session(world, person, plan))
    return act


def session(world, person, plan):
    made = world.stripe.session([(getattr(world, plan), 1)], {"metadata": {"user_id": person.user["id"]}}, customer=person.customer,
                                client_reference_id=person.user["id"], success_url="https://app.example.com", metadata={"user_id": person.user["id"]})
    return made["id"]


def pays_what_manus_offered(world, person):
    person.pay(person.session)


def pays_in_two_tabs(world, person):
    """Both pages were open; each is paid."""
    other = session(world, person, "pro")
    person.pay(person.session)
    person.pay(other)


def does(name, *arguments):
    return lambda world, person: getattr(person, name)(*arguments)


def switches_to(plan):
    return lambda world, person: person.switches(getattr(world, plan))


def activates_the_trial(world, person):
    """manus's own."""
    assert world.post(person.user, "activate-trial").status_code == 200


PAID = [pays_what_manus_offered]
STORIES = {
    "sign up and pay": PAID,
    "renew": [*PAID, NEXT_PERIOD, NEXT_PERIOD],
    "fail": [*PAID, does("card_fails"), NEXT_PERIOD],
    "fail and recover": [*PAID, does("card_fails"), NEXT_PERIOD, does("pays_what_is_due")],
    "fail for good": [*PAID, does("card_fails"), NEXT_PERIOD, does("retries_are_exhausted")],
    "switch plan": [*PAID, switches_to("pro")],
    "cancel in the portal": [*PAID, does("cancels")],
    "cancel, think again": [*PAID, does("cancels", "flag"), does("thinks_again")],
    "cancel and go": [*PAID, does("cancels"), NEXT_PERIOD],
    "a whole life": [*PAID, NEXT_PERIOD, does("card_fails"), NEXT_PERIOD, does("pays_what_is_due"), switches_to("pro"), does("cancels"), NEXT_PERIOD, buys("basic")],
    "two tabs": [pays_in_two_tabs],
    "trial, then pay": [activates_the_trial, *PAID],
    "dispute and refund": [*PAID, does("disputes"), does("is_refunded")],
    "deleted at Stripe": [*PAID, does("is_deleted")],
}


def tell(world, story, many):
    """Lets so many customers live it. They signed up at manus, which sent them to Stripe and has heard of nothing since."""
    people = []
    for _ in range(many):
        user = world.user()
        person, session = world.checkout(user)
        person.user, person.session = user, session
        people.append(person)
    for step in story:
        if step == NEXT_PERIOD:
            wait_for_all(world, people)
            continue
        for person in people:
            step(world, person)
    return people


def wait_for_all(world, people):
    periods = [world.stripe.period_of(person.subscription) for person in people]
    while world.stripe.now() <= max(start for start, _ in periods):
        time.sleep(0.05)
    world.stripe.pass_time(max(end for _, end in periods) - world.stripe.now())


class Replay:
    """Sends every event of these people, shuffled and some of them twice; what is not taken is sent again."""

    def __init__(self, world, people, seed, doubled=0.3):
        self.world, self.random = world, random.Random(seed)
        customers = {person.customer for person in people}
        events = [event for event in world.stripe.events() if customer_of(event) in customers or customer_of(event) is None]
        self.left = [payload(event) for event in events for _ in range(2 if self.random.random() < doubled else 1)]
        self.random.shuffle(self.left)
        self.lock, self.refused = threading.Lock(), []
        self.total = len(self.left)

    def run(self, kill=True, senders=6):
        """With a kill -9 in the middle."""
        threads = [threading.Thread(target=self.send, daemon=True) for _ in range(senders)]
        for thread in threads:
            thread.start()
        if kill:
            self.wait(self.total // 2)
            self.world.manus.kill()
            self.world.manus.start()
        self.wait(0)
        for thread in threads:
            thread.join(30 * SLOW)
        assert not self.refused, self.refused[:3]

    def wait(self, left, seconds=120):
        deadline = time.monotonic() + seconds * SLOW
        while len(self.left) > left and not self.refused:
            assert time.monotonic() < deadline, f"{len(self.left)} of {self.total} deliveries are left"
            time.sleep(0.002)

    def send(self):
        courier, url = self.world.stripe.courier, f"{self.world.manus.base}/api/v1/billing/webhook"
        with requests.Session() as http:
            http.trust_env = False
            while True:
                with self.lock:
                    if not self.left:
                        return
                    body = self.left.pop()
                status = courier.send(body, url, [SECRET], session=http)
                if status == 200:
                    continue
                if status is not None and status not in (503, 500):
                    self.refused.append((status, body[:300]))
                    return
                time.sleep(0.02)
                with self.lock:
                    self.left.append(body)
