"""What people do to their own account, and administrators to others'."""
import concurrent.futures
import sqlite3
import time

import pytest

from letters import age, code_in, letter_to, letters, rows
from manus import API, SLOW


def make_admin(manus, account):
    """Directly in the store; what the server remembers of somebody lasts a second."""
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("UPDATE users SET role = 'admin' WHERE user_id = ?", [account["user"]["id"]])
    time.sleep(1.05)
    return account


@pytest.fixture(scope="module")
def admin(manus):
    return make_admin(manus, manus.register("admin@example.com", fullname="The Admin"))["access_token"]


def login(manus, account, password=None):
    return manus.post(f"{API}/auth/login", {"email": account["email"], "password": password or account["password"]})


def change_password(manus, token, old, new):
    return manus.post(f"{API}/auth/change-password", {"old_password": old, "new_password": new}, token)


def test_a_changed_password_logs_in_ends_other_sessions_at_once_and_keeps_this_one(manus):
    account = manus.register()
    other = login(manus, account).json()["data"]
    assert manus.me(other["access_token"]).status_code == 200
    reply = change_password(manus, account["access_token"], account["password"], "another one")
    assert (reply.status_code, reply.text) == (200, '{"code":0,"msg":"success","data":{}}')
    assert manus.me(other["access_token"]).status_code == 401
    assert manus.refresh(other["refresh_token"]).status_code == 401
    assert manus.me(account["access_token"]).status_code == 200
    assert manus.refresh(account["refresh_token"]).status_code == 200
    assert login(manus, account).status_code == 401
    assert login(manus, account, "another one").status_code == 200


def test_a_wrong_old_password_changes_nothing(manus):
    account = manus.register()
    reply = change_password(manus, account["access_token"], "wrong", "another one")
    assert (reply.status_code, reply.json()) == (400, {"code": 400, "msg": "Invalid old password", "data": None})
    assert login(manus, account).status_code == 200


@pytest.mark.parametrize("body, msg", [
    ({"old_password": "", "new_password": "password1"}, "Old password is required"),
    ({"old_password": "x", "new_password": "12345"}, "New password must be at least 6 characters long")])
def test_rules_of_a_new_password(manus, body, msg):
    reply = manus.post(f"{API}/auth/change-password", body, manus.register()["access_token"])
    assert (reply.status_code, reply.json()["msg"]) == (422, msg)


def test_a_changed_name_is_told_at_once(manus):
    account = manus.register()
    reply = manus.post(f"{API}/auth/change-fullname", {"fullname": "  Zoë 李 "}, account["access_token"])
    assert reply.json()["data"]["fullname"] == "Zoë 李"
    assert reply.json()["data"]["updated_at"] > account["user"]["updated_at"]
    assert manus.me(account["access_token"]).json()["data"] == reply.json()["data"]


def test_sessions_are_listed_last_used_first_and_this_one_is_marked(manus):
    account = manus.register()
    for agent in ("Firefox", "curl/8 é"):
        manus.post(f"{API}/auth/login", {key: account[key] for key in ("email", "password")}, headers={"User-Agent": agent.encode("latin-1")})
    sessions = manus.get(f"{API}/auth/sessions", account["access_token"]).json()["data"]["sessions"]
    assert len(sessions) == 3
    assert list(sessions[0]) == ["id", "device", "address", "created_at", "last_used_at", "expires_at", "current"]
    assert {"Firefox", "curl/8 ?"} <= {one["device"] for one in sessions}
    assert [one["current"] for one in sessions].count(True) == 1
    assert {one["address"] for one in sessions} == {"127.0.0.1"}


def test_one_session_is_ended_and_nobody_elses_can_be(manus):
    account, stranger = manus.register(), manus.register()
    other = login(manus, account).json()["data"]
    sessions = manus.get(f"{API}/auth/sessions", account["access_token"]).json()["data"]["sessions"]
    (target,) = [one["id"] for one in sessions if not one["current"]]
    for session_id in (target, "unknown", "%2e%2e"):
        assert manus.request("DELETE", f"{API}/auth/sessions/{session_id}", headers={"Authorization": f"Bearer {stranger['access_token']}"}).status_code in (400, 404)
    assert manus.me(other["access_token"]).status_code == 200
    end = lambda: manus.request("DELETE", f"{API}/auth/sessions/{target}", headers={"Authorization": f"Bearer {account['access_token']}"})
    assert end().status_code == 200
    assert manus.me(other["access_token"]).status_code == 401
    assert (end().status_code, end().json()["msg"]) == (404, "Session not found")


