"""Stories of customers, told at Stripe while manus hears nothing; then its events are replayed to manus in any order.

Many customers live the same story at once, so that one replay is as many orders. Time is everybody's.
"""
import itertools
import random
import threading
import time

import requests

from manus import SLOW
from stripe_courier import payload
from stripe_person import Person
from stripe_state import LIVE
from world import SECRET, customer_of, owner_of

NEXT_PERIOD = "the next period begins"
HEARS = "manus hears of all that was until now"
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


def wait(days):
    """Everybody does."""
    return ("wait", days)


def also_buys(world, person):
    """Something else than a plan, by the same customer."""
    person.other = person.also_subscribes(world.newsletter)


def with_the_other(name, *arguments):
    return lambda world, person: getattr(person, name)(*arguments, sub=person.other)


def with_the_plan(name, *arguments):
    return lambda world, person: getattr(person, name)(*arguments, sub=person.subscription["id"])


def gets_invoices(world, person):
    """The operator made the subscription; its invoices are sent, to be paid in a week."""
    person.subscribes(world.basic, collection_method="send_invoice", days_until_due=7, metadata={"user_id": person.user["id"]})


def is_paused(behavior):
    return lambda world, person: world.stripe.pauses(person.subscription, behavior)


def goes_on(world, person):
    world.stripe.unpauses(person.subscription)


def pays_by_link(world, person):
    """Its address names the user; Stripe makes a new customer."""
    person.pays_a_link(world.basic, person.user["id"])


def pays_by_link_too(world, person):
    """A second time, where the first goes on: that is for the operator."""
    other = Person(world.stripe)
    other.pays_a_link(world.pro, person.user["id"])
    person.customers.insert(0, other.customer)


def activates_the_trial(world, person):
    """manus's own."""
    person.has_trial = True
    assert world.post(person.user, "activate-trial").status_code == 200


PAID = [pays_what_manus_offered]
KNOWN = [*PAID, HEARS]
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
    "known, fail": [*KNOWN, does("card_fails"), NEXT_PERIOD],
    "known, fail and recover": [*KNOWN, does("card_fails"), NEXT_PERIOD, does("pays_what_is_due")],
    "known, fail for good": [*KNOWN, does("card_fails"), NEXT_PERIOD, does("retries_are_exhausted")],
    "known, renew": [*KNOWN, NEXT_PERIOD, NEXT_PERIOD],
    # Another product of the same customer
    "another product before the plan": [also_buys, HEARS, *PAID],
    "another product beside the plan": [*KNOWN, also_buys],
    "another product ends": [*PAID, also_buys, HEARS, with_the_other("cancels_now")],
    "another product is unpaid": [*PAID, also_buys, HEARS, with_the_other("card_fails"), NEXT_PERIOD],
    "the plan ends, another product goes on": [*PAID, also_buys, HEARS, with_the_plan("cancels_now")],
    "the plan ends with its period, another product goes on": [*PAID, also_buys, HEARS, does("cancels"), NEXT_PERIOD],
    "the plan is unpaid, another product is not": [*PAID, also_buys, HEARS, with_the_plan("card_fails"), NEXT_PERIOD],
    "another product alone": [also_buys],
    "another product alone, and it ends": [also_buys, HEARS, with_the_other("cancels_now")],
    "another product in a trial": [activates_the_trial, also_buys],
    "two products, then deleted at Stripe": [*PAID, also_buys, HEARS, does("is_deleted")],
    "the plan is bought again beside another product": [*PAID, also_buys, with_the_plan("cancels_now"), HEARS, buys("pro")],
    # Another interval
    "a yearly plan": [buys("yearly")],
    "a yearly plan renews": [buys("yearly"), HEARS, NEXT_PERIOD],
    "from a month to a year": [*KNOWN, switches_to("yearly")],
    # Sent invoices
    "a sent invoice": [gets_invoices],
    "a sent invoice paid late": [gets_invoices, HEARS, wait(8), does("pays_what_is_due")],
    "a sent invoice not paid": [gets_invoices, HEARS, wait(8)],
    "a sent invoice never paid": [gets_invoices, wait(8), HEARS, does("retries_are_exhausted")],
    "several unpaid invoices": [*KNOWN, does("card_fails"), NEXT_PERIOD, NEXT_PERIOD],
    "several unpaid invoices, the newest paid": [*PAID, does("card_fails"), NEXT_PERIOD, NEXT_PERIOD, HEARS, does("pays_the_newest")],
    # Paused collection
    "paused by void, still paid for": [*KNOWN, is_paused("void")],
    "paused by void": [*KNOWN, is_paused("void"), NEXT_PERIOD],
    "paused by void, resumed": [*KNOWN, is_paused("void"), NEXT_PERIOD, goes_on, NEXT_PERIOD],
    "paused with drafts": [*KNOWN, is_paused("keep_as_draft"), NEXT_PERIOD],
    "paused and written off": [*KNOWN, is_paused("mark_uncollectible"), NEXT_PERIOD],
    # Without manus's page
    "paid by link": [pays_by_link],
    "paid by link beside a plan": [*KNOWN, pays_by_link_too],
}
# Those of so few events (that manus has not heard while the story went on) that every order of them is tried; how many they are.
FEW = {
    "sign up and pay": 4, "switch plan": 5, "cancel in the portal": 5, "cancel, think again": 6, "cancel and go": 6, "trial, then pay": 4,
    "deleted at Stripe": 6, "known, fail": 3, "known, fail and recover": 5, "known, fail for good": 4, "known, renew": 4,
    "another product before the plan": 4,
    "another product beside the plan": 3, "another product ends": 1, "another product is unpaid": 5, "the plan ends, another product goes on": 1,
    "the plan ends with its period, another product goes on": 4, "the plan is unpaid, another product is not": 5, "another product alone": 3,
    "another product alone, and it ends": 1, "another product in a trial": 3, "two products, then deleted at Stripe": 3,
    "the plan is bought again beside another product": 4, "a yearly plan": 4, "a yearly plan renews": 3, "from a month to a year": 2, "a sent invoice": 1,
    "a sent invoice paid late": 4, "a sent invoice not paid": 2, "a sent invoice never paid": 1, "several unpaid invoices": 5,
    "several unpaid invoices, the newest paid": 2, "paused by void, still paid for": 1, "paused by void": 2, "paused by void, resumed": 5,
    "paused with drafts": 2, "paused and written off": 2, "paid by link": 4, "paid by link beside a plan": 4,
}
# What an endpoint of manus's is sent.
HEARD = ("checkout.session.completed", "checkout.session.expired", "customer.subscription.created", "customer.subscription.updated",
         "customer.subscription.deleted", "customer.subscription.paused", "customer.subscription.resumed", "customer.subscription.trial_will_end",
         "invoice.paid", "invoice.payment_failed", "invoice.payment_action_required", "customer.deleted", "charge.refunded", "charge.dispute.created")


