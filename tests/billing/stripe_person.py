"""A customer at Stripe's pages: pays, fails to pay, uses the portal, waits."""
import time


class Person:
    """Knows Stripe's pages alone: sessions by their ids, and the customer behind them."""

    def __init__(self, stripe, customer=None):
        self.stripe, self.customers = stripe, []  # the newest last
        self.customer = customer

    @property
    def customer(self):
        return self.customers[-1] if self.customers else None

    @customer.setter
    def customer(self, name):
        if name is not None and name != self.customer:
            self.customers.append(name)

    def thing(self, name):
        return self.stripe.things[name]

    @property
    def subscription(self):
        """That of a plan if there is one; the one that lives, else the newest. Acts concern it unless they are told `sub`."""
        return self.stripe.truth(self.customer)

    def live(self, sub=None):
        return self.thing(sub or self.subscription["id"])

    # Checkout

    def pay(self, session, card="good"):
        """Fills in the page of a checkout session. card: good, declined, authentication. True if it went through."""
        stripe = self.stripe
        with stripe.lock:
            session = self.open(session)
            if card != "good":
                return False  # the page says so, and stays open
            self.customer = self.customer_of(session)
            stripe.cards[self.customer] = "good"
            self.complete(session, "paid")
            return True

    def start_trial_without_card(self, session):
        with self.stripe.lock:
            session = self.open(session)
            self.customer = self.customer_of(session)
            self.complete(session, "no_payment_required")

    def pay_by_debit(self, session):
        """A method that takes days: completed, but unpaid until debit_comes() or debit_fails()."""
        with self.stripe.lock:
            session = self.open(session)
            self.customer = self.customer_of(session)
            self.stripe.change(session, "checkout.session.completed", status="complete", payment_status="unpaid", customer=self.customer, url=None)

    def debit_comes(self, session):
        with self.stripe.lock:
            session = self.thing(session)
            self.stripe.cards[self.customer] = "good"
            self.buy(session)
            self.stripe.change(session, "checkout.session.async_payment_succeeded", payment_status="paid")

    def debit_fails(self, session):
        with self.stripe.lock:
            self.stripe.emit("checkout.session.async_payment_failed", self.thing(session))

    def open(self, name):
        session = self.thing(name)
        assert session["status"] == "open", f"the page of {name} says: {session['status']}"
        return session

    def customer_of(self, session):
        return session["customer"] or self.stripe.customer(email=session["customer_email"])

    def complete(self, session, paid):
        self.buy(session)
        details = {"address": None, "business_name": None, "email": self.thing(self.customer)["email"], "individual_name": None, "name": None, "phone": None,
                   "tax_exempt": "none", "tax_ids": []}
        self.stripe.change(session, "checkout.session.completed", status="complete", payment_status=paid, customer=self.customer, url=None,
                           customer_details=details)

    def buy(self, session):
        order = self.stripe.orders[session["id"]]
        data = order["data"]
        days = data.get("trial_period_days")
        end = data.get("trial_end") or (self.stripe.now() + days * 86400 if days else None)
        sub = self.stripe.start_subscription(self.customer, order["lines"], data.get("metadata"), end, data.get("trial_settings"))
        session.update(subscription=sub["id"], invoice=sub["latest_invoice"])

    # Where manus sent nobody

    def pays_a_link(self, price, reference=None, email=None, quantity=1):
        """A payment link makes a new customer, and a subscription without metadata; the person has that customer then. Returns the session's id."""
        with self.stripe.lock:
            session = self.stripe.session([(price, quantity)], payment_link=self.stripe.link(price), client_reference_id=reference, customer_email=email)
            assert self.pay(session["id"])
            return session["id"]

    def checks_out(self, price, reference=None, metadata=None, quantity=1):
        """By this customer, at a page that another program made. Returns the session's id."""
        with self.stripe.lock:
            session = self.stripe.session([(price, quantity)], customer=self.customer, client_reference_id=reference, metadata=metadata)
            assert self.pay(session["id"])
            return session["id"]

    def subscribes(self, price, quantity=1, **more):
        """By this customer, at the dashboard or by another program: no page. more: see start_subscription(). Returns the subscription's id."""
        with self.stripe.lock:
            card = self.stripe.cards.setdefault(self.customer, "good")
            return self.stripe.start_subscription(self.customer, [(price, quantity)], **{"pays": card == "good", **more})["id"]

    def also_subscribes(self, price, quantity=1, **more):
        """To something else than a plan."""
        self.stripe.others.add(price)
        return self.subscribes(price, quantity, **more)

    def abandon(self, session):
        """Goes away: a day later the session has expired."""
        assert self.thing(session)["status"] == "open"
        self.stripe.pass_time(86400 + 1)

    # The card: the customer's, or (sub: its id) that of one subscription

    def card_fails(self, how="declined", sub=None):
        self.stripe.cards[sub or self.customer] = how

    def card_is_removed(self, sub=None):
        self.stripe.cards[sub or self.customer] = None

    def card_works(self, sub=None):
        self.stripe.cards[sub or self.customer] = "good"

    def pays_what_is_due(self, sub=None):
        """By the pages of the open invoices, of all subscriptions or of one, with a card that works."""
        with self.stripe.lock:
            self.card_works(sub)
            for invoice in reversed(self.stripe.every("invoice", customer=self.customer, status="open")):
                if sub is None or self.stripe.sub_of(invoice)["id"] == sub:
                    self.stripe.charge(invoice)

    def pays_the_newest(self, sub=None):
        """Of several open invoices of a subscription."""
        with self.stripe.lock:
            self.card_works(sub)
            self.stripe.charge(self.stripe.invoices_of(self.live(sub), "open")[-1])

    def retries_are_exhausted(self, sub=None):
        with self.stripe.lock:
            self.stripe.give_up(self.live(sub))

    # The portal

    def cancels(self, style="portal", sub=None):
        """At the period's end. portal: cancel_at alone; flag: cancel_at_period_end alone; both."""
        with self.stripe.lock:
            sub = self.live(sub)
            end = self.stripe.period_of(sub)[1]
            self.stripe.schedule_cancel(sub, at=end if style != "flag" else None, flag=style != "portal")

    def cancels_at(self, stamp, sub=None):
        """Whenever that is: in the middle of a period, or periods ahead."""
        with self.stripe.lock:
            self.stripe.schedule_cancel(self.live(sub), at=stamp)

    def thinks_again(self, sub=None):
        with self.stripe.lock:
            self.stripe.unschedule_cancel(self.live(sub), cancel_at=None, cancel_at_period_end=False)

    def cancels_now(self, sub=None):
        with self.stripe.lock:
            self.stripe.end_subscription(self.live(sub), "cancellation_requested")

    def switches(self, price, behavior="create_prorations", sub=None):
        with self.stripe.lock:
            sub = self.live(sub)
            self.stripe.switch(sub, [{"id": sub["items"]["data"][0]["id"], "price": price}], behavior)

    # Time

    def waits(self, seconds):
        self.stripe.pass_time(seconds)

    def waits_for_the_next_period(self, sub=None):
        """To the first second after it. The new period begins at a moment that is not the old one's."""
        with self.stripe.lock:
            start, end = self.stripe.period_of(self.live(sub))
        while self.stripe.now() <= start:
            time.sleep(0.05)
        self.stripe.pass_time(end - self.stripe.now())

    # Money back

    def disputes(self):
        """The newest charge. The dispute names no customer; its charge does."""
        return self.of_charge("dispute", "charge.dispute.created", status="needs_response", reason="fraudulent", is_charge_refundable=True, enhanced_eligibility_types=[])

    def dispute_ends(self, dispute, status="lost"):
        with self.stripe.lock:
            self.stripe.change(self.thing(dispute), "charge.dispute.closed", status=status)

    def is_refunded(self, amount=None):
        """Of the newest charge, all or so much."""
        stripe = self.stripe
        with stripe.lock:
            charge = stripe.every("charge", customer=self.customer)[0]
            amount = charge["amount"] - charge["amount_refunded"] if amount is None else amount
            refund = stripe.new("refund", amount=amount, charge=charge["id"], payment_intent=charge["payment_intent"], currency="usd", status="succeeded",
                                customer=charge["customer"], reason="requested_by_customer")
            stripe.emit("refund.created", refund)
            stripe.change(charge, "charge.refunded", refunded=charge["amount_refunded"] + amount == charge["amount"],
                          amount_refunded=charge["amount_refunded"] + amount)
            return refund["id"]

    def of_charge(self, kind, event, **values):
        with self.stripe.lock:
            charge = self.stripe.every("charge", customer=self.customer)[0]
            thing = self.stripe.new(kind, amount=charge["amount"], charge=charge["id"], payment_intent=charge["payment_intent"], currency="usd", **values)
            self.stripe.emit(event, thing)
            if kind == "dispute":
                charge["disputed"] = True
            return thing["id"]

    def is_deleted(self):
        """By somebody at Stripe's dashboard."""
        with self.stripe.lock:
            self.stripe.delete_customer(self.thing(self.customer))
