"""What Stripe knows of one account and how it changes: customers, sessions, subscriptions, invoices, and the events of each change.

Stripe's clock is the real one. Time passes by making everything older: see pass_time().
"""
import collections
import contextlib
import heapq
import secrets
import threading
import time

from stripe_calendar import interval_of, is_boundary, later, next_after
from stripe_changes import Changes
from stripe_invoices import DAY, Invoices, listed
from stripe_spec import NEW, OLD, Refused, blank, copied, document, expandable, fixtures, refused_card

PREFIXES = {"customer": "cus", "product": "prod", "price": "price", "checkout.session": "cs_test", "billing_portal.session": "bps", "subscription": "sub",
            "subscription_item": "si", "invoice": "in", "line_item": "il", "invoice_payment": "inpay", "payment_intent": "pi", "charge": "ch",
            "payment_method": "pm", "event": "evt", "webhook_endpoint": "we", "refund": "re", "dispute": "du", "credit_note": "cn",
            "payment_link": "plink", "subscription_schedule": "sub_sched"}
LIVE = ("active", "trialing", "past_due", "unpaid", "paused")  # those that time goes on for
EMBEDDED = 10
FINAL = ("canceled", "incomplete_expired")


def older(thing, seconds):
    """The same with every time in it that much earlier."""
    if isinstance(thing, dict):
        return {key: older(value, seconds) for key, value in thing.items()}
    if isinstance(thing, list):
        return [older(value, seconds) for value in thing]
    return thing - seconds if type(thing) is int and 10**9 < thing < 10**10 else thing


def changed(before, after):
    """previous_attributes: what stood there before, of what is different."""
    result = {}
    for key in before:
        if before[key] != after.get(key):
            both = isinstance(before[key], dict) and isinstance(after.get(key), dict) and "data" not in before[key]
            result[key] = changed(before[key], after[key]) if both else before[key]
    return result


