"""An address is proved by a code or a link, once; what may be done before is a setting."""
import concurrent.futures
import email
import email.policy
import pathlib
import re

import pytest

from letters import age, code_in, letter_to, letters, nobody_waits, rows, text_of
from manus import API, free_port

CODE = {"code": 401, "msg": "Invalid or expired verification code", "data": None}
LINK = {"code": 401, "msg": "Invalid or expired verification link", "data": None}
NOT_VERIFIED = {"code": 403, "msg": "Email is not verified", "data": None}


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    from manus import Manus, check_no_reports
    one = Manus(tmp_path_factory.mktemp("manus"), EMAIL_VERIFICATION="true", PUBLIC_URL="https://app.example.com").start()
    yield one
    assert one.stop() == 0
    check_no_reports(one)


NO_PROOF = {"code": 403, "data": None,
            "msg": "Log in to confirm, or give the account's password; if you do not know it, choose a new one with a mailed code"}


def verify(manus, account=None, **body):
    """By whom has a session of the account (None: by whom has none)."""
    return manus.post(f"{API}/auth/verify-email", body, account and account["access_token"])


def is_verified(manus, account):
    return manus.get(f"{API}/auth/preferences", account["access_token"]).json()["data"]["email_verified"]


def letter(manus, account):
    return letter_to(manus, account["email"], "Confirm your e-mail address")


def token_in(letter):
    return re.search(r"^https://app\.example\.com/verify-email#(\S+)$", text_of(letter), re.M)[1]


def test_who_registers_is_mailed_a_link_and_a_code(manus):
    account = manus.register()
    assert is_verified(manus, account) is False
    mail = letter(manus, account)
    token = token_in(mail)
    assert f'href="https://app.example.com/verify-email#{token}"' in mail.get_body(("html",)).get_content()
    assert verify(manus, account, email=account["email"].upper(), verification_code=code_in(mail)).text == '{"code":0,"msg":"success","data":{}}'
    assert is_verified(manus, account) is True
    (line,) = [line for line in manus.log() if token in str(line)]
    assert line["link"].endswith(token) and line["msg"] == "no mail server is configured: a mail was written to a file"


def test_a_link_is_good_once(manus):
    account = manus.register()
    token = token_in(letter(manus, account))
    assert verify(manus, account, token=token).status_code == 200
    assert is_verified(manus, account) is True
    assert verify(manus, account, token=token).json() == LINK
    assert verify(manus, email=account["email"], verification_code=code_in(letter(manus, account))).status_code == 401  # of the same mail


def test_of_a_link_used_many_times_at_once_one_use_is_right(manus):
    account = manus.register()
    token = token_in(letter(manus, account))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: verify(manus, account, token=token).status_code, range(16)))
    assert sorted(replies) == [200] + [401] * 15
    assert rows(manus, "SELECT count(*) FROM audit WHERE subject = ? AND action = 'user.verify_email'", account["user"]["id"]) == [(1,)]


@pytest.mark.parametrize("change", [
    lambda t: "", lambda t: "x", lambda t: t[:-1], lambda t: t + "A", lambda t: t.replace(".", ""), lambda t: ".." + t, lambda t: t + ".",
    lambda t: t.split(".")[0] + ".99999999999." + t.split(".")[2], lambda t: t.split(".")[0] + ".-1." + t.split(".")[2],
    lambda t: t.split(".")[0] + ".99999999999999999999999." + t.split(".")[2], lambda t: "A" * 22 + t[22:], lambda t: t.swapcase(),
    *[lambda t, sign=sign: t.replace(".", "." + sign, 1) for sign in ("0", "+", " ", "\n", "00")],
    lambda t: "x" * 300, lambda t: t.replace(".", "%2e"), lambda t: " " + t])
def test_a_link_that_was_altered_is_refused(manus, change):
    account = manus.register()
    token = change(token_in(letter(manus, account)))
    reply = verify(manus, account, token=token)
    assert (reply.json() == LINK) if 0 < len(token) <= 256 else reply.status_code == 422
    assert is_verified(manus, account) is False


