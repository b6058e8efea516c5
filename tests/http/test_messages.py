"""Messages as strangers send them: each is answered rightly, and what follows is never taken for another."""
import concurrent.futures

import pytest
from wire import HEALTH, Wire, request

from manus import API, SLOW

SHORT = b'{"email":"a@example.com","password":"x"}'


def chunked(*chunks, last=b"0\r\n\r\n", line="Transfer-Encoding: chunked", version="HTTP/1.1"):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + last
    return request(f"{API}/auth/login", line, "Content-Type: application/json", method="POST", body=body, version=version)


def sized(*lines, body=b"", path=f"{API}/auth/login"):
    return request(path, "Content-Type: application/json", *lines, method="POST", body=body)


# What is sent, the status, whether the connection goes on.
MESSAGES = {
    "plain": (HEALTH, 200, True),
    "leading CRLF": (b"\r\n" + HEALTH, 200, True),
    "header without blank": (request("/", "A:b"), 200, True),
    "header with tabs around": (request("/", "A:\t b \t"), 200, True),
    "empty header": (request("/", "A:"), 200, True),
    "no Host": (request(host=None), 400, False),
    "two Hosts": (request("/", "Host: b"), 400, False),
    "Host with blank": (request(host="Host: a b"), 400, False),
    "Host with slash": (request(host="Host: a/b"), 400, False),
    "Host with at": (request(host="Host: a@b"), 400, False),
    "empty Host": (request(host="Host: "), 400, False),
    "Host with port": (request(host="Host: a.example:8000"), 200, True),
    "Host with IPv6": (request(host="Host: [::1]:8000"), 200, True),
    "Host with broken IPv6": (request(host="Host: [::1"), 400, False),
    "Host with long port": (request(host="Host: a:123456"), 400, False),
    "length and chunked": (sized("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, False),
    "chunked and length": (sized("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"), 400, False),
    "two lengths": (sized("Content-Length: 40", "Content-Length: 41", body=SHORT), 400, False),
    "the same length twice": (sized("Content-Length: 40", "Content-Length: 40", body=SHORT), 400, False),
    "length 1, 1": (sized("Content-Length: 1, 1", body=b"x"), 400, False),
    "length +1": (sized("Content-Length: +1", body=b"x"), 400, False),
    "length -1": (sized("Content-Length: -1", body=b"x"), 400, False),
    "length 0x1": (sized("Content-Length: 0x1", body=b"x"), 400, False),
    "length empty": (sized("Content-Length: "), 400, False),
    "length 1 blank": (sized("Content-Length: 40 ", body=SHORT), 422, True),
    "length of 2^64+1": (sized("Content-Length: 18446744073709551617"), 400, False),
    "length of 2^63": (sized("Content-Length: 9223372036854775808"), 413, False),
    "blank before colon": (sized("Content-Length : 1", body=b"x"), 400, False),
    "coding xchunked": (chunked(SHORT, line="Transfer-Encoding: xchunked"), 501, False),
    "coding gzip, chunked": (chunked(SHORT, line="Transfer-Encoding: gzip, chunked"), 501, False),
    "coding chunked, chunked": (chunked(SHORT, line="Transfer-Encoding: chunked, chunked"), 400, False),
    "coding chunked, identity": (chunked(SHORT, line="Transfer-Encoding: chunked, identity"), 400, False),
    "coding twice": (chunked(SHORT, line="Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, False),
    "coding in HTTP/1.0": (chunked(SHORT, version="HTTP/1.0"), 400, False),
    "coding with blank before colon": (chunked(SHORT, line="Transfer-Encoding : chunked"), 400, False),
    "coding behind vertical tab": (chunked(SHORT, line="Transfer-Encoding:\x0bchunked"), 400, False),
    "coding in capitals": (chunked(SHORT, line="TRANSFER-ENCODING: CHUNKED"), 422, True),
    "chunks": (chunked(SHORT[:7], SHORT[7:]), 422, True),
    "chunk size 0x1": (chunked(last=b"0x1\r\nx\r\n0\r\n\r\n"), 400, False),
    "chunk size -1": (chunked(last=b"-1\r\nx\r\n0\r\n\r\n"), 400, False),
    "chunk size with blank": (chunked(last=b"1 \r\nx\r\n0\r\n\r\n"), 400, False),
    "chunk size of 17 digits": (chunked(last=b"10000000000000000\r\n"), 400, False),
    "chunk longer than its size": (chunked(last=b"1\r\nxy\r\n0\r\n\r\n"), 400, False),
    "chunk size with bare LF": (chunked(last=b"1\nx\r\n0\r\n\r\n"), 400, False),
    "chunk with extension": (chunked(last=b'28;a=b;c="d"\r\n' + SHORT + b"\r\n0\r\n\r\n"), 422, True),
    "trailer": (chunked(SHORT, last=b"0\r\nA: b\r\nAuthorization: Bearer x\r\n\r\n"), 422, True),
    "length in the trailer": (chunked(SHORT, last=b"0\r\nContent-Length: 3\r\n\r\n"), 400, False),
    "folded header": (request("/", "A: b\r\n c"), 400, False),
    "blank before the first header": (request(host=" Host: a"), 400, False),
    "header without colon": (request("/", "nonsense"), 400, False),
    "header without name": (request("/", ": x"), 400, False),
    "control in name": (request("/", "A\x01: x"), 400, False),
    "blank in name": (request("/", "A b: x"), 400, False),
    "CR in value": (request("/", "A: b\rc"), 400, False),
    "NUL in value": (request("/", "A: b\0c"), 400, False),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400, False),
    "bare CR": (b"GET / HTTP/1.1\rHost: a\r\r", 400, False),
    "blank in target": (request("/a b"), 400, False),
    "high byte in target": (request("/\xe9"), 400, False),
    "fragment in target": (request("/#a"), 400, False),
    "HTTP/1.2": (request(version="HTTP/1.2"), 200, True),
    "HTTP/2.0": (request(version="HTTP/2.0"), 505, False),
    "HTTP/9.9": (request(version="HTTP/9.9"), 505, False),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, False),
    "lower-case http": (request(version="http/1.1"), 400, False),
    "no version": (b"GET /\r\n\r\n", 400, False),
    "absolute form": (request("http://other.example/api/v1/health"), 200, True),
    "absolute form without path": (request("http://other.example"), 200, True),
    "absolute form with user": (request("http://u:p@other.example/"), 400, False),
    "absolute form of another scheme": (request("ftp://other.example/"), 400, False),
    "authority form": (request("other.example:80"), 400, False),
    "CONNECT": (request("other.example:80", method="CONNECT"), 501, False),
    "GET *": (request("*"), 400, False),
    "OPTIONS *": (request("*", method="OPTIONS"), 204, True),
    "unknown method": (request(method="BREW"), 501, False),
    "lower-case method": (request(method="get"), 400, False),
    "TRACE": (request(method="TRACE"), 405, True),
    "Upgrade": (request("/", "Connection: Upgrade", "Upgrade: websocket"), 200, True),
    "h2c": (request("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A"), 200, True),
    "Connection: close": (request("/", "Connection: close"), 200, False),
    "GET with body": (request("/", "Content-Length: 5", body=b"GET /"), 200, True),
    "POST without body": (sized(), 422, True),
    "POST with length 0": (sized("Content-Length: 0"), 422, True),
    "Expect of something else": (sized("Content-Length: 40", "Expect: 200-ok", body=SHORT), 417, False),
    "body in gzip": (sized("Content-Length: 40", "Content-Encoding: gzip", body=SHORT), 415, False),
    "body as identity": (sized("Content-Length: 40", "Content-Encoding: identity", body=SHORT), 422, True),
    "HTTP/1.0": (request(version="HTTP/1.0", host=None), 200, False),
    "HTTP/1.0 keep-alive": (request("/", "Connection: keep-alive", version="HTTP/1.0"), 200, False),
    "absolute target with a query alone": (b"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", 200, True),
    "absolute target of a user": (b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, False),
    "chunk head beyond the bound": (chunked(last=b"10001\r\n"), 413, False),
    "chunk head of 2^64-1": (chunked(last=b"FFFFFFFFFFFFFFFF\r\n"), 413, False),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400, False),
    "zeros": (bytes(100), 400, False),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", 400, False),
}
# llhttp takes the S of SSH- for the beginning of a method that goes on otherwise.
MESSAGES["SSH"] = (MESSAGES["SSH"][0], 501, False)


def check(manus, message, status, goes_on, send=Wire.send):
    with Wire(manus) as wire:
        send(wire, message)
        reply = wire.reply()
        assert reply.status == status, reply.body
        assert ("Connection" in reply.headers) == (not goes_on)
        if reply.status >= 400 and reply.status != 422:
            assert reply.body.startswith(b'{"code":%d,"msg":"' % status)
        if goes_on:
            wire.send(HEALTH)
            assert wire.reply().body.startswith(b'{"status":"healthy"')
        else:
            wire.socket.settimeout(5 * SLOW)
            assert wire.is_closed()


@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_is_answered_and_the_next_one_is_unharmed(manus, name):
    check(manus, *MESSAGES[name])


def test_messages_that_come_byte_by_byte_are_answered_alike(manus):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        done = {name: pool.submit(check, manus, *message, send=Wire.trickle) for name, message in MESSAGES.items()}
    failed = {name: one.exception() for name, one in done.items() if one.exception() is not None}
    assert failed == {}


@pytest.mark.parametrize("name", [name for name, (_, _, goes_on) in MESSAGES.items() if not goes_on])
def test_nothing_behind_a_refused_message_is_answered(manus, name):
    message, status, _ = MESSAGES[name]
    with Wire(manus) as wire:
        wire.send(message + HEALTH + HEALTH)
        assert wire.reply().status == status
        wire.socket.settimeout(5 * SLOW)
        assert wire.is_closed()


def test_pipelined_requests_are_answered_in_order_the_slow_one_too(manus):
    account = manus.register()
    body = b'{"email":"%s","password":"%s"}' % (account["email"].encode(), account["password"].encode())
    login = sized(f"Content-Length: {len(body)}", body=body)
    with Wire(manus, 30) as wire:
        wire.send((HEALTH + login + request("/nope") + request(f"{API}/version")) * 5)
        replies = [wire.reply() for _ in range(20)]
    assert [reply.status for reply in replies] == [200, 200, 404, 200] * 5
    assert b"healthy" in replies[0].body and b"access_token" in replies[1].body and b"commit" in replies[3].body


def test_a_thousand_pipelined_requests_are_all_answered(manus):
    with Wire(manus, 30) as wire:
        wire.send(HEALTH * 1000)
        assert {wire.reply().status for _ in range(1000)} == {200}


def test_expect_continue_is_answered_before_the_body_comes_and_refused_when_it_will_not_be_read(manus):
    with Wire(manus) as wire:
        wire.send(sized(f"Content-Length: {len(SHORT)}", "Expect: 100-continue"))
        assert wire.reply().status == 100
        wire.send(SHORT)
        assert wire.reply().status == 422
        wire.send(HEALTH)
        assert wire.reply().status == 200
    with Wire(manus) as wire:
        wire.send(sized("Content-Length: 10", "Expect: 100-continue", path="/nope"))
        assert wire.reply().status == 404
        assert wire.is_closed()


def test_a_refusal_before_a_small_body_keeps_the_connection(manus):
    with Wire(manus) as wire:
        for path, status in (("/nope", 404), (f"{API}/health", 405), (f"{API}/auth/logout", 401)):
            wire.send(sized("Content-Length: 5", body=b"GET /", path=path))
            assert wire.reply().status == status
        wire.send(HEALTH)
        assert wire.reply().status == 200


def test_a_client_that_sends_no_more_is_answered_all_the_same(manus):
    assert manus.raw(HEALTH + HEALTH).count(b"HTTP/1.1 200 OK") == 2
    body = b'{"email":"nobody@example.com","password":"password1"}'
    assert b" 401 " in manus.raw(sized(f"Content-Length: {len(body)}", body=body))


def test_a_hundred_clients_at_once_on_kept_connections(manus):
    wires = [Wire(manus, 30) for _ in range(100)]
    for _ in range(5):
        for wire in wires:
            wire.send(HEALTH)
        assert {wire.reply().status for wire in wires} == {200}
    for wire in wires:
        wire.socket.close()
