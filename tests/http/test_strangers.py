"""Nobody is starved by what strangers hold open, and nothing that they hold stays in memory."""
import concurrent.futures
import contextlib
import fcntl
import os
import re
import resource
import socket
import time

import pytest
from wire import HEALTH, Wire, request

from manus import API, SLOW

SIZES_MEAN_NOTHING = "sanitizers keep memory of their own"


def resident_mib(manus):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{manus.process.pid}/status").read())[1]) / 1024


def with_small_buffer(manus):
    """A connection whose kernel takes little for it."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(10 * SLOW)
    one.connect(("127.0.0.1", manus.port))
    return one


HELD = {
    "bodies that do not come": request(f"{API}/auth/login", "Content-Length: 1000", method="POST"),
    "halves of bodies": request(f"{API}/auth/login", "Content-Length: 1000", method="POST", body=b"{" * 500),
    "chunks that do not come": request(f"{API}/auth/login", "Transfer-Encoding: chunked", method="POST", body=b"ff\r\n"),
    "halves of heads": b"GET / HTTP/1.1\r\nHost",
    "nothing": b"",
    "replies that are not taken": request("/manus/assets/swagger-ui.js"),
    "refused bodies": request("/nope", "Content-Length: 60000", method="POST", body=b"x"),
    "requests that came": HEALTH,
}


@pytest.mark.parametrize("held", HELD)
def test_others_are_served_at_once_whatever_strangers_hold_open(start, held):
    manus = start(MAX_CONNECTIONS=40, THREADS=2)
    strangers = []
    try:
        for _ in range(120):
            one = with_small_buffer(manus)
            if HELD[held]:
                one.sendall(HELD[held])
            strangers.append(one)
        for _ in range(20):
            began = time.monotonic()
            with Wire(manus) as wire:
                wire.send(HEALTH)
                assert wire.reply().status == 200
            assert time.monotonic() - began < 2 * SLOW
    finally:
        for one in strangers:
            one.close()


def test_a_large_reply_is_shared_by_all_who_do_not_take_it(start):
    if SLOW > 1:
        pytest.skip(SIZES_MEAN_NOTHING)
    manus = start()
    plain = manus.get("/manus/assets/swagger-ui.js", headers={"Accept-Encoding": "identity"})
    assert plain.status_code == 200 and len(plain.content) > 1_000_000
    assert plain.content == manus.get("/manus/assets/swagger-ui.js").content, "what gzip holds"
    before, readers = resident_mib(manus), []
    try:
        for _ in range(100):
            one = with_small_buffer(manus)
            one.sendall(request("/manus/assets/swagger-ui.js"))
            readers.append(one)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert resident_mib(manus) - before < 20
            time.sleep(0.1)
    finally:
        for one in readers:
            one.close()


def test_memory_returns_after_many_logins(start):
    if SLOW > 1:
        pytest.skip(SIZES_MEAN_NOTHING)
    manus = start()
    assert manus.post(f"{API}/auth/register", {"fullname": "Ann Lee", "email": "a@example.com", "password": "password123"}).status_code == 200
    before = resident_mib(manus)
    login = lambda _: manus.post(f"{API}/auth/login", {"email": "a@example.com", "password": "password123"}).status_code
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(login, range(200))) == {200}
    deadline = time.monotonic() + 10
    while resident_mib(manus) - before > 15 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert resident_mib(manus) - before <= 15


def test_streams_that_are_closed_at_the_start_become_no_sockets(start, tmp_path):
    """What is printed to a closed stream goes nowhere, least of all to a client."""
    manus = start()
    manus.stop()
    manus.start(prefix=("sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-'))
    with Wire(manus) as wire:
        for _ in range(3):
            wire.send(HEALTH)
            assert wire.reply().body.startswith(b'{"status":"healthy"')


def waiting(manus, source="127.0.0.1", first=b"GET"):
    one = socket.socket()
    one.settimeout(10 * SLOW)
    one.bind((source, 0))
    one.connect(("127.0.0.1", manus.port))
    if first:
        one.sendall(first)
    return one


def is_open(one):
    one.settimeout(0.002)
    try:
        return one.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


METRICS_TOKEN = "v0cK2nRbq7sXwZ4uYtE9aLmD6hGjP1fS"


def metric(manus, name):
    text = manus.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}).text
    return int(re.search(rf"^{name} (\d+)$", text, re.M)[1])


def test_a_client_that_has_its_connections_loses_its_own_oldest_and_nobody_elses(start):
    manus = start(CLIENT_CONNECTIONS=10, THREADS=1)
    others = [waiting(manus, "127.0.0.2") for _ in range(8)]
    strangers = [waiting(manus) for _ in range(40)]
    try:
        for _ in range(5):
            with Wire(manus) as wire:
                wire.send(HEALTH)
                assert wire.reply().status == 200
        assert all(map(is_open, others))
        left = [one for one in strangers if is_open(one)]
        assert len(left) <= 10 and strangers[0] not in left and strangers[-1] in left
    finally:
        for one in strangers + others:
            one.close()


def test_a_client_whose_connections_are_all_at_work_is_told_that_it_has_too_many(start):
    # As many as hash at once, so that none of them waits and is told that the server is busy.
    manus = start(CLIENT_CONNECTIONS=2, THREADS=1, PASSWORD_ARGON2_MEMORY_KIB=262144, PASSWORD_ARGON2_PASSES=16)
    login = b'{"email":"a@example.com","password":"password123"}'
    busy = [waiting(manus, first=request(f"{API}/auth/login", f"Content-Length: {len(login)}", method="POST", body=login))
            for _ in range(2)]
    try:
        time.sleep(0.7)
        with Wire(manus) as wire:
            reply = wire.reply()
            assert (reply.status, reply.headers["Connection"], reply.headers["Retry-After"]) == (503, "close", "1")
            assert reply.body == b'{"code":503,"msg":"Too many connections from your address or network","data":null}'
            assert wire.is_closed()
        with waiting(manus, "127.0.0.2", HEALTH) as other:
            assert other.recv(12) == b"HTTP/1.1 200"
    finally:
        for one in busy:
            one.close()


@pytest.mark.parametrize("settings", [{"TRUSTED_PROXIES": "127.0.0.1"}, {"RATE_LIMIT_ALLOW": "127.0.0.1"}, {"CLIENT_CONNECTIONS": 0}])
def test_proxies_and_those_whom_no_limit_applies_to_have_as_many_connections_as_they_like(start, settings):
    manus = start(**{"CLIENT_CONNECTIONS": 10, **settings})
    held = [waiting(manus) for _ in range(40)]
    try:
        time.sleep(0.2)
        assert all(map(is_open, held))
    finally:
        for one in held:
            one.close()


def test_behind_the_proxy_protocol_clients_are_counted_by_network(start):
    manus = start(CLIENT_CONNECTIONS=10, THREADS=1, PROXY_PROTOCOL="true", TRUSTED_PROXIES="127.0.0.1")
    proxied = lambda source: waiting(manus, first=f"PROXY TCP6 {source} 2001:db8::1 1000 80\r\nGET".encode())
    one_network = [proxied(f"2001:db8:0:1::{i}") for i in range(20)]
    others = [proxied(f"2001:db8:0:{i}::1") for i in range(2, 22)]
    try:
        time.sleep(0.3)
        assert sum(map(is_open, one_network)) == 10
        assert all(map(is_open, others))
    finally:
        for one in one_network + others:
            one.close()


def test_networks_around_an_ipv6_network_have_a_bound_too(start):
    manus = start(CLIENT_CONNECTIONS=2, THREADS=1, PROXY_PROTOCOL="true", TRUSTED_PROXIES="127.0.0.1")
    proxied = lambda source: waiting(manus, first=f"PROXY TCP6 {source} 2001:db8::1 1000 80\r\nGET".encode())
    of_56 = [proxied(f"2001:db8:1:{i:x}::1") for i in range(20)]
    of_48 = [proxied(f"2001:db8:2:{i:x}00::1") for i in range(60)]
    others = [proxied(f"2001:db8:{i:x}::1") for i in range(3, 23)]
    try:
        time.sleep(0.3)
        assert [sum(map(is_open, group)) for group in (of_56, of_48)] == [8, 32]
        assert all(map(is_open, others))
    finally:
        for one in of_56 + of_48 + others:
            one.close()


def test_a_client_finds_its_own_idle_connections_behind_those_of_others(start):
    manus = start(CLIENT_CONNECTIONS=5, THREADS=1, TRUSTED_PROXIES="")
    others = [waiting(manus, f"127.0.1.{i}", first=b"") for i in range(1, 250)] + [waiting(manus, f"127.0.2.{i}", first=b"") for i in range(1, 250)]
    own = [waiting(manus, first=b"GET") for _ in range(5)]
    try:
        with Wire(manus) as wire:
            wire.send(HEALTH)
            assert wire.reply().status == 200
        assert not is_open(own[0]) and all(map(is_open, others))
    finally:
        for one in own + others:
            one.close()


def test_what_the_kernel_holds_for_a_client_is_bounded_and_gone_with_it(start):
    manus = start(CLIENT_CONNECTIONS=0)
    pages = lambda: int(re.search(r"^TCP:.* mem (\d+)$", open("/proc/net/sockstat").read(), re.M)[1])
    before, readers = pages(), []
    try:
        for _ in range(100):
            one = with_small_buffer(manus)
            one.sendall(request("/manus/assets/swagger-ui.js") * 8)
            readers.append(one)
        time.sleep(1)
        assert (pages() - before) * 4096 < 100 * (400 << 10), "of megabytes each without a bound"
    finally:
        for one in readers:
            one.close()


@pytest.mark.parametrize("what", ["halves of large bodies", "heads", "replies"])
def test_the_memory_that_waits_for_clients_has_a_bound(start, what):
    """Together they would hold 300 MB, 30 MB, 80 MB."""
    manus = start(WAITING_MEMORY_MIB=1, METRICS_TOKEN=METRICS_TOKEN, STRIPE_SECRET_KEY="sk_test_1", STRIPE_WEBHOOK_SECRET="whsec_test")
    first = {"halves of large bodies": request(f"{API}/billing/webhook", "Content-Length: 1000000", f"Stripe-Signature: t={int(time.time())},v1={'0' * 64}", method="POST", body=b"x" * 500_000),
             "heads": b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 30_000,
             "replies": request("/manus/assets/swagger-ui.js", "A: " + "x" * 20_000) * 4}[what]
    held = []

    def hold(number):
        for _ in range(number):
            one = with_small_buffer(manus)
            held.append(one)
            with contextlib.suppress(ConnectionError):
                one.sendall(first)
        time.sleep(0.3)

    try:
        hold(100) # from here on malloc has what it takes for the bound
        before = resident_mib(manus)
        hold(900 if what != "halves of large bodies" else 500)
        assert metric(manus, "manus_waiting_bytes") <= 1 << 20
        assert metric(manus, "manus_connections_evicted_total") > 0
        assert SLOW > 1 or resident_mib(manus) - before < 40
        assert manus.register()
    finally:
        for one in held:
            one.close()
    deadline = time.monotonic() + 5
    while metric(manus, "manus_waiting_bytes") > 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert metric(manus, "manus_waiting_bytes") == 0, "what is gone waits no more"


def test_the_memory_bound_finds_who_has_kept_it_behind_those_who_say_nothing(start):
    manus = start(WAITING_MEMORY_MIB=1, THREADS=1, CLIENT_CONNECTIONS=0, METRICS_TOKEN=METRICS_TOKEN)
    held = [waiting(manus, first=b"") for _ in range(600)]
    half = b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 28_000
    try:
        held += [waiting(manus, first=half) for _ in range(120)]
        time.sleep(0.3)
        assert metric(manus, "manus_waiting_bytes") <= 1 << 20
        for _ in range(5):
            with Wire(manus) as wire:
                login = b'{"email":"a@example.com","password":"password123"}'
                wire.send(request(f"{API}/auth/login", f"Content-Length: {len(login)}", method="POST", body=login[:20]))
                time.sleep(0.05)
                wire.send(login[20:])
                assert wire.reply().status == 401
    finally:
        for one in held:
            one.close()


def test_what_is_announced_costs_no_memory_yet(start):
    manus = start(CLIENT_CONNECTIONS=0, METRICS_TOKEN=METRICS_TOKEN, STRIPE_SECRET_KEY="sk_test_1", STRIPE_WEBHOOK_SECRET="whsec_test")
    head = request(f"{API}/billing/webhook", "Content-Length: 1000000", f"Stripe-Signature: t={int(time.time())},v1={'0' * 64}", method="POST", body=b"x")
    held = [waiting(manus, first=head) for _ in range(100)]
    try:
        time.sleep(0.3)
        assert 100 * 1000 < metric(manus, "manus_waiting_bytes") < 100 * 20_000
        assert all(map(is_open, held))
    finally:
        for one in held:
            one.close()


def test_both_listening_sockets_take_clients_when_all_places_are_taken(start):
    manus = start(MAX_CONNECTIONS=20, THREADS=1)
    manus.stop()
    with socket.socket() as first, socket.socket() as second:
        for listener, address in ((first, "127.0.0.1"), (second, "127.0.0.2")):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, manus.port))
            listener.listen(100)

        def hand_over():
            # Where they go may be where one of them is.
            ours = [fcntl.fcntl(listener, fcntl.F_DUPFD, 100) for listener in (first, second)]
            for at, fd in enumerate(ours):
                os.dup2(fd, 3 + at)
        manus.settings["LISTEN_FDS"] = "2"
        manus.start(prefix=("sh", "-c", 'export LISTEN_PID=$$; exec "$0" "$@"'), preexec_fn=hand_over, close_fds=False)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Wire(manus))
        for _ in range(5):
            # Of one turn of the loop: both sockets wait for room at once.
            news = [stack.enter_context(socket.socket()) for _ in range(8)]
            for at, one in enumerate(news):
                one.settimeout(5 * SLOW)
                one.connect((f"127.0.0.{at % 2 + 1}", manus.port))
            for one in news:
                one.sendall(HEALTH)
            for one in news:
                assert one.recv(12) == b"HTTP/1.1 200"


def test_without_any_descriptor_a_connection_that_waits_burns_nothing_and_is_served_later(start):
    manus = start(THREADS=1)
    pid = manus.process.pid
    used = lambda: sum(map(int, open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    before, size = resource.prlimit(pid, resource.RLIMIT_NOFILE), manus.log_path.stat().st_size
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (10, before[1]))
    with manus.connect(10 * SLOW) as s:
        began = used()
        time.sleep(1.5)
        assert used() - began < 0.5
        assert manus.log_path.stat().st_size - size < 10000
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert manus.get(f"{API}/health").status_code == 200
        s.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 200")