def tell(world, story, many):
    """Lets so many customers live it. They signed up at manus, which sent them to Stripe and has heard of nothing since."""
    people = []
    for _ in range(many):
        user = world.user()
        person, session = world.checkout(user)
        person.user, person.session, person.knows = user, session, set()
        people.append(person)
    for step in story:
        if step == NEXT_PERIOD:
            wait_for_all(world, people)
            continue
        if step == HEARS:
            hear(world, people)
            continue
        if isinstance(step, tuple):
            world.stripe.pass_time(step[1] * DAY)
            continue
        for person in people:
            step(world, person)
    return people


def heard(world, people):
    """Of what concerns each of these people: what manus is sent and has not heard, oldest first."""
    of, found = {name: person for person in people for name in person.customers}, {person: [] for person in people}
    for event in world.stripe.events(*HEARD):
        person = of.get(owner_of(world.stripe, event))
        if person and event["id"] not in person.knows:
            found[person].append(event)
    return found


def hear(world, people):
    """Everybody's events in Stripe's order; then manus shows what Stripe says."""
    events = heard(world, people)
    send_all(world, [[payload(event) for event in events[person]] for person in people])
    for person in people:
        person.knows |= {event["id"] for event in events[person]}
        world.settle(person.user, person, 60)


def send_all(world, lists, senders=6):
    """Each list in its order, one delivery after the other; the lists at the same time."""
    left, failures = list(lists), []

    def send():
        with requests.Session() as http:
            http.trust_env = False
            while left and not failures:
                try:
                    bodies = left.pop()
                except IndexError:
                    return
                try:
                    send_list(world, bodies, http)
                except AssertionError as error:
                    failures.append(error)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300 * SLOW)
    assert not failures and not left, failures[:3]


def send_list(world, bodies, http, seconds=60):
    """Each until it is taken."""
    deadline = time.monotonic() + seconds * SLOW
    for body in bodies:
        while (status := world.stripe.courier.send(body, f"{world.manus.base}/api/v1/billing/webhook", [SECRET], session=http)) != 200:
            assert status in (None, 500, 503) and time.monotonic() < deadline, (status, body[:300])
            time.sleep(0.02)


def wait_for_all(world, people):
    subs = [sub for person in people for sub in world.stripe.every("subscription", customer=person.customer)]
    periods = [world.stripe.period_of(sub) for sub in subs if sub["status"] in LIVE]
    while world.stripe.now() <= max(start for start, _ in periods):
        time.sleep(0.05)
    world.stripe.pass_time(max(end for _, end in periods) - world.stripe.now())


class Replay:
    """Sends every event of these people, shuffled and some of them twice; what is not taken is sent again."""

    def __init__(self, world, people, seed, doubled=0.3):
        self.world, self.random = world, random.Random(seed)
        customers = {name for person in people for name in person.customers}
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


def in_every_order(world, people, check):
    """Each person's events in an order of their own, so that there is every order. All but the last, as if that were lost; then one of them again
    and the last, or the last and then one again. check: called after either half."""
    events = heard(world, people)
    orders = list(itertools.permutations(range(len(events[people[0]]))))
    assert len(people) == len(orders)
    sent = [[payload(events[person][n]) for n in order] for person, order in zip(people, orders, strict=True)]
    send_all(world, [bodies[:-1] for bodies in sent])
    if len(orders) > 1:
        check(world, people)
    again = [bodies[i % len(bodies)] for i, bodies in enumerate(sent)]
    send_all(world, [[one, bodies[-1]] if i // len(bodies) % 2 else [bodies[-1], one] for i, (one, bodies) in enumerate(zip(again, sent, strict=True))])
    check(world, people)
