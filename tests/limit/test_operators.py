"""What an operator sees of the limits of one server, and does about it."""
import time

import pytest

from manus import API, run

HEALTH = f"{API}/health"
LIMITED = {"RATE_LIMIT_ENABLED": "true", "TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_HEALTH": "3/hour"}


@pytest.fixture
def manus(start):
    return start(**LIMITED)


def limits(manus, *words):
    return run("limits", *words, cwd=manus.folder, **manus.settings)


def get(manus, ip, path=HEALTH):
    return manus.get(path, headers={"X-Forwarded-For": ip})


def administrator(manus):
    account = manus.register()
    assert run("admin", "promote", account["email"], cwd=manus.folder, **manus.settings).returncode == 0
    return manus.post(f"{API}/auth/login", {"email": account["email"], "password": account["password"]}).json()["data"]["access_token"]


def test_who_asks_most_stands_first(manus):
    for _ in range(9):
        get(manus, "192.0.2.66")
    get(manus, "192.0.2.1")
    lines = limits(manus, "show", "--top").stdout.splitlines()
    assert lines[0].split() == ["3", "admitted", "6", "refused", "health:ip:192.0.2.66"]
    assert any("health:ip:192.0.2.1" in line for line in lines)
    token = administrator(manus)
    top = manus.get(f"{API}/limits/top?limit=1", token).json()["data"]["talkers"]
    assert top == [{"key": "health:ip:192.0.2.66", "admitted": 3, "refused": 6}]
    assert manus.get(f"{API}/limits/top").status_code == 401
    assert manus.get(f"{API}/limits/top?limit=101", token).status_code in (400, 422)
    assert manus.get(f"{API}/limits/top", manus.register()["access_token"]).status_code == 403


def test_every_key_of_the_list_can_be_typed_back(start):
    manus = start(RATE_LIMIT_ENABLED="true", TRUSTED_PROXIES="127.0.0.1")
    account = manus.register()
    manus.me(account["access_token"])
    for address in ("203.0.113.9", "2001:db8:1:2::5"):
        headers = {"X-Forwarded-For": address}
        manus.post(f"{API}/auth/login", {"email": account["email"], "password": "wrong-password"}, headers=headers)
        manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]}, headers=headers)
    *lines, note = limits(manus, "show", "--top").stdout.splitlines()
    keys = [line.split()[-1] for line in lines]
    assert {key.split(":")[1] for key in keys} == {"ip", "net", "net56", "net48", "user", "email", "login"}
    assert "manus admin show" in note
    for key in keys:
        assert "{" not in key and "left" in limits(manus, "show", key).stdout, key
        assert limits(manus, "reset", key).stdout == "reset\n", key
    assert "left" in limits(manus, "show", f"auth_send_verification_code:email:{account['email']}").stdout


