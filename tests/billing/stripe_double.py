"""A double of the part of Stripe that manus uses: it keeps state, holds its callers to the documented contract, and can fail and lie.

    with Stripe() as stripe:
        plan = stripe.plan("basic", 1900)
        ... STRIPE_API_BASE=stripe.base, STRIPE_SECRET_KEY=stripe.key ...
        stripe.fails(500, on="POST /v1/customers", times=2)

Requests are checked against Stripe's own OpenAPI document. `log` holds what came. What is kept and how it changes: stripe_state, with stripe_invoices
(sent, voided, credited), stripe_changes (schedules, pending updates) and stripe_calendar (periods). Who does it: stripe_person.
"""
import collections
import hashlib
import http.server
import json
import operator
import re
import secrets
import socket
import sys
import threading
import time
import urllib.parse

from stripe_courier import Courier
from stripe_spec import NEW, OLD, Refused, fixtures, operation_of, parameters, refused_card
from stripe_state import DAY, FINAL, State, copied, in_version, listed

CONNECTIONS, BODY, REMEMBERED = 256, 1 << 20, 20_000


class Lie:
    def __init__(self, act, on, times, after):
        self.act, self.on, self.left, self.after = act, re.compile(on + "$"), times, after


class Stripe(State):
    def __init__(self, key="sk_test_double", rights=None, **options):
        super().__init__(**options)
        self.key = key
        self.rights = rights  # of a restricted key: {"customers": "write", "invoices": "read"}; None: all
        self.log = collections.deque(maxlen=REMEMBERED)  # {method, path, params, key, status, replayed, ...}
        self.lies = []
        self.intents = {}  # idempotency key: [fingerprint, reply or None while it runs]
        self.asking = threading.local()  # name: the Request-Id of what this thread answers
        self.slow = {}  # customer: seconds that whatever concerns them takes
        self.slowness = 0  # seconds that each deed takes
        self.skew = 0  # seconds that the Date of replies is off
        self.courier = Courier(self)
        self.on_event = self.courier.take
        self.server = Server(self)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.courier.start()
        return self

    def stop(self):
        self.courier.stop()
        self.server.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # What a test sets up

    def plan(self, name, amount, interval="month", count=1, **more):
        """A recurring price, with its product; returns its id."""
        with self.lock:
            product = self.new("product", name=name, active=True, images=[], marketing_features=[], updated=self.now())
            price = self.new("price", product=product["id"], active=True, billing_scheme="per_unit", currency="usd", type="recurring",
                             unit_amount=amount, unit_amount_decimal=str(amount), tax_behavior="unspecified",
                             recurring={"interval": interval, "interval_count": count, "meter": None, "usage_type": "licensed", "trial_period_days": None},
                             **more)
            return price["id"]

    def product(self, name, amount, interval="month", count=1):
        """The price of something else than a plan of manus's."""
        price = self.plan(name, amount, interval, count)
        self.others.add(price)
        return price

    def endpoint(self, url, secret=None, events=("*",), version=NEW):
        """A webhook endpoint; its events are sent while the courier works (courier.work)."""
        with self.lock:
            endpoint = self.new("webhook_endpoint", url=url, enabled_events=list(events), api_version=version, status="enabled")
            self.courier.secrets[endpoint["id"]] = [secret or f"whsec_{secrets.token_hex(16)}"]
            return endpoint["id"]

    def lie(self, act, on, times, after):
        with self.lock:
            self.lies.append(Lie(act, on, times, after))

    def fails(self, status, on=".*", times=1, after=False, retry_after=None, should_retry=None, stored=False):
        """Answers with an error. after: the deed is done all the same; stored: Stripe had begun, so a repeated key gets the error again."""
        headers = {"Retry-After": retry_after, "Stripe-Should-Retry": should_retry}
        kind = "api_error" if status >= 500 else "invalid_request_error"
        body = {"error": {"type": kind, "message": "The double fails.", **({"code": "rate_limit"} if status == 429 else {})}}
        act = Reply(status, body, {name: str(value) for name, value in headers.items() if value is not None})
        act.stored = stored
        self.lie(act, on, times, after)

    def slow_for(self, customer, seconds):
        """Whatever request concerns this customer takes so long; the others' do not. 0: no longer."""
        self.slow[customer] = seconds

    def refuses(self, on, status, message, code=None, param=None, kind="invalid_request_error", decline_code=None, times=1, stored=False):
        """Answers with an error of Stripe's shape, with or without a code. stored: the same to a repeated key."""
        more = {"decline_code": decline_code} if decline_code else {}
        act = Reply(status, Refused(status, message, code, param, kind, **more).body)
        act.stored = stored
        self.lie(act, on, times, False)

    def hangs(self, seconds, on=".*", times=1, after=False):
        """Says nothing for so long, then hangs up."""
        self.lie(("hang", seconds), on, times, after)

    def hangs_up(self, on=".*", times=1, after=False):
        self.lie(("hang", 0), on, times, after)

    def cuts(self, on=".*", times=1, after=True):
        """Half the body, then hangs up."""
        self.lie(("cut",), on, times, after)

    def garbles(self, body=b"<html>It works!</html>", on=".*", times=1, status=200):
        """A body that is none of Stripe's."""
        self.lie(("garble", status, body), on, times, False)

    def meanwhile(self, act, on=".*"):
        """Does something of the test's when the next such request has come, before it is looked at."""
        self.lie(act, on, 1, False)

    def honest(self):
        with self.lock:
            self.lies.clear()

    def asked(self, on=".*"):
        """What came of this kind: 'POST /v1/customers'."""
        return [one for one in list(self.log) if re.fullmatch(on, f"{one['method']} {one['path']}")]

    def truth(self, customer, plans=None):
        """The subscription that counts of this customer, or None: live ones first, then the newest. plans: only those with one of these prices;
        without, those of other products come last."""
        with self.lock:
            subs = [sub for sub in self.every("subscription", customer=customer) if plans is None or prices_of(sub) & set(plans)]
            return copied(min(subs, key=lambda sub: (prices_of(sub) <= self.others, sub["status"] in (*FINAL, "incomplete")), default=None))

    # One request

    def wait_for(self, path, query, body):
        """The slowness of the customer whom this request concerns: by its parameters, or by the object in its path."""
        if not any(self.slow.values()):
            return
        names = {*path.split("/"), *(value for form in (query, body) for _, value in urllib.parse.parse_qsl(form))}
        things = [thing for name in names if (thing := self.things.get(name))]
        concerned = names | {thing["customer"] for thing in things if isinstance(thing.get("customer"), str)}
        self.server.stopping.wait(max((self.slow.get(name, 0) for name in concerned), default=0))

    def answer(self, method, target, headers, body):
        """What is to be sent: a Reply, or the act of a lie."""
        path, _, query = target.partition("?")
        entry = {"method": method, "path": path, "query": query, "body": body.decode(errors="replace"), "headers": dict(headers), "key": headers.get("Idempotency-Key"),
                 "params": None, "status": None, "replayed": False, "at": time.monotonic(), "request": getattr(self.asking, "name", None)}
        with self.lock:
            self.log.append(entry)
            lie = next((lie for lie in self.lies if lie.left > 0 and lie.on.match(f"{method} {path}")), None)
            if lie:
                lie.left -= 1
        self.wait_for(path, query, entry["body"])
        if lie and callable(lie.act):
            lie.act()
            lie = None
        stored = lie and isinstance(lie.act, Reply) and lie.act.stored and not lie.after
        if lie and not lie.after and not stored:
            entry["status"] = "lie"
            return lie.act if not isinstance(lie.act, Reply) else lie.act.again()
        reply = self.honestly(method, path, query, headers, entry, (lambda *_: lie.act) if stored else self.do)
        entry["status"] = reply.status
        if not lie or stored:
            return reply
        if isinstance(lie.act, Reply):
            if lie.act.stored and entry["key"] in self.intents:
                self.intents[entry["key"]][1] = lie.act
            return lie.act.again()
        return (*lie.act, reply) if lie.act[0] == "cut" else lie.act

    def honestly(self, method, path, query, headers, entry, do):
        try:
            self.admit(method, path, headers)
            name, ids, operation = operation_of(method, path)
            self.check_rights(method, path)
            if entry["body"] and not headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
                raise Refused(400, "Invalid request: the body has to be a form (application/x-www-form-urlencoded)")
            params = entry["params"] = parameters(method, operation, query, entry["body"])
            deed = DEEDS.get((method, name))
            if deed is None:
                raise Refused(404, f"The double has no {method} {name}")
            key = entry["key"] if method == "POST" else None
            if key is None:
                return do(deed, params, ids, entry)
            return self.once(key, method, path, params, entry, lambda: do(deed, params, ids, entry))
        except Refused as refused:
            return Reply(refused.status, refused.body)

    def admit(self, method, path, headers):
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or key != self.key:
            raise Refused(401, "Invalid API Key provided" if key else "You did not provide an API key.")
        version = headers.get("Stripe-Version")
        if version not in (NEW, OLD):
            raise Refused(400, f"Invalid Stripe API version: {version}" if version else "The double wants a Stripe-Version")
        if len(headers.get("Idempotency-Key", "")) > 255:
            raise Refused(400, "Idempotency keys have 255 characters at most", kind="idempotency_error")

    def check_rights(self, method, path):
        """What a restricted key may, by the first part of the path."""
        if self.rights is None:
            return
        topic = path.split("/")[2]
        if self.rights.get(topic) != "write" and not (method == "GET" and self.rights.get(topic) == "read"):
            raise Refused(403, f"The provided key does not have the required permissions for this endpoint: {topic}", "more_permissions_required")

    def once(self, key, method, path, params, entry, act):
        """The first reply to this key, again and again. Refusals before the deed are not kept."""
        fingerprint = hashlib.sha256(json.dumps([method, path, params], sort_keys=True).encode()).digest()
        with self.lock:
            known = self.intents.get(key)
            if known is None:
                while len(self.intents) >= REMEMBERED:
                    self.intents.pop(next(iter(self.intents)))
                self.intents[key] = [fingerprint, None]
        if known is None:
            self.intents[key][1] = act()
            return self.intents[key][1]
        if known[0] != fingerprint:
            raise Refused(400, "Keys for idempotent requests can only be used with the same parameters they were first used with.", kind="idempotency_error")
        if known[1] is None:
            raise Refused(409, "There is currently another in-progress request using this Idempotent Key.", "idempotency_key_in_use", kind="idempotency_error")
        entry["replayed"] = True
        return known[1].again({"Idempotent-Replayed": "true"})

    def do(self, deed, params, ids, entry):
        """Runs it, alone."""
        expand = params.pop("expand", [])
        version = entry["headers"].get("Stripe-Version")
        time.sleep(self.slowness)
        with self.lock:
            self.request = {"id": entry["request"], "idempotency_key": entry["key"]}
            try:
                thing = copied(deed(self, params, *ids))
                for path in expand:
                    self.expand(thing, path, path)
                self.embed(thing)
                return Reply(200, in_version(thing, version))
            except Refused as refused:
                return Reply(refused.status, refused.body)
            finally:
                self.request = {"id": None, "idempotency_key": None}


