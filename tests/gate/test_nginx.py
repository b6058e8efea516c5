"""deploy/nginx/manus.conf in real nginx: a refusal reaches the client as it was given, what is allowed reaches the application as it was sent."""
import concurrent.futures
import json
import socket
import time

import pytest
import requests

import behind
from manus import read_all
from nginx import Nginx

REFUSALS = [
    (400, {"Content-Type": "application/json"}, '{"code":400,"msg":"Bad path","data":null}'),
    (401, {"Content-Type": "application/json", "WWW-Authenticate": 'Bearer error="invalid_token"'}, '{"detail":"Authentication required"}'),
    (402, {"Content-Type": "application/json", "Cache-Control": "no-store"}, '{"detail":"Limit of 10 reached: ünïcode","error_code":"SUBSCRIPTION_LIMIT_REACHED"}'),
    (403, {"Content-Type": "application/json"}, '{"code":403,"msg":"Forbidden","data":null}'),
    (429, {"Content-Type": "application/json", "Retry-After": "17", "RateLimit": '"default";r=0;t=17'}, '{"error":"Rate limit exceeded","retry_after":17}'),
    (500, {"Content-Type": "application/json"}, '{"code":500,"msg":"Internal server error","data":null}'),
    (503, {"Content-Type": "application/json", "Retry-After": "2"}, '{"code":503,"msg":"Service unavailable","data":null}'),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with behind.gate() as gate, behind.application() as application, Nginx(tmp_path_factory.mktemp("nginx"), gate.port, application.port) as nginx:
        nginx.gate, nginx.application = gate, application
        yield nginx


@pytest.fixture(autouse=True)
def fresh(house):
    house.gate.verdict = behind.ALLOWED
    house.gate.got.clear()
    house.application.got.clear()


def ask(house, method, target, **options):
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, house.base + target, timeout=20, **options)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("status,headers,body", REFUSALS)
def test_a_refusal_reaches_the_client_whole_and_the_application_not_at_all(house, method, status, headers, body):
    house.gate.verdict = (status, headers, body.encode())
    reply = ask(house, method, "/api/v1/sessions", data="x" * 1000 if method in ("POST", "PUT") else None)
    assert (reply.status_code, reply.content) == (status, body.encode())
    assert {name: reply.headers.get(name) for name in headers} == headers
    assert "X-Accel-Redirect" not in reply.headers
    assert len(house.gate.got) == 1 and not house.application.got


def test_head_gets_the_refusals_status(house):
    house.gate.verdict = (402, {"Content-Type": "application/json"}, b"{}")
    reply = ask(house, "HEAD", "/api/v1/sessions/1")
    assert (reply.status_code, reply.content) == (402, b"")


@pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/sessions/1/chat", "/api/v1/agent/execute", "/api/v1/sandbox/1/file"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_what_is_allowed_reaches_the_application_as_it_was_sent(house, method, path):
    target = f"{path}?q=a%20b&q=c%2Fd&x"
    reply = ask(house, method, target, data="hello" if method in ("POST", "PUT", "PATCH") else None, headers={"X-Other": "kept"})
    came = reply.json()
    assert (reply.status_code, came["method"], came["target"]) == (200, method, target)
    assert came["body"] == ("hello" if method in ("POST", "PUT", "PATCH") else "") and came["headers"]["X-Other"] == "kept"
    assert [came["headers"][f"X-Manus-{what}"] for what in ("User", "Role", "Plan", "Status")] == ["u1", "user", "pro", "active"]
    assert reply.headers["Cache-Control"] == "private, max-age=5", "the application's own, alone"
    assert "X-Manus-User" not in reply.headers and "X-Accel-Redirect" not in reply.headers


def test_the_gate_is_asked_once_and_without_the_body(house):
    ask(house, "PUT", "/api/v1/sessions?a=%2F", data="x" * 1_500_000, headers={"Authorization": "Bearer t", "Origin": "https://app.example.com"})
    (method, target, headers, body), = house.gate.got
    assert (method, target, body) == ("GET", "/api/v1/gate", b"") and "Content-Length" not in headers
    assert (headers["X-Original-Method"], headers["X-Original-URI"]) == ("PUT", "/api/v1/sessions?a=%2F")
    assert (headers["Authorization"], headers["Origin"], headers["X-Forwarded-For"]) == ("Bearer t", "https://app.example.com", "127.0.0.1")
    assert len(house.application.got) == 1 and len(house.application.got[0][3]) == 1_500_000


