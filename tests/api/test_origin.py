"""AUTH_PROVIDER=none: what a page of somebody else does in the owner's browser changes nothing."""
import http.client
import json

import pytest

from letters import rows
from manus import API, Manus, check_no_reports

NAME = f"{API}/auth/change-fullname"
MINE, LISTED = "https://app.example.com", "https://other.example.com"
WRONG_NAME = "This server is not known by this name: use its address, localhost, or PUBLIC_URL"
WRONG_PAGE = "Pages of this origin may not change anything here: see CORS_ORIGINS and PUBLIC_URL"


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    one = Manus(tmp_path_factory.mktemp("manus"), AUTH_PROVIDER="none", PUBLIC_URL=MINE, CORS_ORIGINS=LISTED, GATE_PROXIES="127.0.0.1").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


def ask(manus, method, path, body=None, type="application/json", **headers):
    """Just these headers, and no others."""
    connection = http.client.HTTPConnection("127.0.0.1", manus.port, timeout=10)
    headers = {name.replace("_", "-"): value.replace("OWN", f"127.0.0.1:{manus.port}") for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        content = json.dumps(body).encode()
        connection.putheader("Content-Length", str(len(content)))
        if type:
            connection.putheader("Content-Type", type)
    connection.endheaders(None if body is None else content)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, json.loads(text) if text.startswith(b"{") else text


def rename(manus, **headers):
    return ask(manus, "POST", NAME, {"fullname": "Somebody Else"}, **headers)


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "anything"}, {"Origin": "http://127.0.0.1"}, {"Origin": "http://127.0.0.1:1", "Sec_Fetch_Site": "same-site"},
    {"Origin": MINE + ".evil.example"}, {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"}, {"Origin": ""}, {"Origin": "OWN"},
    {"Origin": "http://OWN", "Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example", "Authorization": "Bearer junk"}])
def test_a_page_of_another_site_changes_nothing(manus, headers):
    status, body = rename(manus, **headers)
    assert (status, body["msg"]) == (403, WRONG_PAGE)
    assert ask(manus, "POST", f"{API}/auth/login", {"email": "a@example.com", "password": "a password"}, **headers)[0] == 403
    assert ask(manus, "POST", f"{API}/auth/sessions/revoke-others", **headers)[0] == 403
    assert rows(manus, "SELECT fullname FROM users") == [("anonymous",)]
    assert ask(manus, "GET", f"{API}/auth/me", **headers)[0] == 200, "without CORS it reads none of that"


@pytest.mark.parametrize("headers", [
    {}, {"Origin": "http://OWN"}, {"Origin": "http://OWN", "Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"},
    {"Origin": LISTED}, {"Origin": LISTED, "Sec_Fetch_Site": "cross-site"}, {"Origin": LISTED, "Sec_Fetch_Site": "same-site"},
    {"Origin": MINE, "Host": "app.example.com", "Sec_Fetch_Site": "same-origin"}, {"Origin": MINE}, {"Authorization": "Bearer junk"}])
def test_ones_own_pages_listed_ones_and_programs_do(manus, headers):
    try:
        assert rename(manus, **headers)[0] == 200
    finally:
        rows(manus, "UPDATE users SET fullname = 'anonymous'")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "app.example.com.evil.example", "localhost.evil.example", "xlocalhost", "0x7f.1", "app.example.org"])
@pytest.mark.parametrize("method, path", [("GET", f"{API}/auth/me"), ("POST", NAME), ("GET", f"{API}/health"), ("POST", f"{API}/auth/login"), ("GET", "/")])
def test_a_name_that_strangers_point_here_is_not_served(manus, host, method, path):
    headers = {"Host": host, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin", "Authorization": "Bearer junk"}
    status, body = ask(manus, method, path, {"fullname": "Somebody Else", "email": "a@example.com", "password": "a password"} if method == "POST" else None, **headers)
    assert (status, body["msg"]) == (403, WRONG_NAME)
    assert rows(manus, "SELECT fullname FROM users") == [("anonymous",)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8000", "[::1]:8000", "192.168.1.5", "app.example.com", "App.Example.com:443"])
def test_addresses_localhost_and_the_public_name_are_served(manus, host):
    assert ask(manus, "GET", f"{API}/auth/me", Host=host)[0] == 200


def test_a_body_without_a_type_is_no_json_there(manus, start):
    status, body = rename(manus, type=None)
    assert status == 422 and body["detail"][0]["type"] == "model_attributes_type"
    assert rename(manus, type="text/plain")[0] == 422
    with_login = start()
    token = with_login.register()["access_token"]
    assert rename(with_login, type=None, Authorization=f"Bearer {token}", Host="manus:8000", Origin="https://evil.example")[0] == 200, "a token is no page's"


def test_a_token_of_this_server_is_enough(manus):
    token = ask(manus, "POST", f"{API}/auth/login", {"email": "a@example.com", "password": "a password"})[1]["data"]["access_token"]
    assert ask(manus, "GET", f"{API}/auth/me", Host="manus:8000", Authorization=f"Bearer {token}")[0] == 200
    assert ask(manus, "GET", f"{API}/auth/me", Host="manus:8000", Authorization=f"Bearer {token}x")[0] == 403


def test_the_application_behind_the_gate_is_spared_such_pages_too(manus):
    gate = lambda method, **headers: ask(manus, "GET", f"{API}/gate", X_Original_Method=method, X_Original_URI="/api/v1/sandbox", Host="gate", **headers)[0]
    assert [gate("POST", Origin="https://evil.example"), gate("POST", Sec_Fetch_Site="cross-site"), gate("DELETE", Origin="null")] == [403] * 3
    assert [gate("POST"), gate("POST", Origin=LISTED), gate("POST", Origin=MINE), gate("POST", Origin="https://x.example", Sec_Fetch_Site="same-origin"),
            gate("GET", Origin="https://evil.example")] == [200] * 5