def prices_of(sub):
    return {item["price"]["id"] for item in sub["items"]["data"]}


class Reply:
    stored = False

    def __init__(self, status, body, headers=()):
        self.status, self.body, self.headers = status, body, dict(headers)

    def again(self, headers=()):
        return Reply(self.status, self.body, {**self.headers, **dict(headers)})


# What each request does

DEEDS = {}


def deed(route):
    def keep(function):
        DEEDS[tuple(route.split(" "))] = function
        return function
    return keep


TESTS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def within(things, params, name):
    """Those whose time of this name is in the range that is asked for, or is that very moment."""
    span = params.get(name, {})
    span = span if isinstance(span, dict) else {"gte": span, "lte": span}
    return [thing for thing in things if not span or thing[name] is not None and all(TESTS[test](thing[name], bound) for test, bound in span.items())]


def page(stripe, things, params, url):
    """limit, starting_after and ending_before of a list that is newest first; `created` as a range."""
    things = within(things, params, "created")
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refused(400, f"Invalid limit: {limit}", "parameter_invalid_integer", "limit")
    names = [thing["id"] for thing in things]
    for cursor in ("starting_after", "ending_before"):
        if cursor in params and params[cursor] not in names:
            raise Refused(400, f"No such object: '{params[cursor]}'", "resource_missing", cursor)
    if "ending_before" in params:
        rest = things[:names.index(params["ending_before"])]
        return {**listed(rest[-limit:], url), "has_more": len(rest) > limit}
    rest = things[names.index(params["starting_after"]) + 1:] if "starting_after" in params else things
    return {**listed(rest[:limit], url), "has_more": len(rest) > limit}


