"""People are told by mail what happened to their account, in their language."""
import pytest

from letters import letter_to, letters, nobody_waits, text_of
from manus import API

CHROME = "Mozilla/5.0 (X11; Linux x86_64) Chrome/{} Safari/537.36"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/604.1"


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    from manus import Manus, check_no_reports
    one = Manus(tmp_path_factory.mktemp("manus"), TRUSTED_PROXIES="127.0.0.1").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


def login(manus, account, agent=CHROME.format(140), address="203.0.113.9", **headers):
    reply = manus.post(f"{API}/auth/login", {"email": account["email"], "password": account["password"]},
                       headers={"User-Agent": agent, "X-Forwarded-For": address, **headers})
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def subjects(manus, account):
    nobody_waits(manus)
    return [letter["Subject"] for letter in letters(manus, account["email"])]


def change_password(manus, account, new="another password", **headers):
    reply = manus.post(f"{API}/auth/change-password", {"old_password": account["password"], "new_password": new},
                       token=account["access_token"], headers=headers)
    assert reply.status_code == 200


def choose(manus, account, language):
    return manus.post(f"{API}/auth/change-language", {"language": language}, token=account["access_token"])


def test_a_changed_password_is_told(manus):
    account = manus.register(fullname="Pay http://evil.example now")
    change_password(manus, account)
    letter = letter_to(manus, account["email"], "Your password was changed")
    assert account["email"] in text_of(letter)
    for part in (text_of(letter), letter.get_body(("html",)).get_content()):
        assert "evil" not in part and account["password"] not in part
    assert subjects(manus, account) == ["Your password was changed"]


def test_a_password_changed_by_a_code_is_told(manus):
    from letters import code_in
    account = manus.register()
    manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]})
    code = code_in(letter_to(manus, account["email"]))
    manus.post(f"{API}/auth/reset-password", {"email": account["email"], "verification_code": code, "new_password": "another one"})
    assert subjects(manus, account) == ["Password Reset Verification Code", "Your password was changed"]


def test_a_login_on_a_new_device_is_told_once_and_known_ones_are_not(manus):
    account = manus.register()
    login(manus, account)
    assert subjects(manus, account) == ["A login on a new device"]
    letter = text_of(letter_to(manus, account["email"]))
    assert "203.0.113.9" in letter and "Chrome/140" in letter
    login(manus, account, agent=CHROME.format(141), address="203.0.77.1")  # a newer version, in the same network
    assert subjects(manus, account) == ["A login on a new device"]
    login(manus, account, agent=PHONE)
    login(manus, account, address="198.51.100.7")
    login(manus, account, address="2001:db8:1::1")
    login(manus, account, address="2001:db8:1:9::2")
    assert subjects(manus, account) == ["A login on a new device"] * 4


def test_the_agent_cannot_write_into_the_letter(manus):
    account = manus.register()
    login(manus, account, agent='<script src="//evil">& Ünï')
    html = letter_to(manus, account["email"]).get_body(("html",)).get_content()
    assert "<script" not in html
    assert "&lt;script src=&quot;//evil&quot;&gt;&amp; ?n?" in html


def test_letters_are_in_the_chosen_language_else_in_the_browsers(manus):
    account = manus.register()
    login(manus, account, **{"Accept-Language": "ar"})
    assert subjects(manus, account) == ["تسجيل دخول من جهاز جديد"]
    assert choose(manus, account, "en").json()["data"] == {"email_verified": False, "language": "en"}
    change_password(manus, account, **{"Accept-Language": "ar"})
    assert subjects(manus, account)[1] == "Your password was changed"
    account["password"] = "another password"
    assert choose(manus, account, "ar").json()["data"]["language"] == "ar"
    manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]}, headers={"Accept-Language": "en"})
    assert subjects(manus, account)[2] == "رمز التحقق لإعادة تعيين كلمة المرور"
    assert choose(manus, account, None).json()["data"]["language"] is None
    login(manus, account, agent=PHONE, **{"Accept-Language": "en"})
    assert subjects(manus, account)[3] == "A login on a new device"


def test_the_choice_is_told_again_and_again(manus):
    account = manus.register()
    assert choose(manus, account, "ar").status_code == 200
    for _ in range(3):
        reply = manus.get(f"{API}/auth/preferences", account["access_token"])
        assert reply.json()["data"] == {"email_verified": False, "language": "ar"}


def test_what_says_nothing_of_the_language_does_not_take_it_away(manus):
    account = manus.register()
    choose(manus, account, "ar")
    reply = manus.post(f"{API}/auth/change-language", {}, token=account["access_token"])
    assert (reply.status_code, reply.json()["msg"]) == (422, "language: Field required")
    assert manus.get(f"{API}/auth/preferences", account["access_token"]).json()["data"]["language"] == "ar"


def test_a_language_that_is_not_spoken_is_refused(manus):
    account = manus.register()
    for language in ("de", "", "AR", 1, ["ar"]):
        reply = choose(manus, account, language)
        assert (reply.status_code, reply.json()["msg"]) == (422, "language: Input should be 'en' or 'ar'")


def test_notices_can_be_switched_off(start):
    manus = start(EMAIL_NOTICES="false")
    account = manus.register()
    manus.post(f"{API}/auth/login", {"email": account["email"], "password": account["password"]}, headers={"User-Agent": PHONE})
    change_password(manus, account)
    assert subjects(manus, account) == []


def test_without_mail_in_production_nothing_waits_for_ever(start):
    manus = start(ENVIRONMENT="production", EMAIL_VERIFICATION="true")
    account = manus.register()
    change_password(manus, account)
    assert subjects(manus, account) == []
