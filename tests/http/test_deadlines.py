"""Deadlines are absolute: a client that sends a byte now and then gains nothing."""
import concurrent.futures
import time

from wire import HEALTH, Wire, request

from manus import API


def trickle(wire, data, pause=0.5):
    """Sends a byte now and then until the server has had enough; how long that took."""
    began = time.monotonic()
    wire.socket.settimeout(pause)
    for byte in data:
        try:
            wire.send(bytes([byte]))
            wire.more()
            break
        except TimeoutError:
            continue
        except (ConnectionError, EOFError):
            break
    return time.monotonic() - began


def slow_head(manus):
    with Wire(manus, 40) as wire:
        took = trickle(wire, HEALTH[:-4] + b"\r\nA: " + b"a" * 100)
        wire.socket.settimeout(5)
        return took, wire.reply().status


def slow_second_head(manus):
    with Wire(manus, 40) as wire:
        wire.send(HEALTH)
        assert wire.reply().status == 200
        took = trickle(wire, HEALTH[:-4] + b"\r\nA: " + b"a" * 100)
        wire.socket.settimeout(5)
        return took, wire.reply().status


def slow_body(manus):
    with Wire(manus, 60) as wire:
        wire.send(request(f"{API}/auth/login", "Content-Length: 1000", method="POST"))
        took = trickle(wire, b"{" + b" " * 200)
        wire.socket.settimeout(5)
        return took, wire.reply().status


def silence(manus):
    began = time.monotonic()
    with Wire(manus, 40) as wire:
        assert wire.is_closed()
        return time.monotonic() - began, None


def slow_reader(manus):
    """Asks for much and reads nothing."""
    began = time.monotonic()
    with Wire(manus, 60) as wire:
        try:
            wire.socket.settimeout(1)
            while time.monotonic() - began < 50:
                try:
                    wire.send(HEALTH * 500)
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        return time.monotonic() - began, None


def test_slow_clients_are_cut_off_on_time_while_others_are_served(manus):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = {one: pool.submit(one, manus) for one in (slow_head, slow_second_head, slow_body, silence, slow_reader)}
        for _ in range(100):
            assert manus.get(f"{API}/health").status_code == 200
        results = {one.__name__: future.result() for one, future in slow.items()}
    for name, seconds, status in (("slow_head", 10, 408), ("slow_second_head", 10, 408), ("slow_body", 30, 408),
                                  ("silence", 10, None), ("slow_reader", 30, None)):
        took, got = results[name]
        assert seconds - 1 <= took <= seconds + 6, results
        assert got == status, results