def merge_metadata(thing, params):
    new = params.pop("metadata", None)
    if new == "":
        thing["metadata"] = {}
    elif new:
        merged = {**thing["metadata"], **new}
        thing["metadata"] = {key: value for key, value in merged.items() if value != ""}


def unset(params):
    return {key: None if value == "" else value for key, value in params.items()}


@deed("GET /v1/account")
def get_account(stripe, params):
    return {"id": stripe.account, "object": "account", "country": "US", "default_currency": "usd", "charges_enabled": True, "payouts_enabled": True,
            "details_submitted": True, "type": "standard", "email": None, "business_profile": None, "settings": None}


@deed("GET /v1/balance")
def get_balance(stripe, params):
    money = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    return {"object": "balance", "available": money, "pending": money, "livemode": stripe.livemode}


# Customers

@deed("POST /v1/customers")
def create_customer(stripe, params):
    check_address(stripe, params, "email")
    return stripe.things[stripe.customer(**unset(params))]


def check_address(stripe, params, name):
    address = params.get(name) or "none@example.com"
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", address) or address.lower() in {bad.lower() for bad in stripe.bad_addresses}:
        raise Refused(400, f"Invalid email address: {address}", "email_invalid", name)


@deed("GET /v1/customers")
def list_customers(stripe, params):
    return page(stripe, [one for one in stripe.every("customer", email=params.get("email")) if not one.get("deleted")], params, "/v1/customers")


@deed("GET /v1/customers/{customer}")
def get_customer(stripe, params, name):
    return stripe.find("customer", name)


