"""Bounds: told at once, and so that the client can read it."""
import time

import pytest
from wire import HEALTH, Wire, request

from manus import API, SLOW

MIB = 1 << 20


def check_refused(manus, data, status):
    with Wire(manus) as wire:
        wire.send(data)
        reply = wire.reply()
        assert reply.status == status
        assert reply.headers["Connection"] == "close"
        assert wire.is_closed()


@pytest.mark.parametrize("length, status", [(8000, 404), (8192, 414), (20000, 414)])
def test_the_request_line_has_8_kib(manus, length, status):
    with Wire(manus) as wire:
        wire.send(request("/" + "a" * length))
        assert wire.reply().status == status


@pytest.mark.parametrize("lines, status", [
    (["A: " + "x" * 30000], 200), (["A: " + "x" * 50000], 431), (["A" * 50000 + ": x"], 431),
    ([f"A{i}: x" for i in range(99)], 200), ([f"A{i}: x" for i in range(100)], 431)])
def test_the_headers_have_32_kib_and_100_fields(manus, lines, status):
    if status == 200:
        with Wire(manus) as wire:
            wire.send(request("/", *lines) + HEALTH)
            assert [wire.reply().status for _ in range(2)] == [200, 200]
    else:
        check_refused(manus, request("/", *lines), status)


def login(length, body=b""):
    return request(f"{API}/auth/login", f"Content-Length: {length}", method="POST", body=body)


def test_a_body_has_64_kib(manus):
    with Wire(manus) as wire:
        wire.send(login(65536, b" " * 65536))
        assert wire.reply().status == 422
        wire.send(HEALTH)
        assert wire.reply().status == 200
    check_refused(manus, login(65537), 413)
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    check_refused(manus, request(f"{API}/auth/login", "Transfer-Encoding: chunked", method="POST", body=chunk * 2 + b"1\r\n \r\n"), 413)


@pytest.mark.parametrize("path", [f"{API}/auth/login", "/nope", f"{API}/auth/logout"])
def test_a_client_that_goes_on_sending_three_mib_can_still_read_the_reply(manus, path):
    with Wire(manus, 20) as wire:
        wire.send(request(path, f"Content-Length: {3 * MIB}", method="POST"))
        for _ in range(48):
            wire.send(b"x" * (64 << 10))
        assert wire.reply().status in (401, 404, 413)
        assert wire.is_closed()


def test_what_never_ends_is_cut_off(manus):
    with Wire(manus, 20) as wire:
        wire.send(login(1 << 40))
        sent, began = 0, time.monotonic()
        with pytest.raises((ConnectionError, TimeoutError)):
            while sent < 1 << 30:
                wire.send(b"x" * 65536)
                sent += 65536
        assert sent < 64 * MIB
        assert time.monotonic() - began < 10 * SLOW


def test_endless_chunk_extensions_and_trailers_are_refused(manus):
    check_refused(manus, request(f"{API}/auth/login", "Transfer-Encoding: chunked", method="POST",
                                 body=b"1;" + b"a" * 40000), 413)
    check_refused(manus, request(f"{API}/auth/login", "Transfer-Encoding: chunked", method="POST",
                                 body=b"0\r\nA: " + b"a" * 40000), 431)


def test_when_all_places_are_taken_the_connection_idle_for_longest_makes_room(start):
    manus = start(MAX_CONNECTIONS=20, THREADS=2)
    idle = []
    for _ in range(20):
        wire = Wire(manus)
        wire.send(HEALTH)
        assert wire.reply().status == 200
        idle.append(wire)
    for _ in range(5):
        with Wire(manus) as wire:
            wire.send(HEALTH)
            assert wire.reply().status == 200
    gone = 0
    for wire in idle:
        wire.socket.settimeout(0.3)
        gone += wire.is_closed()
        wire.socket.close()
    assert 1 <= gone <= 6


def test_at_the_limit_of_descriptors_new_clients_are_still_served(start):
    import resource

    manus = start(MAX_CONNECTIONS=0)
    manus.stop()
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
    manus.start(preexec_fn=limit)
    wires = [Wire(manus) for _ in range(200)]
    with Wire(manus) as wire:
        wire.send(HEALTH)
        assert wire.reply().status == 200
    account = manus.register()
    assert manus.me(account["access_token"]).status_code == 200
    for wire in wires:
        wire.socket.close()
