"""Which route a path is, and what every reply carries."""
import pytest
from wire import Wire, request

from manus import API


@pytest.mark.parametrize("path", [
    "//api/v1/health", "/api//v1/health", "/api/v1/./health", "/api/v1/x/../health", "/api/v1/%2e/health",
    "/api/v1/%2E%2e/v1/health", "/api/v1%2fhealth", "/api/v1%2Fhealth", "/api\\v1\\health", "/api/v1/health%00",
    "/api/v1/health%5c", "/api/v1/%zz", "/api/v1/%", "/api/v1/%1", "/api/v1/health%0a", "/api/v1/health%7f", "/..", "/.",
    "/manus/assets/%2e%2e", "/manus/assets/..%2fx", "/api/v1/health/..;/x/.."])
def test_a_path_that_two_readers_could_take_for_different_ones_is_refused(manus, path):
    with Wire(manus) as wire:
        wire.send(request(path))
        reply = wire.reply()
        assert (reply.status, reply.body) == (400, b'{"code":400,"msg":"Bad Request","data":null}')
        wire.send(request(f"{API}/live"))
        assert wire.reply().status == 200


@pytest.mark.parametrize("path", [
    "/nope", f"{API}/health/", f"{API}/Health", "/API/v1/health", f"{API}/healt", f"{API}/health/x", "/api/v1", "/api/",
    f"{API}/h%65alth/x", "/manus/assets/nope.js", "/manus/assets/", "/favicon.ico"])
def test_an_unknown_path_is_404(manus, path):
    reply = manus.get(path)
    assert (reply.status_code, reply.text) == (404, '{"code":404,"msg":"Not Found","data":null}')


def test_a_query_does_not_change_the_route(manus):
    assert manus.get(f"{API}/health?a=%00&b=../x").status_code == 200


@pytest.mark.parametrize("method, path, allow", [
    ("POST", f"{API}/health", "GET, HEAD, OPTIONS"), ("GET", f"{API}/auth/login", "POST, OPTIONS"),
    ("HEAD", f"{API}/auth/login", "POST, OPTIONS"), ("DELETE", "/", "GET, HEAD, OPTIONS"), ("PUT", f"{API}/auth/me", "GET, HEAD, DELETE, OPTIONS")])
def test_another_method_is_405_and_says_which_are_allowed(manus, method, path, allow):
    reply = manus.request(method, path)
    assert (reply.status_code, reply.headers["Allow"]) == (405, allow)
    if method != "HEAD":
        assert reply.text == '{"code":405,"msg":"Method Not Allowed","data":null}'


@pytest.mark.parametrize("path", ["/", "/docs", f"{API}/health", f"{API}/ready", f"{API}/live", f"{API}/version", f"{API}/auth/status"])
def test_head_is_answered_as_get_without_the_body(manus, path):
    with Wire(manus) as wire:
        wire.send(request(path))
        got = wire.reply()
        wire.send(request(path, method="HEAD") + request(f"{API}/live"))
        head = wire.reply(head_only=True)
        assert wire.reply().body.startswith(b'{"status":"alive"')
    assert head.status == got.status == 200
    assert abs(int(head.headers["Content-Length"]) - len(got.body)) < 5
    assert set(head.headers) == set(got.headers)


@pytest.mark.parametrize("path, status", [("/nope", 404), ("/%00", 400), (f"{API}/auth/login", 405), (f"{API}/auth/me", 401)])
def test_a_refused_head_has_no_body_either(manus, path, status):
    with Wire(manus) as wire:
        wire.send(request(path, method="HEAD") + request(f"{API}/live"))
        assert wire.reply(head_only=True).status == status
        assert wire.reply().body.startswith(b'{"status":"alive"')


def test_options_lists_the_methods(manus):
    reply = manus.request("OPTIONS", f"{API}/auth/login")
    assert (reply.status_code, reply.headers["Allow"], reply.content) == (204, "POST, OPTIONS", b"")
    assert manus.request("OPTIONS", "/nope").status_code == 404


def preflight(manus, origin):
    return manus.request("OPTIONS", f"{API}/auth/login", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})


def test_pages_of_listed_origins_may_call_and_read_every_reply(manus):
    origin = "http://localhost:5173"
    reply = preflight(manus, origin)
    assert reply.status_code == 204
    assert reply.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    assert reply.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type, Stripe-Signature, X-Request-Id, sentry-trace, baggage, traceparent, tracestate"
    for method, path in (("GET", f"{API}/health"), ("GET", f"{API}/auth/me"), ("GET", "/nope"), ("POST", f"{API}/auth/login"),
                         ("GET", "/%00"), ("PATCH", f"{API}/health")):
        reply = manus.request(method, path, headers={"Origin": origin})
        assert reply.headers["Access-Control-Allow-Origin"] == origin
        assert {"X-Request-Id", "X-Password-Warning"} <= set(reply.headers["Access-Control-Expose-Headers"].split(", "))
        assert "Access-Control-Allow-Credentials" not in reply.headers
        assert "Origin" in reply.headers["Vary"]


@pytest.mark.parametrize("origin", [
    "http://evil.example", "http://localhost:5173.evil.example", "http://localhost:51730", "https://localhost:5173", "null",
    "HTTP://LOCALHOST:5173", "http://localhost:5173/", "http://localhost"])
def test_other_origins_are_told_nothing(manus, origin):
    for reply in (preflight(manus, origin), manus.get(f"{API}/health", headers={"Origin": origin})):
        assert reply.status_code in (200, 204)
        assert not [name for name in reply.headers if name.startswith("Access-Control")]
        assert "Origin" in reply.headers["Vary"]


def test_every_reply_carries_the_security_headers(manus):
    for path in ("/", f"{API}/health", "/nope", "/%00", f"{API}/auth/me"):
        headers = manus.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Server" not in headers and "Strict-Transport-Security" not in headers
        if path.startswith(API):
            assert headers["Cache-Control"] == "no-store"


def test_browsers_are_told_to_stay_on_https_when_that_is_where_people_come_in(start):
    manus = start(PUBLIC_URL="https://app.example.com")
    assert manus.get(f"{API}/health").headers["Strict-Transport-Security"].startswith("max-age=")