def test_all_other_sessions_are_ended(manus):
    account = manus.register()
    others = [login(manus, account).json()["data"]["access_token"] for _ in range(3)]
    assert all(manus.me(token).status_code == 200 for token in others)
    reply = manus.post(f"{API}/auth/sessions/revoke-others", token=account["access_token"])
    assert reply.json()["data"] == {"revoked": 3}
    assert all(manus.me(token).status_code == 401 for token in others)
    assert manus.me(account["access_token"]).status_code == 200


def test_an_account_is_removed_with_its_password_and_the_address_is_free_again(manus):
    account = manus.register()
    end = lambda password: manus.request("DELETE", f"{API}/auth/me", json={"password": password}, headers={"Authorization": f"Bearer {account['access_token']}"})
    assert (end("wrong password").status_code, end("wrong password").json()["msg"]) == (400, "Invalid password")
    assert end(account["password"]).status_code == 200
    assert manus.me(account["access_token"]).status_code == 401
    assert manus.refresh(account["refresh_token"]).status_code == 401
    assert login(manus, account).status_code == 401
    assert manus.register(account["email"])["user"]["id"] != account["user"]["id"]


def test_an_export_holds_all_that_is_kept_but_the_hash(manus):
    account = manus.register(password="a very secret phrase")
    manus.post(f"{API}/auth/change-fullname", {"fullname": "New Name"}, account["access_token"])
    reply = manus.get(f"{API}/auth/me/export", account["access_token"])
    data = reply.json()["data"]
    assert data["user"]["fullname"] == "New Name" and len(data["sessions"]) == 1
    assert [one["action"] for one in data["audit"]] == ["user.change_fullname"]
    assert "argon2" not in reply.text


# Administrators

ADMIN_ROUTES = [("GET", "/auth/users"), ("GET", "/auth/audit"), ("GET", "/auth/user/x"), ("POST", "/auth/user/x/deactivate"),
                ("POST", "/auth/user/x/activate"), ("POST", "/auth/user/x/role"), ("POST", "/auth/user/x/revoke-sessions")]


@pytest.mark.parametrize("method, path", ADMIN_ROUTES)
def test_administrators_routes_are_for_administrators(manus, method, path):
    token = manus.register()["access_token"]
    for headers, status, msg in (({}, 401, "Authentication required"), ({"Authorization": f"Bearer {token}"}, 403, "Admin access required")):
        reply = manus.request(method, API + path, headers=headers, json={"role": "admin"} if method == "POST" else None)
        assert (reply.status_code, reply.json()) == (status, {"code": status, "msg": msg, "data": None})


def test_a_user_is_found_by_id(manus, admin):
    account = manus.register()
    assert manus.get(f"{API}/auth/user/{account['user']['id']}", admin).json()["data"] == account["user"]
    for unknown in ("nobody", "x" * 300, "%20", "%E2%80%8B"):
        reply = manus.get(f"{API}/auth/user/{unknown}", admin)
        assert (reply.status_code, reply.json()["msg"]) == (404, "User not found")
    for undecidable in ("%00", "..", "a%2fb"):
        assert manus.raw(f"GET {API}/auth/user/{undecidable} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {admin}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")


def test_a_stopped_account_is_out_at_once_and_back_when_it_is_activated(manus, admin):
    account = manus.register()
    path = f"{API}/auth/user/{account['user']['id']}"
    assert manus.me(account["access_token"]).status_code == 200
    assert manus.post(f"{path}/deactivate", token=admin).status_code == 200
    assert manus.me(account["access_token"]).status_code == 401
    assert manus.refresh(account["refresh_token"]).json()["msg"] == "User not found or inactive"
    assert login(manus, account).json()["msg"] == "Invalid email or password"
    assert manus.get(path, admin).json()["data"]["is_active"] is False
    assert manus.post(f"{path}/activate", token=admin).status_code == 200
    assert manus.me(account["access_token"]).status_code == 401
    assert login(manus, account).status_code == 200


def test_an_administrator_cannot_stop_their_own_account(manus, admin):
    own = manus.me(admin).json()["data"]["id"]
    reply = manus.post(f"{API}/auth/user/{own}/deactivate", token=admin)
    assert (reply.status_code, reply.json()["msg"]) == (400, "Cannot deactivate your own account")


