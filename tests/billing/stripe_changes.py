"""Changes of a subscription that are agreed on and not there yet: schedules, and updates that wait for their payment."""
from stripe_calendar import interval_of
from stripe_spec import copied


class Changes:
    """A part of State."""

    # Schedules

    def schedules(self, sub, price):
        """Its first item has another price from the next period on. Returns the schedule's id."""
        with self.lock:
            sub, price = self.things[sub if isinstance(sub, str) else sub["id"]], self.find("price", price)
            start, end = self.period_of(sub)
            items = [{"price": item["price"]["id"], "quantity": item["quantity"]} for item in sub["items"]["data"]]
            phases = [self.phase(items, start, end), self.phase([{**items[0], "price": price["id"]}, *items[1:]], end, self.end_of(sub, price, end))]
            settings = {"billing_cycle_anchor": "automatic", "collection_method": sub["collection_method"], "default_payment_method": None, "description": None,
                        "application_fee_percent": None, "billing_thresholds": None, "on_behalf_of": None, "transfer_data": None,
                        "invoice_settings": {"account_tax_ids": None, "custom_fields": None, "days_until_due": sub["days_until_due"], "description": None,
                                             "footer": None, "issuer": {"type": "self"}}}
            schedule = self.new("subscription_schedule", customer=sub["customer"], status="active", subscription=sub["id"], end_behavior="release",
                                phases=phases, current_phase={"start_date": start, "end_date": end}, default_settings=settings,
                                billing_mode=copied(sub["billing_mode"]))
            self.emit("subscription_schedule.created", schedule)
            self.change(sub, "customer.subscription.updated", schedule=schedule["id"])
            return schedule["id"]

    @staticmethod
    def phase(items, start, end):
        items = [{"billing_thresholds": None, "discounts": [], "metadata": {}, "tax_rates": [], **item} for item in items]
        return {"add_invoice_items": [], "application_fee_percent": None, "billing_cycle_anchor": None, "billing_thresholds": None, "collection_method": None,
                "currency": "usd", "default_payment_method": None, "default_tax_rates": [], "description": None, "discounts": [], "end_date": end,
                "invoice_settings": None, "items": items, "metadata": {}, "on_behalf_of": None, "proration_behavior": "create_prorations", "start_date": start,
                "transfer_data": None, "trial_end": None}

    def next_phase(self, sub, at):
        """True if its prices are others from now on. Behind the last phase the subscription goes on without the schedule."""
        schedule = self.things.get(sub["schedule"])
        if schedule is None or schedule["current_phase"]["end_date"] > at:
            return False
        phase = next((phase for phase in schedule["phases"] if phase["start_date"] >= at), None)
        if phase is None:
            self.releases(sub)
            return False
        for item, wanted in zip(sub["items"]["data"], phase["items"], strict=True):
            price = self.things[wanted["price"]]
            if interval_of(price) != interval_of(item["price"]):
                sub["billing_cycle_anchor"] = at
            item.update(price=price, quantity=wanted["quantity"])
        return True

    def phase_begins(self, sub):
        """Its period is known now, and is the phase's."""
        schedule = self.things[sub["schedule"]]
        start, end = self.period_of(sub)
        phases = copied(schedule["phases"])
        next(phase for phase in phases if phase["start_date"] >= start).update(start_date=start, end_date=end)
        self.change(schedule, "subscription_schedule.updated", phases=phases, current_phase={"start_date": start, "end_date": end})

    def releases(self, sub):
        """The subscription goes on without its schedule."""
        with self.lock:
            sub = self.things[sub["id"]]
            schedule = self.things[sub["schedule"]]
            self.change(schedule, "subscription_schedule.released", status="released", released_at=self.now(), released_subscription=sub["id"],
                        subscription=None, current_phase=None)
            self.change(sub, "customer.subscription.updated", schedule=None)

    def schedule_ends(self, sub):
        """With its subscription."""
        schedule = self.things.get(sub["schedule"])
        if schedule and schedule["status"] == "active":
            self.change(schedule, "subscription_schedule.canceled", status="canceled", canceled_at=self.now(), current_phase=None)

    # Pending updates

    def pends(self, sub, price):
        """A switch at once that waits for its payment: as it was until then, and for 23 hours at most. pays_what_is_due() or applies() end that."""
        with self.lock:
            sub = self.things[sub if isinstance(sub, str) else sub["id"]]
            wanted = [{"id": sub["items"]["data"][0]["id"], "price": price}]
            changes, items = self.item_changes(sub, wanted)
            self.pend(sub, wanted, items, self.prorations(sub, changes, self.now()))

    def pend(self, sub, wanted, items, lines):
        if sub["pending_update"]:
            self.pending_expires(sub)
        shown = {"billing_cycle_anchor": None, "discount": None, "discounts": None, "expires_at": self.now() + 23 * 3600, "metadata": None,
                 "subscription_items": copied([item for item in items if item["id"]]), "trial_end": None, "trial_from_plan": None}
        self.change(sub, "customer.subscription.updated", pending_update=shown)
        invoice = self.finalize(self.draft(sub, "subscription_update", lines=lines))
        self.pending[sub["id"]] = {"invoice": invoice["id"], "wanted": wanted}
        self.emit("invoice.payment_action_required", invoice)

    def applies(self, sub):
        """Its invoice is paid."""
        with self.lock:
            self.settle(self.things[self.pending[sub["id"]]["invoice"]], self.things[sub["id"]])

    def apply_pending(self, sub, invoice):
        waiting = self.pending.get(sub["id"])
        if sub["pending_update"] and waiting["invoice"] == invoice["id"]:
            self.switch(sub, waiting["wanted"], "none", extra={"pending_update": None})
            self.emit("customer.subscription.pending_update_applied", sub)

    def pending_expires(self, sub):
        self.change(sub, "customer.subscription.pending_update_expired", pending_update=None)
        invoice = self.things[self.pending[sub["id"]]["invoice"]]
        if invoice["status"] == "open":
            self.void(invoice)
