"""Failed logins count for each account over all strangers together; nobody can lock its owner out."""
import concurrent.futures

import pytest

from manus import API

LIMITED = {"RATE_LIMIT_ENABLED": "true", "TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_AUTH_LOGIN": "unlimited", "RATE_LIMIT_AUTH_REGISTER": "unlimited"}
HOME, AGENT = "203.0.113.9", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"


@pytest.fixture
def manus(start):
    return start(**LIMITED)


def login(manus, email, password="a wrong password", ip="198.51.100.1", agent="curl/8", cookie=None):
    headers = {"X-Forwarded-For": ip, "User-Agent": agent, **({"Cookie": cookie} if cookie else {})}
    manus.http.cookies.clear()
    return manus.post(f"{API}/auth/login", {"email": email, "password": password}, headers=headers)


def cookie_of(reply):
    return reply.headers["Set-Cookie"].split(";")[0]


def attack(manus, email, count=30):
    """From an address of its own each time, all at once."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return sorted(pool.map(lambda i: login(manus, email, ip=f"198.18.{i}.1", agent=f"bot/{'x' * i}").status_code, range(count)))


def test_strangers_together_have_ten_tries_a_minute(manus):
    account = manus.register()
    assert attack(manus, account["email"]) == [401] * 10 + [429] * 20
    reply = login(manus, account["email"], account["password"], ip="198.18.99.1", agent="the right one, by luck")
    assert reply.status_code == 429 and int(reply.headers["Retry-After"]) in range(1, 61)
    assert reply.json()["error"] == "Rate limit exceeded"


def test_an_account_that_does_not_exist_is_guarded_the_same(manus):
    assert attack(manus, "nobody@example.com") == [401] * 10 + [429] * 20


def test_the_owner_comes_in_by_the_cookie_of_an_earlier_login(manus):
    account = manus.register()
    cookie = cookie_of(login(manus, account["email"], account["password"], ip="192.0.2.1", agent="phone"))
    attack(manus, account["email"])
    assert login(manus, account["email"], account["password"], ip="192.0.77.77", agent="another network, another agent", cookie=cookie).status_code == 200
    assert login(manus, account["email"], account["password"], ip="192.0.77.77", agent="another network, another agent").status_code in (200, 429)


def test_the_owner_comes_in_from_a_device_with_a_session(manus):
    account = manus.register()
    assert login(manus, account["email"], account["password"], ip=HOME, agent=AGENT).status_code == 200
    attack(manus, account["email"])
    assert login(manus, account["email"], account["password"], ip=HOME, agent=AGENT).status_code == 200


def test_a_known_device_has_tries_of_its_own_and_no_more(manus):
    account = manus.register()
    login(manus, account["email"], account["password"], ip=HOME, agent=AGENT)
    codes = [login(manus, account["email"], ip=HOME, agent=AGENT).status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert login(manus, account["email"]).status_code == 401, "strangers have theirs"


def test_the_cookie_is_safe_and_for_one_account(manus):
    one, two = manus.register(), manus.register()
    reply = login(manus, one["email"], one["password"])
    header = reply.headers["Set-Cookie"]
    assert header.startswith("manus_device=") and "; HttpOnly; SameSite=Strict" in header and "Path=/api/v1/auth" in header and "Secure" not in header
    cookie = cookie_of(reply)
    assert "Set-Cookie" not in login(manus, one["email"], one["password"], cookie=cookie).headers
    attack(manus, two["email"])
    for bad in (cookie, cookie[:-1], "manus_device=", "manus_device=" + "x" * 22 + ".y", f"a=b; {cookie}x", "manus_device=" + "." * 60):
        assert login(manus, two["email"], two["password"], cookie=bad).status_code == 429
    attack(manus, one["email"])
    assert login(manus, one["email"], one["password"], ip="192.0.2.99", agent="z", cookie=f"theme=dark; {cookie}; x=y").status_code == 200


def test_right_logins_count_as_no_failure(manus):
    account = manus.register()
    assert [login(manus, account["email"], account["password"]).status_code for _ in range(30)] == [200] * 30


def test_behind_https_the_cookie_is_secure(start):
    manus = start(**LIMITED, PUBLIC_URL="https://app.example.com")
    account = manus.register()
    assert "; Secure" in login(manus, account["email"], account["password"]).headers["Set-Cookie"]


def test_without_limits_there_is_no_cookie(start):
    manus = start()
    account = manus.register()
    assert "Set-Cookie" not in login(manus, account["email"], account["password"]).headers
