"""AUTH_PROVIDER local and none: one account, which the settings make."""
import pytest

from letters import rows
from manus import API, DEFAULTS, run

LOCAL = {"AUTH_PROVIDER": "local", "LOCAL_AUTH_EMAIL": "Root@Example.com", "LOCAL_AUTH_PASSWORD": "a fine password"}


def login(manus, email="root@example.com", password="a fine password"):
    return manus.post(f"{API}/auth/login", {"email": email, "password": password})


def refused(*replies):
    return [(reply.status_code, reply.json()["msg"]) for reply in replies]


def closed(manus):
    """What neither provider offers."""
    return refused(
        manus.post(f"{API}/auth/register", {"fullname": "Ann Lee", "email": "ann@example.com", "password": "password123"}),
        manus.post(f"{API}/auth/send-verification-code", {"email": "root@example.com"}),
        manus.post(f"{API}/auth/reset-password", {"email": "root@example.com", "verification_code": "123456", "new_password": "password123"}))


CLOSED = [(400, "Registration is not allowed"), (400, "Password reset is not available"), (400, "Password reset is not available")]


def test_with_local_one_administrator_logs_in(start):
    manus = start(**LOCAL)
    assert manus.get(f"{API}/auth/status").json()["data"] == {"auth_provider": "local"}
    data = login(manus).json()["data"]
    user = data["user"]
    assert (user["id"], user["email"], user["role"], user["is_active"]) == ("local_admin", "root@example.com", "admin", True)
    assert manus.me(data["access_token"]).json()["data"]["id"] == "local_admin"
    assert manus.get(f"{API}/auth/users", data["access_token"]).status_code == 200
    assert manus.refresh(data["refresh_token"]).status_code == 200
    assert refused(login(manus, password="a wrong password"), login(manus, email="ann@example.com")) == [(401, "Invalid email or password")] * 2
    assert closed(manus) == CLOSED
    token = data["access_token"]
    change = manus.post(f"{API}/auth/change-password", {"old_password": "a fine password", "new_password": "another one"}, token)
    leave = manus.request("DELETE", f"{API}/auth/me", json={"password": "a fine password"}, headers={"Authorization": f"Bearer {token}"})
    assert refused(change, leave) == [(400, "Password change is not available"), (400, "Invalid password")]
    assert manus.post(f"{API}/auth/logout", token=token).status_code == 200
    assert manus.me(token).status_code == 401


@pytest.mark.parametrize("password", [None, "admin", "12345", "x" * 1025])
def test_local_needs_a_password_worth_the_name(tmp_path, password):
    done = run("serve", cwd=tmp_path, **DEFAULTS, AUTH_PROVIDER="local", LOCAL_AUTH_PASSWORD=password)
    assert done.returncode == 78
    assert "LOCAL_AUTH_PASSWORD: " in done.stderr and "Traceback" not in done.stderr
    assert password is None or password == "admin" or password not in done.stderr


def test_another_local_password_or_address_ends_the_sessions_and_the_same_keeps_them(start):
    manus = start(**LOCAL)
    token = login(manus).json()["data"]["access_token"]
    manus.stop()
    manus.start()
    assert manus.me(token).status_code == 200
    manus.stop()
    manus.settings["LOCAL_AUTH_PASSWORD"] = "another fine password"
    manus.start()
    assert manus.me(token).status_code == 401
    assert login(manus).status_code == 401
    token = login(manus, password="another fine password").json()["data"]["access_token"]
    manus.stop()
    manus.settings["LOCAL_AUTH_EMAIL"] = "boss@example.com"
    manus.start()
    assert manus.me(token).status_code == 401
    assert login(manus, password="another fine password").status_code == 401
    assert login(manus, email="boss@example.com", password="another fine password").json()["data"]["user"]["email"] == "boss@example.com"


def test_the_local_account_is_closed_under_password_and_the_others_under_local(start):
    manus = start()
    ann = manus.register("ann@example.com")
    manus.stop()
    manus.settings.update(LOCAL)
    manus.start()
    root = login(manus).json()["data"]
    assert manus.me(ann["access_token"]).status_code == 401
    assert manus.refresh(ann["refresh_token"]).status_code == 401
    assert login(manus, "ann@example.com", ann["password"]).status_code == 401
    manus.stop()
    manus.settings["AUTH_PROVIDER"] = "password"
    manus.start()
    assert manus.me(root["access_token"]).status_code == 401
    assert manus.refresh(root["refresh_token"]).status_code == 401
    assert login(manus).status_code == 401
    assert login(manus, "ann@example.com", ann["password"]).status_code == 200


def test_an_address_that_somebody_has_cannot_be_the_local_one(start):
    manus = start()
    manus.register("root@example.com")
    manus.stop()
    done = run("serve", cwd=manus.folder, **{**manus.settings, **LOCAL})
    assert done.returncode == 69 and "somebody else has the address root@example.com" in done.stderr


