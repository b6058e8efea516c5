"""Who lost a password gets it back by a code; strangers learn nothing from it."""
import concurrent.futures
import re
import sqlite3
import time

import pytest

from letters import age, code_in, letter_to, letters, rows
from manus import API, SLOW, run

WAIT = re.compile(r"Please wait (\d+) seconds before requesting a new verification code")
WRONG = {"code": 401, "msg": "Invalid or expired verification code", "data": None}


def send(manus, address, **headers):
    return manus.post(f"{API}/auth/send-verification-code", {"email": address}, headers=headers)


def reset(manus, address, code, password="a new password"):
    return manus.post(f"{API}/auth/reset-password", {"email": address, "verification_code": code, "new_password": password})


def login(manus, account, password):
    return manus.post(f"{API}/auth/login", {"email": account["email"], "password": password}).status_code


def test_a_code_comes_by_mail_sets_the_password_once_and_ends_every_session(manus):
    account = manus.register()
    reply = send(manus, account["email"].upper())
    assert (reply.status_code, reply.text) == (200, '{"code":0,"msg":"success","data":{}}')
    code = code_in(letter_to(manus, account["email"]))
    assert manus.me(account["access_token"]).status_code == 200
    assert reset(manus, account["email"], code).text == '{"code":0,"msg":"success","data":{}}'
    assert manus.me(account["access_token"]).status_code == 401
    assert manus.refresh(account["refresh_token"]).status_code == 401
    assert login(manus, account, account["password"]) == 401
    assert login(manus, account, "a new password") == 200
    assert reset(manus, account["email"], code, "another password").json() == WRONG
    assert code not in manus.log_path.read_text()


def test_the_letter_is_text_and_html_in_the_readers_language(manus):
    for language, subject in (("en", "Password Reset Verification Code"), ("ar", "رمز التحقق لإعادة تعيين كلمة المرور")):
        account = manus.register()
        send(manus, account["email"], **{"Accept-Language": language})
        letter = letter_to(manus, account["email"])
        assert letter["Subject"] == subject
        assert letter["Message-ID"] and letter["Date"] and letter["From"] == "manus@localhost"
        assert letter.get_content_type() == "multipart/alternative"
        code = code_in(letter)
        html = letter.get_body(("html",)).get_content()
        assert code in html and f'lang="{language}"' in html and ('dir="rtl"' in html) == (language == "ar")


def test_known_unknown_and_stopped_addresses_are_answered_alike(manus):
    known, stopped = manus.register(), manus.register()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("UPDATE users SET is_active = 0 WHERE user_id = ?", [stopped["user"]["id"]])
    for address in (known["email"], stopped["email"], "nobody-at-all@example.com"):
        first, second = send(manus, address), send(manus, address)
        assert (first.status_code, first.text) == (200, '{"code":0,"msg":"success","data":{}}')
        assert second.status_code == 400 and 55 <= int(WAIT.fullmatch(second.json()["msg"])[1]) <= 60
        assert reset(manus, address, "000000").json() == WRONG or address == known["email"]
    letter_to(manus, known["email"])
    time.sleep(0.6)
    assert letters(manus, stopped["email"]) == letters(manus, "nobody-at-all@example.com") == []


def test_five_wrong_tries_void_the_code_also_when_they_come_at_once(manus):
    account = manus.register()
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    wrong = [f"{i:06}" for i in range(60) if f"{i:06}" != code]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert {reply.status_code for reply in pool.map(lambda one: reset(manus, account["email"], one), wrong)} == {401}
    assert reset(manus, account["email"], code).json() == WRONG
    assert login(manus, account, account["password"]) == 200


def test_four_wrong_tries_leave_one(manus):
    account = manus.register()
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    for i in range(4):
        assert reset(manus, account["email"], f"{(int(code) + 1 + i) % 1000000:06}").status_code == 401
    assert reset(manus, account["email"], code).status_code == 200


def test_a_right_code_used_many_times_at_once_works_once(manus):
    account = manus.register()
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = [reply.status_code for reply in pool.map(lambda i: reset(manus, account["email"], code, f"password number {i}"), range(8))]
    assert sorted(statuses) == [200] + [401] * 7


