"""Stripe's webhooks: signing, and deliveries with Stripe's habits: retries, no order, duplicates, losses."""
import collections
import hashlib
import hmac
import heapq
import itertools
import json
import random
import threading
import time

import requests

from stripe_spec import NEW
from stripe_state import in_version

GAPS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)  # of days, compressed
WORKERS = 4


def signature(body, secrets, at=None):
    """Stripe-Signature of these bytes, with a v1 for each secret."""
    at = int(time.time()) if at is None else at
    signs = [hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={sign}" for sign in signs), "v0=" + "0" * 64])


def payload(event, version=NEW):
    """The bytes of a delivery, as an endpoint of this version gets them."""
    return json.dumps({**in_version(event, version), "api_version": version}, ensure_ascii=False).encode()


def forged(kind, thing, livemode=False, version=NEW, **values):
    """An event that the account has no record of."""
    return {"id": f"evt_{random.randbytes(12).hex()}", "object": "event", "type": kind, "api_version": version, "created": int(time.time()), "livemode": livemode,
            "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None}, "data": {"object": thing}, **values}


class Courier:
    """Sends each event to the endpoints that want it while `work` is true. Tests may also send by hand: send()."""

    def __init__(self, stripe, seed=0):
        self.stripe, self.random = stripe, random.Random(seed)
        self.secrets = {}  # endpoint: its secrets, the newest first
        self.work = False
        self.lost = self.doubled = 0.0  # chances
        self.late = 0.0  # up to so many seconds, by chance: what changes the order
        self.done = collections.deque(maxlen=100_000)  # (event id, endpoint, attempt, status or None)
        self.queue, self.numbers, self.busy = [], itertools.count(), 0
        self.changed = threading.Condition()
        self.stopping = False

    def start(self):
        for _ in range(WORKERS):
            threading.Thread(target=self.run, daemon=True).start()

    def stop(self):
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def take(self, event):
        if not self.work:
            return
        for endpoint in self.stripe.every("webhook_endpoint", status="enabled"):
            if not {"*", event["type"]} & set(endpoint["enabled_events"]) or self.random.random() < self.lost:
                continue
            event["pending_webhooks"] += 1
            for _ in range(2 if self.random.random() < self.doubled else 1):
                self.put(event["id"], endpoint["id"], 0, self.random.random() * self.late)

    def put(self, event, endpoint, attempt, delay):
        with self.changed:
            heapq.heappush(self.queue, (time.monotonic() + delay, next(self.numbers), event, endpoint, attempt))
            self.changed.notify()

    def run(self):
        session = requests.Session()
        session.trust_env = False
        while True:
            with self.changed:
                while not self.stopping and (not self.queue or self.queue[0][0] > time.monotonic()):
                    self.changed.wait(self.queue[0][0] - time.monotonic() if self.queue else None)
                if self.stopping:
                    return
                _, _, event, endpoint, attempt = heapq.heappop(self.queue)
                self.busy += 1
            try:
                self.attempt(session, event, endpoint, attempt)
            finally:
                with self.changed:
                    self.busy -= 1
                    self.changed.notify_all()

    def attempt(self, session, name, endpoint, attempt):
        with self.stripe.lock:
            event, to = self.stripe.things.get(name), self.stripe.things.get(endpoint)
            if event is None or to is None:
                return
            body = payload(event, to["api_version"])
        status = self.send(body, to["url"], self.secrets[endpoint], session=session)
        self.done.append((name, endpoint, attempt, status))
        if status is not None and 200 <= status < 300:
            with self.stripe.lock:
                event = self.stripe.things[name]
                event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
        elif attempt < len(GAPS):
            self.put(name, endpoint, attempt + 1, GAPS[attempt])

    @staticmethod
    def send(body, url, secrets, at=None, session=requests, timeout=20):
        """One delivery; the status, None if there was no answer. Redirects are failures."""
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0", "Stripe-Signature": signature(body, secrets, at)}
        try:
            return session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False).status_code
        except requests.RequestException:
            return None

    def drain(self, seconds=20):
        """Waits until all has been delivered or given up."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while self.queue or self.busy:
                assert self.changed.wait(deadline - time.monotonic()) or time.monotonic() < deadline, f"{len(self.queue)} deliveries are left"

    def succeeded(self, event):
        """At every endpoint that it was sent to, and at one at least."""
        tries = [(endpoint, status is not None and 200 <= status < 300) for name, endpoint, _, status in self.done if name == event]
        return bool(tries) and {endpoint for endpoint, _ in tries} == {endpoint for endpoint, good in tries if good}

    def roll(self, endpoint, secret):
        """A new secret; deliveries carry a signature of the old one too until forget_old()."""
        self.secrets[endpoint].insert(0, secret)

    def forget_old(self, endpoint):
        del self.secrets[endpoint][1:]