@deed("POST /v1/customers/{customer}")
def update_customer(stripe, params, name):
    customer = live_customer(stripe, name, 404, "id")
    check_address(stripe, params, "email")
    before = copied(customer)
    merge_metadata(customer, params)
    customer.update(unset(params))
    stripe.emit("customer.updated", customer, before)
    return customer


@deed("DELETE /v1/customers/{customer}")
def delete_customer(stripe, params, name):
    return stripe.delete_customer(live_customer(stripe, name, 404, "id"))


def live_customer(stripe, name, status=400, param="customer"):
    customer = stripe.find("customer", name, status, param)
    if customer.get("deleted"):
        raise Refused(status, f"No such customer: '{name}'", "resource_missing", param)
    return customer


# Products and prices

@deed("GET /v1/products")
def list_products(stripe, params):
    return page(stripe, stripe.every("product", active=params.get("active")), params, "/v1/products")


@deed("GET /v1/products/{id}")
def get_product(stripe, params, name):
    return stripe.find("product", name)


@deed("GET /v1/prices")
def list_prices(stripe, params):
    things = stripe.every("price", active=params.get("active"), product=params.get("product"), type=params.get("type"), currency=params.get("currency"))
    if "lookup_keys" in params:
        things = [one for one in things if one["lookup_key"] in params["lookup_keys"]]
    return page(stripe, things, params, "/v1/prices")


@deed("GET /v1/prices/{price}")
def get_price(stripe, params, name):
    return stripe.find("price", name)


# Checkout

@deed("POST /v1/checkout/sessions")
def create_session(stripe, params):
    mode = params.get("mode", "payment")
    if mode != "subscription":
        raise Refused(400, "The double knows subscriptions only", param="mode")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise Refused(400, f"Invalid ui_mode: {params['ui_mode']}", param="ui_mode")
    if "customer" in params and "customer_email" in params:
        raise Refused(400, "You may only specify one of these parameters: customer, customer_email.")
    if "customer_creation" in params:
        raise Refused(400, "`customer_creation` can only be used in `payment` and `setup` mode.", param="customer_creation")
    if "allow_promotion_codes" in params and "discounts" in params:
        raise Refused(400, "You may only specify one of these parameters: allow_promotion_codes, discounts.")
    if params.get("automatic_tax", {}).get("enabled") and "customer" in params and "customer_update" not in params:
        raise Refused(400, "Automatic tax calculation in Checkout requires a valid address on the Customer.", "customer_tax_location_invalid")
    if "customer" in params:
        live_customer(stripe, params["customer"])
    check_address(stripe, params, "customer_email")
    lines = session_lines(stripe, params)
    check_urls(params)
    expires = params.get("expires_at", stripe.now() + DAY)
    if not 1800 - 60 <= expires - stripe.now() <= DAY + 60:
        raise Refused(400, "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.", param="expires_at")
    data = params.get("subscription_data", {})
    if "trial_period_days" in data and "trial_end" in data or data.get("trial_period_days", 1) < 1:
        raise Refused(400, "Invalid trial", param="subscription_data[trial_period_days]")
    kept = ("customer", "customer_email", "client_reference_id", "metadata", "success_url", "cancel_url", "payment_method_types", "payment_method_collection",
            "allow_promotion_codes", "locale")
    return stripe.session([(price["id"], quantity) for price, quantity in lines], data, expires_at=expires,
                          **{name: params[name] for name in kept if name in params})


def session_lines(stripe, params):
    lines = []
    for i, line in enumerate(params.get("line_items", [])):
        if "price" not in line:
            raise Refused(400, "The double wants prices by id", param=f"line_items[{i}]")
        price = stripe.find("price", line["price"], 400, f"line_items[{i}][price]")
        if not price["active"]:
            raise Refused(400, f"The price specified is inactive. This field only accepts active prices: {price['id']}", param=f"line_items[{i}][price]")
        if price["type"] != "recurring":
            raise Refused(400, "You must provide at least one recurring price in `subscription` mode.")
        if "quantity" not in line:
            raise Refused(400, "Quantity is required. Add `quantity` to `line_items[%d]`" % i, param=f"line_items[{i}][quantity]")
        lines.append((price, line["quantity"]))
    if not 1 <= len(lines) <= 20:
        raise Refused(400, "You must provide 1 to 20 line items in `subscription` mode.", "parameter_missing", "line_items")
    return lines


def check_urls(params):
    if "success_url" not in params:
        raise Refused(400, "Missing required param: success_url.", "parameter_missing", "success_url")
    for name in ("success_url", "cancel_url", "return_url"):
        if name in params and urllib.parse.urlsplit(params[name]).scheme not in ("http", "https"):
            raise Refused(400, f"Not a valid URL: {params[name]}", "url_invalid", name)


