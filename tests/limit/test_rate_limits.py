"""Rate limits: what they count together, what they refuse, and what they say."""
import concurrent.futures
import secrets
import signal
import subprocess
import time

import pytest

from manus import API, BINARY, DEFAULTS, Manus, check_no_reports, run

LIMITED = {"RATE_LIMIT_ENABLED": "true", "TRUSTED_PROXIES": "127.0.0.1"}
HEALTH = f"{API}/health"


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    """One server; each test comes from addresses of its own."""
    one = Manus(tmp_path_factory.mktemp("manus"), RATE_LIMIT_HEALTH="3/2s;5/minute", RATE_LIMIT_VERSION="unlimited", RATE_LIMIT_BILLING_PLANS="3/hour",
                **LIMITED).start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


numbers = iter(range(1, 250))


@pytest.fixture
def ip():
    return f"198.51.100.{next(numbers)}"


def get(manus, path, ip, **headers):
    return manus.get(path, headers={"X-Forwarded-For": ip, **headers})


def post(manus, path, body, ip, token=None):
    return manus.post(API + path, body, token=token, headers={"X-Forwarded-For": ip})


def statuses(manus, path, ip, count):
    return [get(manus, path, ip).status_code for _ in range(count)]


def test_the_limit_is_admitted_and_then_nothing(manus, ip):
    assert statuses(manus, HEALTH, ip, 6) == [200] * 3 + [429] * 3
    time.sleep(2.01)
    assert statuses(manus, HEALTH, ip, 4) == [200] * 2 + [429] * 2, "five a minute"


def test_a_refusal_says_when_to_come_again_and_keeps_its_word(manus, ip):
    statuses(manus, HEALTH, ip, 3)
    reply = get(manus, HEALTH, ip)
    body = reply.json()
    assert list(body) == ["error", "message", "retry_after"]
    assert (body["error"], body["message"]) == ("Rate limit exceeded", "Too many requests. Please try again later.")
    assert body["retry_after"] == int(reply.headers["Retry-After"]) in (1, 2)
    assert reply.headers["Cache-Control"] == "no-store"
    time.sleep(body["retry_after"])
    assert get(manus, HEALTH, ip).status_code == 200


def test_every_reply_tells_the_tightest_window(manus, ip):
    before = time.time()
    replies = [get(manus, HEALTH, ip) for _ in range(4)]
    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["2", "1", "0", "0"]
    assert {reply.headers["X-RateLimit-Limit"] for reply in replies} == {"3"}
    assert {reply.headers["RateLimit-Policy"] for reply in replies} == {'"2s";q=3;w=2, "minute";q=5;w=60'}
    assert replies[0].headers["RateLimit"] == '"2s";r=2;t=2'
    assert before + 1 <= int(replies[3].headers["X-RateLimit-Reset"]) <= time.time() + 3
    assert "RateLimit" in get(manus, HEALTH, ip, Origin="http://localhost:3000").headers["Access-Control-Expose-Headers"]


def test_without_a_limit_nothing_is_told(manus, ip):
    replies = [get(manus, f"{API}/version", ip) for _ in range(120)]
    assert {reply.status_code for reply in replies} == {200}
    assert not any("RateLimit" in name for name in replies[0].headers)


def test_of_many_at_once_exactly_the_limit_passes(manus, ip):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(lambda _: get(manus, f"{API}/auth/status", ip).status_code, range(300))) == [200] * 100 + [429] * 200


def test_each_route_and_each_address_counts_by_itself(manus, ip):
    assert statuses(manus, HEALTH, ip, 4)[-1] == 429
    assert get(manus, f"{API}/live", ip).status_code == 200
    assert get(manus, f"{API}/auth/status", ip).status_code == 200
    assert get(manus, HEALTH, ip + "0" if len(ip) < 15 else "192.0.2.1").status_code == 200


@pytest.mark.parametrize("spelling", ["//api/v1/health", "/api/v1/%68ealth", "/API/v1/health", "/api/v1/health;x", "/api/v1/./health", "/api/v1/health/",
                                      "/api/v1/health?x=1", "/api//v1/health"])