def test_the_last_active_administrator_cannot_be_removed_in_any_way(start):
    manus = start()
    account = make_admin(manus, manus.register())
    path, token = f"{API}/auth/user/{account['user']['id']}", account["access_token"]
    end = lambda: manus.request("DELETE", f"{API}/auth/me", json={"password": account["password"]}, headers={"Authorization": f"Bearer {token}"})
    for reply in (manus.post(f"{path}/role", {"role": "user"}, token), end()):
        assert (reply.status_code, reply.json()["msg"]) == (400, "The last active administrator cannot be removed")
    assert manus.me(token).json()["data"]["role"] == "admin"
    second = manus.register()
    assert manus.post(f"{API}/auth/user/{second['user']['id']}/role", {"role": "admin"}, token).json()["data"]["role"] == "admin"
    assert end().status_code == 200


def test_a_changed_role_ends_the_sessions_and_counts_at_the_next_login(manus, admin):
    account = manus.register()
    path = f"{API}/auth/user/{account['user']['id']}/role"
    assert manus.post(path, {"role": "admin"}, admin).status_code == 200
    assert manus.me(account["access_token"]).status_code == 401
    token = login(manus, account).json()["data"]["access_token"]
    assert manus.get(f"{API}/auth/users", token).status_code == 200
    assert manus.post(path, {"role": "user"}, admin).status_code == 200
    assert manus.get(f"{API}/auth/users", token).status_code == 401
    for wrong in ("root", "ADMIN", "", 1, None):
        reply = manus.post(path, {"role": wrong}, admin)
        assert reply.status_code == 422
        assert reply.json()["detail"][0]["type"] == "enum" and reply.json()["detail"][0]["ctx"] == {"expected": "'user' or 'admin'"}


def test_users_are_listed_newest_first_page_by_page(start):
    manus = start()
    admin = make_admin(manus, manus.register("root@example.com"))["access_token"]
    made = [manus.register(f"user{i}@example.com")["user"]["id"] for i in range(7)]
    seen, cursor = [], ""
    while cursor is not None:
        data = manus.get(f"{API}/auth/users?limit=3{cursor and '&cursor=' + cursor}", admin).json()["data"]
        seen += [user["id"] for user in data["users"]]
        cursor = data["next"]
    assert seen[:7] == made[::-1] and len(seen) == 8
    for wrong in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=-1", "cursor=0", "limit=3x"):
        assert manus.get(f"{API}/auth/users?{wrong}", admin).status_code == 400


@pytest.mark.parametrize("search, found", [
    ("zoe", True), ("ZOË", True), ("zo", True), ("example-corp", True), ("zoe exam", True), ("mueller", False), ("Müll", True), ("muller", True),
    ("oe", False), ("nobody", False), ("\" OR 1", False), ("*", False), (" ", False), ("z:o", False), ("NEAR(zoe)", False), ("李雷", True), ("%", False)])
def test_people_are_found_by_the_beginning_of_each_word(manus, admin, search, found):
    if not manus.get(f"{API}/auth/users", admin, params={"search": "zoe.m"}).json()["data"]["users"]:
        manus.register("zoe.m@example-corp.com", fullname="Zoë Müller 李雷")
    users = manus.get(f"{API}/auth/users", admin, params={"search": search}).json()["data"]["users"]
    assert ("zoe.m@example-corp.com" in {user["email"] for user in users}) == found


def test_the_trail_tells_who_did_what_to_whom_from_where_and_stays(manus, admin):
    account = manus.register()
    path = f"{API}/auth/user/{account['user']['id']}"
    manus.post(f"{path}/deactivate", token=admin)
    manus.post(f"{path}/activate", token=admin)
    manus.post(f"{path}/role", {"role": "admin"}, admin)
    trail = manus.get(f"{API}/auth/audit", admin, params={"user_id": account["user"]["id"]}).json()["data"]["audit"]
    assert [one["action"] for one in trail] == ["user.set_role", "user.activate", "user.deactivate"]
    assert list(trail[0]) == ["at", "actor", "action", "subject", "address", "detail"]
    assert trail[0]["actor"] == "user:" + manus.me(admin).json()["data"]["id"]
    assert (trail[0]["address"], trail[0]["detail"]) == ("127.0.0.1", "admin")
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        for change in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.Error, match="append-only"):
                db.execute(change)


