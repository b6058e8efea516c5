"""Failed logins count for each account over all strangers together; nobody can lock its owner out."""
import concurrent.futures

import pytest

from letters import code_in, letter_to
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


CHECKS = {  # every request beside the login that holds a password
    "change": lambda account, password: ("POST", "/auth/change-password", {"old_password": password, "new_password": "another one"}),
    "removal": lambda account, password: ("DELETE", "/auth/me", {"password": password}),
}


def check(manus, what, account, password, i, **headers):
    """With a stolen token, from an address of its own each time."""
    method, path, body = CHECKS[what](account, password)
    manus.http.cookies.clear()
    return manus.request(method, API + path, json=body, headers={"Authorization": f"Bearer {account['access_token']}",
                                                                 "X-Forwarded-For": f"198.18.{i}.1", "User-Agent": f"bot/{i}", **headers})


@pytest.mark.parametrize("what", CHECKS)
def test_who_holds_a_token_has_no_more_tries_at_the_password(manus, what):
    account = manus.register()
    replies = [check(manus, what, account, f"wrong {i}", i).status_code for i in range(14)]
    assert replies == [400] * 10 + [429] * 4
    assert check(manus, what, account, account["password"], 99).status_code == 429, "not even the right one, by luck"
    assert login(manus, account["email"], account["password"]).status_code == 429, "it is one count with the logins"


def test_wrong_passwords_of_all_requests_are_one_count(manus):
    account = manus.register()
    codes = [check(manus, what, account, "wrong", i).status_code for i in range(4) for what in CHECKS]
    assert codes == [400] * 8
    assert [login(manus, account["email"], ip=f"198.18.77.{i}", agent=f"bot/{i}").status_code for i in range(3)] == [401, 401, 429]
    assert {check(manus, what, account, "wrong", 50).status_code for what in CHECKS} == {429}


def test_the_owner_still_changes_the_password_on_a_known_device(manus):
    account = manus.register()
    assert login(manus, account["email"], account["password"], ip=HOME, agent=AGENT).status_code == 200
    for i in range(12):
        check(manus, "change", account, "wrong", i)
    home = {"X-Forwarded-For": HOME, "User-Agent": AGENT}
    assert check(manus, "change", account, account["password"], 0, **home).status_code == 200


def test_right_passwords_and_refused_choices_count_as_no_failure(manus):
    account = manus.register()
    for i in range(15):
        method, path, body = CHECKS["change"](account, account["password"])
        short = manus.request(method, API + path, json={**body, "new_password": "12345"}, headers={"Authorization": f"Bearer {account['access_token']}"})
        same = manus.request(method, API + path, json={**body, "new_password": account["password"]}, headers={"Authorization": f"Bearer {account['access_token']}"})
        assert (short.status_code, same.status_code) == (422, 200)


def test_passwords_that_confirm_an_address_are_counted_too(start):
    manus = start(**LIMITED, RATE_LIMIT_AUTH_VERIFY_EMAIL="unlimited", EMAIL_VERIFICATION="true")
    account = manus.register()
    code = code_in(letter_to(manus, account["email"], "Confirm your e-mail address"))
    confirm = lambda password, i: manus.post(f"{API}/auth/verify-email", {"email": account["email"], "verification_code": code, "password": password},
                                             headers={"X-Forwarded-For": f"198.18.{i}.1", "User-Agent": f"bot/{i}"}).status_code
    assert [confirm("wrong", i) for i in range(12)] == [400] * 10 + [429] * 2
    assert confirm(account["password"], 50) == 429
    assert login(manus, account["email"], account["password"]).status_code == 429


def test_behind_https_the_cookie_is_secure(start):
    manus = start(**LIMITED, PUBLIC_URL="https://app.example.com")
    account = manus.register()
    assert "; Secure" in login(manus, account["email"], account["password"]).headers["Set-Cookie"]


def test_without_limits_there_is_no_cookie(start):
    manus = start()
    account = manus.register()
    assert "Set-Cookie" not in login(manus, account["email"], account["password"]).headers