def test_a_link_expires_after_a_day_and_binds_the_address(manus):
    account = manus.register()
    token = token_in(letter(manus, account))
    user, expires, _ = token.split(".")
    assert user == account["user"]["id"] and 86000 < int(expires) - account_time(account) < 86800
    rows(manus, "UPDATE users SET email = 'other' || email WHERE user_id = ?", user)
    assert verify(manus, account, token=token).json() == LINK


def account_time(account):
    import datetime
    return datetime.datetime.fromisoformat(account["user"]["created_at"].replace("Z", "+00:00")).timestamp()


def test_a_code_for_a_password_confirms_no_address_and_the_other_way_round(manus):
    account = manus.register()
    confirm = code_in(letter(manus, account))
    assert manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]}).status_code == 200
    reset = code_in(letter_to(manus, account["email"], "Password Reset"))
    if reset != confirm:
        assert verify(manus, account, email=account["email"], verification_code=reset).json() == CODE
        assert manus.post(f"{API}/auth/reset-password", {"email": account["email"], "verification_code": confirm,
                                                         "new_password": "another one"}).status_code == 401


def test_codes_guessed_at_once_use_up_the_code(manus):
    account = manus.register()
    code = code_in(letter(manus, account))
    wrong = [f"{n:06}" for n in range(61) if f"{n:06}" != code][:60]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert {reply.text for reply in pool.map(lambda c: verify(manus, account, email=account["email"], verification_code=c), wrong)} == \
            {'{"code":401,"msg":"Invalid or expired verification code","data":null}'}
    assert verify(manus, account, email=account["email"], verification_code=code).json() == CODE
    assert verify(manus, email="nobody@example.com", verification_code="123456").json() == CODE


def test_another_mail_can_be_asked_for_after_a_minute(manus):
    account = manus.register()
    letter(manus, account)
    send = lambda: manus.post(f"{API}/auth/send-email-verification", token=account["access_token"])
    assert re.fullmatch(r"Please wait \d\d? seconds before requesting a new verification code", send().json()["msg"])
    age(manus, 61)
    assert send().status_code == 200
    nobody_waits(manus)
    assert len(letters(manus, account["email"])) == 2
    assert verify(manus, account, token=token_in(letter(manus, account))).status_code == 200
    assert send().json() == {"code": 400, "msg": "Email is already verified", "data": None}
    assert manus.post(f"{API}/auth/send-email-verification").status_code == 401


def proofs(manus, account):
    """Both ways of a mail to show who has the mailbox."""
    mail = letter(manus, account)
    return {"link": {"token": token_in(mail)}, "code": {"email": account["email"], "verification_code": code_in(mail)}}


@pytest.mark.parametrize("way", ["link", "code"])
def test_who_has_the_mailbox_confirms_no_account_of_somebody_else(manus, way):
    """Somebody has registered with the victim's address, and the victim, who has an account too, follows the mail."""
    attacker, victim = manus.register(), manus.register()
    proof = proofs(manus, attacker)[way]
    for session in (None, victim):
        assert verify(manus, session, **proof).json() == NO_PROOF
        reply = verify(manus, session, **proof, password=victim["password"] + "!")
        assert (reply.status_code, reply.json()["msg"]) == (400, "Invalid password")
    assert is_verified(manus, attacker) is False
    assert verify(manus, attacker, **proof).status_code == 200, "none of that has used it up"


@pytest.mark.parametrize("way", ["link", "code"])
def test_the_password_of_the_account_proves_it_on_the_page(manus, way):
    account = manus.register()
    proof = proofs(manus, account)[way]
    assert verify(manus, **proof, password="wrong").status_code == 400
    assert verify(manus, **proof, password=account["password"]).text == '{"code":0,"msg":"success","data":{}}'
    assert is_verified(manus, account) is True, "and their sessions go on"
    assert verify(manus, **proof, password=account["password"]).status_code == 401, "once"


@pytest.mark.parametrize("way", ["link", "code"])
def test_a_session_that_is_over_proves_nothing(manus, way):
    account = manus.register()
    proof = proofs(manus, account)[way]
    assert manus.post(f"{API}/auth/logout", token=account["access_token"]).status_code == 200
    for token in (account["access_token"], account["refresh_token"], "x.y.z"):
        reply = manus.post(f"{API}/auth/verify-email", proof, token)
        assert (reply.status_code, reply.json()["msg"]) == (401, "Authentication failed"), "a client renews it"
    assert manus.post(f"{API}/auth/verify-email", {**proof, "password": account["password"]}, "x.y.z").status_code == 200


