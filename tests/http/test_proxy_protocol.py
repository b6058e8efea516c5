"""The PROXY protocol: who the client is, said before the first byte of HTTP, by those who may say it."""
import socket
import struct
import time

import pytest

from manus import API

GET = f"GET {API}/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command, family, addresses, tlvs=b""):
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(addresses) + len(tlvs)) + addresses + tlvs


V4 = socket.inet_aton("198.51.100.7") + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 5123, 443)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack(">HH", 5123, 443)
GOOD = [
    (b"PROXY TCP4 198.51.100.7 10.0.0.1 5123 443\r\n", "198.51.100.7"), (b"PROXY TCP6 2001:db8::7 2001:db8::1 5123 443\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (b"PROXY UNKNOWN whatever stands here\r\n", "127.0.0.1"), (v2(0x21, 0x11, V4), "198.51.100.7"),
    (v2(0x21, 0x21, V6), "2001:db8::7"), (v2(0x20, 0x00, b""), "127.0.0.1"), (v2(0x20, 0x11, V4), "127.0.0.1"), (v2(0x21, 0x11, V4, b"x" * 200), "198.51.100.7"),
    (v2(0x21, 0x31, b"u" * 216), "127.0.0.1"), (v2(0x21, 0x12, V4), "198.51.100.7"), (v2(0x21, 0x00, b""), "127.0.0.1")]
BAD = [
    GET, b"PROXY TCP4 198.51.100.7 10.0.0.1 5123\r\n", b"PROXY TCP4 198.51.100.007 10.0.0.1 5123 443\r\n", b"PROXY TCP4 2001:db8::7 10.0.0.1 5123 443\r\n",
    b"PROXY TCP4 198.51.100.7 10.0.0.1 5123 65536\r\n", b"PROXY TCP4 198.51.100.7 10.0.0.1 05123 443\r\n", b"PROXY TCP4  198.51.100.7 10.0.0.1 5123 443\r\n",
    b"PROXY TCP4 198.51.100.7 10.0.0.1 5123 443 \r\n", b"PROXY UDP4 198.51.100.7 10.0.0.1 5123 443\r\n", b"PROXY " + b"x" * 200, b"PROXY\r\n", b"proxy UNKNOWN\r\n",
    v2(0x11, 0x11, V4), v2(0x22, 0x11, V4), v2(0x21, 0x11, V4[:5]), v2(0x21, 0x21, V4), v2(0x21, 0x11, V4, b"x" * 2000), SIGNATURE[:11] + b"X", b"\x16\x03\x01"]


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    from manus import Manus, check_no_reports
    one = Manus(tmp_path_factory.mktemp("manus"), PROXY_PROTOCOL="true", TRUSTED_PROXIES="127.0.0.1").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


def client_of(manus, reply):
    id = reply.split(b"X-Request-Id: ")[1].split(b"\r\n")[0].decode()
    return manus.wait_for_log(lambda line: line.get("request_id", line.get("id")) == id)["client"]


@pytest.mark.parametrize("header, client", GOOD)
@pytest.mark.parametrize("apart", [False, True])
def test_the_header_names_the_client(manus, header, client, apart):
    with manus.connect() as s:
        for part in ([header[i:i + 1] for i in range(len(header))] + [GET] if apart else [header + GET]):
            s.sendall(part)
        reply = s.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client_of(manus, reply) == client


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0x20, 0x00, b""), v2(0x21, 0x31, b"u" * 216), v2(0x21, 0x00, b"")])
@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
def test_where_the_proxy_names_nobody_no_header_does(start, header, name):
    """Behind a proxy of TCP every header is the client's own text."""
    manus = start(PROXY_PROTOCOL="true", TRUSTED_PROXIES="127.0.0.1", PROXY_HEADER=name)
    with manus.connect() as wire:
        wire.sendall(header + b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.9.9\r\nForwarded: for=10.9.9.9\r\n\r\n")
        assert wire.recv(4096).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 5
    while '"route":"/api/v1/health"' not in manus.log_path.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert '"client":"127.0.0.1"' in manus.log_path.read_text() and "10.9.9.9" not in manus.log_path.read_text()



@pytest.mark.parametrize("data", BAD)
def test_what_is_no_header_is_closed_without_a_word(manus, data):
    with manus.connect() as s:
        s.sendall(data)
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass


def test_a_header_that_never_ends_is_not_waited_for(manus):
    with manus.connect(15) as s:
        s.sendall(b"PROXY TCP4 ")
        began = time.monotonic()
        assert b"HTTP/1.1 200" not in s.makefile("rb").read()
        assert time.monotonic() - began < 12


def test_others_than_the_proxies_are_closed(start):
    manus = start(PROXY_PROTOCOL="true", TRUSTED_PROXIES="10.0.0.0/8")
    with manus.connect() as s:
        try:
            s.sendall(GOOD[0][0] + GET)
            assert s.recv(100) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
