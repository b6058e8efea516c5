"""The stories end as their names say, and their replay tells a receiver that gets it right from one that believes what it is sent."""
import http.server
import json
import threading
import types

import pytest

import stripe_courier
from stories import STORIES, Replay, session, tell
from stripe_double import Stripe
from stripe_person import Person
from world import SECRET, World, customer_of, unknown
import stripe_courier

ENDS = {
    "sign up and pay": ("active", "basic"), "renew": ("active", "basic"), "fail": ("past_due", "basic"), "fail and recover": ("active", "basic"),
    "fail for good": ("unpaid", "basic"), "switch plan": ("active", "pro"), "cancel in the portal": ("active", "basic"), "cancel, think again": ("active", "basic"),
    "cancel and go": ("canceled", "basic"), "a whole life": ("active", "basic"), "two tabs": ("active", "pro"), "trial, then pay": ("active", "basic"),
    "dispute and refund": ("active", "basic"), "deleted at Stripe": ("canceled", "basic"),
}


class Receiver:
    """Keeps for each customer (status, price), over its kills. believes: the payloads, as they come."""

    def __init__(self, stripe, believes):
        self.stripe, self.believes, self.kept = stripe, believes, {}
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
            truth = self.stripe.truth(customer)
            self.kept[customer] = truth and (truth["status"], truth["items"]["data"][0]["price"]["id"])


class Alone(World):
    """Without manus: a receiver of its own in its place, and users that only Stripe knows."""

    def __init__(self, believes=False):
        self.stripe = Stripe().start()
        self.basic, self.pro = self.stripe.plan("basic", 1900), self.stripe.plan("pro", 4900)
        self.manus = Receiver(self.stripe, believes)

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

    def end(self, person):
        sub = self.stripe.truth(person.customer)
        return sub["status"], sub["items"]["data"][0]["price"]["id"]


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_its_name_says_and_its_replay_in_the_same_state(name):
    with Alone() as world:
        people = tell(world, STORIES[name], 5)
        status, plan = ENDS[name]
        assert {world.end(person) for person in people} == {(status, getattr(world, plan))}
        Replay(world, people, seed=name).run()
        assert {person.customer: world.end(person) for person in people} == {person.customer: world.manus.kept[person.customer] for person in people}


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