def test_a_code_ends_after_five_minutes_and_a_newer_one_replaces_it(manus):
    account = manus.register()
    send(manus, account["email"])
    first = code_in(letter_to(manus, account["email"]))
    age(manus, 61)
    assert send(manus, account["email"]).status_code == 200
    deadline = time.monotonic() + 10 * SLOW
    while len(letters(manus, account["email"])) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    second = code_in(letters(manus, account["email"])[-1])
    if first != second:
        assert reset(manus, account["email"], first).json() == WRONG
    age(manus, 299 - 61)
    age(manus, 62)
    assert reset(manus, account["email"], second).json() == WRONG


def test_a_password_that_may_not_be_does_not_use_the_code_up(start):
    manus = start(PASSWORD_MIN_LENGTH=10)
    account = manus.register(password="long enough it is")
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    assert reset(manus, account["email"], code, "short one").status_code == 422
    assert reset(manus, account["email"], code, "long enough too").status_code == 200


@pytest.mark.parametrize("code, msg", [
    ("", "Verification code is required"), ("12345", "Verification code must be 6 digits"), ("1234567", "Verification code must be 6 digits"),
    ("12345a", "Verification code must be 6 digits"), ("١٢٣٤٥٦", "Verification code must be 6 digits"), (" 12345", "Verification code must be 6 digits")])
def test_what_is_no_code_is_told_and_not_repeated(manus, code, msg):
    reply = reset(manus, "a@example.com", code)
    assert (reply.status_code, reply.json()["msg"]) == (422, msg)
    assert "input" not in reply.json()["detail"][0]


def test_in_production_without_a_mail_server_everybody_is_told_the_same(start):
    manus = start(ENVIRONMENT="production")
    account = manus.register()
    for address in (account["email"], "nobody@example.com"):
        assert send(manus, address).json() == {"code": 400, "msg": "Email configuration is incomplete", "data": None}


def test_a_code_is_kept_as_a_hash_alone(manus):
    account = manus.register()
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        (stored,) = db.execute("SELECT hash FROM codes WHERE email = ?", [account["email"]]).fetchone()
    assert len(stored) == 32 and code.encode() not in stored


@pytest.mark.parametrize("by", ["its owner", "an administrator", "a stop"])
def test_a_code_does_not_outlive_a_change_of_the_account(manus, by):
    account = manus.register()
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    if by == "its owner":
        assert manus.post(f"{API}/auth/change-password", {"old_password": account["password"], "new_password": "a third one"},
                          account["access_token"]).status_code == 200
    elif by == "an administrator":
        assert run("admin", "reset-password", account["email"], cwd=manus.folder, **manus.settings).returncode == 0
    else:
        admin = manus.register()
        rows(manus, "UPDATE users SET role = 'admin' WHERE user_id = ?", admin["user"]["id"])
        token = manus.post(f"{API}/auth/login", {"email": admin["email"], "password": admin["password"]}).json()["data"]["access_token"]
        for change in ("deactivate", "activate"):
            assert manus.post(f"{API}/auth/user/{account['user']['id']}/{change}", token=token).status_code == 200
    assert reset(manus, account["email"], code).json() == WRONG


def test_a_reset_that_the_program_does_not_survive_leaves_the_code_as_good_as_it_was(start):
    manus = start()
    account = manus.register()
    send(manus, account["email"])
    code = code_in(letter_to(manus, account["email"]))
    manus.stop()
    manus = start(manus.folder, PASSWORD_ARGON2_MEMORY_KIB=262144, PASSWORD_ARGON2_PASSES=4)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        lost = pool.submit(reset, manus, account["email"], code)
        time.sleep(0.2)
        manus.kill()
        assert lost.exception() is not None
    manus = start(manus.folder)
    assert login(manus, account, account["password"]) == 200
    assert reset(manus, account["email"], code).status_code == 200
    assert login(manus, account, "a new password") == 200


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_a_minute(manus):
    account = manus.register()
    send(manus, account["email"])
    assert 1 <= int(WAIT.fullmatch(send(manus, account["email"]).json()["msg"])[1]) <= 60
    age(manus, -3600)
    assert send(manus, account["email"]).status_code == 200
