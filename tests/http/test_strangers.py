"""Nobody is starved by what strangers hold open, and nothing that they hold stays in memory."""
import concurrent.futures
import re
import socket
import time

import pytest
from wire import HEALTH, Wire, request

from manus import API, SLOW

SIZES_MEAN_NOTHING = "sanitizers keep memory of their own"


def resident_mib(manus):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{manus.process.pid}/status").read())[1]) / 1024


HELD = {
    "bodies that do not come": request(f"{API}/auth/login", "Content-Length: 1000", method="POST"),
    "halves of bodies": request(f"{API}/auth/login", "Content-Length: 1000", method="POST", body=b"{" * 500),
    "chunks that do not come": request(f"{API}/auth/login", "Transfer-Encoding: chunked", method="POST", body=b"ff\r\n"),
    "halves of heads": b"GET / HTTP/1.1\r\nHost",
    "nothing": b"",
    "replies that are not taken": request("/assets/swagger-ui.js"),
    "refused bodies": request("/nope", "Content-Length: 60000", method="POST", body=b"x"),
    "requests that came": HEALTH,
}


@pytest.mark.parametrize("held", HELD)
def test_others_are_served_at_once_whatever_strangers_hold_open(start, held):
    manus = start(MAX_CONNECTIONS=40, THREADS=2)
    strangers = []
    try:
        for _ in range(120):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(10 * SLOW)
            one.connect(("127.0.0.1", manus.port))
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
    plain = manus.get("/assets/swagger-ui.js", headers={"Accept-Encoding": "identity"})
    assert plain.status_code == 200 and len(plain.content) > 1_000_000
    assert plain.content == manus.get("/assets/swagger-ui.js").content, "what gzip holds"
    before, readers = resident_mib(manus), []
    try:
        for _ in range(100):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", manus.port))
            one.sendall(request("/assets/swagger-ui.js"))
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
