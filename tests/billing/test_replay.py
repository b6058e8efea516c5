"""The stories end as their names say, and their replay tells a receiver that gets it right from one that believes what it is sent."""
import collections
import http.server
import itertools
import json
import threading
import types

import pytest

from stories import FEW, STORIES, Replay, heard, in_every_order, session, tell
from stripe_double import Stripe
from stripe_person import Person
from world import SECRET, World, customer_of, unknown
import stripe_courier

ENDS = {
    "sign up and pay": ("active", "basic"), "renew": ("active", "basic"), "fail": ("past_due", "basic"), "fail and recover": ("active", "basic"),
    "fail for good": ("unpaid", "basic"), "switch plan": ("active", "pro"), "cancel in the portal": ("active", "basic"), "cancel, think again": ("active", "basic"),
    "cancel and go": ("canceled", "basic"), "a whole life": ("active", "basic"), "two tabs": ("active", "pro"), "trial, then pay": ("active", "basic"),
    "dispute and refund": ("active", "basic"), "deleted at Stripe": ("canceled", "basic"),
    "known, fail": ("past_due", "basic"), "known, fail and recover": ("active", "basic"), "known, fail for good": ("unpaid", "basic"),
    "known, renew": ("active", "basic"),
    "another product before the plan": ("active", "basic"), "another product beside the plan": ("active", "basic"), "another product ends": ("active", "basic"),
    "another product is unpaid": ("active", "basic"), "the plan ends, another product goes on": ("canceled", "basic"),
    "the plan ends with its period, another product goes on": ("canceled", "basic"), "the plan is unpaid, another product is not": ("past_due", "basic"),
    "another product alone": None, "another product alone, and it ends": None, "another product in a trial": None,
    "two products, then deleted at Stripe": ("canceled", "basic"), "a yearly plan": ("active", "yearly"), "a yearly plan renews": ("active", "yearly"),
    "from a month to a year": ("active", "yearly"), "a sent invoice": ("active", "basic"), "a sent invoice paid late": ("active", "basic"),
    "a sent invoice not paid": ("past_due", "basic"), "a sent invoice never paid": ("unpaid", "basic"), "several unpaid invoices": ("past_due", "basic"),
    "several unpaid invoices, the newest paid": ("active", "basic"), "paused by void, still paid for": ("active", "basic"),
    "paused by void": ("active", "basic"),
    "paused by void, resumed": ("active", "basic"), "paused with drafts": ("active", "basic"), "paused and written off": ("active", "basic"),
    "the plan is bought again beside another product": ("active", "pro"), "paid by link": ("active", "basic"),
    "paid by link beside a plan": ("active", "basic"),
}


class Receiver:
    """Keeps for each customer (status, price), over its kills. believes: the payloads, as they come."""

    def __init__(self, world, believes):
        self.stripe, self.plans, self.believes, self.kept = world.stripe, world.plans, believes, {}
        self.port = 0

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, timeout, disable_nagle_algorithm = "HTTP/1.1", 10, True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                at = self.headers["Stripe-Signature"].split(",")[0][2:]
                good = self.headers["Stripe-Signature"] == stripe_courier.signature(body, [SECRET], at)
                if good:
                    receiver.take(json.loads(body))
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def kill(self):
        self.server.shutdown()
        self.server.server_close()

    def take(self, event):
        thing, customer = event["data"]["object"], customer_of(event)
        if self.believes:
            if thing["object"] == "subscription":
                self.kept[customer] = (thing["status"], thing["items"]["data"][0]["price"]["id"])
        elif customer:
            truth = self.stripe.truth(customer, self.plans)
            self.kept[customer] = truth and (truth["status"], truth["items"]["data"][0]["price"]["id"])


class Alone(World):
    """Without manus: a receiver of its own in its place, and users that only Stripe knows."""

    def __init__(self, believes=False):
        self.sells(Stripe(), yearly=True)
        self.manus = Receiver(self, believes)

    def __enter__(self):
        self.manus.start()
        return self

    def __exit__(self, *_):
        self.manus.kill()
        self.stripe.stop()

    def user(self):
        return {"id": unknown("user"), "token": None}

    def checkout(self, user, plan="basic"):
        customer = self.stripe.new("customer", balance=0, delinquent=False, tax_exempt="none", preferred_locales=[], metadata={"user_id": user["id"]})
        person = Person(self.stripe, customer["id"])
        person.user = user
        return person, session(self, person, plan)

    def post(self, user, path, body=None, **options):
        return types.SimpleNamespace(status_code=200)

    def settle(self, user, person, seconds=0):
        """This receiver is done when it has answered."""

    def end(self, person):
        sub = self.truth(person)
        return sub and (sub["status"], sub["items"]["data"][0]["price"]["id"])


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_its_name_says_and_its_replay_in_the_same_state(name):
    with Alone() as world:
        people = tell(world, STORIES[name], 5)
        end = ENDS[name]
        assert {world.end(person) for person in people} == {end and (end[0], getattr(world, end[1]))}
        Replay(world, people, seed=name).run()
        assert {person.customer: world.end(person) for person in people} == {person.customer: world.manus.kept[person.customer] for person in people}


@pytest.mark.parametrize("name", FEW)
def test_a_short_story_has_as_few_events_as_is_said(name):
    with Alone() as world:
        (person,) = tell(world, STORIES[name], 1)
        assert len(heard(world, [person])[person]) == FEW[name] <= 6


def test_every_order_is_sent_and_looked_at_without_the_last_and_with_it():
    with Alone() as world:
        people = tell(world, STORIES["known, fail"], 6)
        came, take, looked = collections.defaultdict(list), world.manus.take, []
        world.manus.take = lambda event: (came[customer_of(event)].append(event["id"]), take(event))
        events = heard(world, people)

        def check(*_):
            looked.append([tuple([event["id"] for event in events[person]].index(name) for name in came[person.customer]) for person in people])
            assert {person.customer: world.end(person) for person in people} == {person.customer: world.manus.kept[person.customer] for person in people}

        in_every_order(world, people, check)
        every = list(itertools.permutations(range(3)))
        assert looked[0] == [order[:2] for order in every]
        assert [tuple(dict.fromkeys(order)) for order in looked[1] if order[2] != order[3]] and {len(order) for order in looked[1]} == {4}
        assert all(set(order) == {0, 1, 2} for order in looked[1]) and {tuple(dict.fromkeys(order)) for order in looked[1]} == set(every)


def test_who_believes_what_it_is_sent_ends_elsewhere():
    with Alone(believes=True) as world:
        people = tell(world, STORIES["a whole life"], 20)
        Replay(world, people, seed=1).run()
        assert [person for person in people if world.end(person) != world.manus.kept[person.customer]]


def test_a_replay_sends_everything_and_some_of_it_twice():
    with Alone() as world:
        people = tell(world, STORIES["renew"], 10)
        came, take = [], world.manus.take
        world.manus.take = lambda event: (came.append(event["id"]), take(event))
        replay = Replay(world, people, seed=2)
        replay.run()
        mine = [event["id"] for event in world.stripe.events() if customer_of(event) in {person.customer for person in people}]
        assert set(came) == set(mine) and len(came) >= replay.total > 1.1 * len(mine)
        order = [event for event in came if event in set(mine)]
        assert order != sorted(order, key=mine.index)


def test_a_replay_fails_if_a_delivery_is_refused(monkeypatch):
    with Alone() as world:
        people = tell(world, STORIES["sign up and pay"], 2)
        monkeypatch.setattr("stories.SECRET", "whsec_other")
        with pytest.raises(AssertionError, match="401"):
            Replay(world, people, seed=3).run(kill=False)
