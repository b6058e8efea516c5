"""Register, login, me, logout, status: replies exactly as clients know them."""
import email as email_package
import email.policy
import re
import sqlite3
import time

import pytest

from letters import code_in
from manus import API, SLOW

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
USER = ["id", "fullname", "email", "role", "is_active", "created_at", "updated_at", "last_login_at"]


def problem(manus, path, body):
    """Type, place and text of the one entry of a 422."""
    reply = manus.post(f"{API}{path}", body)
    assert reply.status_code == 422, reply.text
    (entry,) = reply.json()["detail"]
    return entry["type"], entry["loc"], entry["msg"]


def sign_up(manus, **fields):
    body = {"fullname": "Ann Lee", "email": "x@example.com", "password": "password123", **fields}
    return manus.post(f"{API}/auth/register", body)


def test_register_logs_in_and_tells_the_user_in_the_order_of_the_contract(manus):
    reply = sign_up(manus, email="  Ann+Shop@Example.COM ", fullname="  Ann Lee ")
    body = reply.json()
    assert (reply.status_code, list(body), body["code"], body["msg"]) == (200, ["code", "msg", "data"], 0, "success")
    assert reply.headers["Content-Type"] == "application/json"
    assert list(body["data"]) == ["user", "access_token", "refresh_token", "token_type"]
    user = body["data"]["user"]
    assert list(user) == USER
    assert re.fullmatch(r"[\w-]{22}", user["id"])
    assert (user["fullname"], user["email"], user["role"], user["is_active"]) == ("Ann Lee", "ann+shop@example.com", "user", True)
    assert all(TIME.fullmatch(user[name]) for name in USER[-3:])
    assert body["data"]["token_type"] == "bearer"
    assert manus.me(body["data"]["access_token"]).json()["data"] == user


def test_login_finds_the_account_by_any_spelling_of_its_address(manus):
    account = manus.register("Straße.Ünï@example.com")
    for spelling in ("straße.ünï@example.com", "STRAßE.ÜNÏ@EXAMPLE.COM", "  Straße.u\u0308ni\u0308@example.com"):
        reply = manus.post(f"{API}/auth/login", {"email": spelling, "password": account["password"]})
        assert reply.status_code == 200, spelling
        assert reply.json()["data"]["user"]["id"] == account["user"]["id"]
        assert reply.json()["data"]["user"]["last_login_at"] >= account["user"]["last_login_at"]


def test_the_same_password_in_another_unicode_form_logs_in(manus):
    account = manus.register(password="p\u00e4ssw\u00f6rd")
    reply = manus.post(f"{API}/auth/login", {"email": account["email"], "password": "pa\u0308sswo\u0308rd"})
    assert reply.status_code == 200


def test_a_taken_address_is_refused_in_any_case_and_makes_no_second_account(manus):
    account = manus.register("taken@example.com")
    for email in ("taken@example.com", "TAKEN@example.com", " taken@EXAMPLE.com "):
        reply = sign_up(manus, email=email)
        assert reply.status_code == 422
        assert reply.json() == {"code": 422, "msg": "Email already exists", "data": None}
    assert manus.me(account["access_token"]).status_code == 200


@pytest.mark.parametrize("email, password", [
    ("known@example.com", "wrong password"), ("nobody@example.com", "password123"),
    ("known@example.com", "password123 "), ("@", "password123"), ("x" * 900 + "@example.com", "password123")])
def test_wrong_and_unknown_are_one_answer(manus, email, password):
    sign_up(manus, email="known@example.com")
    reply = manus.post(f"{API}/auth/login", {"email": email, "password": password})
    assert (reply.status_code, reply.json()) == (401, {"code": 401, "msg": "Invalid email or password", "data": None})
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("email", [
    "", "@", "a@", "@b.example", "a@@b.example", "a@b@c.example", "a b@example.com", "a@exa mple.com",
    "a,b@example.com", "a;b@example.com", "<a@example.com>", "a(x)@example.com", "a@-example.com",
    "a@example-.com", "a@example..com", "a@.example.com", "a@example.com.", ".a@example.com", "a.@example.com",
    "a\u200bb@example.com", "a@exam\u200dple.com", "\ufeffa@example.com", "a\u202eb@example.com", "a@" + "l" * 64 + ".com",
    "l" * 65 + "@example.com", "a@" + "b." * 124 + "example", "a\tb@example.com", "a\nb@example.com", "a\u00a0b@example.com",
    "a\u00adb@example.com", "a\u0007b@example.com"])