@pytest.mark.parametrize("days, kept", [(30, ["new 1", "new 2"]), (0, ["old 1", "old 2", "new 1", "new 2"])])
def test_the_trail_is_kept_for_as_long_as_the_settings_say_and_nobody_removes_more(start, days, kept):
    token = "b7Jf0QmZ3kTq9xW2vN5sR8cL1yH4aD6e"
    manus = start(AUDIT_RETENTION_DAYS=days, METRICS_TOKEN=token)
    now = int(time.time() * 1000)
    for detail, age in (("old 1", 40), ("old 2", 31), ("new 1", 29), ("new 2", 0)):
        rows(manus, "INSERT INTO audit(at, actor, action, subject, address, detail) VALUES(?, 'user:x', 'test', 'y', '', ?)", now - age * 86400000, detail)
    assert manus.stop() == 0
    manus.start()
    deadline = time.monotonic() + 15 * SLOW
    time.sleep(3 if days == 0 else 0)
    while [detail for (detail,) in rows(manus, "SELECT detail FROM audit ORDER BY number")] != kept or \
            f"\nmanus_audit_lines {len(kept)}\n" not in manus.get("/metrics", token).text:
        assert time.monotonic() < deadline, rows(manus, "SELECT detail FROM audit ORDER BY number")
        time.sleep(0.1)
    with pytest.raises(sqlite3.Error, match="append-only"):
        rows(manus, "DELETE FROM audit")


def test_an_administrator_ends_all_sessions_of_somebody(manus, admin):
    account = manus.register()
    assert manus.me(account["access_token"]).status_code == 200
    reply = manus.post(f"{API}/auth/user/{account['user']['id']}/revoke-sessions", token=admin)
    assert reply.json()["data"] == {"revoked": 1}
    assert manus.me(account["access_token"]).status_code == 401
    assert manus.post(f"{API}/auth/user/nobody/revoke-sessions", token=admin).status_code == 404


def test_of_changes_by_the_same_old_password_at_once_one_applies(manus):
    account = manus.register()
    change = lambda i: manus.post(f"{API}/auth/change-password", {"old_password": account["password"], "new_password": f"new password {i}"},
                                  account["access_token"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(change, range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 7
    (winner,) = [i for i, reply in enumerate(replies) if reply.status_code == 200]
    assert {reply.json()["msg"] for reply in replies if reply.status_code == 400} == {"Invalid old password"}
    login = lambda password: manus.post(f"{API}/auth/login", {"email": account["email"], "password": password}).status_code
    assert [login(f"new password {i}") for i in range(8)] == [200 if i == winner else 401 for i in range(8)]


def test_a_thief_with_the_old_password_does_not_undo_a_reset(manus):
    account = manus.register()
    resets = lambda: [letter for letter in letters(manus, account["email"]) if "Password Reset" in letter["Subject"]]
    for number in range(5):  # as many as a mailbox gets in an hour while its address is not proved
        age(manus, 120)
        token = manus.post(f"{API}/auth/login", {"email": account["email"], "password": account["password"]}).json()["data"]["access_token"]
        assert manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]}).status_code == 200
        deadline = time.monotonic() + 10 * SLOW
        while len(resets()) <= number:
            assert time.monotonic() < deadline, "the code does not come"
            time.sleep(0.02)
        mine = f"the owner's {number}"
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            pool.submit(manus.post, f"{API}/auth/change-password", {"old_password": account["password"], "new_password": "stolen!!"}, token)
            reset = pool.submit(manus.post, f"{API}/auth/reset-password",
                                {"email": account["email"], "verification_code": code_in(resets()[-1]), "new_password": mine})
        # A change that came first has ended the code too.
        account["password"] = mine if reset.result().status_code == 200 else "stolen!!"
        assert manus.post(f"{API}/auth/login", {"email": account["email"], "password": account["password"]}).status_code == 200


