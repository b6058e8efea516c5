"""manus and the double of Stripe, joined: what the tests of billing stand on."""
import datetime
import functools
import json
import secrets
import time

from manus import API, SLOW, Manus, check_no_reports
from stripe_courier import payload, signature
from stripe_double import Stripe
from stripe_person import Person
from stripe_spec import NEW
from stripe_state import FINAL

SECRET = "whsec_" + "k3" * 16
APP = "https://app.example.com"
LIMITS, TRIAL = {"basic": 1000, "pro": 5000, "free": 10}, 50
SHOWN = {"incomplete_expired": "canceled", "paused": "canceled"}  # the wire has six statuses


class World:
    def __init__(self, folder, stripe=None, yearly=False, **settings):
        """yearly: there is a price of a year for pro too."""
        self.sells(stripe or Stripe(), yearly)
        self.manus = Manus(folder, **{
            "STRIPE_SECRET_KEY": self.stripe.key, "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_BASE": self.stripe.base, "STRIPE_PRICE_ID_BASIC": self.basic,
            "STRIPE_PRICE_ID_PRO": ",".join(price for price, plan in self.plans.items() if plan == "pro"), "PUBLIC_URL": APP, **settings})

    def sells(self, stripe, yearly):
        self.stripe = stripe.start()
        self.basic, self.pro = self.stripe.plan("basic", 1900), self.stripe.plan("pro", 4900)
        self.yearly = self.stripe.plan("pro, yearly", 49000, "year") if yearly else None
        self.plans = {self.basic: "basic", self.pro: "pro", **({self.yearly: "pro"} if yearly else {})}

    @functools.cached_property
    def newsletter(self):
        """Another product of the same account."""
        return self.stripe.product("newsletter", 100)

    def __enter__(self):
        self.manus.start()
        return self

    def __exit__(self, *failure):
        try:
            if self.manus.process.poll() is None:
                status = self.manus.stop()
                assert failure[0] or status == 0, self.manus.errors()
            check_no_reports(self.manus)
        finally:
            self.stripe.stop()

    # A user at manus

    def user(self):
        data = self.manus.register()
        return {"id": data["user"]["id"], "token": data["access_token"], "email": data["email"], "fullname": data["user"]["fullname"]}

    def post(self, user, path, body=None, **options):
        return self.manus.post(f"{API}/billing/{path}", body, token=user and user["token"], **options)

    def get(self, user, path, **options):
        return self.manus.get(f"{API}/billing/{path}", token=user and user["token"], **options)

    def checkout(self, user, plan="basic"):
        """The session that manus makes; the person who is sent there."""
        reply = self.post(user, "create-checkout-session", {"plan": plan})
        assert reply.status_code == 200, reply.text
        session = reply.json()["checkout_session_id"]
        return Person(self.stripe, self.stripe.things[session]["customer"]), session

    def subscriber(self, plan="basic"):
        """(user, person) who has paid, and manus knows."""
        user = self.user()
        person, session = self.checkout(user, plan)
        assert person.pay(session)
        reply = self.post(user, f"checkout-sessions/{session}/fulfil")
        assert (reply.status_code, reply.json()["status"]) == (200, "complete"), reply.text
        return user, person

    def subscription(self, user):
        reply = self.get(user, "subscription")
        assert reply.status_code == 200, reply.text
        return reply.json()

    # Stripe to manus

    def send(self, body, header=None, secret=SECRET, at=None):
        """One delivery of these bytes, or of this event as it is. header: in place of a right signature; "": none."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        header = signature(body, [secret], at) if header is None else header
        headers = {"Content-Type": "application/json; charset=utf-8", **({"Stripe-Signature": header} if header else {})}
        return self.manus.request("POST", f"{API}/billing/webhook", data=body, headers=headers)

    def deliver(self, person=None, since=0, version=NEW):
        """All that has happened (to this customer), in Stripe's order; the replies."""
        replies = []
        for event in events_of(self.stripe, person)[since:]:
            reply = self.send(payload(event, version))
            assert reply.status_code == 200, reply.text
            replies.append(reply)
        return replies

    # What should be

    def truth(self, person):
        """Their subscription to a plan, at Stripe: what else they have there is as if it were not."""
        return self.stripe.truth(person.customer, self.plans)

    def expected(self, person):
        sub = self.truth(person)
        if sub is None and getattr(person, "has_trial", False):
            return {"plan": "free", "status": "trialing", "monthly_agent_runs_limit": TRIAL}
        if sub is None or sub["status"] in (*FINAL, "incomplete"):
            return {"plan": "free", "monthly_agent_runs_limit": LIMITS["free"]}
        plan = next(self.plans[item["price"]["id"]] for item in sub["items"]["data"] if item["price"]["id"] in self.plans)
        shown = {"plan": plan, "status": SHOWN.get(sub["status"], sub["status"]), "monthly_agent_runs_limit": LIMITS[plan]}
        if is_void(sub) and self.stripe.paid_until(sub) <= self.stripe.now():
            return {**shown, "status": "canceled"}
        end = self.stripe.period_of(sub)[1]
        return {**shown, "cancel_at_period_end": sub["cancel_at"] is not None or sub["cancel_at_period_end"], "current_period_end": end}

    def shown(self, user, like):
        """Those members of manus's reply that `like` has."""
        reply = self.subscription(user)
        return {name: stamp(reply[name]) if name == "current_period_end" else reply[name] for name in like}

    def settle(self, user, person, seconds=10):
        """Waits until manus shows what Stripe says. What comes after its reply comes soon."""
        deadline = time.monotonic() + seconds * SLOW
        while True:
            expected = self.expected(person)
            shown = self.shown(user, expected)
            if shown == expected:
                return shown
            assert time.monotonic() < deadline, f"manus: {shown}, Stripe: {expected}, {self.stripe.every('subscription', customer=person.customer)}"
            time.sleep(0.02)


def is_void(sub):
    """Its new invoices are voided: nobody pays, so it counts as paused from the end of what was paid."""
    return sub["pause_collection"] is not None and sub["pause_collection"]["behavior"] == "void"


def stamp(text):
    return text and int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def customer_of(event):
    thing = event["data"]["object"]
    return thing["id"] if thing["object"] == "customer" else thing.get("customer")


def owner_of(stripe, event):
    """The customer, also of what names only a charge."""
    thing = event["data"]["object"]
    charge = stripe.things.get(thing.get("charge"), {})
    return customer_of(event) or charge.get("customer")


def events_of(stripe, person=None):
    return [event for event in stripe.events() if person is None or customer_of(event) in (None, *person.customers)]


def unknown(prefix):
    return f"{prefix}_{secrets.token_hex(12)}"
