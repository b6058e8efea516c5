"""A client that sends a byte now and then gains nothing; one that keeps up the least rate is waited for."""
import concurrent.futures
import socket
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


def steady_body(manus):
    """About 1 KB a second: longer than a request may run, which counts from its end."""
    began = time.monotonic()
    with Wire(manus, 60) as wire:
        body = b'{"email": "nobody@example.com", "password": "something"}'.ljust(24_000)
        wire.send(request(f"{API}/auth/login", f"Content-Length: {len(body)}", method="POST"))
        for at in range(0, len(body), 1000):
            wire.send(body[at:at + 1000])
            time.sleep(1)
        return time.monotonic() - began, wire.reply().status


def steady_reader(manus):
    """Takes a large reply in 35 s."""
    began = time.monotonic()
    with Wire(manus, 60) as wire:
        wire.socket.close()
        wire.socket = socket.socket()
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.socket.settimeout(60)
        wire.socket.connect(("127.0.0.1", manus.port))
        wire.send(request("/manus/assets/swagger-ui.js"))
        while time.monotonic() - began < 35:
            wire.more()
            time.sleep(0.2)
        return time.monotonic() - began, wire.reply().status


def test_slow_clients_are_cut_off_on_time_while_others_are_served(manus):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        slow = {one: pool.submit(one, manus) for one in (slow_head, slow_second_head, slow_body, silence, slow_reader, steady_body, steady_reader)}
        for _ in range(100):
            assert manus.get(f"{API}/health").status_code == 200
        results = {one.__name__: future.result() for one, future in slow.items()}
    # What a kernel takes for its reader counts as taken: the first window of the slow one may pass.
    for name, seconds, status, windows in (("slow_head", 10, 408, 1), ("slow_second_head", 10, 408, 1), ("slow_body", 10, 408, 1),
                                           ("silence", 10, None, 1), ("slow_reader", 10, None, 2), ("steady_body", 24, 401, 1),
                                           ("steady_reader", 35, 200, 1)):
        took, got = results[name]
        assert seconds - 1 <= took <= seconds * windows + 6, results
        assert got == status, results