def test_a_wrong_code_tells_nothing_of_the_password(manus):
    account = manus.register()
    wrong = f"{(int(code_in(letter(manus, account))) + 1) % 1000000:06}"
    for password in (account["password"], "a wrong one"):
        assert verify(manus, email=account["email"], verification_code=wrong, password=password).json() == CODE


def test_right_codes_without_proof_use_up_no_tries(manus):
    account = manus.register()
    proof = proofs(manus, account)["code"]
    for i in range(4):
        assert verify(manus, email=account["email"], verification_code=f"{(int(proof['verification_code']) + 1 + i) % 1000000:06}").json() == CODE
    for _ in range(4):
        assert verify(manus, **proof).json() == NO_PROOF
    assert verify(manus, account, **proof).status_code == 200


def test_who_knows_neither_takes_the_account_by_the_reset(manus):
    attacker = manus.register()
    login = lambda password: manus.post(f"{API}/auth/login", {"email": attacker["email"], "password": password})
    other = login(attacker["password"]).json()["data"]
    proof = proofs(manus, attacker)
    assert manus.post(f"{API}/auth/send-verification-code", {"email": attacker["email"]}).status_code == 200
    code = code_in(letter_to(manus, attacker["email"], "Password Reset"))
    assert manus.post(f"{API}/auth/reset-password", {"email": attacker["email"], "verification_code": code, "new_password": "the owner's"}).status_code == 200
    for session in (attacker, other):
        assert manus.me(session["access_token"]).status_code == 401
        assert manus.refresh(session["refresh_token"]).status_code == 401
        for way in proof.values():
            assert verify(manus, session, **way).status_code == 401
    assert login(attacker["password"]).status_code == 401
    owner = login("the owner's").json()["data"]
    assert is_verified(manus, owner) is True


def test_the_page_asks_for_the_password_and_leads_to_the_reset(manus):
    for language in ("en", "ar"):
        page = manus.get(f"/verify-email?lang={language}").text
        for field in ("password", "email", "verification_code", "new_password"):
            assert f'name="{field}"' in page
    script = manus.get("/manus/assets/verify.js").text
    for path in ("verify-email", "send-verification-code", "reset-password"):
        assert f'"{path}"' in script


def test_half_a_proof_is_a_clear_error(manus):
    for body in ({}, {"email": "ann@example.com"}, {"verification_code": "123456"}, {"token": None}):
        reply = verify(manus, **body)
        assert (reply.status_code, reply.json()["msg"]) == (422, "Give token, or email and verification_code")
    assert verify(manus, email="ann@example.com", verification_code="12345x").json()["msg"] == "Verification code must be 6 digits"


def test_a_password_chosen_by_mail_proves_the_address(manus):
    account = manus.register()
    manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]})
    code = code_in(letter_to(manus, account["email"], "Password Reset"))
    manus.post(f"{API}/auth/reset-password", {"email": account["email"], "verification_code": code, "new_password": "another one"})
    assert rows(manus, "SELECT verified_at > 0 FROM users WHERE email = ?", account["email"]) == [(1,)]


def test_the_page_behind_the_link_sends_nothing_by_itself(manus):
    for language, title in (("en", "Confirm your e-mail address"), ("ar", "تأكيد عنوان بريدك الإلكتروني")):
        page = manus.get(f"/verify-email?lang={language}")
        assert page.status_code == 200 and f"<h1>{title}</h1>" in page.text and "<button>" in page.text
        assert "script-src 'self'" in page.headers["Content-Security-Policy"] and "unsafe" not in page.headers["Content-Security-Policy"]
    assert "submit" in manus.get("/manus/assets/verify.js").text


def test_without_the_setting_registration_mails_nothing(start):
    manus = start()
    account = manus.register()
    assert manus.post(f"{API}/auth/send-email-verification", token=account["access_token"]).status_code == 200
    nobody_waits(manus)
    (mail,) = letters(manus, account["email"])
    assert f"http://localhost:{manus.port}/verify-email#" in text_of(mail)
    assert verify(manus, account, email=account["email"], verification_code=code_in(mail)).status_code == 200


