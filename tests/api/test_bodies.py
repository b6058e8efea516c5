"""Bodies that two readers could take for different things, or that are no JSON: one answer on every route."""
import pytest
from wire import HEALTH, Wire, request

from manus import API

ROUTES = [f"{API}/auth/login", f"{API}/auth/register", f"{API}/auth/refresh"]
UNSAFE = {
    "duplicate members": b'{"email":"a@b.co","email":"c@d.co"}',
    "duplicate members by escape": b'{"email":1,"e\\u006dail":2}',
    "duplicate members below": b'{"a":{"b":1,"b":2}}',
    "bytes that are no UTF-8": b'{"email":"\xff"}',
    "overlong UTF-8": b'{"email":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"email":"\xed\xa0\x80"}',
    "cut UTF-8": b'{"email":"\xe2\x82"}',
    "a NUL": b'{"email":"a\\u0000b"}',
    "a NUL in a name": b'{"a\\u0000":1}',
    "half a surrogate pair": b'{"email":"\\ud83d"}',
    "the other half": b'{"email":"\\ude00x"}',
    "a pair in the wrong order": b'{"email":"\\ude00\\ud83d"}',
    "33 levels": b"[" * 33 + b"]" * 33,
    "20,000 levels": b"[" * 20000 + b"]" * 20000,
    "20,000 levels that do not end": b'{"a":' * 12000,
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a number beyond all": b'{"a":1e999}',
    "an integer beyond all": b'{"a":99999999999999999999999999}',
    "a double beyond 64 bits": b'{"a":1e19}',
    "a double beyond 64 bits below": b'{"a":[{"b":-9.3e18}]}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
}
BROKEN = {
    "text": b"hello", "NaN": b'{"a":NaN}', "Infinity": b'{"a":-Infinity}', "single quotes": b"{'a':1}", "a comma too many": b'{"a":1,}',
    "a comment": b'{"a":1}/* */', "two values": b'{"a":1}{"b":2}', "an open object": b'{"a":', "an open text": b'{"a":"b',
    "a control character": b'{"a":"b\nc"}', "a leading zero": b'{"a":01}', "a form": b"email=a%40b.co&password=password1", "an escape": b'{"a":"\\x41"}',
}


def exchange(manus, path, body, content_type="application/json"):
    """The reply, after which the connection serves the next request."""
    with Wire(manus) as wire:
        wire.send(request(path, f"Content-Length: {len(body)}", *([f"Content-Type: {content_type}"] if content_type else []), method="POST", body=body))
        reply = wire.reply()
        wire.send(HEALTH)
        assert wire.reply().status == 200
        return reply


@pytest.mark.parametrize("name", UNSAFE)
def test_what_two_readers_could_take_for_different_things_is_400(manus, name):
    for path in ROUTES:
        reply = exchange(manus, path, UNSAFE[name])
        assert (reply.status, reply.body) == (400, b'{"code":400,"msg":"There was an error parsing the body","data":null}'), path


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_json_is_422_with_the_place(manus, name):
    for path in ROUTES:
        reply = exchange(manus, path, BROKEN[name])
        assert reply.status == 422
        assert reply.body.startswith(b'{"detail":[{"type":"json_invalid","loc":["body",'), reply.body
        assert b'"msg":"JSON decode error"' in reply.body and reply.body.count(b'"ctx":{"error":"') == 1


@pytest.mark.parametrize("body, kind", [(b"", b"missing"), (b"null", b"missing"), (b"   ", b"missing"), (b"[]", b"model_attributes_type"),
                                        (b'"x"', b"model_attributes_type"), (b"1", b"model_attributes_type"), (b"true", b"model_attributes_type")])
def test_a_body_that_is_no_object(manus, body, kind):
    for path in ROUTES:
        reply = exchange(manus, path, body)
        assert reply.status == 422 and b'"type":"%s","loc":["body"]' % kind in reply.body


@pytest.mark.parametrize("content_type, taken", [
    (None, True), ("application/json", True), ("application/json; charset=utf-8", True), ("APPLICATION/JSON", True), ("application/vnd.api+json", True),
    ("text/plain", False), ("application/x-www-form-urlencoded", False), ("multipart/form-data; boundary=x", False), ("application/jsonx", False),
    ("application/json, text/plain", False), ("json", False)])
def test_only_json_is_read_as_json(manus, content_type, taken):
    reply = exchange(manus, ROUTES[0], b'{"email":"nobody@example.com","password":"password1"}', content_type)
    assert reply.status == (401 if taken else 422)
    assert taken or b"model_attributes_type" in reply.body


def test_unknown_members_and_32_levels_are_taken(manus):
    body = b'{"email":"nobody@example.com","password":"password1","x":' + b"[" * 31 + b"]" * 31 + b"}"
    assert exchange(manus, ROUTES[0], body).status == 401


def test_a_long_wrong_value_is_not_sent_back(manus):
    reply = exchange(manus, ROUTES[0], b'{"email":"%s","password":"password1"}' % (b"x" * 50000))
    assert reply.status == 422 and len(reply.body) < 1000


@pytest.mark.parametrize("name, text", [
    ("\u200b\u200b\u2060", "Full name must be at least 2 characters long"), ("\u3164\u3164", "Full name must be at least 2 characters long"), ("A\u200d", "Full name must be at least 2 characters long"),
    ("Ann\u202eeeL", "Full name must not contain control characters"), ("\u2067Ann", "Full name must not contain control characters")])
def test_a_name_shows_something_and_turns_nothing_behind_it(manus, name, text):
    reply = manus.post(f"{API}/auth/register", {"fullname": name, "email": "shows@example.com", "password": "password123"})
    assert reply.status_code == 422 and text in reply.text


@pytest.mark.parametrize("name", ["Zoë", "علي", "李明", "ตี", "जो", "\u2067علي\u2069 Lee", "O'Neill-Smith"])
def test_names_of_all_scripts_are_taken(manus, name):
    reply = manus.post(f"{API}/auth/register", {"fullname": name, "email": f"n{name.encode().hex()[:20]}@example.com", "password": "password123"})
    assert reply.status_code == 200 and reply.json()["data"]["user"]["fullname"] == name