def test_what_is_no_address_is_refused(manus, email):
    assert problem(manus, "/auth/register", {"fullname": "Ann Lee", "email": email, "password": "password123"}) == (
        "value_error", ["body", "email"], "Value error, Valid email is required")


@pytest.mark.parametrize("email", [
    "a@b.example", "a.b@example.com", "a+tag@example.com", "a%b@example.com", "o'neil@example.com", "a_b-c@example.com",
    "a@b\u00fccher.example", "a@sub.domain.example.com", "1@2.example", "ann@localhost"])
def test_addresses_that_people_have_are_taken(manus, email):
    reply = sign_up(manus, email=email)
    assert reply.status_code == 200, reply.text
    assert reply.json()["data"]["user"]["email"] == email


def any_letter(manus):
    """The first, whoever gets it."""
    folder = manus.settings["DATA_DIR"] / "outbox"
    deadline = time.monotonic() + 10 * SLOW
    while not (paths := sorted(folder.glob("*.eml"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return email_package.message_from_bytes(paths[0].read_bytes(), policy=email_package.policy.default)


SPELLINGS = {
    "composed or not": ["ren\u00e9@example.com", "rene\u0301@example.com", "REN\u00c9@example.com"],
    "domain of letters beyond ASCII": ["b@b\u00fccher.test", "b@xn--bcher-kva.test", "b@bu\u0308cher.test", "b@B\u00dcCHER.test", "b@\uff42\u00fccher\u3002test"],
    "both": ["ren\u00e9@b\u00fccher.test", "rene\u0301@bu\u0308cher.test", "rene\u0301@xn--bcher-kva.test"]}


@pytest.mark.parametrize("one, other", [(one, other) for same in SPELLINGS.values() for one in same for other in same
                                        if "\uff42" not in one])
def test_spellings_of_one_mailbox_are_one_account_whoever_stored_it(start, one, other):
    """The replaced system stored an address as it was typed, in lower case."""
    manus = start()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("UPDATE users SET email = ? WHERE user_id = ?", [one.lower(), manus.register()["user"]["id"]])
    assert manus.post(f"{API}/auth/login", {"email": other, "password": "password123"}).status_code == 200
    reply = sign_up(manus, email=other)
    assert (reply.status_code, reply.json()["msg"]) == (422, "Email already exists")
    assert manus.post(f"{API}/auth/send-verification-code", {"email": other}).status_code == 200
    reply = manus.post(f"{API}/auth/reset-password", {"email": other, "verification_code": code_in(any_letter(manus)), "new_password": "a new password"})
    assert reply.status_code == 200
    assert manus.post(f"{API}/auth/login", {"email": one, "password": "a new password"}).status_code == 200


@pytest.mark.parametrize("email", ["a@b\u00fccher..test", "a..b@example.com", "a@\u2665.test", "a@xn--a.test", "a@xn--bcher-kva-.test", "a@\u3002test", "a@b_c.test"])
def test_a_domain_that_is_none_by_idna_is_refused(manus, email):
    assert problem(manus, "/auth/register", {"fullname": "Ann Lee", "email": email, "password": "password123"})[2] == "Value error, Valid email is required"


HIDDEN = ["a\u200bb@example.com", "a\u202eb@example.com", "a b@example.com"]


@pytest.mark.parametrize("path", ["login", "send-verification-code", "reset-password", "verify-email", "register"])
@pytest.mark.parametrize("email", ["a\nb@example.com", "a\u0085b@example.com", "a\x7fb@example.com", "a\u2028b@example.com", *HIDDEN])
def test_an_address_with_what_nobody_sees_is_refused_but_for_who_logs_in_with_one_of_before(manus, path, email):
    reply = manus.post(f"{API}/auth/{path}", {"fullname": "Ann Lee", "email": email, "password": "password123", "new_password": "password123", "verification_code": "123456"})
    assert reply.status_code == (401 if path == "login" and email in HIDDEN else 422), reply.text


@pytest.mark.parametrize("path, field, value, text", [
    ("register", "fullname", "A", "Full name must be at least 2 characters long"),
    ("register", "fullname", "   A   ", "Full name must be at least 2 characters long"),
    ("register", "fullname", "", "Full name must be at least 2 characters long"),
    ("register", "fullname", "x" * 101, "Full name must be at most 100 characters long"),
    ("register", "fullname", "Ann\nLee", "Full name must not contain control characters"),
    ("register", "fullname", "Ann\x1bLee", "Full name must not contain control characters"),
    ("register", "password", "12345", "Password must be at least 6 characters long"),
    ("register", "password", "", "Password must be at least 6 characters long"),
    ("register", "password", "x" * 1025, "Password must be at most 1024 bytes long"),
    ("login", "password", "12345", "Password must be at least 6 characters long"),
    ("login", "email", "nobody", "Valid email is required"),
    ("refresh", "refresh_token", "", "Refresh token is required")])
def test_each_rule_says_its_own_text(manus, path, field, value, text):
    body = {"register": {"fullname": "Ann Lee", "email": "a@example.com", "password": "password123"},
            "login": {"email": "a@example.com", "password": "password123"}, "refresh": {}}[path]
    assert problem(manus, f"/auth/{path}", {**body, field: value}) == ("value_error", ["body", field], f"Value error, {text}")


@pytest.mark.parametrize("name", ["Ян", "李雷", "O'Brien-Smith", "عبد الله", "👩‍👩‍👧 Ann", "\u202ba\u202c b", "Zoë\u0301", "x" * 100])
def test_names_of_all_the_world_are_kept_as_they_are(manus, name):
    account = manus.register(fullname=name)
    assert account["user"]["fullname"] == name
    assert manus.me(account["access_token"]).json()["data"]["fullname"] == name


def test_every_wrong_field_is_told_at_once_in_the_order_of_the_schema_and_secrets_are_not_repeated(manus):
    reply = manus.post(f"{API}/auth/register", {"password": "abc", "email": 7, "other": 1})
    assert reply.status_code == 422
    assert reply.json() == {
        "detail": [
            {"type": "missing", "loc": ["body", "fullname"], "msg": "Field required", "input": {}},
            {"type": "string_type", "loc": ["body", "email"], "msg": "Input should be a valid string", "input": 7},
            {"type": "value_error", "loc": ["body", "password"],
             "msg": "Value error, Password must be at least 6 characters long", "ctx": {"error": {}}}],
        "code": 422, "msg": "fullname: Field required"}


def test_the_first_problem_is_one_sentence_for_clients_that_read_msg(manus):
    reply = manus.post(f"{API}/auth/login", {"email": "a@example.com", "password": "12345"})
    assert (reply.json()["code"], reply.json()["msg"]) == (422, "Password must be at least 6 characters long")


def test_status_says_how_people_log_in(manus):
    assert manus.get(f"{API}/auth/status").text == '{"code":0,"msg":"success","data":{"auth_provider":"password"}}'


def test_public_routes_ignore_a_stale_token(manus):
    account = manus.register()
    reply = manus.post(f"{API}/auth/login", {key: account[key] for key in ("email", "password")}, token="not.a.token")
    assert reply.status_code == 200
    assert manus.get(f"{API}/auth/status", token="x").status_code == 200
    assert manus.post(f"{API}/auth/refresh", {"refresh_token": account["refresh_token"]}, token="x").status_code == 200


@pytest.mark.parametrize("body", [
    {"data": None}, {"data": b""}, {"data": b"{}", "headers": {"Content-Type": "text/plain"}},
    {"data": b"x=1", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}])
def test_logout_takes_any_body(manus, body):
    account = manus.register()
    reply = manus.post(f"{API}/auth/logout", token=account["access_token"], **body)
    assert (reply.status_code, reply.text) == (200, '{"code":0,"msg":"success","data":{}}')
    assert manus.me(account["access_token"]).status_code == 401


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "bearertoken", "Token x"])
def test_no_token_is_authentication_required(manus, header):
    reply = manus.get(f"{API}/auth/me", headers={} if header is None else {"Authorization": header})
    assert (reply.status_code, reply.json()) == (401, {"code": 401, "msg": "Authentication required", "data": None})
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_is_known_in_any_case(manus):
    token = manus.register()["access_token"]
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        assert manus.get(f"{API}/auth/me", headers={"Authorization": f"{scheme} {token}"}).status_code == 200


def test_a_token_that_is_no_good_is_authentication_failed(manus):
    reply = manus.me("abc")
    assert (reply.status_code, reply.json()) == (401, {"code": 401, "msg": "Authentication failed", "data": None})
    assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_passwords_are_hashed_with_argon2id_at_the_cost_of_the_settings(manus):
    import sqlite3
    account = manus.register()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        (stored,) = db.execute("SELECT password_hash FROM users WHERE email = ?", [account["email"]]).fetchone()
    assert stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$")


def test_no_password_and_no_token_is_in_the_log(manus):
    account = manus.register(password="a very secret phrase")
    manus.me(account["access_token"])
    manus.refresh(account["refresh_token"])
    manus.get(f"{API}/auth/me?token={account['access_token']}")
    log = manus.log_path.read_text() + manus.errors()
    for secret in ("a very secret phrase", account["access_token"][:40], account["refresh_token"][-30:], account["email"]):
        assert secret not in log