USE = [  # what an account does, and from which value on it may while it is not verified
    ("GET", "/auth/me", None, "nothing"), ("GET", "/auth/preferences", None, "nothing"), ("GET", "/auth/me/export", None, "nothing"),
    ("GET", "/auth/sessions", None, "account"), ("POST", "/auth/sessions/revoke-others", None, "account"),
    ("POST", "/auth/change-fullname", {"fullname": "Ann"}, "account"), ("POST", "/auth/change-language", {"language": "en"}, "account"),
    ("POST", "/auth/change-password", {"old_password": "password123", "new_password": "password123"}, "account"),
]


@pytest.mark.parametrize("may", ["everything", "account", "nothing"])
def test_what_an_unverified_account_may_do_is_a_setting(start, may):
    manus = start(UNVERIFIED_MAY=may)
    account = manus.register()
    for method, path, body, least in USE:
        reply = manus.request(method, API + path, json=body, headers={"Authorization": f"Bearer {account['access_token']}"})
        allowed = may == "everything" or least == "nothing" or may == least
        assert (reply.status_code == 200) == allowed, (path, reply.text)
        assert allowed or reply.json() == NOT_VERIFIED
    manus.post(f"{API}/auth/send-email-verification", token=account["access_token"])
    assert verify(manus, account, email=account["email"], verification_code=code_in(letter(manus, account))).status_code == 200
    for method, path, body, _ in USE:
        assert manus.request(method, API + path, json=body, headers={"Authorization": f"Bearer {account['access_token']}"}).status_code == 200


def test_an_unverified_administrator_administers_only_where_everything_is_allowed(start, tmp_path):
    for may, status in (("everything", 200), ("account", 403)):
        manus = start(tmp_path / may if (tmp_path / may).mkdir() is None else None, UNVERIFIED_MAY=may)
        account = manus.register()
        rows(manus, "UPDATE users SET role = 'admin'")
        assert manus.get(f"{API}/auth/users", account["access_token"]).status_code == status


def test_without_a_mail_server_a_mail_is_a_file_that_people_can_read_and_its_link_leads_here(start):
    manus = start(EMAIL_VERIFICATION="true")
    account = manus.register()
    line = manus.wait_for_log(lambda line: line["msg"].startswith("no mail server is configured"))
    written = pathlib.Path(line["path"]).read_text(encoding="utf-8")
    code = code_in(letter_to(manus, account["email"]))
    assert "\nSubject: Confirm your e-mail address\n" in written and f"\n{code}\n" in written
    assert line["link"].startswith(f"http://localhost:{manus.port}/verify-email#") and f"\n{line['link']}\n" in written
    token = line["link"].partition("#")[2]
    assert manus.post(f"{API}/auth/verify-email", {"token": token, "password": account["password"]}).status_code == 200


def test_a_readable_mail_in_arabic_is_a_sound_one(start):
    manus = start(EMAIL_VERIFICATION="true")
    manus.post(f"{API}/auth/register", {"fullname": "Sara Said", "email": "sara@example.com", "password": "password123"}, headers={"Accept-Language": "ar"})
    letter = letter_to(manus, "sara@example.com")
    assert letter["Subject"] == "تأكيد عنوان بريدك الإلكتروني" and "أو أدخل الرمز" in text_of(letter) and not letter.defects


def test_what_goes_to_a_mail_server_is_seven_bits_wide_and_has_no_link_that_nobody_set(start):
    manus = start(EMAIL_VERIFICATION="true", EMAIL_HOST="127.0.0.1", EMAIL_PORT=free_port(), EMAIL_FROM="noreply@example.com")
    manus.post(f"{API}/auth/register", {"fullname": "Sara Said", "email": "sara@example.com", "password": "password123"}, headers={"Accept-Language": "ar"})
    content = rows(manus, "SELECT content FROM mails")[0][0]
    assert content.isascii() and "8bit" not in content
    assert "http" not in text_of(email.message_from_string(content, policy=email.policy.default))
