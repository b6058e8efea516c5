"""Invoices: what a subscription is billed, how it is paid or not, and the events of it."""
DAY = 86400
SETTINGS = {"default_mandate": None, "payment_method_options": None, "payment_method_types": None}


def listed(things, url):
    return {"object": "list", "data": things, "has_more": False, "url": url}


class Invoices:
    """A part of State."""

    def invoice(self, sub, reason, amount=None, lines=None, pays=None):
        """Bills what its items cost, or so much, and collects it as the subscription says. True if it is paid."""
        invoice = self.draft(sub, reason, amount, lines)
        behavior = sub["pause_collection"] and sub["pause_collection"]["behavior"]
        if sub["status"] == "unpaid" or behavior == "keep_as_draft":
            invoice["auto_advance"] = False
            return False
        self.finalize(invoice)
        if behavior == "void":
            self.end_invoice(invoice, "invoice.voided", "void", "voided_at")
        elif behavior == "mark_uncollectible":
            self.end_invoice(invoice, "invoice.marked_uncollectible", "uncollectible", "marked_uncollectible_at")
        return not behavior and self.collect(invoice, pays)

    def draft(self, sub, reason, amount=None, lines=None):
        end = self.period_of(sub)[1]
        lines = lines if lines is not None else [self.line(sub, item, None if amount is None else 0) for item in sub["items"]["data"]]
        total = sum(line["amount"] for line in lines)
        due, before, after = self.with_balance(sub["customer"], total)
        settled = sub["items"]["data"][0]["current_period_start"]
        invoice = self.new("invoice", customer=sub["customer"], status="draft", billing_reason=reason, collection_method=sub["collection_method"],
                           currency="usd", amount_due=due, amount_remaining=due, amount_paid=0, amount_overpaid=0, subtotal=total, total=total,
                           starting_balance=before, ending_balance=after, due_date=self.due_date(sub),
                           period_start=settled, period_end=settled if reason == "subscription_create" else end, attempt_count=0, attempted=False,
                           auto_advance=True, metadata={}, payment_settings=dict(SETTINGS),
                           parent={"type": "subscription_details", "quote_details": None,
                                   "subscription_details": {"subscription": sub["id"], "metadata": dict(sub["metadata"])}})
        for line in lines:
            line["invoice"] = invoice["id"]
        invoice["lines"] = listed(lines, f"/v1/invoices/{invoice['id']}/lines")
        self.bills[sub["id"]].append(invoice["id"])
        self.emit("invoice.created", invoice)
        sub["latest_invoice"] = invoice["id"]
        return invoice

    def due_date(self, sub):
        return self.now() + sub["days_until_due"] * DAY if sub["collection_method"] == "send_invoice" else None

    def finalize(self, invoice):
        sub = self.sub_of(invoice)
        self.change(invoice, "invoice.finalized", status="open", hosted_invoice_url=f"https://invoice.stripe.example/{invoice['id']}",
                    invoice_pdf=f"https://invoice.stripe.example/{invoice['id']}/pdf", effective_at=self.now(), due_date=self.due_date(sub), auto_advance=True,
                    number=f"DOUBLE-{len(self.every('invoice')):04d}",
                    status_transitions={**invoice["status_transitions"], "finalized_at": self.now()})
        return invoice

    def sub_of(self, invoice):
        return self.things[invoice["parent"]["subscription_details"]["subscription"]]

    def invoices_of(self, sub, *statuses):
        """Oldest first."""
        return [invoice for name in self.bills[sub["id"]] if (invoice := self.things.get(name)) and invoice["status"] in statuses]

    def with_balance(self, customer, total):
        """(what is due, the customer's balance before and after): a credit is a negative balance, which pays later invoices."""
        customer = self.things[customer]
        before, whole = customer.get("balance", 0), total + customer.get("balance", 0)
        after = min(0, whole)
        if "balance" in customer:
            customer["balance"] = after
        return max(0, whole), before, after

    def line(self, sub, item, amount=None, proration=False, description=None, period=None):
        amount = item["price"]["unit_amount"] * item["quantity"] if amount is None else amount
        line = self.new("line_item", kept=False, amount=amount, subtotal=amount, currency="usd", quantity=item["quantity"], discounts=[], discount_amounts=[],
                        metadata={}, description=description or f"{item['quantity']} × {item['price']['id']}", subscription=sub["id"],
                        period=period or {"start": item["current_period_start"], "end": item["current_period_end"]},
                        pricing={"type": "price_details", "unit_amount_decimal": str(item["price"]["unit_amount"]),
                                 "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]}},
                        parent={"type": "subscription_item_details", "invoice_item_details": None,
                                "subscription_item_details": {"invoice_item": None, "proration": proration, "proration_details": None,
                                                              "subscription": sub["id"], "subscription_item": item["id"]}})
        return line

    def collect(self, invoice, pays=None):
        """By itself: charges the card, or sends it. True if it is paid."""
        if invoice["collection_method"] == "send_invoice" and invoice["amount_due"]:
            self.emit("invoice.sent", invoice)
            return False
        return self.charge(invoice, pays)

    def charge(self, invoice, pays=None):
        """Tries to take the money; with it the subscription's status follows. True if it is paid."""
        sub = self.sub_of(invoice)
        card = self.card_of(sub)
        if pays is None:
            pays = card == "good"
        if invoice["amount_due"] == 0 or pays:
            return self.settle(invoice, sub)
        self.new("payment_intent", amount=invoice["amount_due"], currency="usd", customer=invoice["customer"], payment_method_types=["card"],
                 status="requires_action" if card == "authentication" else "requires_payment_method")
        attempts = invoice["attempt_count"] + 1
        invoice.update(attempted=True, attempt_count=attempts, next_payment_attempt=self.now() + 3 * DAY)
        if card == "authentication":
            self.emit("invoice.payment_action_required", invoice)
        self.emit("invoice.payment_failed", invoice)
        if sub["status"] in ("active", "trialing"):
            self.change(sub, "customer.subscription.updated", status="past_due")
        return False

    def settle(self, invoice, sub):
        if invoice["amount_due"]:
            intent = self.new("payment_intent", amount=invoice["amount_due"], amount_received=invoice["amount_due"], currency="usd",
                              customer=invoice["customer"], payment_method_types=["card"], status="succeeded")
            charge = self.new("charge", amount=invoice["amount_due"], amount_captured=invoice["amount_due"], amount_refunded=0, currency="usd", captured=True,
                              paid=True, refunded=False, disputed=False, status="succeeded", customer=invoice["customer"], payment_intent=intent["id"])
            intent["latest_charge"] = charge["id"]
            self.new("invoice_payment", amount_paid=invoice["amount_due"], amount_requested=invoice["amount_due"], currency="usd", invoice=invoice["id"],
                     is_default=True, status="paid", payment={"type": "payment_intent", "payment_intent": intent["id"]},
                     status_transitions={"canceled_at": None, "paid_at": self.now()})
            self.emit("charge.succeeded", charge)
        invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, attempted=True, attempt_count=max(1, invoice["attempt_count"]),
                       auto_advance=False, next_payment_attempt=None, status_transitions={**invoice["status_transitions"], "paid_at": self.now()})
        self.forgive(invoice, sub)
        self.emit("invoice.paid", invoice)
        self.emit("invoice.payment_succeeded", invoice)
        self.apply_pending(sub, invoice)
        return True

    def paid_until(self, sub):
        """The end of the last period that was paid; 0: none was."""
        return max((line["period"]["end"] for invoice in self.invoices_of(sub, "paid") for line in invoice["lines"]["data"]), default=0)

    def forgive(self, invoice, sub):
        """The newest invoice decides: older ones may stay open."""
        resumes = sub["status"] == "paused" and invoice["status"] != "void"
        if (resumes or sub["status"] in ("incomplete", "past_due", "unpaid")) and invoice["id"] == sub["latest_invoice"]:
            self.change(sub, "customer.subscription.updated", status="active")
            if resumes:
                self.emit("customer.subscription.resumed", sub)

    def payments_of(self, invoice):
        return listed(list(reversed(self.every("invoice_payment", invoice=invoice["id"]))), f"/v1/invoice_payments?invoice={invoice['id']}")

    # By somebody at Stripe's dashboard

    def void(self, invoice):
        with self.lock:
            invoice = self.kept_invoice(invoice, "open", "uncollectible")
            sub = self.sub_of(invoice)
            self.end_invoice(invoice, "invoice.voided", "void", "voided_at")
            if sub["status"] == "incomplete":
                self.change(sub, "customer.subscription.updated", status="incomplete_expired", ended_at=self.now())
            self.forgive(invoice, sub)

    def write_off(self, invoice):
        with self.lock:
            invoice = self.kept_invoice(invoice, "open")
            self.end_invoice(invoice, "invoice.marked_uncollectible", "uncollectible", "marked_uncollectible_at")
            self.forgive(invoice, self.sub_of(invoice))

    def end_invoice(self, invoice, event, status, when):
        customer = self.things[invoice["customer"]]
        if status == "void" and "balance" in customer:
            customer["balance"] += invoice["starting_balance"] - invoice["ending_balance"]  # what it used up
        self.change(invoice, event, status=status, auto_advance=False, next_payment_attempt=None,
                    status_transitions={**invoice["status_transitions"], when: self.now()})

    def credit(self, invoice, amount):
        """A credit note: first less is due; what is more than that goes to the customer's balance. Returns its id."""
        with self.lock:
            invoice = self.kept_invoice(invoice, "open", "paid", "uncollectible")
            before = min(amount, invoice["amount_remaining"])
            note = self.new("credit_note", amount=amount, subtotal=amount, total=amount, currency="usd", customer=invoice["customer"], invoice=invoice["id"],
                            number=f"{invoice['number']}-CN-{len(self.every('credit_note')) + 1:02d}",
                            pdf=f"https://invoice.stripe.example/{invoice['id']}/credit",
                            status="issued", type="pre_payment" if before == amount else "mixed" if before else "post_payment", pre_payment_amount=before,
                            post_payment_amount=amount - before, discount_amount=0, discount_amounts=[], pretax_credit_amounts=[], refunds=[],
                            amount_shipping=0)
            line = {"id": f"cnli_{note['id'][3:]}", "object": "credit_note_line_item", "amount": amount, "description": "Credit", "discount_amount": 0,
                    "discount_amounts": [], "livemode": self.livemode, "metadata": None, "pretax_credit_amounts": [], "quantity": 1, "tax_rates": [],
                    "taxes": None, "type": "custom_line_item", "unit_amount": amount, "unit_amount_decimal": str(amount)}
            note["lines"] = listed([line], f"/v1/credit_notes/{note['id']}/lines")
            customer = self.things[invoice["customer"]]
            if "balance" in customer:
                customer["balance"] -= amount - before
            self.emit("credit_note.created", note)
            self.change(invoice, "invoice.updated", amount_due=invoice["amount_due"] - before, amount_remaining=invoice["amount_remaining"] - before,
                        pre_payment_credit_notes_amount=invoice["pre_payment_credit_notes_amount"] + before,
                        post_payment_credit_notes_amount=invoice["post_payment_credit_notes_amount"] + amount - before)
            if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
                self.settle(invoice, self.sub_of(invoice))
            return note["id"]

    def kept_invoice(self, invoice, *statuses):
        """Time may have passed since somebody got it."""
        invoice = self.things[invoice if isinstance(invoice, str) else invoice["id"]]
        assert invoice["status"] in statuses, f"{invoice['id']} is {invoice['status']}"
        return invoice