def test_a_client_cannot_say_who_it_is_nor_what_it_asks(house):
    forged = {"X-Manus-User": "root", "X-Manus-Role": "admin", "X-Manus-Status": "trialing", "X_Manus_User": "root", "X-Original-URI": "/api/v1/health", "X-Original-Method": "OPTIONS",
              "X-Accel-Redirect": "@application", "X-Forwarded-Uri": "/api/v1/health", "X-Forwarded-Method": "OPTIONS"}
    came = ask(house, "PUT", "/api/v1/sessions", headers=forged).json()
    assert came["headers"]["X-Manus-User"] == "u1" and came["headers"]["X-Manus-Role"] == "user"
    assert came["headers"]["X-Manus-Status"] == "active" and "X_Manus_User" not in came["headers"]
    assert house.gate.got[0][2].get_all("X-Original-URI") == ["/api/v1/sessions"] and house.gate.got[0][2].get_all("X-Original-Method") == ["PUT"]
    assert "X-Forwarded-Uri" not in house.gate.got[0][2] and "X-Forwarded-Method" not in house.gate.got[0][2]
    came = ask(house, "GET", "/shop", headers=forged).json()
    assert not [name for name in came["headers"] if "manus" in name.lower()]
    house.gate.verdict = (200, {"X-Manus-User": "", "X-Manus-Role": "", "X-Manus-Plan": "", "X-Manus-Status": ""}, b"")
    came = ask(house, "OPTIONS", "/api/v1/sessions", headers=forged).json()
    assert not [name for name in came["headers"] if "manus" in name.lower()]