def test_another_spelling_reaches_no_other_count(manus, ip, spelling):
    statuses(manus, HEALTH, ip, 3)
    assert get(manus, spelling, ip).status_code in (429, 404, 400)


def test_the_networks_of_an_ipv6_customer_count_as_one_and_mapped_addresses_as_ipv4(manus, ip):
    assert [get(manus, HEALTH, f"2001:db8:1:2::{i}").status_code for i in range(1, 5)] == [200] * 3 + [429]
    assert get(manus, HEALTH, "2001:db8:1:3::1").status_code == 200
    statuses(manus, HEALTH, ip, 3)
    assert get(manus, HEALTH, f"::ffff:{ip}").status_code == 429


def test_who_has_many_networks_is_counted_by_those_of_56_and_48_bits_as_well(manus):
    path = f"{API}/billing/plans"
    codes = [[get(manus, path, f"2001:db8:77:{number:x}::1").status_code for number in range(first, first + 16)]
             for first in range(0, 16 * 256, 256)]
    assert [row.count(200) for row in codes] == [12] * 4 + [0] * 12, "12 of 56 bits, 48 of 48 bits"
    reply = get(manus, path, "2001:db8:77:ffff::1")
    assert reply.status_code == 429 and reply.headers["X-RateLimit-Remaining"] == "0" and int(reply.headers["Retry-After"]) > 3500
    assert get(manus, path, "2001:db8:78::1").status_code == 200


def test_what_stands_for_an_ipv4_address_has_no_wider_network(manus):
    assert [get(manus, f"{API}/billing/plans", f"64:ff9b::198.51.{number}.7").status_code for number in range(60)] == [200] * 60


@pytest.mark.parametrize("junk", ["unknown", "_hidden", "999.1.1.1", "198.51.100.007", "0x7f.1", "x" * 3000, ", ".join(["10.0.0.1"] * 400), ",,,", "1.2.3.4:99999",
                                  "[::1", "fe80::1%eth0"])
def test_junk_in_the_header_of_a_trusted_proxy_opens_no_count_of_its_own(manus, junk):
    get(manus, HEALTH, junk)
    codes = [get(manus, HEALTH, junk).status_code for _ in range(6)]
    assert 429 in codes


def test_headers_of_a_peer_that_is_not_trusted_change_nothing(start):
    manus = start(**{**LIMITED, "TRUSTED_PROXIES": "10.0.0.0/8"}, RATE_LIMIT_HEALTH="3/minute")
    assert [get(manus, HEALTH, f"198.51.100.{i}", Forwarded=f"for=198.51.100.{i}").status_code for i in range(5)] == [200] * 3 + [429] * 2


def test_forwarded_counts_instead_where_the_setting_says_so(start):
    manus = start(**LIMITED, RATE_LIMIT_HEALTH="2/minute", PROXY_HEADER="forwarded")
    ask = lambda value, **headers: manus.get(HEALTH, headers={"Forwarded": value, **headers}).status_code
    assert [ask('for=6.6.6.6, for="[2001:db8::1]:5"') for _ in range(3)] == [200, 200, 429]
    assert [ask(f"for=198.51.100.17;proto=https", **{"X-Forwarded-For": f"203.0.113.{i}"}) for i in range(3)] == [200, 200, 429]
    assert [ask("for=_hidden"), ask("junk"), ask('for="'), ask("for=2001:db8::1")].count(429) == 2, "they are all one"


# Accounts


def register(manus, ip, email):
    return post(manus, "/auth/register", {"fullname": "Ann Lee", "email": email, "password": "password123"}, ip)