def test_the_code_of_who_has_gone_serves_nobody(manus):
    account = manus.register("gone@example.com")
    manus.post(f"{API}/auth/send-verification-code", {"email": "gone@example.com"})
    code = code_in(letter_to(manus, "gone@example.com"))
    assert manus.request("DELETE", f"{API}/auth/me", json={"password": account["password"]},
                         headers={"Authorization": f"Bearer {account['access_token']}"}).status_code == 200
    assert rows(manus, "SELECT (SELECT count(*) FROM codes WHERE email = ?1) + (SELECT count(*) FROM mails WHERE recipient = ?1)", "gone@example.com") == [(0,)]
    again = manus.register("gone@example.com")
    assert manus.post(f"{API}/auth/reset-password", {"email": "gone@example.com", "verification_code": code, "new_password": "another one"}).status_code == 401
    assert manus.me(again["access_token"]).status_code == 200


def test_the_export_holds_everything_and_not_a_page_of_it(manus):
    account = manus.register()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for reply in pool.map(lambda i: manus.post(f"{API}/auth/change-fullname", {"fullname": f"Ann Lee {i}"}, account["access_token"]), range(215)):
            assert reply.status_code == 200
    assert len(manus.get(f"{API}/auth/me/export", account["access_token"]).json()["data"]["audit"]) == 215


@pytest.mark.parametrize("query, msg", [("search=", "search must not be empty"), ("limit=", "limit must not be empty"), ("limit=1&limit=2", "limit must be given once"),
                                        ("search=a&limit=3&search=b", "search must be given once")])
def test_a_query_says_each_thing_once(manus, admin, query, msg):
    reply = manus.get(f"{API}/auth/users?{query}", admin)
    assert (reply.status_code, reply.json()["msg"]) == (400, msg)


@pytest.mark.parametrize("path, known", [("auth/users", "search, limit, cursor"), ("auth/audit", "user_id, limit, cursor"), ("limits/top", "limit"),
                                         ("billing/admin/subscriptions", "status, limit, cursor"), ("billing/admin/events", "state, limit, cursor")])
@pytest.mark.parametrize("query", ["page=2", "limit=2&offset=5", "Limit=2", "flag", "=1", "limit=2&&x="])
def test_a_list_refuses_what_it_does_not_know(manus, admin, path, known, query):
    reply = manus.get(f"{API}/{path}?{query}", admin)
    assert (reply.status_code, reply.json()["msg"]) == (400, f"Unknown query parameter; known are: {known}")
    assert manus.get(f"{API}/{path}?limit=2&", admin).status_code == 200


def test_what_is_no_list_overlooks_what_it_does_not_know(manus):
    assert manus.get(f"{API}/health?cache=no").status_code == manus.get("/?utm_source=x").status_code == 200


def test_an_export_holds_what_is_over_what_waits_and_what_they_did(manus, admin):
    account = manus.register()
    gone = login(manus, account).json()["data"]
    assert manus.post(f"{API}/auth/logout", token=gone["access_token"]).status_code == 200
    manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]})
    rows(manus, "INSERT INTO mails(recipient, content, created_at, next_at) VALUES(?, 'x', 1, ?)", account["email"], int(time.time() * 1000) + 600000)
    data = manus.get(f"{API}/auth/me/export", account["access_token"]).json()["data"]
    assert [one["id"] for one in data["sessions"] if one["ended_at"] is None] == [one["id"] for one in data["sessions"] if one["current"]]
    assert len(data["sessions"]) == 1, "what has ended is not kept"
    assert {one["device_id"] for one in data["sessions"]} == {one["device_id"] for one in data["devices"]} != {""}
    assert [one["purpose"] for one in data["codes"]] == ["reset"] and data["mails"][-1]["attempts"] == 0
    assert manus.post(f"{API}/auth/user/{account['user']['id']}/revoke-sessions", token=admin).status_code == 200
    data = manus.get(f"{API}/auth/me/export", admin).json()["data"]
    assert data["done_to_others"][0]["action"] == "user.revoke_sessions" and data["done_to_others"][0]["subject"] == account["user"]["id"]


def test_who_ends_a_session_stands_in_the_trail(manus):
    account = manus.register()
    other = login(manus, account).json()["data"]["access_token"]
    (ended,) = [one["id"] for one in manus.get(f"{API}/auth/sessions", other).json()["data"]["sessions"] if not one["current"]]
    assert manus.request("DELETE", f"{API}/auth/sessions/{ended}", headers={"Authorization": f"Bearer {other}"}).status_code == 200
    assert rows(manus, "SELECT actor, detail, address FROM audit WHERE action = 'user.end_session' AND subject = ?", account["user"]["id"]) == [
        (f"user:{account['user']['id']}", ended, "127.0.0.1")]
