"""Black-box fuzzing: starts the program built under sanitizers, sends it mutated requests over many connections, and holds
every answer to what HTTP and the program promise. Written for the routes and headers that it finds in the program itself.

    tests/fuzz/server.py BINARY [--seconds N] [--answers N] [--seed N] [--keep FOLDER] [--setup NAME]

The same seed sends the same batches, but for ids and tokens. A finding is printed with the request that caused it, and its bytes
stay in the folder. Ends with 1 if there is one."""
import argparse
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import selectors
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
API = "/api/v1"
KEY = "kq3Vd8Zr1nW5xT7bLmY0cHf2GsJ9pQeA4uRi6oXv"
METRICS = "mT7bLmY0cHf2GsJ9pQeA4uRi6oXvkq3Vd8Zr1nW5x"
HOOK = "whsec_" + "k3" * 16
PASSWORD = "password123"

CONNECTIONS = 48     # at once
HEALTH_SECONDS = 10  # within which /health is answered, whatever else goes on there, by a sanitized program
BATCH_SECONDS = 90   # after which a connection that is still open hangs
LOG_BYTES = 64 << 20 # that are kept
THREADS_KEEP = 200   # descriptors at most: the files of the store, and connections to Stripe
GROWN_MIB = 256      # of memory, from the first fifth of a run to its end: allocators keep some,
GROWN_BYTES = 1500   # and AddressSanitizer takes more with every answer, where the same program without it takes none

SETTINGS = {
    "SHUTDOWN_GRACE_SECONDS": "0", "JWT_SECRET_KEY": KEY, "METRICS_TOKEN": METRICS, "PASSWORD_ARGON2_MEMORY_KIB": "8192",
    "PASSWORD_ARGON2_PASSES": "1", "LOG_FORMAT": "json", "RATE_LIMIT_DRY_RUN": "true", "THREADS": "2", "STRIPE_SECRET_KEY": "sk_test_1",
    "STRIPE_WEBHOOK_SECRET": HOOK, "STRIPE_PRICE_ID_BASIC": "price_b", "STRIPE_PRICE_ID_PRO": "price_p", "CLIENT_CONNECTIONS": "0",
    "PUBLIC_URL": "https://app.example.com"}