def raw(house, method, target):
    with socket.create_connection(("127.0.0.1", house.port), 10) as s:
        s.sendall(f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        return read_all(s)


@pytest.mark.parametrize("target", ["/api/v1/sessions;x=1", "/api/v1;x/sessions", "/api/v1/x/..;/sessions", "/api/v1//sessions", "/api/v1/x/../sessions", "/api/v1/sessions%2F1",
                                    "/api/v1/sessions/%2e%2E/x", "/api/v1/sessions/x/..", "/api/v1/./sessions", "/api/v1\\sessions", "/api/v1/sessions%00", "/api%5cv1/sessions",
                                    "/api/v1/%2573essions", "/api/v1/sessions%252F1", "/api%252fv1/sessions", "/%2561pi/v1/sessions", "/api/%25761/sandbox/x",
                                    "/api/v1/agent/%2565xecute", "/%2561pi/%25761/%2573essions", "/files/%252e%252e/api/v1/sessions", "/files/..%255c", "/api/v1/%252573essions",
                                    "/%ef%bd%81pi/v1/%2573essions"])
def test_paths_that_could_be_read_in_two_ways_are_refused(house, target):
    reply = raw(house, "PUT", target)
    assert reply.startswith(b"HTTP/1.1 400 ") and not house.application.got and not house.gate.got
    if "%00" not in target:  # nginx's own page: it takes no such byte
        assert b"application/json" in reply and reply.endswith(b'{"code":400,"msg":"Bad Request","data":null}')


@pytest.mark.parametrize("target", ["/api/v1/%c5%bfessions", "/API/v1/%C5%BFessions/1", "/api/v1/se%e2%80%8bssions", "/%ef%bd%81pi/v1/sessions", "/api/%ef%bd%961/sandbox/x",
                                    "/api/v1/agent/%ef%bd%85xecute", "/api%ef%bc%8fv1%ef%bc%8fsessions", "/%ef%bd%81pi/%ef%bd%961/%ef%bd%93essions", "/api/v1/%e2%93%a2essions"])
def test_paths_that_fold_to_guarded_ones_are_refused(house, target):
    reply = raw(house, "PUT", target)
    assert reply.startswith(b"HTTP/1.1 400 ") and not house.application.got and not house.gate.got


@pytest.mark.parametrize("target", ["/api/v1/sessions/1", "/shop", "/api/v1/health"])
def test_what_a_client_says_of_its_address_goes_nowhere(house, target):
    ask(house, "GET", target, headers={"Forwarded": "for=10.9.9.9", "X-Real-IP": "10.9.9.9"})
    for _, _, headers, _ in [*house.gate.got, *house.application.got]:
        assert "Forwarded" not in headers and "X-Real-IP" not in headers
    assert house.gate.got or house.application.got


@pytest.mark.parametrize("target", ["/api/v1/%73essions", "/%61pi/v1/sessions", "/api/v1/sessionsX", "/api/v1/sessions/?a=//;..%2f", "/api/v1/sandbox.json",
                                    "/api/v1/Sessions", "/API/v1/sessions", "/api/V1/%53essions/1", "/%41pi/v1/agent/EXECUTE", "/api/v1/SandBox/1"])
def test_other_spellings_of_a_guarded_path_are_asked_about(house, target):
    house.gate.verdict = (402, {"Content-Type": "application/json"}, b'{"code":402}')
    assert raw(house, "PUT", target).startswith(b"HTTP/1.1 402 ")
    assert house.gate.got[0][2]["X-Original-URI"] == target and not house.application.got


@pytest.mark.parametrize("target", ["/.well-known/x", "/a..b", "/files/a%20b?next=/../;%2f%252f", "/v1.2/x.", "/api/v2/sessions", "/files/k%C3%A4se", "/files/100%25.pdf", "/files/100%25ab.pdf",
                                    "/50%25/off?a=%25&b=%2525", "/api/v2/100%25", "/%C3%BCber/uns/hier", "/shop/caf%C3%A9/sessions"])
def test_ordinary_paths_are_not_taken_for_odd_ones(house, target):
    assert f'"target": "{target}"'.encode() in raw(house, "GET", target)


@pytest.mark.parametrize("target", ["/api/v1/auth/me", "/api/v1/billing/subscription", "/api/v1/health", "/verify-email", "/manus/assets/style.css", "/.well-known/jwks.json"])
def test_manus_serves_its_own_paths(house, target):
    house.gate.verdict = (200, {"Content-Type": "application/json"}, b'{"mine":1}')
    assert ask(house, "GET", target).json() == {"mine": 1}
    assert house.gate.got[0][1] == target and not house.application.got


@pytest.mark.parametrize("target", ["/", "/shop", "/assets/style.css", "/manus", "/docs", "/api/v1/files", "/api/v1/gate", "/api/v1/gate/api/v1/sessions", "/metrics", "/api/v1/authority"])
def test_all_else_is_the_applications_and_unasked(house, target):
    assert ask(house, "GET", target).json()["target"] == target
    assert not house.gate.got


@pytest.mark.parametrize("name", behind.METHOD_HEADERS + behind.PATH_HEADERS)
@pytest.mark.parametrize("target", ["/api/v1/sessions/1", "/shop"])
def test_no_header_makes_another_request_of_one(house, name, target):
    came = ask(house, "POST", target, headers={name.lower(): "PUT" if name in behind.METHOD_HEADERS else "/api/v1/sessions"}).json()
    assert (came["method"], came["target"]) == ("POST", target)
    assert name.lower() not in [one.lower() for one in came["headers"]]


def switch(house, target, upgrades):
    with socket.create_connection(("127.0.0.1", house.port), 10) as s:
        fields = "".join(f"Upgrade: {value}\r\n" for value in upgrades)
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABk\r\n{fields}\r\n".encode())
        reply = s.recv(65536)
        if reply.startswith(b"HTTP/1.1 101 "):
            s.sendall(b"PUT /api/v1/sessions HTTP/1.1\r\n")
        return reply + read_all(s)


@pytest.mark.parametrize("target", ["/socket", "/api/v1/sandbox/1/socket"])
def test_only_websockets_are_tunnelled(house, target):
    for upgrade in ("websocket", "WebSocket"):
        reply = switch(house, target, [upgrade])
        assert reply.startswith(b"HTTP/1.1 101 ") and reply.endswith(b"\r\n\r\nPUT /api/v1/sessions HTTP/1.1\r\n")
    assert [(headers["Upgrade"], headers["Connection"]) for _, _, headers, _ in house.application.got] == [("websocket", "upgrade")] * 2
    house.application.got.clear()
    for upgrades in (["h2c"], ["H2C"], ["h2c, websocket"], ["websocket, h2c"], ["h2c", "websocket"], ["TLS/1.0"], ["websocket/13"], []):
        assert switch(house, target, upgrades).startswith(b"HTTP/1.1 200 "), upgrades
    assert not [1 for _, _, headers, _ in house.application.got if "Upgrade" in headers or "Connection" in headers]


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0"])
def test_manus_is_sent_no_upgrade(house, upgrade):
    for target in ("/api/v1/health", "/api/v1/sessions"):
        switch(house, target, [upgrade])
    assert len(house.gate.got) == 2 and not [1 for _, _, headers, _ in house.gate.got if "Upgrade" in headers]


def test_nginx_has_nothing_to_say_of_the_configuration(house):
    assert not [line for line in house.said().splitlines() if "[warn]" in line and "client:" not in line]


def test_the_applications_errors_are_its_own(house):
    reply = ask(house, "GET", "/api/v1/sessions/fails")
    assert (reply.status_code, reply.content, reply.headers["X-Mine"]) == (500, b'{"detail":"mine"}', "yes")
    assert len(house.gate.got) == 1
    reply = ask(house, "DELETE", "/api/v1/sessions/empty")
    assert (reply.status_code, reply.content) == (204, b"")


def test_streams_come_as_they_are_made(house):
    started, times, text = time.monotonic(), [], b""
    with requests.post(house.base + "/api/v1/sessions/1/stream", json={}, stream=True, timeout=20) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        for piece in reply.iter_content(None):
            times.append(time.monotonic() - started)
            text += piece
    assert text.decode() == "".join(f"data: {i}\n\n" for i in range(5))
    assert times[0] < 0.5 and times[-1] - times[0] > 0.6, "the first line came before the last was made"
    assert len(house.gate.got) == 1


def test_a_gate_that_hangs_or_hangs_up_is_a_503_and_closed(house, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        with Nginx(tmp_path, closed.getsockname()[1], house.application.port) as nginx:
            reply = ask(nginx, "PUT", "/api/v1/sessions", data="x")
    assert (reply.status_code, reply.headers["Retry-After"], reply.headers["Content-Type"]) == (503, "1", "application/json")
    assert json.loads(reply.text) == {"code": 503, "msg": "Service unavailable", "data": None}
    assert not house.application.got
    with socket.create_server(("127.0.0.1", 0)) as silent, Nginx(tmp_path, silent.getsockname()[1], house.application.port) as nginx:
        reply = ask(nginx, "PUT", "/api/v1/sessions", data="x")
    assert reply.status_code == 503 and not house.application.got


def test_manus_own_bad_gateways_are_its_own(house):
    for status in (502, 504):
        house.gate.verdict = (status, {"Content-Type": "application/json"}, b'{"code":502,"msg":"The payment provider refused the request","data":null}')
        reply = ask(house, "POST", "/api/v1/billing/create-checkout-session")
        assert (reply.status_code, reply.json()["msg"]) == (status, "The payment provider refused the request")


def test_a_body_that_nginx_does_not_take_is_refused_as_manus_refuses_it(house):
    reply = ask(house, "POST", "/api/v1/auth/login", data=bytes(17 << 20))
    assert (reply.status_code, reply.json()) == (413, {"code": 413, "msg": "Payload Too Large", "data": None})


def test_connections_to_the_gate_are_kept(house):
    """A question costs no handshake."""
    seen = set()
    house.gate.verify_request = lambda request, address: seen.add(address) or True
    with requests.Session() as session:
        for _ in range(40):
            assert session.get(house.base + "/api/v1/sessions", timeout=20).status_code == 200
    assert len(seen) <= 4


def test_many_at_once_are_each_asked_about_once(house):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda i: ask(house, "PUT", f"/api/v1/sessions?{i}", data="x" * 100), range(300)))
    assert {reply.status_code for reply in replies} == {200}
    assert len(house.gate.got) == 300 and len(house.application.got) == 300
