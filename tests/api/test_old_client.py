"""The client of the replaced system, unchanged: what it sends, how it reads replies, what it does with a 401."""
import pytest

from letters import code_in, letter_to
from manus import API


class Failed(Exception):
    """What the client shows."""


class OldClient:
    """Keeps the first refresh token for good, and sends the access token with everything, also with login."""

    def __init__(self, manus):
        self.manus, self.access, self.refresh, self.refreshes, self.logged_out = manus, None, None, 0, False

    def send(self, method, path, body=None):
        headers = {"Accept": "application/json, text/plain, */*", "Origin": "http://localhost:5173"}
        if self.access:
            headers["Authorization"] = f"Bearer {self.access}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.manus.request(method, API + path, json=body, headers=headers)

    def call(self, method, path, body=None):
        reply = self.send(method, path, body)
        assert reply.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
        if reply.status_code == 401 and self.refresh:
            self.renew()
            reply = self.send(method, path, body)
        data = reply.json()
        if not reply.ok or data.get("code", 0) != 0:
            raise Failed(data["msg"] if "code" in data and "msg" in data else data.get("message", reply.reason))
        return data.get("data", data)

    def renew(self):
        reply = self.send("POST", "/auth/refresh", {"refresh_token": self.refresh})
        if not reply.ok:
            self.access, self.refresh, self.logged_out = None, None, True
            raise Failed("to the login")
        self.access = reply.json()["data"]["access_token"]  # the successor beside it is never read
        self.refreshes += 1

    def enter(self, path, **body):
        data = self.call("POST", path, body)
        self.access, self.refresh = data["access_token"], data["refresh_token"]
        return data["user"]


@pytest.fixture
def client(manus):
    return OldClient(manus)


def test_the_whole_life_of_an_account(manus, client):
    assert client.call("GET", "/auth/status") == {"auth_provider": "password"}
    user = client.enter("/auth/register", fullname="Ann Lee", email="old@example.com", password="password123")
    assert client.call("GET", "/auth/me")["id"] == user["id"]
    first = client.refresh
    for number in range(4):
        client.access = "expired"
        assert client.call("GET", "/auth/me")["email"] == "old@example.com"
        assert (client.refreshes, client.refresh, client.logged_out) == (number + 1, first, False)
    assert client.call("POST", "/auth/change-fullname", {"fullname": "Ann B. Lee"})["fullname"] == "Ann B. Lee"
    with pytest.raises(Failed, match="^Full name must be at least 2 characters long$"):
        client.call("POST", "/auth/change-fullname", {"fullname": "A"})
    with pytest.raises(Failed, match="^Invalid old password$"):
        client.call("POST", "/auth/change-password", {"old_password": "not this one", "new_password": "password456"})
    assert client.refreshes == 4, "a wrong old password costs no refresh"
    assert client.call("POST", "/auth/change-password", {"old_password": "password123", "new_password": "password456"}) == {}
    assert client.call("GET", "/auth/me")["fullname"] == "Ann B. Lee" and client.refreshes == 4, "the session survives the change"
    client.access = "expired"
    assert client.call("GET", "/auth/me") and client.refreshes == 5
    other = OldClient(manus)
    assert other.call("POST", "/auth/send-verification-code", {"email": "old@example.com"}) == {}
    code = code_in(letter_to(manus, "old@example.com", "Password Reset"))
    assert other.call("POST", "/auth/reset-password",
                      {"email": "old@example.com", "verification_code": code, "new_password": "password789"}) == {}
    with pytest.raises(Failed, match="to the login"):
        client.call("GET", "/auth/me")
    assert client.logged_out
    with pytest.raises(Failed, match="^Invalid email or password$"):
        client.enter("/auth/login", email="old@example.com", password="password456")
    assert client.enter("/auth/login", email="old@example.com", password="password789")["fullname"] == "Ann B. Lee"
    token = client.access
    assert client.call("POST", "/auth/logout") == {}
    assert manus.me(token).status_code == 401
    assert manus.refresh(client.refresh).status_code == 401


def test_two_tabs_refresh_with_the_same_token_at_once(manus, client):
    import concurrent.futures
    client.enter("/auth/register", fullname="Ann Lee", email="tabs@example.com", password="password123")
    tabs = [OldClient(manus) for _ in range(6)]
    for tab in tabs:
        tab.access, tab.refresh = "expired", client.refresh
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert len({user["id"] for user in pool.map(lambda tab: tab.call("GET", "/auth/me"), tabs)}) == 1
    for tab in tabs:
        tab.access = "expired"
        assert tab.call("GET", "/auth/me") and not tab.logged_out


def test_a_stale_token_does_not_disturb_what_needs_none(manus, client):
    client.enter("/auth/register", fullname="Ann Lee", email="stale@example.com", password="password123")
    client.access = "stale"
    assert client.call("GET", "/auth/status") and client.refreshes == 0
    assert client.enter("/auth/login", email="stale@example.com", password="password123") and client.refreshes == 0