# Each is a server of its own; the run is divided among them.
SETUPS = {
    "plain": {},
    "proxied": {"PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "127.0.0.0/8,10.0.0.0/8", "PROXY_HEADER": "forwarded"},
    "open": {"AUTH_PROVIDER": "none", "TRUSTED_PROXIES": "127.0.0.0/8", "WAITING_MEMORY_MIB": "4", "CLIENT_CONNECTIONS": "20"},
}


class Finding(Exception):
    def __init__(self, what, batch=None):
        super().__init__(what)
        self.batch = batch


# What is sent

NUMBERS = ["0", "-1", "1", "50", "+3", "3, 3", "007", "1e3", "9223372036854775807", "9223372036854775808", "18446744073709551616", "0x10", "", " 5", "5\t", "NaN"]
TEXTS = ["", "a", "ann@example.com", "Ann Lee", PASSWORD, "123456", "\u0000", "\u202eabc", "İ", "ß", "한국어", "👩‍👩‍👧", "e\u0301", "x" * 101, "y" * 1025,
         "a@b", "a@@b.example", "\"a b\"@example.com", "a@[127.0.0.1]", "ü@bücher.example", "a@xn--bcher-kva.example", "\ud800", "' OR 1=1 --", "%00", "../..",
         "en", "ar", "basic", "pro", "admin", "user", "sub_1", "cs_test_1", "https://app.example.com/x", "https://app.example.com@evil.example", "01J0000000000000000000000A"]
TARGETS = ["*", "/", "//", "/%", "/%2", "/%00", "/%2e%2e/", "/a?", "?", "a", "http://a", "http://a?x", "http://a#f", "http://a/?x=1", "http://u:p@h/", "http://[::1]:80/x",
           "http://[v1.x]/", "http://", "http:///", "http://?", "HTTP://a/", "https://a:0/", "a:1", "http://a:99999/", "/\xff\xfe", "/\xc3\x28", "/a b", "/;x", "/a//b", "/api/v1/health/",
           "/API/v1/health", "/api/v1/gate/%2e%2e/x", "/api/v1/gate//", "/manus/assets/..%2f..", "/manus/assets/app.css", "/manus/assets/swagger-ui.js", "/" + "a" * 8200, "/?" + "b" * 9000]
VALUES = {
    "Host": ["a", "localhost", "[::1]:8", "[v1.x]", "", "a b", "a:b", "a:99999", "user@a", "127.0.0.1:80", "\xff", "a,b"],
    "Content-Type": ["application/json", "application/json; charset=utf-8", "text/plain", "application/x+json", "application/", "multipart/form-data; boundary=x", "application/json, text/plain", ""],
    "Content-Encoding": ["gzip", "identity", ""],
    "Transfer-Encoding": ["chunked", "gzip, chunked", "chunked, chunked", "identity", "\x0bchunked", "chunked;q=1", "Chunked", "xchunked", ""],
    "Content-Length": NUMBERS,
    "Expect": ["100-continue", "200-ok", ""],
    "Connection": ["close", "keep-alive", "keep-alive, Upgrade", "upgrade", ",", "close, close", "Host"],
    "Upgrade": ["h2c", "websocket", "TLS/1.0"],
    "Origin": ["http://localhost:5173", "http://evil.example", "null", "", "http://localhost:5173, x"],
    "Access-Control-Request-Method": ["POST", "get", "x y"],
    "X-Request-Id": ["a-1_b.2", "a b", "x" * 128, "x" * 129, "", "\xff"],
    "Forwarded": ["for=1.2.3.4", "for=\"[2001:db8::1]:4711\";proto=http", "for=unknown", "for=_x", "for=1.2.3.4, for=\"", "for=\"\\\"\", for=10.0.0.1", "for=" + "1" * 5000, ",,,", "for=1.2.3.4;for=5.6.7.8", "For=\"1.2.3.4", ";"],
    "X-Forwarded-For": ["1.2.3.4", "1.2.3.4, 10.0.0.1", "::1", "[2001:db8::1]:5", "x", ",", "1.2.3.4:99999", "64:ff9b::1.2.3.4", "10.0.0.1," * 600, "a" * 5000, "\xff"],
    "User-Agent": ["curl/8", "x" * 3000, "\xf0\x9f\x98\x80", "\t", "\xff\xfe"],
    "Accept-Encoding": ["gzip", "gzip;q=0", "*", "br, gzip;q=0.5", "gzip;q=x", ","],
    "Accept-Language": ["ar", "en-GB,en;q=0.5", "ar;q=0", "*", ";q=", "x" * 2000],
    "X-Original-Method": ["GET", "POST", "put", "", "X Y"],
    "X-Original-URI": ["/", "/api/v1/x", "/api/v1/%2e%2e/x", "/api//v1", "/api/v1/x?y#z", "\\", "/%", "", "http://a/x"],
    "X-Forwarded-Method": ["GET", "POST", "PATCH"],
    "X-Forwarded-Uri": ["/api/v1/runs", "/;a", "/a%2fb", "/a%00", "//a"],
    "Stripe-Signature": ["t=1,v1=00", "t=,v1=", "v1=a", "t=99999999999999999999,v1=b", "," * 100, "t=1" + ",v1=00" * 500],
    "Cookie": ["a=b", "language=ar", "=", ";;;", "a=\xff"],
    "If-None-Match": ["*", "\"a\"", "W/\"a\", \"b\"", "\"", "x" * 3000],
}
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI", "get", "QUERY", "SOURCE", "G\0T", ""]
VERSIONS = ["HTTP/1.0", "HTTP/1.1", "HTTP/1.9", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "HTTP/1", "http/1.1", "HTTPS/1.1", ""]
JUNK = [b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b": ", b":", b" ", b"\t", b"%", b"?", b"#", b"\r\n\r\n", b"0\r\n\r\n", b"\r\n ", b"ffffffffffffffff\r\n",
        b"10000000000000000\r\n", b"{", b"[", b"\"", b"\\u0000", b"\\ud800", b"1e999", b"null", b"-", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
EVENTS = ["customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted", "customer.subscription.trial_will_end", "checkout.session.completed",
          "checkout.session.expired", "invoice.paid", "invoice.payment_failed", "customer.deleted", "charge.refunded", "charge.dispute.created", "x"]
STATUSES = ["active", "trialing", "past_due", "canceled", "unpaid", "incomplete", "incomplete_expired", "paused", "?"]


def known_headers():
    """Those that the program reads, from its own table, and those that its parser does."""
    table = (ROOT / "src/http/request.h").read_text()
    return sorted({*re.findall(r'X\([A-Z_]+, "([A-Za-z-]+)"\)', table), "Content-Length", "Connection", "Upgrade"} - {"Authorization"})


class Writer:
    """Makes things of one source of chance."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.choice = self.random.choice

    def often(self, share):
        return self.random.random() < share

    def mutated(self, data):
        """A few edits of bytes."""
        data = bytearray(data)
        for _ in range(1 + int(self.random.expovariate(1))):
            at = self.random.randrange(len(data) + 1)
            edit = self.random.randrange(6)
            if edit == 0:
                data[at:at] = self.choice(JUNK)
            elif edit == 1:
                del data[at:at + 1 + int(self.random.expovariate(.3))]
            elif edit == 2 and at < len(data):
                data[at] = self.random.randrange(256)
            elif edit == 3 and at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
            elif edit == 4:
                data[at:at] = data[at:at + 1 + int(self.random.expovariate(.05))] * self.choice([1, 2, 50])
            elif edit == 5:
                data[at:at] = bytes(self.random.randrange(256) for _ in range(self.random.randrange(1, 9)))
        return bytes(data)

    def value(self, depth=0):
        """Any JSON."""
        kind = self.random.randrange(9 if depth < 3 else 7)
        if kind < 3:
            return self.choice(TEXTS)
        if kind < 7:
            return self.choice([None, True, False, 0, -1, 1.5, 10**18, -2**63, 2**64, 1e308, self.random.randrange(2**32)])
        many = range(self.random.randrange(4))
        return [self.value(depth + 1) for _ in many] if kind == 7 else {self.choice(TEXTS): self.value(depth + 1) for _ in many}

    def changed(self, json_value, share):
        """The same shape, some of it replaced or left out."""
        if self.often(share):
            return self.value()
        if isinstance(json_value, dict):
            return {self.choice(TEXTS) if self.often(share / 4) else name: self.changed(member, share)
                    for name, member in json_value.items() if not self.often(share / 2)}
        if isinstance(json_value, list):
            return [self.changed(member, share) for member in json_value] * (2 if self.often(share / 4) else 1)
        return json_value

    def stripe_object(self, kind="subscription", user="U1"):
        at = self.choice([0, 1700000000, int(time.time()), 1900000000, 2**40])
        subscription = {"id": "sub_1", "object": "subscription", "customer": self.choice(["cus_1", {"id": "cus_1"}, None]), "status": self.choice(STATUSES), "created": at,
                        "items": {"data": [{"id": "si_1", "price": {"id": self.choice(["price_b", "price_p", "price_x"])}, "current_period_start": at, "current_period_end": at + 86400 * 30}]},
                        "trial_end": self.choice([None, at]), "cancel_at_period_end": self.often(.3), "cancel_at": self.choice([None, at]), "metadata": {"user_id": user}, "latest_invoice": "in_1"}
        return {
            "subscription": subscription,
            "list": {"object": "list", "has_more": self.often(.1), "data": [subscription] * self.choice([0, 1, 1, 1, 2, 12])},
            "customer": {"id": "cus_1", "object": "customer", "deleted": self.often(.2), "metadata": {"user_id": user}},
            "session": {"id": "cs_test_1", "object": "checkout.session", "url": "https://checkout.stripe.com/x", "status": self.choice(["open", "complete", "expired"]), "mode": "subscription",
                        "payment_status": "paid", "expires_at": at, "client_reference_id": user, "customer": "cus_1", "subscription": "sub_1", "metadata": {"user_id": user}},
            "invoice": {"id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_1", "status": "paid", "total": 1900, "amount_due": 1900, "currency": "usd", "created": at,
                        "hosted_invoice_url": "https://x", "lines": {"data": [{"amount": 5, "period": {"start": at, "end": at}}]}},
            "portal": {"id": "bps_1", "object": "billing_portal.session", "url": "https://billing.stripe.com/x"},
            "error": {"error": {"type": "invalid_request_error", "code": self.choice(["resource_missing", "card_declined", ""]), "param": "customer", "message": "no"}},
        }[kind]


class Grammar:
    """Requests to the routes that the program says it has. Of `batch`, always the same."""

    def __init__(self, server, number, seed):
        self.server = server
        self.write = Writer(f"{seed}:{server.setup}:{number}")
        self.often, self.choice, self.random = self.write.often, self.write.choice, self.write.random

    def batch(self):
        """(requests, cuts): what is sent on one connection, and in which pieces."""
        self.clean = self.often(.15)
        requests = [self.request() for _ in range(1 + min(60, int(self.random.expovariate(1 / 14))))]
        if self.server.settings.get("PROXY_PROTOCOL"):
            requests[0:0] = [self.proxy_header()]
        size = sum(map(len, requests))
        cuts = {self.random.randrange(size + 1) for _ in range(self.choice([0, 0, 1, 3, 10]))}
        return requests, sorted(cuts)

    def request(self):
        method, path, operation = self.choice(self.server.routes)
        if self.often(self.server.spare(method, path)):
            method, path, operation = self.choice(self.server.cheap)
        headers = [("Host", "a")]
        self.add_token(headers)
        target = self.target(path, operation)
        body = self.body(path, operation)
        if path == API + "/billing/webhook":
            body = self.event(headers)
        if self.clean:
            return self.framed(method, target, "HTTP/1.1", headers, body)
        if self.often(.06):
            method = self.choice(METHODS)
        if self.often(.06):
            target = self.choice(TARGETS)
        for _ in range(self.choice([0, 0, 1, 2, 3]) if self.often(.97) else 101):
            name = self.choice(self.server.headers)
            if name in ("Content-Length", "Transfer-Encoding", "Expect") and self.often(.8):
                continue
            value = self.choice(VALUES.get(name, TEXTS))
            headers.insert(self.random.randrange(len(headers) + 1), (name if self.often(.9) else name.swapcase(), value))
        made = self.framed(method, target, "HTTP/1.1" if self.often(.97) else self.choice(VERSIONS), headers, body)
        return self.write.mutated(made) if self.often(.1) else made

    def add_token(self, headers):
        tokens = self.server.tokens
        kind = self.random.randrange(20)
        if kind < 8:
            headers.append(("Authorization", "Bearer " + tokens["user"]))
        elif kind < 13:
            headers.append(("Authorization", "Bearer " + tokens["admin"]))
        elif kind == 13:
            headers.append(("Authorization", "Bearer " + METRICS))
        elif kind == 14 and not self.clean:
            headers.append(("Authorization", self.write.mutated(b"Bearer " + tokens["user"].encode()).translate(None, b"\r\n\0").decode("latin-1")))
        elif kind == 15 and not self.clean:
            claims = self.write.changed({"sub": "u", "exp": int(time.time()) + 900, "iat": 1, "jti": "j", "sid": "s", "type": "access"}, .2)
            headers.append(("Authorization", self.choice(["Bearer ", "bearer ", "Bearer", "Basic "]) + signed_token(claims)))

    def target(self, path, operation):
        def parameter(match):
            if match.group(1) == "name" and self.often(.5):
                return self.choice(["app.css", "home.js", "swagger-ui.js", "x"])
            return self.choice([self.server.ids["user"], self.server.ids["admin"], "evt_1", "cs_test_1", "x", "%41", "a" * 300, "%F0%9F%98%80"] +
                               ([] if self.clean else ["", "%00", "%ff", ".", "..", "%2f"]))
        path = re.sub(r"\{([a-z_]+)\*?\}", parameter, path)
        query = []
        for row in operation.get("parameters", []):
            if row["in"] == "query" and self.often(.6):
                query.append(row["name"] + "=" + self.choice(["1", "20", "x", "%20", "%D8%B3", "ann+lee"] + ([] if self.clean else [*NUMBERS, "%", "%zz", "%00", "%ff", "&", "=", "a" * 2000])))
        return path + ("?" + "&".join(query) if query or self.often(.05) else "")

    def body(self, path, operation):
        """b"" or what the route takes, more or less."""
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return b"" if self.clean or self.often(.97) else self.choice(JUNK) * self.choice([1, 100])
        content = {name: self.field(name) for name in self.server.properties(schema)}
        if self.clean:
            return json.dumps(content).encode()
        if self.often(.02):
            return self.choice([b"[" * 5000, b"{\"a\":" * 3000, b"9" * 400, b"\"" + b"\\u0041" * 500 + b"\"", b" " * 3000, b"x" * 70000, b""])
        text = json.dumps(self.write.changed(content, self.choice([0, .1, .4])), ensure_ascii=self.often(.5)).encode("utf-8", "surrogatepass")
        return self.write.mutated(text) if self.often(.25) else text

    def field(self, name):
        known = {"email": self.choice(["user@example.com", f"u{self.random.randrange(400)}@example.com"]), "password": PASSWORD, "old_password": PASSWORD, "new_password": PASSWORD,
                 "fullname": self.choice(["Ann Lee", "سارة علي"]), "refresh_token": self.server.tokens["refresh"], "verification_code": "123456", "language": self.choice(["en", "ar"]),
                 "plan": self.choice(["basic", "pro"]), "role": "admin", "days": 3, "token": "x" * 43}
        return known.get(name, self.choice(TEXTS)) if self.often(.9) else self.choice(TEXTS)

    def event(self, headers):
        kind = self.choice(["subscription", "session", "invoice", "customer"])
        event = {"object": "event", "id": f"evt_{self.random.randrange(10**9)}", "type": self.choice(EVENTS), "livemode": False, "created": int(time.time()),
                 "api_version": self.choice(["2026-08-26.dahlia", "2020-01-01", None]), "data": {"object": self.write.stripe_object(kind, self.server.ids["user"])}}
        body = json.dumps(self.write.changed(event, self.choice([0, .03, .2]))).encode()
        if not self.clean and self.often(.1):
            body = self.write.mutated(body)
        at = str(int(time.time()) - self.choice([0, 0, 0, 299, 301]))
        mac = hmac.new(HOOK.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers.append(("Stripe-Signature", self.choice(["", "v0=1,"]) + f"t={at},v1={mac if self.often(.9) else mac[::-1]}"))
        return body

    def framed(self, method, target, version, headers, body):
        """Head and body, the latter by its length or in chunks."""
        if body and self.often(.8):
            headers = [*headers, ("Content-Type", "application/json")]
        if body and self.often(.25):
            headers = [*headers, ("Transfer-Encoding", "chunked")]
            body = self.chunks(body)
        elif body or (method in ("POST", "PUT") and self.often(.8)):
            headers = [*headers, ("Content-Length", str(len(body) + (0 if self.clean or self.often(.98) else self.choice([-1, 1, 7]))))]
        if not self.clean and self.often(.02):
            body, headers = self.chunks(body), [*headers, ("Transfer-Encoding", "chunked")]
        lines = [f"{method} {target} {version}", *(name + (": " if self.often(.98) else ":") + value for name, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + body

    def chunks(self, body):
        out = b""
        while body:
            size = self.random.randrange(1, len(body) + 1)
            extension = self.choice([b"", b"", b";a=b", b";a=\"b\"", b";a"]) if self.clean or self.often(.97) else b";" + b"x" * self.choice([10, 20000])
            out += b"%x" % size + extension + b"\r\n" + body[:size] + b"\r\n"
            body = body[size:]
        trailer = b"" if self.often(.8) else b"X-Trailer: 1\r\n" * self.choice([1, 3] if self.clean else [1, 3, 300])
        return out + b"0\r\n" + trailer + b"\r\n"

    def proxy_header(self):
        address = self.choice([b"192.0.2.1", b"10.0.0.9", b"203.0.113.77"])
        made = self.choice([
            b"PROXY TCP4 %s 192.0.2.2 5 80\r\n" % address, b"PROXY TCP6 2001:db8::1 ::1 5 80\r\n", b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton(address.decode()) + b"\1\2\3\4\0\5\0\x50",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x28" + bytes(range(36)) + b"\4\0\1x", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"])
        return made if self.clean or self.often(.9) else self.write.mutated(made)


def signed_token(claims):
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    mac = hmac.new(KEY.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


# Who answers in Stripe's place

class Stripe(http.server.BaseHTTPRequestHandler):
    """Anything that Stripe might say, and what it never would."""
    protocol_version = "HTTP/1.1"
    writer, lock = Writer(0), threading.Lock()
    user = "U1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            kind = next((kind for part, kind in (("/portal", "portal"), ("/checkout", "session"), ("/subscriptions?", "list"), ("/subscriptions", "subscription"),
                                                ("/customers", "customer"), ("/invoices", "invoice")) if part in self.path), "list")
            if self.writer.often(.1):
                kind = self.writer.choice(["error", "list", "customer", "portal"])
            body = json.dumps(self.writer.changed(self.writer.stripe_object(kind, self.user), self.writer.choice([0, .02, .2]))).encode()
            if self.writer.often(.05):
                body = self.writer.mutated(body)
            status = self.writer.choice([404, 402, 400, 409, 429, 500]) if kind == "error" or self.writer.often(.02) else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Stripe-Should-Retry", "false")
        self.send_header("Request-Id", "req_1")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


class StripeServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Whoever asked has gone."""


def start_stripe(seed):
    Stripe.writer = Writer(f"stripe:{seed}")
    server = StripeServer(("127.0.0.1", 0), Stripe)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


# The program

class Server:
    COSTLY = ("/auth/register", "/auth/login", "/auth/reset-password", "/auth/change-password", "/auth/me/export")
    ENDS_SESSIONS = ("/logout", "/deactivate", "/role", "/revoke-sessions")
    ASKS_STRIPE = ("create-", "fulfil", "invoices", "change-plan", "cancel", "resume")

    def __init__(self, binary, folder, setup, stripe):
        self.folder, self.setup = pathlib.Path(folder) / setup, setup
        self.folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.settings = {**SETTINGS, **SETUPS[setup], "STRIPE_API_BASE": stripe, "PORT": str(self.port), "DATA_DIR": str(self.folder / "data")}
        self.errors_path = self.folder / "errors"
        self.headers = known_headers()
        environment = {"PATH": os.environ["PATH"], **self.settings, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
                       "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:quarantine_size_mb=16:malloc_context_size=12"}
        with open(self.errors_path, "wb") as errors, open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([binary, "serve"], cwd=self.folder, env=environment, stdout=log, stderr=errors)
        self.tokens, self.ids = dict.fromkeys(("user", "admin", "refresh"), "x"), {"user": "x", "admin": "x"}
        try:
            self.wait()
            self.renew_accounts()
            self.learn()
        except BaseException:
            self.kill()
            raise

    def wait(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return self.connect().close()
            except OSError:
                time.sleep(.02)
        raise Finding(f"it does not start: {self.errors()}")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def ask(self, method, path, body=None, token=None):
        """One sound request: (status, JSON)."""
        with self.connect() as s:
            s.settimeout(60)
            if self.settings.get("PROXY_PROTOCOL"):
                s.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n")
            data = json.dumps(body).encode() if body is not None else b""
            s.sendall((f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n" +
                       (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n").encode() + data)
            reply = http.client.HTTPResponse(s, method=method)
            reply.begin()
            return reply.status, json.loads(reply.read())

    def renew_accounts(self):
        """What is sent ends sessions and accounts now and then: then there are new ones."""
        if self.settings.get("AUTH_PROVIDER"):
            return
        for name in ("user", "admin"):
            if self.ask("GET", API + "/auth/me", token=self.tokens[name])[0] == 200:
                continue
            self.made = getattr(self, "made", 0) + 1
            status, reply = self.ask("POST", API + "/auth/register", {"fullname": "Ann Lee", "email": f"{name}{self.made}@fuzz.example", "password": PASSWORD})
            if status != 200:
                raise Finding(f"no account can be made: {status} {reply}")
            self.tokens[name], self.ids[name] = reply["data"]["access_token"], reply["data"]["user"]["id"]
            if name == "user":
                self.tokens["refresh"], Stripe.user = reply["data"]["refresh_token"], self.ids["user"]
            else:
                with sqlite3.connect(self.folder / "data" / "manus.sqlite", timeout=30) as db:
                    db.execute("UPDATE users SET role = 'admin' WHERE user_id = ?", [self.ids["admin"]])

    def learn(self):
        """The routes, from the document that the program gives."""
        self.document = self.ask("GET", API + "/openapi.json")[1]
        self.routes = [(method.upper(), path, operation) for path, methods in sorted(self.document["paths"].items())
                       for method, operation in sorted(methods.items()) if method in ("get", "post", "put", "patch", "delete")]
        self.routes += [(method, path, {}) for method, path in (
            ("GET", "/"), ("GET", "/docs"), ("GET", "/verify-email"), ("GET", "/manus/assets/{name}"), ("GET", "/metrics"), ("GET", API + "/gate"), ("POST", API + "/gate/api/v1/{path}"),
            ("HEAD", API + "/health"), ("OPTIONS", API + "/auth/me"), ("OPTIONS", "*"), ("GET", "/x"))]
        self.cheap = [route for route in self.routes if self.spare(route[0], route[1]) == 0]

    def spare(self, method, path):
        """How much more seldom a route is asked that takes long to answer, or ends the sessions that others are asked with."""
        if path.endswith(self.COSTLY):
            return .85
        if method == "DELETE" or path.endswith(self.ENDS_SESSIONS):
            return .95
        return .9 if "/billing/" in path and any(part in path for part in self.ASKS_STRIPE) else 0

    def properties(self, schema):
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        choices = schema.get("anyOf") or schema.get("oneOf") or []
        return sorted({*schema.get("properties", {}), *(name for one in choices for name in self.properties(one))})

    def errors(self):
        return self.errors_path.read_text(errors="replace")

    def complaints(self):
        """What the log says of failures that are the program's."""
        return "\n".join([line for line in (self.folder / "log").read_text(errors="replace").splitlines() if '"level":"error"' in line][-5:])

    def rss_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def check(self):
        if (self.folder / "log").stat().st_size > LOG_BYTES:
            os.truncate(self.folder / "log", 0)
        if self.process.poll() is not None:
            raise Finding(f"it ended with {self.process.returncode}:\n{self.errors()[-6000:]}")
        if any(word in self.errors() for word in ("Sanitizer", "runtime error:")):
            raise Finding(f"a sanitizer reports:\n{self.errors()[-6000:]}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Finding("it does not stop") from None
        if status != 0 or any(word in self.errors() for word in ("Sanitizer", "runtime error:")):
            raise Finding(f"it stopped with {status}:\n{self.errors()[-6000:]}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# What comes back

STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [\x20-\x7e]+$")
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\x20-\x7e]*$")


def read_answers(data, batch, whole):
    """Their statuses, and whether the last one ends the connection. whole: the server closed in peace, and so nothing may be missing."""
    statuses, at, ends = [], 0, False
    while at < len(data):
        if ends:
            raise Finding(f"something follows the last answer: {data[at:at + 300]!r}", batch)
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if whole:
                raise Finding(f"an answer is cut in its head: {data[at:at + 300]!r}", batch)
            break
        status, length, kind, ends = read_head(data[at:end].split(b"\r\n"), batch)
        at = end + 4
        if status == 100:
            continue
        # The answer to HEAD has a length and no body.
        if length > 0 and not (data.startswith(b"HTTP/1.1 ", at) or (at == len(data) and batch.may_be_head)):
            if at + length > len(data):
                if whole:
                    raise Finding(f"an answer is cut in its body after {len(data) - at} of {length} bytes", batch)
                break
            check_body(data[at:at + length], kind, batch)
            at += length
        statuses.append(status)
    return statuses, ends


def read_head(lines, batch):
    matched = STATUS.match(lines[0])
    if matched is None:
        raise Finding(f"no status line: {lines[0][:300]!r}", batch)
    status, length, kind, ends = int(matched.group(1)), [], b"", False
    for line in lines[1:]:
        if FIELD.match(line) is None:
            raise Finding(f"a header field is broken: {line[:300]!r}", batch)
        name, value = line.split(b": ", 1)
        if name == b"Content-Length":
            length.append(int(value))
        elif name == b"Content-Type":
            kind = value
        elif name == b"Connection":
            ends = value == b"close"
    if status == 500:
        raise Finding("status 500", batch)
    if status in (100, 204, 304):
        length = length or [0]
    if len(length) != 1:
        raise Finding(f"{len(length)} lengths in an answer {status}", batch)
    return status, length[0], kind, ends


def check_body(body, kind, batch):
    if not kind.startswith(b"application/json"):
        return
    try:
        json.loads(body)
    except ValueError:
        raise Finding(f"a body that is no JSON: {body[:300]!r}", batch) from None


# Connections

class Batch:
    """What goes over one connection, and what came back."""

    def __init__(self, server, number, seed, selector):
        self.number, self.selector = number, selector
        grammar = Grammar(server, number, seed)
        self.requests, cuts = grammar.batch()
        self.clean = grammar.clean
        self.bytes = b"".join(self.requests)
        self.may_be_head = b"HEAD " in self.bytes
        self.cuts = [*cuts, len(self.bytes)]
        self.sent, self.data = 0, []
        self.deadline = time.monotonic() + BATCH_SECONDS
        self.socket = socket.socket()
        self.socket.setblocking(False)
        # Clients differ.
        self.socket.bind((f"127.0.0.{1 + number % 200}", 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(("127.0.0.1", server.port))
        selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def step(self, events):
        """The statuses of its answers once it is over, else None."""
        try:
            if events & selectors.EVENT_WRITE:
                self.send()
            if events & selectors.EVENT_READ:
                data = self.socket.recv(1 << 18)
                if not data:
                    return self.end(True)
                self.data.append(data)
        except BlockingIOError:
            pass
        except OSError:
            return self.end(False)
        return None

    def send(self):
        while self.cuts and self.cuts[0] <= self.sent:
            self.cuts.pop(0)
        if self.cuts:
            self.sent += self.socket.send(self.bytes[self.sent:self.cuts[0]])
        else:
            self.socket.shutdown(socket.SHUT_WR)
            self.selector.modify(self.socket, selectors.EVENT_READ, self)

    def end(self, whole):
        self.selector.unregister(self.socket)
        self.socket.close()
        statuses, ends = read_answers(b"".join(self.data), self, whole)
        if self.clean and whole and not ends and len(statuses) != sum(not is_proxy_header(request) for request in self.requests):
            raise Finding(f"{len(self.requests)} sound requests, {len(statuses)} answers: {statuses}", self)
        return statuses


def is_proxy_header(request):
    return request.startswith((b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"))


class Health:
    """Asks for /health all the time on one connection."""

    def __init__(self, server, selector):
        self.socket = server.connect()
        self.answered = self.asked = time.monotonic()
        self.slowest, self.waits = 0, False
        if server.settings.get("PROXY_PROTOCOL"):
            self.socket.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n")
        selector.register(self.socket, selectors.EVENT_READ, self)

    def step(self, _):
        data = self.socket.recv(65536)
        if not data.startswith(b"HTTP/1.1 200 "):
            raise Finding(f"/health answers {data[:200]!r}")
        self.answered, self.waits = time.monotonic(), False
        self.slowest = max(self.slowest, self.answered - self.asked)

    def tick(self, now):
        if self.waits and now - self.asked > HEALTH_SECONDS:
            raise Finding(f"/health is not answered within {HEALTH_SECONDS} s")
        if not self.waits and now - self.answered > .1:
            self.socket.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.asked, self.waits = now, True


class Run:
    """One server, until enough answers came or the time is over."""

    def __init__(self, server, seed, answers, seconds):
        self.server, self.seed, self.wanted = server, seed, answers
        self.ends = time.monotonic() + seconds
        self.selector = selectors.DefaultSelector()
        self.batches, self.recent = {}, []
        self.number = self.answers = self.next_look = 0
        self.statuses = {}

    def go(self):
        self.health = Health(self.server, self.selector)
        before = None
        started, seconds = time.monotonic(), self.ends - time.monotonic()
        while (self.answers < self.wanted and time.monotonic() < self.ends) or self.batches:
            now = time.monotonic()
            over = self.answers >= self.wanted or now > self.ends
            while not over and len(self.batches) < CONNECTIONS:
                self.batches[self.number] = Batch(self.server, self.number, self.seed, self.selector)
                self.number += 1
            self.turn(now)
            if before is None and (self.answers > self.wanted / 5 or now - started > seconds / 5):
                before = self.server.rss_mib()
        self.check_end(before)

    def turn(self, now):
        for key, events in self.selector.select(.05):
            statuses = key.data.step(events)
            if statuses is not None:
                self.take(key.data, statuses)
        self.health.tick(now)
        if now > self.next_look:
            self.next_look = now + .5
            self.server.check()
            self.server.renew_accounts()
            for batch in self.batches.values():
                if now > batch.deadline:
                    raise Finding("a connection hangs", batch)

    def take(self, batch, statuses):
        del self.batches[batch.number]
        self.recent = [*self.recent[-20:], batch]
        self.answers += len(statuses)
        for status in statuses:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def check_end(self, before):
        self.health.socket.close()
        deadline = time.monotonic() + 15
        while self.server.descriptors() > self.at_start and time.monotonic() < deadline:
            time.sleep(.1)
        descriptors, memory = self.server.descriptors(), self.server.rss_mib()
        print(f"fuzz: server: {self.server.setup}: {self.answers} answers on {self.number} connections; RSS {before or memory:.0f} → {memory:.0f} MiB, "
              f"descriptors {self.at_start} → {descriptors}, /health within {self.health.slowest * 1000:.0f} ms; " +
              ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items())), flush=True)
        if descriptors > self.at_start + THREADS_KEEP:
            raise Finding(f"descriptors: {self.at_start} at the start, {descriptors} at the end")
        if before is not None and memory > before + GROWN_MIB + self.answers * GROWN_BYTES / 2**20:
            raise Finding(f"memory: {before:.0f} MiB, then {memory:.0f} MiB")


# The program's end

def dies_of(binary, folder, setup, stripe, requests):
    """Does a new server, of these requests alone?"""
    server = Server(binary, tempfile.mkdtemp(dir=folder), setup, stripe)
    try:
        with server.connect() as s:
            s.settimeout(10)
            s.sendall(b"".join(requests))
            s.shutdown(socket.SHUT_WR)
            while s.recv(1 << 16):
                pass
    except OSError:
        pass
    time.sleep(.5)
    try:
        server.check()
        return False
    except Finding:
        return True
    finally:
        server.kill()


def culprit(binary, folder, setup, stripe, batches):
    """The least that ends the program, of what was under way: a request, or the batch that holds it."""
    for batch in batches:
        if not dies_of(binary, folder, setup, stripe, batch.requests):
            continue
        first = batch.requests[:1] if is_proxy_header(batch.requests[0]) else []
        for request in batch.requests[len(first):]:
            if dies_of(binary, folder, setup, stripe, [*first, request]):
                return batch, request
        return batch, None
    return None, None


def report(run, finding, arguments, setup, stripe):
    keep = pathlib.Path(arguments.keep)
    keep.mkdir(parents=True, exist_ok=True)
    status = run.server.process.poll()
    died = status is not None
    run.server.kill()
    print(f"fuzz: server: {setup}: seed {arguments.seed}, after {run.answers} answers: {finding}", flush=True)
    print(run.server.complaints(), flush=True)
    if died:
        print(f"fuzz: server: it ended with {status}:\n{run.server.errors()[-6000:]}", flush=True)
    batch, request = finding.batch, None
    if died:
        with tempfile.TemporaryDirectory() as folder:
            batch, request = culprit(arguments.binary, folder, setup, stripe, [*run.batches.values(), *reversed(run.recent)])
    suspects = [batch] if batch is not None else [*run.batches.values(), *run.recent]
    for one in suspects:
        (keep / f"server-{setup}-{arguments.seed}-{one.number}").write_bytes(one.bytes)
    print(f"fuzz: server: what was sent is in {keep}/server-{setup}-{arguments.seed}-*", flush=True)
    if request is not None or batch is not None:
        print(f"fuzz: server: {'the request' if request else f'batch {batch.number}'}: {(request or batch.bytes)[:6000]!r}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--answers", type=int, default=10**9, help="after which it ends too")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", default=".", help="folder of what caused a finding")
    parser.add_argument("--setup", choices=SETUPS, action="append", help="only this one; may be repeated")
    arguments = parser.parse_args()
    arguments.binary = str(pathlib.Path(arguments.binary).resolve())
    setups = arguments.setup or list(SETUPS)
    stripe = start_stripe(arguments.seed)
    print(f"fuzz: server: seed {arguments.seed}", flush=True)
    answers = 0
    with tempfile.TemporaryDirectory() as folder:
        for setup in setups:
            server = Server(arguments.binary, folder, setup, stripe)
            run = Run(server, arguments.seed, arguments.answers / len(setups), arguments.seconds / len(setups))
            run.at_start = server.descriptors()
            try:
                run.go()
                server.stop()
            except (Finding, OSError) as e:
                time.sleep(2)  # the report of a sanitizer takes a while
                report(run, e if isinstance(e, Finding) else Finding(f"{e}\n{server.errors()[-6000:]}"), arguments, setup, stripe)
                return 1
            finally:
                server.kill()
            answers += run.answers
    print(f"fuzz: server: {answers} answers, no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
