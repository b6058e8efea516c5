"""What strangers have mailed to people is bounded by mailbox and by domain, and nobody is told."""
import pytest

from letters import age, code_in, letter_to, letters, nobody_waits, rows
from manus import API


TOKEN = "a-token-of-the-metrics-with-32-characters"


@pytest.fixture
def manus(start):
    return start(EMAIL_VERIFICATION="true", EMAIL_LIMIT_DOMAIN="12/hour", METRICS_TOKEN=TOKEN)


def register(manus, address):
    return manus.post(f"{API}/auth/register", {"fullname": "A Stranger", "email": address, "password": "a password"})


def mailed(manus):
    nobody_waits(manus)
    return len(list((manus.settings["DATA_DIR"] / "outbox").glob("*.eml")))


def withheld(manus):
    return sum(float(line.split()[1]) for line in manus.get("/metrics", TOKEN).text.splitlines() if line.startswith("manus_mails_withheld_total "))


def test_a_mailbox_gets_five_mails_an_hour_however_it_is_spelled_also_after_a_restart(manus):
    replies = [register(manus, f"Victim+{number}@Example.com") for number in range(1, 31)]
    assert {reply.status_code for reply in replies} == {200}
    assert {tuple(sorted(reply.json()["data"])) for reply in replies} == {tuple(sorted(replies[0].json()["data"]))}
    assert mailed(manus) == 5 and withheld(manus) == 25
    assert manus.stop() == 0
    manus.start()
    age(manus, 61)
    token = replies[0].json()["data"]["access_token"]
    asked = [manus.post(f"{API}/auth/send-verification-code", {"email": address}) for address in ("victim+1@example.com", "victim+77@example.com")]
    asked.append(manus.post(f"{API}/auth/send-email-verification", {}, token=token))
    assert {(reply.status_code, reply.text) for reply in asked} == {(200, '{"code":0,"msg":"success","data":{}}')}
    assert mailed(manus) == 6 and withheld(manus) == 1, "codes of the two kinds count apart, and of who is nobody it was none"
    assert register(manus, "vic.tim@example.com").status_code == 200
    assert mailed(manus) == 7, "dots make another mailbox"
    stored = rows(manus, "SELECT key FROM mail_counts")
    assert stored and not any("victim" in key or "example" in key for (key,) in stored)


def test_a_domain_has_a_bound_of_its_own_that_addresses_of_nobody_do_not_use_up(manus):
    for number in range(20):
        assert manus.post(f"{API}/auth/send-verification-code", {"email": f"nobody{number}@example.net"}).status_code == 200
    assert [register(manus, f"person{number}@example.net").status_code for number in range(15)] == [200] * 15
    assert mailed(manus) == 12 and withheld(manus) == 3
    assert register(manus, "person@example.org").status_code == 200
    assert mailed(manus) == 13


def test_who_registers_the_address_of_another_has_few_notices_mailed_there(manus):
    assert register(manus, "owner@example.com").status_code == 200
    for number in range(9):
        reply = manus.post(f"{API}/auth/login", {"email": "owner@example.com", "password": "a password"}, headers={"User-Agent": f"{'x' * (number + 1)}/1"})
        assert reply.status_code == 200
    assert mailed(manus) == 1 + 5
    rows(manus, "UPDATE users SET verified_at = 1")
    assert manus.post(f"{API}/auth/login", {"email": "owner@example.com", "password": "a password"}, headers={"User-Agent": "another/1"}).status_code == 200
    assert mailed(manus) == 1 + 6, "their own address: every device is told"


@pytest.mark.parametrize("name", ["EMAIL_LIMIT_MAILBOX", "EMAIL_LIMIT_DOMAIN"])
def test_a_bound_that_is_none_stops_the_start(tmp_path, name):
    from manus import run
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY="tests-only-key-that-nobody-else-has-0123456789", **{name: "many"})
    assert done.returncode == 78 and name in done.stderr + done.stdout


def test_registrations_with_another_tag_use_up_no_reset_of_the_owner(start):
    manus = start(EMAIL_VERIFICATION="true", METRICS_TOKEN=TOKEN)
    owner = manus.register(email="owner@example.com")
    rows(manus, "UPDATE users SET verified_at = 1")
    for n in range(8):
        manus.register(email=f"owner+{n}@example.com")
        manus.post(f"{API}/auth/send-verification-code", {"email": f"owner+{n}@example.com"})
    assert manus.post(f"{API}/auth/send-verification-code", {"email": owner["email"]}).status_code == 200
    assert code_in(letter_to(manus, owner["email"], "Password Reset"))


def test_a_code_that_is_withheld_takes_the_place_of_none_that_is_good(start):
    manus = start(EMAIL_LIMIT_MAILBOX="1/hour", METRICS_TOKEN=TOKEN)
    owner = manus.register()
    ask = lambda: manus.post(f"{API}/auth/send-verification-code", {"email": owner["email"]})
    assert ask().status_code == 200
    code = code_in(letter_to(manus, owner["email"], "Password Reset"))
    age(manus, 61)
    assert ask().status_code == 200 and withheld(manus) == 1
    assert ask().status_code == 400, "the wait begins anew, so that nobody sees a difference"
    assert manus.post(f"{API}/auth/reset-password", {"email": owner["email"], "verification_code": code, "new_password": "another one"}).status_code == 200