def test_a_banned_network_is_refused_everywhere_until_it_is_lifted_also_after_a_restart(manus):
    assert limits(manus, "ban", "198.51.100.0/24", "--for", "30m").stdout.startswith("198.51.100.0/24 is banned until 20")
    assert limits(manus, "ban", "2001:db8::/32").returncode == 0
    reply = get(manus, "198.51.100.7", f"{API}/version")
    assert reply.status_code == 429 and 1790 <= int(reply.headers["Retry-After"]) <= 1800
    assert reply.json()["retry_after"] == int(reply.headers["Retry-After"])
    assert get(manus, "2001:db8::5", "/").status_code == 429
    assert get(manus, "198.51.100.7", "/nothing-here").status_code == 429
    for method in ("OPTIONS", "DELETE"):
        assert manus.request(method, HEALTH, headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 429
    assert get(manus, "198.51.101.7").status_code == 200
    assert manus.stop() == 0
    manus.start()
    assert get(manus, "198.51.100.7").status_code == 429
    listed = limits(manus, "bans").stdout
    assert "198.51.100.0/24 until" in listed and "2001:db8::/32 until" in listed
    assert limits(manus, "unban", "198.51.100.0/24").stdout == "198.51.100.0/24 is no longer banned\n"
    assert get(manus, "198.51.100.7").status_code == 200
    assert limits(manus, "unban", "2001:db8::/32").returncode == 0
    assert limits(manus, "bans").stdout == "nobody is banned\n"


@pytest.mark.parametrize("client", ["64:ff9b::198.51.100.7", "2002:c633:6407::1", "2001:0:4136:e378:8000:63bf:39cc:9bf8"])
def test_a_banned_ipv4_network_comes_in_by_no_translation(manus, client):
    assert get(manus, client, "/").status_code == 200
    assert limits(manus, "ban", "198.51.100.0/24").returncode == 0
    assert get(manus, client, "/").status_code == 429
    assert get(manus, "64:ff9b::198.51.101.7", "/").status_code == 200
    assert limits(manus, "unban", "198.51.100.0/24").returncode == 0
    assert limits(manus, "ban", "64:ff9b::/96").returncode == 0, "and a translation may be banned as a whole"
    assert get(manus, "64:ff9b::198.51.101.7", "/").status_code == 429 and get(manus, "198.51.101.7", "/").status_code == 200


def test_bans_of_an_older_file_hold_and_what_is_not_banned_is_told(manus):
    assert manus.stop() == 0
    (manus.folder / "data" / "bans").write_text(f"198.51.100.0/24 {int(time.time() + 600) * 1000}\nnonsense\n192.0.2.0/24 x\n")
    manus.start()
    assert get(manus, "198.51.100.7").status_code == 429
    assert limits(manus, "unban", "198.51.100.7").stdout == "198.51.100.7 is not banned; it is part of the banned network 198.51.100.0/24\n"
    assert limits(manus, "unban", "192.0.2.0/24").stdout == "192.0.2.0/24 is not banned\n"
    assert get(manus, "198.51.100.7").status_code == 429
    assert limits(manus, "unban", "198.51.100.0/24").stdout == "198.51.100.0/24 is no longer banned\n"
    assert manus.stop() == 0
    manus.start()
    assert get(manus, "198.51.100.7").status_code == 200


def test_a_thousand_networks_are_banned_at_most_and_as_many_remembered(manus):
    assert manus.stop() == 0
    now, bans = int(time.time() * 1000), manus.folder / "data" / "bans"
    lines = [f"10.1.{n // 250}.{n % 250} {now + 600000} {now}" for n in range(999)] + [f"10.2.{n // 250}.{n % 250} 0 {now - n}" for n in range(1000)]
    bans.write_text("\n".join(lines) + "\n")
    manus.start()
    assert limits(manus, "ban", "192.0.2.0/24").returncode == 0
    full = limits(manus, "ban", "198.51.100.0/24")
    assert full.returncode == 65 and "1000 bans" in full.stderr
    assert limits(manus, "ban", "192.0.2.0/24", "--for", "2h").returncode == 0
    assert limits(manus, "unban", "10.1.0.0").stdout == "10.1.0.0 is no longer banned\n"
    assert get(manus, "10.1.0.0").status_code == 200 and get(manus, "10.1.0.1").status_code == 429
    kept = bans.read_text().splitlines()
    assert len(kept) == 1999 and not any(line.startswith("10.2.3.249 ") for line in kept), "the earliest is forgotten"
    assert len(limits(manus, "bans").stdout.splitlines()) == 999


def test_a_ban_that_lasts_longer_than_any_may_was_written_by_a_clock_ahead_and_is_over(manus):
    manus.stop()
    now = int(time.time() * 1000)
    day = 86400000
    (manus.folder / "data" / "bans").write_text(f"192.0.2.0/24 {now + 3650 * day} {now + 3600 * day}\n198.51.100.0/24 {now + 2 * day} {now + day}\n")
    manus.start()
    assert [get(manus, ip).status_code for ip in ("192.0.2.7", "198.51.100.7")] == [200, 429]
    assert "192.0.2" not in limits(manus, "bans").stdout
    for what, status in (("ban", 429), ("unban", 200)):
        for network in ("192.0.2.0/24", "198.51.100.0/24"):
            assert limits(manus, what, network).returncode == 0
        assert [get(manus, ip).status_code for ip in ("192.0.2.7", "198.51.100.7")] == [status] * 2


def test_a_key_is_found_as_people_write_it(manus):
    get(manus, "2001:db8:1:2::7")
    assert "3 per hour: 2 left" in limits(manus, "show", "health:ip:2001:db8:1:2:ffff::1").stdout
    for _ in range(4):
        manus.post(f"{API}/auth/login", {"email": "Some.Body@Example.com", "password": "not the one"}, headers={"X-Forwarded-For": "192.0.2.5"})
    assert "10 per minute: 6 left" in limits(manus, "show", "login_failures:login:some.body@EXAMPLE.com").stdout
    assert limits(manus, "reset", "login_failures:login:some.body@example.com").stdout == "reset\n"
    assert "10 per minute: 10 left" in limits(manus, "show", "login_failures:login:some.body@example.com").stdout


def test_codes_are_counted_by_mailbox_whatever_stands_behind_a_plus(start):
    manus = start(RATE_LIMIT_ENABLED="true", TRUSTED_PROXIES="127.0.0.1", RATE_LIMIT_AUTH_SEND_VERIFICATION_CODE="3/hour")
    ask = lambda email, number: manus.post(f"{API}/auth/send-verification-code", {"email": email}, headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
    spellings = ("victim+1@example.com", "victim+2@example.com", "Victim@EXAMPLE.com", "victim+3@example.com", "victim@example.com")
    assert [ask(email, number) == 429 for number, email in enumerate(spellings)] == [False] * 3 + [True] * 2
    assert ask("other+victim@example.com", 9) != 429
    for email in ("victim+7@example.com", "victim@example.com"):
        assert "3 per hour: 0 left" in limits(manus, "show", f"auth_send_verification_code:email:{email}").stdout
    assert limits(manus, "reset", "auth_send_verification_code:email:victim+8@example.com").stdout == "reset\n"
    assert ask("victim+9@example.com", 10) != 429


@pytest.mark.parametrize("words, status", [
    (("ban", "nobody"), 65), (("ban", "10.0.0.1/8"), 65), (("ban", "0.0.0.0/0"), 65), (("ban", "::/0"), 65), (("ban", "192.0.2.1", "--for", "ever"), 64),
    (("ban", "192.0.2.1", "--for", "400d"), 64), (("ban", "192.0.2.1", "--for", "-1h"), 64), (("ban",), 64), (("show",), 64), (("unban", "x"), 65),
    (("show", "health:ip:nobody"), 65), (("show", "health:ip:192.0.2.1/24"), 65), (("show", "health:session:1"), 65), (("show", "health:email:a@b.example"), 65),
    (("show", "auth_login:login:a@b.example"), 65), (("show", "login_failures:ip:192.0.2.1"), 65), (("reset", "nowhere:ip:192.0.2.1"), 65)])
def test_what_is_asked_wrongly_is_told_and_bans_nobody(manus, words, status):
    done = limits(manus, *words)
    assert done.returncode == status and done.stderr.startswith("manus limits: ")
    assert get(manus, "192.0.2.1").status_code == 200
    assert limits(manus, "bans").stdout == "nobody is banned\n"