@deed("GET /v1/checkout/sessions")
def list_sessions(stripe, params):
    things = stripe.every("checkout.session", customer=params.get("customer"), status=params.get("status"), subscription=params.get("subscription"),
                          payment_link=params.get("payment_link"))
    if "customer_details" in params:
        things = [one for one in things if (one["customer_details"] or {}).get("email") == params["customer_details"]["email"]]
    return page(stripe, things, params, "/v1/checkout/sessions")


@deed("GET /v1/checkout/sessions/{session}")
def get_session(stripe, params, name):
    return stripe.find("checkout.session", name)


@deed("GET /v1/checkout/sessions/{session}/line_items")
def get_session_lines(stripe, params, name):
    stripe.find("checkout.session", name)
    lines = [{"id": f"li_{i}{name}", "object": "item", "amount_discount": 0, "amount_subtotal": price["unit_amount"] * quantity, "amount_tax": 0,
              "amount_total": price["unit_amount"] * quantity, "currency": "usd", "description": None, "price": price, "quantity": quantity, "created": 0}
             for i, (price, quantity) in enumerate((stripe.things[price], quantity) for price, quantity in stripe.orders[name]["lines"])]
    return page(stripe, lines, params, f"/v1/checkout/sessions/{name}/line_items")


@deed("POST /v1/checkout/sessions/{session}")
def update_session(stripe, params, name):
    session = stripe.find("checkout.session", name)
    merge_metadata(session, params)
    return session


@deed("POST /v1/checkout/sessions/{session}/expire")
def expire_session(stripe, params, name):
    session = stripe.find("checkout.session", name)
    if session["status"] != "open":
        raise Refused(400, f"Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{session['status']}`.")
    stripe.change(session, "checkout.session.expired", status="expired", url=None)
    return session


@deed("POST /v1/billing_portal/sessions")
def create_portal_session(stripe, params):
    live_customer(stripe, params.get("customer"))
    flow = params.get("flow_data")
    for kind in ("subscription_cancel", "subscription_update", "subscription_update_confirm"):
        if flow and flow["type"] == kind:
            stripe.find("subscription", flow.get(kind, {}).get("subscription"), 400, f"flow_data[{kind}][subscription]")
    session = stripe.new("billing_portal.session", customer=params["customer"], configuration="bpc_1Double", return_url=params.get("return_url"))
    session["url"] = f"https://billing.stripe.example/p/session/{session['id']}"
    return session


@deed("GET /v1/billing_portal/configurations")
def list_portals(stripe, params):
    portal = {**copied(fixtures()["billing_portal.configuration"]), "id": "bpc_1Double", "active": True, "is_default": True, "livemode": stripe.livemode}
    portal["features"]["subscription_cancel"].update(enabled=True, **stripe.portal_cancels)
    return page(stripe, [portal], params, "/v1/billing_portal/configurations")


# Subscriptions

@deed("GET /v1/subscriptions")
def list_subscriptions(stripe, params):
    wanted = params.get("status")
    if "customer" in params:
        stripe.find("customer", params["customer"], 400, "customer")
    things = stripe.every("subscription", customer=params.get("customer"), collection_method=params.get("collection_method"))
    for name in ("current_period_start", "current_period_end"):
        things = [one for one in things if within(one["items"]["data"], params, name)]
    if wanted == "ended":
        things = [one for one in things if one["status"] in FINAL]
    elif wanted is None:
        things = [one for one in things if one["status"] != "canceled"]
    elif wanted != "all":
        things = [one for one in things if one["status"] == wanted]
    if "price" in params:
        things = [one for one in things if any(item["price"]["id"] == params["price"] for item in one["items"]["data"])]
    return page(stripe, things, params, "/v1/subscriptions")


@deed("GET /v1/subscriptions/{subscription_exposed_id}")
def get_subscription(stripe, params, name):
    return stripe.find("subscription", name)


@deed("GET /v1/subscription_items")
def list_items(stripe, params):
    sub = stripe.find("subscription", params["subscription"], 400, "subscription")
    return page(stripe, sub["items"]["data"], params, "/v1/subscription_items")


