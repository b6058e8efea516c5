"""A customer at Stripe's pages: pays, fails to pay, uses the portal, waits."""
import time


class Person:
    """Knows Stripe's pages alone: sessions by their ids, and the customer behind them."""

    def __init__(self, stripe, customer=None):
        self.stripe, self.customer = stripe, customer

    def thing(self, name):
        return self.stripe.things[name]

    @property
    def subscription(self):
        """The one that lives, else the newest."""
        return self.stripe.truth(self.customer)

    def live(self, sub=None):
        return self.thing((sub or self.subscription)["id"])

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
        if session["customer"] is None:
            customer = self.stripe.new("customer", email=session["customer_email"], balance=0, delinquent=False, tax_exempt="none", preferred_locales=[])
            self.stripe.emit("customer.created", customer)
            return customer["id"]
        return session["customer"]

    def complete(self, session, paid):
        self.buy(session)
        self.stripe.change(session, "checkout.session.completed", status="complete", payment_status=paid, customer=self.customer, url=None)

    def buy(self, session):
        order = self.stripe.orders[session["id"]]
        data = order["data"]
        days = data.get("trial_period_days")
        end = data.get("trial_end") or (self.stripe.now() + days * 86400 if days else None)
        sub = self.stripe.start_subscription(self.customer, order["lines"], data.get("metadata"), end, data.get("trial_settings"))
        session.update(subscription=sub["id"], invoice=sub["latest_invoice"])

    def abandon(self, session):
        """Goes away: a day later the session has expired."""
        assert self.thing(session)["status"] == "open"
        self.stripe.pass_time(86400 + 1)

    # The card

    def card_fails(self, how="declined"):
        self.stripe.cards[self.customer] = how

    def card_is_removed(self):
        self.stripe.cards.pop(self.customer, None)

    def card_works(self):
        self.stripe.cards[self.customer] = "good"

    def pays_what_is_due(self):
        """By the page of the open invoice, with a card that works."""
        with self.stripe.lock:
            self.card_works()
            for invoice in reversed(self.stripe.every("invoice", customer=self.customer, status="open")):
                self.stripe.charge(invoice)

    def pays_the_newest(self, sub=None):
        """Of several open invoices of a subscription."""
        with self.stripe.lock:
            self.card_works()
            self.stripe.charge(self.stripe.invoices_of(self.live(sub), "open")[-1])

    def retries_are_exhausted(self):
        with self.stripe.lock:
            self.stripe.give_up(self.live())

    # The portal

    def cancels(self, style="portal"):
        """At the period's end. portal: cancel_at alone; flag: cancel_at_period_end alone; both."""
        with self.stripe.lock:
            sub = self.live()
            end = self.stripe.period_of(sub)[1]
            self.stripe.schedule_cancel(sub, at=end if style != "flag" else None, flag=style != "portal")

    def thinks_again(self):
        with self.stripe.lock:
            self.stripe.unschedule_cancel(self.live(), cancel_at=None, cancel_at_period_end=False)

    def cancels_now(self):
        with self.stripe.lock:
            self.stripe.end_subscription(self.live(), "cancellation_requested")

    def switches(self, price, behavior="create_prorations"):
        with self.stripe.lock:
            sub = self.live()
            self.stripe.switch(sub, [{"id": sub["items"]["data"][0]["id"], "price": price}], behavior)

    # Time

    def waits(self, seconds):
        self.stripe.pass_time(seconds)

    def waits_for_the_next_period(self):
        """To the first second after it. The new period begins at a moment that is not the old one's."""
        with self.stripe.lock:
            start, end = self.stripe.period_of(self.live())
        while self.stripe.now() <= start:
            time.sleep(0.05)
        self.stripe.pass_time(end - self.stripe.now())

    # Money back

    def disputes(self):
        return self.of_charge("dispute", "charge.dispute.created", status="needs_response", reason="fraudulent", is_charge_refundable=True, enhanced_eligibility_types=[])

    def is_refunded(self):
        stripe = self.stripe
        with stripe.lock:
            charge = stripe.every("charge", customer=self.customer)[0]
            refund = stripe.new("refund", amount=charge["amount"], charge=charge["id"], payment_intent=charge["payment_intent"], currency="usd", status="succeeded",
                                reason="requested_by_customer")
            stripe.emit("refund.created", refund)
            stripe.change(charge, "charge.refunded", refunded=True, amount_refunded=charge["amount"])
            return refund["id"]

    def of_charge(self, kind, event, **values):
        with self.stripe.lock:
            charge = self.stripe.every("charge", customer=self.customer)[0]
            thing = self.stripe.new(kind, amount=charge["amount"], charge=charge["id"], payment_intent=charge["payment_intent"], currency="usd", **values)
            self.stripe.emit(event, thing)
            return thing["id"]

    def is_deleted(self):
        """By somebody at Stripe's dashboard."""
        with self.stripe.lock:
            self.stripe.delete_customer(self.thing(self.customer))