def test_login_and_register_count_by_address_before_any_hash(manus, ip):
    codes = [register(manus, ip, f"r{ip}.{i}@example.com").status_code for i in range(4)]
    assert codes == [200] * 3 + [429]
    codes = [post(manus, "/auth/login", {"email": "nobody@example.com", "password": "password123"}, ip).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2


def test_users_count_by_themselves_wherever_they_come_from(manus, ip):
    one, two = (register(manus, ip, f"u{ip}.{i}@example.com").json()["data"] for i in range(2))
    me = lambda token, i: manus.get(f"{API}/auth/me", token, headers={"X-Forwarded-For": f"203.0.113.{i}"}).status_code
    assert [me(one["access_token"], i) for i in range(102)] == [200] * 100 + [429] * 2
    assert me(two["access_token"], 1) == 200, "an office behind one address"
    assert manus.get(f"{API}/auth/sessions", one["access_token"], headers={"X-Forwarded-For": ip}).status_code == 200, "another route"


def test_where_nobody_logs_in_addresses_count(start):
    manus = start(**LIMITED, AUTH_PROVIDER="none", RATE_LIMIT_AUTH_ME="2/minute")
    me = lambda ip: get(manus, f"{API}/auth/me", ip).status_code
    assert [me("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert me("192.0.2.2") == 200


def test_a_token_that_does_not_verify_counts_by_address(manus, ip):
    codes = [manus.get(f"{API}/auth/me", f"junk{i}", headers={"X-Forwarded-For": ip}) for i in range(102)]
    assert [reply.status_code for reply in codes] == [401] * 100 + [429] * 2
    assert codes[0].headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_refreshes_count_by_session_and_failures_by_address(manus, ip):
    one, two = (register(manus, ip, f"f{ip}.{i}@example.com").json()["data"] for i in range(2))
    refresh = lambda token: post(manus, "/auth/refresh", {"refresh_token": token}, ip).status_code
    assert [refresh(one["refresh_token"]) for _ in range(12)] == [200] * 10 + [429] * 2
    assert refresh(two["refresh_token"]) == 200, "an office behind one address is not logged out"
    assert [refresh(f"junk{i}") for i in range(12)] == [401] * 10 + [429] * 2
    assert refresh(two["refresh_token"]) == 200


def test_codes_count_by_client_and_by_the_address_asked_for(manus, ip):
    ask = lambda email, client: post(manus, "/auth/send-verification-code", {"email": email}, client)
    replies = [ask(f"c{ip}.{i}@example.com", ip).status_code for i in range(4)]
    assert replies == [200] * 3 + [429], "one client, many addresses"
    email = f"victim{ip}@example.com"
    codes = [ask(email, f"192.0.2.{i + 10}").status_code for i in range(5)]
    assert codes == [200, 400, 400, 429, 429], "many clients, one address"
    reply = ask(email, "192.0.2.200")
    assert reply.status_code == 429 and reply.headers["X-RateLimit-Remaining"] == "0"
    assert [ask(f"d{ip}.{i}@example.com", "192.0.2.200").status_code for i in range(3)] == [200] * 3, "what was refused was not charged"


@pytest.mark.parametrize("path", ["/auth/reset-password", "/auth/verify-email"])
def test_strangers_cannot_use_up_the_tries_of_an_owner(manus, path):
    email = f"owner-{secrets.token_hex(4)}@example.com"
    body = {"email": email, "verification_code": "000000", "new_password": "a new password"}
    use = lambda client: manus.request("POST", f"{API}{path}", json=body, headers={"X-Forwarded-For": client}).status_code
    assert [use(f"192.0.2.{i + 10}") for i in range(15)] == [401] * 15
    assert [use("192.0.2.9") for _ in range(4)] == [401, 401, 401, 429], "by client"


# Operating it


@pytest.mark.parametrize("path, limit", [("/auth/send-verification-code", 3), ("/auth/reset-password", 3), ("/auth/refresh", 10)])
def test_bodies_that_will_not_do_count_by_client(manus, ip, path, limit):
    bodies = [b"{", b"[]", b'{"email":7,"refresh_token":7}', b'{"email":"no address"}', b""]
    codes = [manus.request("POST", f"{API}{path}", data=bodies[n % 5], headers={"X-Forwarded-For": ip, "Content-Type": "application/json"}).status_code
             for n in range(limit + 2)]
    assert codes == [422] * limit + [429] * 2


def test_overrides_are_checked_at_the_start(tmp_path):
    for name, value, text in (("RATE_LIMIT_AUTH_LOGIN", "5/fortnight", "RATE_LIMIT_AUTH_LOGIN: has a unit"),
                              ("RATE_LIMIT_DEFAULT", "0/minute", "RATE_LIMIT_DEFAULT: has a count"),
                              ("RATE_LIMIT_NO_SUCH_ROUTE", "5/minute", "RATE_LIMIT_NO_SUCH_ROUTE (environment): no route has this name")):
        for command in ("serve", "check"):
            done = run(command, cwd=tmp_path, **{**DEFAULTS, name: value})
            assert done.returncode == 78 and text in done.stderr, (command, done.stderr)


def test_limits_change_by_sighup_without_losing_counts(start, tmp_path):
    env = tmp_path / ".env"
    env.write_text("RATE_LIMIT_HEALTH=3/minute\n")
    manus = start(**LIMITED)
    assert statuses(manus, HEALTH, "192.0.2.1", 4)[-1] == 429
    env.write_text("RATE_LIMIT_HEALTH=5/minute\n")
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    assert statuses(manus, HEALTH, "192.0.2.1", 4) == [200, 200, 429, 429]
    env.write_text("RATE_LIMIT_HEALTH=nonsense\n")
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "the settings are unchanged")
    assert statuses(manus, HEALTH, "192.0.2.2", 6) == [200] * 5 + [429]


def test_an_allowed_network_is_not_limited_and_a_dry_run_refuses_nobody(start):
    manus = start(**LIMITED, RATE_LIMIT_HEALTH="2/minute", RATE_LIMIT_ALLOW="192.0.2.0/28")
    assert set(statuses(manus, HEALTH, "192.0.2.1", 10)) == {200}
    assert statuses(manus, HEALTH, "192.0.2.77", 3)[-1] == 429
    manus.stop()
    manus.settings["RATE_LIMIT_DRY_RUN"] = "true"
    manus.start()
    assert set(statuses(manus, HEALTH, "192.0.2.77", 5)) == {200}
    manus.stop()
    assert len([line for line in manus.log() if line["msg"] == "a rate limit would refuse this request"]) == 3


def test_the_limits_of_the_mission_are_the_defaults(start):
    manus = start(**LIMITED)
    policy = lambda method, path: manus.request(method, path, headers={"X-Forwarded-For": "192.0.2.9"}).headers.get("RateLimit-Policy")
    minute_hour = lambda a, b: f'"minute";q={a};w=60, "hour";q={b};w=3600'
    assert policy("GET", HEALTH) == '"minute";q=300;w=60'
    assert policy("GET", f"{API}/version") == '"minute";q=100;w=60'
    assert policy("GET", f"{API}/auth/status") == policy("GET", f"{API}/auth/me") == minute_hour(100, 1000)
    table = subprocess.run([BINARY, "routes"], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = {line.split("|")[2].strip(" `"): line.split("|")[4].strip() for line in table if line.startswith("| POST")}
    assert rows[f"{API}/auth/login"] == "5/minute;20/hour" and rows[f"{API}/auth/register"] == "3/minute;10/hour"
    assert rows[f"{API}/auth/refresh"] == "10/minute;50/hour"
    assert rows[f"{API}/auth/send-verification-code"] == rows[f"{API}/auth/reset-password"] == "3/minute;10/hour"


def test_figures_tell_what_was_refused_by_route(start):
    token = "b7Jf0QmZ3kTq9xW2vN5sR8cL1yH4aD6e"
    manus = start(**LIMITED, RATE_LIMIT_HEALTH="3/minute", METRICS_TOKEN=token)
    statuses(manus, HEALTH, "192.0.2.1", 5)
    statuses(manus, HEALTH, "192.0.2.2", 1)
    text = manus.get("/metrics", token).text
    assert 'manus_limit_requests_total{route="health",answer="admitted"} 4\n' in text
    assert 'manus_limit_requests_total{route="health",answer="refused"} 2\n' in text
    assert "\nmanus_limit_keys 3\n" in text


def test_a_refused_request_is_answered_before_its_body_is_sent(manus, ip):
    for _ in range(5):
        post(manus, "/auth/login", {"email": "nobody@example.com", "password": "password123"}, ip)
    head = (f"POST {API}/auth/login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {ip}\r\nContent-Type: application/json\r\n"
            "Content-Length: 60000\r\nExpect: 100-continue\r\n\r\n")
    reply = manus.raw(head.encode())
    assert reply.startswith(b"HTTP/1.1 429 Too Many Requests\r\n"), reply[:100]