@deed("POST /v1/subscriptions/{subscription_exposed_id}")
def update_subscription(stripe, params, name):
    sub = stripe.find("subscription", name)
    if sub["status"] in FINAL and params.keys() - {"metadata", "cancellation_details"}:
        raise Refused(400, "A canceled subscription can only update its cancellation_details and metadata.")
    if "cancel_at" in params and "cancel_at_period_end" in params:
        raise Refused(400, "You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    if sub["schedule"] and {"cancel_at", "cancel_at_period_end"} & params.keys():
        raise Refused(400, f"The subscription is managed by the subscription schedule `{sub['schedule']}`, and updating any cancelation behavior directly is "
                           "not allowed. Please update the schedule instead.")
    if params.get("collection_method", sub["collection_method"]) == "send_invoice" and not params.get("days_until_due", sub["days_until_due"]):
        raise Refused(400, "You must pass `days_until_due` when `collection_method` is `send_invoice`.", param="days_until_due")
    if "days_until_due" in params and params.get("collection_method", sub["collection_method"]) != "send_invoice":
        raise Refused(400, "You can only pass `days_until_due` if `collection_method` is `send_invoice`.", param="days_until_due")
    before = copied(sub)
    extra = cancel_changes(stripe, sub, params)
    after = {"metadata": sub["metadata"]}
    merge_metadata(after, params)
    extra.update(after)
    if params.get("trial_end"):
        extra.update(end_of_trial(stripe, sub, params["trial_end"]))
    extra.update({key: unset(params)[key] for key in ("description", "default_payment_method") if key in params})
    if "pause_collection" in params:
        extra["pause_collection"] = pause_of(stripe, params["pause_collection"])
    extra.update({key: params[key] for key in ("collection_method", "days_until_due") if key in params})
    if params.get("collection_method") == "charge_automatically":
        extra["days_until_due"] = None
    if "items" in params:
        stripe.switch(sub, params["items"], params.get("proration_behavior", "create_prorations"), params.get("proration_date"),
                      params.get("payment_behavior", "allow_incomplete"), extra)
        return sub
    sub.update(extra)
    if sub != before:
        stripe.emit("customer.subscription.updated", sub, before)
    return sub


def pause_of(stripe, pause):
    if pause == "":
        return None
    if pause.get("resumes_at", stripe.now() + 1) <= stripe.now():
        raise Refused(400, "`resumes_at` must be in the future.", param="pause_collection[resumes_at]")
    return {"resumes_at": None, **pause}


def cancel_changes(stripe, sub, params):
    end, extra = stripe.period_of(sub)[1], {}
    if "cancel_at_period_end" in params:
        flag = params["cancel_at_period_end"]
        extra = {"cancel_at_period_end": flag, "canceled_at": stripe.now() if flag else None}
        if flag or sub["cancel_at_period_end"]:
            extra["cancel_at"] = end if flag else None
    if "cancel_at" in params:
        at = params["cancel_at"]
        at = {"": None, "max_period_end": end, "min_period_end": min(item["current_period_end"] for item in sub["items"]["data"])}.get(at, at)
        extra = {"cancel_at": at, "canceled_at": stripe.now() if at else None, "cancel_at_period_end": False}
    if extra:
        reason = "cancellation_requested" if extra["canceled_at"] else None
        extra["cancellation_details"] = {"comment": None, "feedback": None, **params.get("cancellation_details", {}), "reason": reason}
    return extra


def end_of_trial(stripe, sub, end):
    """trial_end of an update: `now` ends it, and the first paid period begins."""
    now = stripe.now()
    end = now if end == "now" else end
    if end <= now:
        if sub["status"] != "trialing":
            return {}
        stripe.anew(sub, now)
        return {"trial_end": now, "status": "active"}
    for item in sub["items"]["data"]:
        item["current_period_end"] = end
    return {"trial_end": end, "trial_start": sub["trial_start"] or now, "status": "trialing", "billing_cycle_anchor": end}


@deed("DELETE /v1/subscriptions/{subscription_exposed_id}")
def cancel_subscription(stripe, params, name):
    sub = stripe.find("subscription", name)
    if sub["status"] in FINAL:
        raise Refused(404, f"No such subscription: '{name}'", "resource_missing", "id")
    stripe.end_subscription(sub, "cancellation_requested", params.get("prorate", False), params.get("invoice_now", False))
    return sub


@deed("POST /v1/subscriptions/{subscription}/resume")
def resume_subscription(stripe, params, name):
    sub = stripe.find("subscription", name)
    stripe.resume(sub)
    return sub


@deed("GET /v1/subscription_schedules")
def list_schedules(stripe, params):
    things = stripe.every("subscription_schedule", customer=params.get("customer"))
    for name in ("canceled_at", "completed_at", "released_at"):
        things = within(things, params, name)
    return page(stripe, [one for one in things if not params.get("scheduled") or one["status"] == "not_started"], params, "/v1/subscription_schedules")


@deed("POST /v1/subscription_schedules/{schedule}/release")
def release_schedule(stripe, params, name):
    schedule = stripe.find("subscription_schedule", name)
    if schedule["status"] not in ("active", "not_started"):
        raise Refused(400, f"You cannot release a subscription schedule that is `{schedule['status']}`.")
    stripe.releases(stripe.things[schedule["subscription"]])
    return schedule


# Invoices

@deed("GET /v1/invoices")
def list_invoices(stripe, params):
    things = stripe.every("invoice", customer=params.get("customer"), status=params.get("status"), collection_method=params.get("collection_method"))
    if "subscription" in params:
        things = [one for one in things if one["parent"]["subscription_details"]["subscription"] == params["subscription"]]
    return page(stripe, within(things, params, "due_date"), params, "/v1/invoices")


@deed("GET /v1/invoices/{invoice}")
def get_invoice(stripe, params, name):
    return stripe.find("invoice", name)


@deed("POST /v1/invoices/{invoice}/pay")
def pay_invoice(stripe, params, name):
    invoice = stripe.find("invoice", name)
    if invoice["status"] != "open":
        raise Refused(400, "Invoice is already paid" if invoice["status"] == "paid" else "Invoice is not open")
    if not stripe.charge(invoice):
        raise refused_card(stripe.card_of(stripe.sub_of(invoice)), "invoice", "the invoice")
    return invoice


@deed("POST /v1/invoices/{invoice}/finalize")
def finalize_invoice(stripe, params, name):
    invoice = of_status(stripe, name, "draft", "finalize")
    stripe.collect(stripe.finalize(invoice))
    return invoice


@deed("POST /v1/invoices/{invoice}/void")
def void_invoice(stripe, params, name):
    invoice = of_status(stripe, name, "open", "uncollectible", "void")
    stripe.void(invoice)
    return invoice


@deed("POST /v1/invoices/{invoice}/mark_uncollectible")
def mark_uncollectible(stripe, params, name):
    invoice = of_status(stripe, name, "open", "mark as uncollectible")
    stripe.write_off(invoice)
    return invoice


def of_status(stripe, name, *allowed):
    """allowed: statuses, and what is to be done in that."""
    invoice = stripe.find("invoice", name)
    if invoice["status"] not in allowed[:-1]:
        raise Refused(400, f"You can only {allowed[-1]} an invoice with one of these statuses: {', '.join(allowed[:-1])}.", "invoice_not_editable")
    return invoice


@deed("GET /v1/credit_notes")
def list_credit_notes(stripe, params):
    return page(stripe, stripe.every("credit_note", customer=params.get("customer"), invoice=params.get("invoice")), params, "/v1/credit_notes")


@deed("POST /v1/invoices/create_preview")
def preview_invoice(stripe, params):
    """What a change of the subscription would cost; nothing is kept."""
    if "subscription" not in params:
        raise Refused(400, "The double previews changes of a subscription", "parameter_missing", "subscription")
    sub = copied(stripe.find("subscription", params["subscription"], 400, "subscription"))
    if params.get("customer", sub["customer"]) != sub["customer"]:
        raise Refused(400, f"The subscription does not belong to the customer: {params['customer']}", param="customer")
    if sub["status"] in FINAL:
        raise Refused(400, "You cannot preview the upcoming invoice for a canceled subscription.", "invoice_upcoming_none")
    details = params.get("subscription_details", {})
    changes, items = stripe.item_changes(sub, details["items"]) if "items" in details else ([], sub["items"]["data"])
    behavior = details.get("proration_behavior", "create_prorations")
    lines = stripe.prorations(sub, changes, details.get("proration_date", stripe.now())) if behavior != "none" else []
    if behavior != "always_invoice":
        end = stripe.period_of(sub)[1]
        lines += [stripe.line(sub, item, period={"start": end, "end": stripe.end_of(sub, item["price"], end)}) for item in items]
    total = sum(line["amount"] for line in lines)
    start, end = stripe.period_of(sub)
    invoice = stripe.new("invoice", kept=False, customer=sub["customer"], status="draft", billing_reason="upcoming", currency="usd", subtotal=total, total=total,
                         collection_method="charge_automatically", amount_due=max(0, total), amount_remaining=max(0, total), amount_paid=0, amount_overpaid=0,
                         period_start=start, period_end=end, metadata={},
                         payment_settings={"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
                         parent={"type": "subscription_details", "quote_details": None, "subscription_details": {"subscription": sub["id"], "metadata": {}}})
    invoice["id"] = f"upcoming_{invoice['id']}"
    for line in lines:
        line["invoice"] = invoice["id"]
    invoice["lines"] = listed(lines, f"/v1/invoices/{invoice['id']}/lines")
    return invoice


@deed("GET /v1/invoice_payments")
def list_invoice_payments(stripe, params):
    things = stripe.every("invoice_payment", invoice=params.get("invoice"), status=params.get("status"))
    if "payment" in params:
        things = [one for one in things if one["payment"].get("payment_intent") == params["payment"].get("payment_intent")]
    return page(stripe, things, params, "/v1/invoice_payments")


def readable(kind, route):
    @deed(f"GET {route}")
    def get(stripe, params, name):
        return stripe.find(kind, name)


for kind, route in (("charge", "/v1/charges/{charge}"), ("payment_intent", "/v1/payment_intents/{intent}"), ("refund", "/v1/refunds/{refund}"),
                    ("dispute", "/v1/disputes/{dispute}"), ("credit_note", "/v1/credit_notes/{id}"),
                    ("payment_link", "/v1/payment_links/{payment_link}"), ("subscription_schedule", "/v1/subscription_schedules/{schedule}")):
    readable(kind, route)


# Events and endpoints

@deed("GET /v1/events")
def list_events(stripe, params):
    if {"type", "types"} <= params.keys():
        raise Refused(400, "You may only specify one of these parameters: type, types.")
    if len(params.get("types", [])) > 20:
        raise Refused(400, "You may specify up to 20 event types.", param="types")
    things = [one for one in stripe.every("event") if one["created"] > stripe.now() - 30 * DAY]
    kinds = params.get("types", [params["type"]] if "type" in params else None)
    if kinds:
        things = [one for one in things if any(re.fullmatch(kind.replace(".", r"\.").replace("*", ".*"), one["type"]) for kind in kinds)]
    if "delivery_success" in params:
        things = [one for one in things if stripe.courier.succeeded(one["id"]) == params["delivery_success"]]
    return page(stripe, things, params, "/v1/events")


@deed("GET /v1/events/{id}")
def get_event(stripe, params, name):
    event = stripe.find("event", name)
    if event["created"] <= stripe.now() - 30 * DAY:
        raise Refused(404, f"No such event: '{name}'", "resource_missing", "id")
    return event


@deed("GET /v1/webhook_endpoints")
def list_endpoints(stripe, params):
    return page(stripe, stripe.every("webhook_endpoint"), params, "/v1/webhook_endpoints")


@deed("GET /v1/webhook_endpoints/{webhook_endpoint}")
def get_endpoint(stripe, params, name):
    return stripe.find("webhook_endpoint", name)


@deed("POST /v1/webhook_endpoints")
def create_endpoint(stripe, params):
    name = stripe.endpoint(params["url"], events=params["enabled_events"], version=params.get("api_version", NEW))
    endpoint = stripe.things[name]
    merge_metadata(endpoint, params)
    return {**endpoint, "secret": stripe.courier.secrets[name][0]}  # shown this once


@deed("POST /v1/webhook_endpoints/{webhook_endpoint}")
def update_endpoint(stripe, params, name):
    endpoint = stripe.find("webhook_endpoint", name)
    merge_metadata(endpoint, params)
    if "disabled" in params:
        endpoint["status"] = "disabled" if params.pop("disabled") else "enabled"
    endpoint.update(unset(params))
    return endpoint


@deed("DELETE /v1/webhook_endpoints/{webhook_endpoint}")
def delete_endpoint(stripe, params, name):
    stripe.find("webhook_endpoint", name)
    stripe.forget(name)
    return {"id": name, "object": "webhook_endpoint", "deleted": True}


# The wire

class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 512

    def __init__(self, stripe):
        super().__init__(("127.0.0.1", 0), Handler)
        self.stripe, self.stopping, self.room = stripe, threading.Event(), threading.Semaphore(CONNECTIONS)

    def process_request(self, request, address):
        if self.room.acquire(blocking=False):
            super().process_request(request, address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, address):
        try:
            super().process_request_thread(request, address)
        finally:
            self.room.release()

    def handle_error(self, request, address):
        """A client that hangs up is none of the double's errors."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    name = None  # of the request that is answered
    protocol_version, timeout = "HTTP/1.1", 60
    disable_nagle_algorithm, wbufsize = True, -1

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + self.server.stripe.skew)

    def version_string(self):
        return "double"

    def log_message(self, *_):
        pass

    def handle_any(self):
        self.name = self.server.stripe.asking.name = f"req_{secrets.token_hex(7)}"
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > BODY or "Transfer-Encoding" in self.headers:
            return self.say(Reply(400, {"error": {"type": "invalid_request_error", "message": "Invalid body"}}), close=True)
        body = self.rfile.read(int(length))
        act = self.server.stripe.answer(self.command, self.path, self.headers, body)
        if isinstance(act, Reply):
            return self.say(act)
        self.close_connection = True
        if act[0] == "hang":
            self.server.stopping.wait(act[1])
        elif act[0] == "garble":
            self.send_response(act[1])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(act[2])))
            self.end_headers()
            self.wfile.write(act[2])
        else:
            self.say(act[1] if len(act) > 1 else Reply(200, {"half": "a body"}), cut=True)
        return None

    do_GET = do_POST = do_DELETE = handle_any

    def say(self, reply, close=False, cut=False):
        try:
            body = json.dumps(reply.body, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half a surrogate pair can only be escaped
            body = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", self.name)
        for name in ("Idempotency-Key", "Stripe-Version"):
            if name in self.headers:
                self.send_header(name, self.headers[name])
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body[:len(body) // 2] if cut else body)
        self.wfile.flush()
        if cut:
            self.connection.shutdown(socket.SHUT_RDWR)