def test_with_none_everybody_is_anonymous(start):
    manus = start(AUTH_PROVIDER="none")
    assert manus.get(f"{API}/auth/status").json()["data"] == {"auth_provider": "none"}
    for token in (None, "junk"):
        user = manus.me(token).json()["data"]
        assert (user["id"], user["role"], user["is_active"]) == ("anonymous", "user", True)
    assert manus.get(f"{API}/auth/users").status_code == 403
    assert refused(manus.post(f"{API}/auth/logout", token="x")) == [(400, "Logout is not allowed")]
    assert refused(manus.post(f"{API}/auth/logout")) == [(401, "Not authenticated")]
    assert closed(manus) == CLOSED
    data = login(manus).json()["data"]
    assert data["user"]["id"] == "anonymous"
    assert manus.refresh(data["refresh_token"]).status_code == 200
    assert manus.post(f"{API}/auth/sessions/revoke-others").status_code == 200
    assert manus.me(None).status_code == 200
    assert manus.request("DELETE", f"{API}/auth/me", json={"password": "anything"}).json()["msg"] == "Invalid password"
    assert manus.me(None).status_code == 200


def test_anonymous_is_gone_when_logging_in_is_asked_for_again(start):
    manus = start(AUTH_PROVIDER="none")
    data = login(manus).json()["data"]
    manus.stop()
    manus.settings["AUTH_PROVIDER"] = "password"
    manus.start()
    assert manus.me(data["access_token"]).status_code == 401
    assert manus.refresh(data["refresh_token"]).status_code == 401
    assert rows(manus, "SELECT user_id, is_active FROM users") == [("anonymous", 0)]


def admin(manus, *words):
    return run("admin", *words, cwd=manus.folder, **{**DEFAULTS, "DATA_DIR": manus.settings["DATA_DIR"]})


def switch(manus, **settings):
    manus.stop()
    manus.settings.update(settings)
    manus.start()


def test_the_local_administrator_does_not_count_as_one_of_the_others(start):
    manus = start(**LOCAL)
    switch(manus, AUTH_PROVIDER="password")
    ann = manus.register("ann@example.com")
    assert admin(manus, "promote", "ann@example.com").returncode == 0
    assert "The last active administrator cannot be removed" in admin(manus, "demote", "ann@example.com").stderr
    token = manus.post(f"{API}/auth/login", {"email": "ann@example.com", "password": ann["password"]}).json()["data"]["access_token"]
    reply = manus.post(f"{API}/auth/user/local_admin/activate", token=token)
    assert (reply.status_code, reply.json()["msg"]) == (400, "This account belongs to AUTH_PROVIDER: change it in the settings")
    assert rows(manus, "SELECT is_active FROM users WHERE user_id = 'local_admin'") == [(0,)]


def test_nobody_resets_the_local_password_by_mail(start):
    from letters import letters, nobody_waits
    manus = start(**LOCAL)
    switch(manus, AUTH_PROVIDER="password")
    rows(manus, "UPDATE users SET is_active = 1")
    assert manus.post(f"{API}/auth/send-verification-code", {"email": "root@example.com"}).status_code == 200
    nobody_waits(manus)
    assert letters(manus, "root@example.com") == []
    assert login(manus).status_code == 401


def test_local_restores_the_role_of_its_administrator(start):
    manus = start(**LOCAL)
    manus.stop()
    rows(manus, "UPDATE users SET role = 'user'")
    manus.start()
    assert login(manus).json()["data"]["user"]["role"] == "admin"


def test_an_open_door_to_other_machines_is_warned_of(tmp_path):
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False), ("::1", False), ("::", True)):
        done = run("check", cwd=tmp_path, **DEFAULTS, AUTH_PROVIDER="none", HOST=host)
        assert ("nobody has to log in" in done.stderr) == warned, host


@pytest.mark.parametrize("settings, who", [(LOCAL, "root@example.com"), ({"AUTH_PROVIDER": "none"}, "anonymous")])
def test_the_command_does_not_set_the_password_that_the_settings_set(start, settings, who):
    manus = start(**settings)
    done = run("admin", "reset-password", who, cwd=manus.folder, **manus.settings)
    assert done.returncode == 65 and "belongs to AUTH_PROVIDER" in done.stderr and "password:" not in done.stdout
    assert login(manus).status_code == 200


def test_a_common_local_password_is_told_at_the_start(start):
    manus = start(**{**LOCAL, "LOCAL_AUTH_PASSWORD": "password123"})
    line = manus.wait_for_log(lambda line: line["msg"].startswith("LOCAL_AUTH_PASSWORD is one of the most common"))
    assert line["level"].upper() == "WARNING" and "password123" not in manus.log_path.read_text()