class State(Invoices, Changes):
    def __init__(self, livemode=False, account="acct_1Double"):
        self.lock = threading.RLock()
        self.livemode, self.account = livemode, account
        self.things = {}  # by id, oldest first
        self.ids = collections.defaultdict(dict)  # of each kind, oldest first
        self.links = {}  # of a price: its payment link
        self.orders = {}  # of a checkout session: what is bought
        self.cards = {}  # customer, or a subscription that has its own: "good", "authentication", one of stripe_spec.CARDS, or none
        self.bad_addresses = set()  # that Stripe refuses, whatever they look like
        self.others = set()  # prices of other products than manus's plans
        self.on_event = lambda event: None
        self.request = {"id": None, "idempotency_key": None}  # that causes what happens now
        self.passed = 0  # seconds, by pass_time()
        self.moment = None  # what is done now happened then
        self.bills = collections.defaultdict(list)  # of a subscription: its invoices, oldest first
        self.pending = {}  # of a subscription with a pending update: its invoice, and what is wanted
        self.overdue = set()  # sent invoices whose due date has made a subscription past_due
        self.warned = set()  # subscriptions whose trial_will_end has been said
        self.exact = False  # periods on the days of the time that was passed; else on those that a reader sees now
        self.after_failures = "unpaid"  # what the account's settings do when all retries have failed
        self.portal_cancels = {"mode": "at_period_end", "proration_behavior": "none"}
        self.flexible = True  # billing_mode of new subscriptions

    # Things

    def now(self):
        return int(time.time()) if self.moment is None else self.moment

    @contextlib.contextmanager
    def back_then(self, stamp):
        """What is done inside happened at that moment; behind it everything that was due since has happened too."""
        with self.lock:
            self.moment = stamp
            try:
                yield
            finally:
                self.moment = None
            self.catch_up()

    def new(self, kind, kept=True, **values):
        """Parts that are found through their owner are not kept."""
        thing = blank(kind)
        thing.update(id=f"{PREFIXES[kind]}_{secrets.token_hex(12)}", **values)
        for key, value in (("created", self.now()), ("livemode", self.livemode)):
            if key in document()["components"]["schemas"][kind]["properties"]:
                thing.setdefault(key, value)
                thing[key] = values.get(key, value)
        if "metadata" in thing:
            thing["metadata"] = values.get("metadata") or {}
        if kept:
            self.things[thing["id"]] = thing
            self.ids[kind][thing["id"]] = None
        return thing

    def find(self, kind, name, status=404, param="id"):
        thing = self.things.get(name)
        if thing is None or thing["object"] != kind:
            raise Refused(status, f"No such {kind}: '{name}'", "resource_missing", param)
        return thing

    def every(self, kind, **values):
        """Newest first."""
        found = [self.things[name] for name in reversed(self.ids[kind])]
        return [thing for thing in found if all(thing.get(key) == value for key, value in values.items() if value is not None)]

    def forget(self, name):
        """As if it had never been: 404."""
        with self.lock:
            del self.ids[self.things.pop(name)["object"]][name]

    # Events

    def emit(self, kind, thing, before=None):
        data = {"object": copied(thing)}
        self.embed(data)
        if before is not None:
            data["previous_attributes"] = changed(before, thing)
        event = self.new("event", type=kind, data=data, api_version=NEW, request=dict(self.request), pending_webhooks=0)
        self.on_event(event)
        return event

    def events(self, *kinds):
        """Oldest first."""
        return [event for event in reversed(self.every("event")) if not kinds or event["type"] in kinds]

    def change(self, thing, kind, **values):
        before = copied(thing)
        thing.update(values)
        if changed(before, thing):
            self.emit(kind, thing, before)

    # Customers and their pages

    def customer(self, metadata=None, email=None, **values):
        """By somebody at the dashboard, or another program. Returns its id."""
        with self.lock:
            customer = self.new("customer", **{"email": email, "balance": 0, "delinquent": False, "invoice_prefix": secrets.token_hex(4).upper(),
                                "next_invoice_sequence": 1, "preferred_locales": [], "tax_exempt": "none", "metadata": metadata, **values})
            self.emit("customer.created", customer)
            return customer["id"]

    def session(self, lines, data=None, **values):
        """A page of Checkout. lines: [(price, quantity)]; data: what its subscription gets."""
        with self.lock:
            total = sum(self.things[price]["unit_amount"] * quantity for price, quantity in lines)
            session = self.new("checkout.session", **{
                "mode": "subscription", "status": "open", "payment_status": "unpaid", "currency": "usd", "amount_total": total, "amount_subtotal": total,
                "expires_at": self.now() + DAY, "payment_method_types": ["card"], "shipping_options": [], "custom_fields": [], "ui_mode": "hosted_page",
                "payment_method_collection": "always", **values})
            session["url"] = f"https://checkout.stripe.example/c/pay/{session['id']}"
            self.orders[session["id"]] = {"lines": list(lines), "data": data or {}}
            return session

    def link(self, price):
        """A payment link for it, to be found anywhere; the same for the same price. Returns its id."""
        with self.lock:
            if price not in self.links:
                link = self.new("payment_link", active=True, currency="usd", metadata={}, custom_fields=[], shipping_options=[])
                link["url"] = f"https://buy.stripe.example/{link['id']}"
                self.links[price] = link["id"]
            return self.links[price]

    # Subscriptions

    def card_of(self, sub):
        return self.cards.get(sub["id"], self.cards.get(sub["customer"]))

    def start_subscription(self, customer, items, metadata=None, trial_end=None, settings=None, pays=True,
                           collection_method="charge_automatically", days_until_due=None):
        """items: [(price, quantity)]. In the order of Stripe's events."""
        now = self.now()
        sent = collection_method == "send_invoice"
        assert sent == (days_until_due is not None), "days_until_due is for invoices that are sent"
        status = "trialing" if trial_end else "active" if sent else "incomplete"
        sub = self.new("subscription", customer=customer, status=status, metadata=metadata, days_until_due=days_until_due,
                       billing_mode={"type": "flexible" if self.flexible else "classic", "flexible": {"proration_discounts": "itemized"} if self.flexible else None},
                       billing_cycle_anchor=trial_end or now, start_date=now, currency="usd", collection_method=collection_method,
                       trial_start=now if trial_end else None, trial_end=trial_end, discounts=[], cancel_at_period_end=False,
                       trial_settings={"end_behavior": (settings or {}).get("end_behavior", {"missing_payment_method": "create_invoice"})})
        sub["items"] = listed([], f"/v1/subscription_items?subscription={sub['id']}")
        for price, quantity in items:
            self.add_item(sub, price, quantity, now, trial_end or later(now, *interval_of(self.things[price])))
        self.emit("customer.subscription.created", sub)
        self.invoice(sub, "subscription_create", 0 if trial_end else None, pays=pays)
        return sub

    def add_item(self, sub, price, quantity, start, end):
        item = self.new("subscription_item", kept=False, subscription=sub["id"], price=self.find("price", price), quantity=quantity, discounts=[], tax_rates=[],
                        current_period_start=start, current_period_end=end)
        sub["items"]["data"].append(item)

    def period_of(self, sub):
        items = sub["items"]["data"]
        return min(item["current_period_start"] for item in items), max(item["current_period_end"] for item in items)

    def end_of(self, sub, price, start):
        """Of the period of this price that begins then."""
        of = {interval_of(item["price"]) for item in sub["items"]["data"]} | {interval_of(price)}
        offset = self.passed if self.exact or len(of) > 1 else 0
        return next_after(sub["billing_cycle_anchor"] + offset, *interval_of(price), start + offset) - offset

    def anew(self, sub, now):
        """All its periods begin now."""
        sub["billing_cycle_anchor"] = now
        for item in sub["items"]["data"]:
            item.update(current_period_start=now, current_period_end=later(now, *interval_of(item["price"])))

    def end_subscription(self, sub, reason, prorate=False, invoice_now=False):
        """The rest of what was paid comes back only if it is asked for, and at once only by an invoice."""
        rest = self.prorations(sub, [(item, None, 0) for item in sub["items"]["data"]], self.now()) if prorate else []
        if invoice_now and rest:
            self.invoice(sub, "subscription_update", lines=rest)
        sub["ended_at"] = self.now()
        details = {**(sub["cancellation_details"] or {"comment": None, "feedback": None}), "reason": reason}
        sub.update(status="canceled", pending_update=None, canceled_at=sub["canceled_at"] or self.now(), cancellation_details=details)
        self.emit("customer.subscription.deleted", sub)
        self.schedule_ends(sub)

    def schedule_cancel(self, sub, at=None, flag=False):
        """At the period's end; how that shows depends on who asked (reference of flexible billing)."""
        self.change(sub, "customer.subscription.updated", cancel_at=at, cancel_at_period_end=flag, canceled_at=self.now(),
                    cancellation_details={"comment": None, "feedback": None, "reason": "cancellation_requested"})

    def unschedule_cancel(self, sub, **values):
        self.change(sub, "customer.subscription.updated", **values)
        if sub["cancel_at"] is None and not sub["cancel_at_period_end"]:
            sub.update(canceled_at=None, cancellation_details={"comment": None, "feedback": None, "reason": None})

    # Switching

    def prorations(self, sub, changes, when):
        """Lines of credit and charge for the rest of the period. changes: [(item, new price or None, new quantity)]"""
        lines = []
        for item, price, quantity in changes:
            start, end = item["current_period_start"], item["current_period_end"]
            left = max(0, end - when) / max(1, end - start) if sub["status"] != "trialing" else 0
            period = {"start": when, "end": end}
            anew = price and item["id"] and interval_of(price) != interval_of(item["price"]) and left
            if item["id"]:
                credit = -round(item["price"]["unit_amount"] * item["quantity"] * left)
                lines.append(self.line(sub, item, credit, True, f"Unused time on {item['price']['id']}", period))
            if price:
                after = {**item, "price": price, "quantity": quantity}
                share = 1 if anew else left
                period = {"start": when, "end": later(when, *interval_of(price))} if anew else period
                lines.append(self.line(sub, after, round(price["unit_amount"] * quantity * share), not anew, f"Remaining time on {price['id']}", period))
        return lines

    def item_changes(self, sub, wanted):
        """(changes for prorations(), the items as they will be), for the parameter `items`."""
        items, changes = copied(sub["items"]["data"]), []
        start, end = self.period_of(sub)
        for i, one in enumerate(wanted):
            price = self.find("price", one["price"], 400, f"items[{i}][price]") if "price" in one else None
            if price and not price["active"]:
                raise Refused(400, f"The price specified is inactive. This field only accepts active prices: {price['id']}", param=f"items[{i}][price]")
            if "id" in one:
                item = next((item for item in items if item["id"] == one["id"]), None)
                if item is None:
                    raise Refused(400, f"No such subscription item: '{one['id']}'", "resource_missing", f"items[{i}][id]")
                if one.get("deleted"):
                    changes.append((copied(item), None, 0))
                    items.remove(item)
                    continue
                quantity = one.get("quantity", item["quantity"])
                if (price and price["id"] != item["price"]["id"]) or quantity != item["quantity"]:
                    changes.append((copied(item), price or item["price"], quantity))
                item.update(price=price or item["price"], quantity=quantity)
            else:
                if price is None:
                    raise Refused(400, f"Missing required param: items[{i}][price].", "parameter_missing", f"items[{i}][price]")
                if any(item["price"]["id"] == price["id"] for item in items):
                    raise Refused(400, f"Cannot add multiple subscription items with the same price: {price['id']}", param="items")
                if interval_of(price) not in [interval_of(item["price"]) for item in items] and sub["status"] != "trialing":
                    start, end = self.now(), self.end_of(sub, price, self.now())
                stub = {"id": None, "price": price, "quantity": one.get("quantity", 1), "current_period_start": start, "current_period_end": end}
                changes.append((stub, price, stub["quantity"]))
                items.append(stub)
        if not items:
            raise Refused(400, "A subscription must have at least one active plan.", param="items")
        return changes, items

    def switch(self, sub, wanted, behavior="create_prorations", when=None, payment_behavior="allow_incomplete", extra=None):
        changes, items = self.item_changes(sub, wanted)
        lines = self.prorations(sub, changes, when or self.now()) if behavior != "none" else []
        moves = sub["status"] != "trialing" and any(item["id"] and price and interval_of(price) != interval_of(item["price"]) for item, price, _ in changes)
        if moves:
            behavior = "always_invoice"  # another interval begins, and is paid, at once
        pays = self.card_of(sub) == "good" or sub["collection_method"] == "send_invoice"
        due = behavior == "always_invoice" and sum(line["amount"] for line in lines) > 0
        if due and not pays and payment_behavior == "error_if_incomplete":
            raise refused_card(self.card_of(sub))
        if due and not pays and payment_behavior == "pending_if_incomplete":
            self.pend(sub, wanted, items, lines)
            return
        before = copied(sub)
        sub["items"]["data"] = []
        for item in items:
            if item["id"]:
                sub["items"]["data"].append(item)
            else:
                self.add_item(sub, item["price"]["id"], item["quantity"], item["current_period_start"], item["current_period_end"])
        sub.update(extra or {})
        if moves:
            self.anew(sub, self.now())
        if changed(before, sub):
            self.emit("customer.subscription.updated", sub, before)
        if behavior == "always_invoice" and lines:
            self.invoice(sub, "subscription_update", lines=lines)

    # Time

    def pass_time(self, seconds):
        """Everything gets older, then whatever is due happens."""
        if seconds < 0:
            raise ValueError("time does not go back")
        with self.lock:
            self.passed += int(seconds)
            for name, thing in self.things.items():
                self.things[name] = older(thing, int(seconds))
            self.catch_up()

    def catch_up(self, limit=100_000):
        """What is due, in its order, each at its time."""
        names = [*self.ids["checkout.session"], *self.ids["subscription"]]
        waiting = [(due[0], i, name) for i, name in enumerate(names) if (due := self.next_of(self.things[name]))]
        heapq.heapify(waiting)
        while waiting and waiting[0][0] <= int(time.time()) and limit:
            limit -= 1
            at, i, name = heapq.heappop(waiting)
            thing = self.things[name]
            self.moment = at
            try:
                self.next_of(thing)[1](thing)
            finally:
                self.moment = None
            if due := self.next_of(thing):
                heapq.heappush(waiting, (due[0], i, name))
        assert limit, "time does not come to an end"

    def next_of(self, thing):
        """(when, what): the first that time does to this subscription or page, or None. Of two at the same time the first is done."""
        return min(self.all_of(thing) if thing["object"] == "subscription" else self.all_of_page(thing), key=lambda one: one[0], default=None)

    def all_of_page(self, session):
        if session["status"] == "open":
            yield session["expires_at"], lambda session: self.change(session, "checkout.session.expired", status="expired", url=None)

    def all_of(self, sub):
        if sub["status"] == "incomplete":
            yield sub["created"] + 23 * 3600, self.expire
        if sub["status"] not in LIVE:
            return
        over = sub["cancel_at"] or (self.period_of(sub)[1] if sub["cancel_at_period_end"] else None)
        if over:
            yield over, lambda sub: self.end_subscription(sub, "cancellation_requested")
        if sub["status"] == "trialing" and sub["id"] not in self.warned:
            yield max(sub["trial_end"] - 3 * DAY, sub["trial_start"]), self.warn
        if sub["pending_update"]:
            yield sub["pending_update"]["expires_at"], self.pending_expires
        pause = sub["pause_collection"]
        if pause and pause["resumes_at"]:
            yield pause["resumes_at"], self.unpauses
        if sub["status"] in ("active", "past_due"):
            for invoice in self.invoices_of(sub, "open"):
                if invoice["due_date"] and invoice["id"] not in self.overdue:
                    yield invoice["due_date"], self.is_overdue
        if sub["status"] != "paused":
            yield min(item["current_period_end"] for item in sub["items"]["data"]), self.roll

    def expire(self, sub):
        self.change(sub, "customer.subscription.updated", status="incomplete_expired", ended_at=self.now())
        for invoice in self.invoices_of(sub, "open"):
            self.void(invoice)

    def is_overdue(self, sub):
        """A sent invoice is not paid by its due date. Each is told of once: the newest paid makes active, whatever the older ones are."""
        self.overdue |= {invoice["id"] for invoice in self.invoices_of(sub, "open") if invoice["due_date"] and invoice["due_date"] <= self.now()}
        self.change(sub, "customer.subscription.updated", status="past_due")

    def warn(self, sub):
        self.warned.add(sub["id"])
        self.emit("customer.subscription.trial_will_end", sub)

    def roll(self, sub):
        """The next period, or the end of the trial."""
        if sub["status"] != "trialing" or not self.end_trial(sub):
            self.renew(sub, min(item["current_period_end"] for item in sub["items"]["data"]))

    def end_trial(self, sub):
        """True if that was the end of it: no way to pay."""
        if self.card_of(sub) is None:
            missing = sub["trial_settings"]["end_behavior"]["missing_payment_method"]
            if missing == "cancel":
                self.end_subscription(sub, "cancellation_requested")
                return True
            if missing == "pause":
                before = copied(sub)
                sub["status"] = "paused"
                self.emit("customer.subscription.updated", sub, before)
                self.emit("customer.subscription.paused", sub)
                return True
        return False

    def renew(self, sub, start):
        items = [item for item in sub["items"]["data"] if item["current_period_end"] <= start]
        of = {interval_of(item["price"]) for item in sub["items"]["data"]}
        if len(of) == 1 and not self.exact and not is_boundary(sub["billing_cycle_anchor"], *of.pop(), start):
            sub["billing_cycle_anchor"] = start  # passing time has moved it off the calendar
        before = copied(sub)
        switched = self.next_phase(sub, start)
        for item in items:
            item.update(current_period_start=start, current_period_end=self.end_of(sub, item["price"], start))
        if sub["status"] == "trialing":
            sub["status"] = "active"
        self.emit("customer.subscription.updated", sub, before)
        if switched:
            self.phase_begins(sub)
        self.invoice(sub, "subscription_cycle", lines=[self.line(sub, item) for item in items])

    def pauses(self, sub, behavior, resumes_at=None):
        """pause_collection: the subscription goes on as it is, its new invoices are not collected. behavior: void, keep_as_draft, mark_uncollectible."""
        with self.lock:
            self.change(self.things[sub["id"]], "customer.subscription.updated", pause_collection={"behavior": behavior, "resumes_at": resumes_at})

    def unpauses(self, sub):
        with self.lock:
            self.change(self.things[sub["id"]], "customer.subscription.updated", pause_collection=None)

    def give_up(self, sub):
        """All retries of the payment have failed."""
        if self.after_failures == "canceled":
            self.end_subscription(sub, "payment_failed")
        else:
            self.change(sub, "customer.subscription.updated", status=self.after_failures)

    def resume(self, sub):
        if sub["status"] != "paused":
            raise Refused(400, "Only paused subscriptions can be resumed.")
        before = copied(sub)
        self.anew(sub, self.now())
        if self.invoice(sub, "subscription_update") and sub["status"] == "paused":
            sub["status"] = "active"
            self.emit("customer.subscription.updated", sub, before)
            self.emit("customer.subscription.resumed", sub)

    def delete_customer(self, customer):
        for sub in reversed(self.every("subscription", customer=customer["id"])):
            if sub["status"] not in FINAL:
                self.end_subscription(sub, "cancellation_requested")
        self.emit("customer.deleted", customer)
        gone = {"id": customer["id"], "object": "customer", "deleted": True}
        self.things[customer["id"]] = gone
        return gone

    # What a reply shows

    @classmethod
    def embed(cls, thing):
        """Of the items of a subscription ten at most stand in it: the first ones."""
        if isinstance(thing, list):
            for one in thing:
                cls.embed(one)
        elif isinstance(thing, dict):
            if thing.get("object") == "subscription" and len(thing["items"]["data"]) > EMBEDDED:
                thing["items"].update(data=thing["items"]["data"][:EMBEDDED], has_more=True)
            cls.embed(list(thing.values()))

    def expand(self, thing, path, whole):
        """Replaces what the path names by the object itself; lists are gone through."""
        if isinstance(thing, dict) and thing.get("object") == "list":
            head, _, rest = path.partition(".")
            if head != "data" or not rest:
                raise Refused(400, f"This property cannot be expanded ({whole}).", param="expand")
            for one in thing["data"]:
                self.expand(one, rest, whole)
            return
        head, _, rest = path.partition(".")
        if "object" in thing and not expandable(thing["object"], head):
            raise Refused(400, f"This property cannot be expanded ({whole}). You may want to try expanding something else.", param="expand")
        if thing.get("object") == "invoice" and head == "payments":
            thing["payments"] = copied(self.payments_of(thing))
        if isinstance(thing.get(head), str) and thing[head] in self.things:
            thing[head] = copied(self.things[thing[head]])
        if rest and isinstance(thing.get(head), dict):
            self.expand(thing[head], rest, whole)


# The shapes of an older version

def as_old(thing):
    """The object as the version before 2025-03-31 showed it."""
    if isinstance(thing, list):
        return [as_old(one) for one in thing]
    if not isinstance(thing, dict):
        return thing
    kind = thing.get("object") if isinstance(thing.get("object"), str) else None
    inner = {key: as_old(value) for key, value in thing.items()}
    if kind == "event":
        return {**inner, "api_version": OLD}
    if thing.get("deleted") or kind not in fixtures(OLD):
        return inner
    allowed = document(OLD)["components"]["schemas"][kind]["properties"]
    result = {**blank(kind, OLD), **{key: value for key, value in inner.items() if key in allowed}}
    if kind == "checkout.session":
        result["ui_mode"] = "hosted"
    if kind == "subscription":
        items = thing["items"]["data"]
        result.update(current_period_start=min(item["current_period_start"] for item in items), current_period_end=max(item["current_period_end"] for item in items))
    if kind == "invoice":
        result.update(subscription=thing["parent"]["subscription_details"]["subscription"], paid=thing["status"] == "paid",
                      subscription_details={"metadata": thing["parent"]["subscription_details"]["metadata"]}, discount=None)
    if kind == "credit_note" and thing["type"] == "mixed":
        result["type"] = "pre_payment"
    if kind == "line_item":
        details = thing["parent"]["subscription_item_details"]
        result.update(subscription=details["subscription"], subscription_item=details["subscription_item"], proration=details["proration"], type="subscription",
                      price=None, plan=None, proration_details=None)
    return result


def in_version(thing, version):
    return as_old(thing) if version == OLD else thing
