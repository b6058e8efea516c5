"""manus admin: through the running server, or on the store when none runs; audited in either case."""
import contextlib
import getpass
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
import time

import pytest

from letters import letter_to
from manus import API, DEFAULTS, SLOW, run


@pytest.fixture(params=["through the server", "on the store"])
def folder(request, start, tmp_path):
    """A folder with three users, served or not."""
    manus = start()
    manus.people = [manus.register(f"user{i}@example.com", fullname=f"User {i}") for i in range(3)]
    manus.served = request.param == "through the server"
    if not manus.served:
        manus.stop()
    return manus


def admin(manus, *arguments, **settings):
    return run("admin", *arguments, cwd=manus.folder, **{**DEFAULTS, "DATA_DIR": manus.settings["DATA_DIR"], **settings})


def rows(manus, sql, *values):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        return db.execute(sql, values).fetchall()


def login(manus, email, password):
    return manus.post(f"{API}/auth/login", {"email": email, "password": password})


def serve(manus):
    if not manus.served:
        manus.start()
    return manus


def test_the_first_administrator_is_made_with_a_password_that_works(folder):
    done = admin(folder, "create", "  Root@Example.com", "--fullname", "The Root")
    assert done.returncode == 0, done.stderr
    password = re.search(r"^password: (\S{22})$", done.stdout, re.M)[1]
    reply = login(serve(folder), "root@example.com", password)
    assert reply.status_code == 200
    assert (reply.json()["data"]["user"]["role"], reply.json()["data"]["user"]["fullname"]) == ("admin", "The Root")
    assert rows(folder, "SELECT actor, action FROM audit") == [(f"system:{getpass.getuser()}", "admin.create")]
    assert password not in folder.log_path.read_text()


def test_users_are_promoted_and_demoted_by_address_or_id_but_not_the_last(folder):
    user = folder.people[0]["user"]
    assert "admin" in admin(folder, "promote", user["email"]).stdout
    done = admin(folder, "demote", user["id"])
    assert (done.returncode, done.stderr) == (65, "manus admin: The last active administrator cannot be removed\n")
    assert admin(folder, "promote", folder.people[1]["user"]["id"]).returncode == 0
    assert admin(folder, "demote", user["id"]).returncode == 0
    assert rows(folder, "SELECT role FROM users WHERE user_id = ?", user["id"]) == [("user",)]
    assert {actor for actor, in rows(folder, "SELECT actor FROM audit")} == {f"system:{getpass.getuser()}"}


def test_users_are_listed_searched_and_shown(folder):
    assert len(admin(folder, "list").stdout.splitlines()) == 3
    (line,) = admin(folder, "list", "user1").stdout.splitlines()
    assert "user1@example.com" in line and "User 1" in line and " active " in line
    shown = admin(folder, "show", "user2@example.com").stdout
    assert folder.people[2]["user"]["id"] in shown and "session " in shown and "127.0.0.1" in shown


def test_a_reset_password_works_and_ends_the_sessions_at_once(folder):
    account = folder.people[0]
    if folder.served:
        assert folder.me(account["access_token"]).status_code == 200
    password = re.search(r"^password: (\S+)$", admin(folder, "reset-password", account["email"]).stdout, re.M)[1]
    serve(folder)
    assert folder.me(account["access_token"]).status_code == 401
    assert login(folder, account["email"], account["password"]).status_code == 401
    assert login(folder, account["email"], password).status_code == 200


def test_sessions_are_revoked_at_once(folder):
    account = folder.people[1]
    if folder.served:
        assert folder.me(account["access_token"]).status_code == 200
    assert admin(folder, "revoke-sessions", account["email"]).stdout == "1 sessions ended\n"
    assert serve(folder).me(account["access_token"]).status_code == 401


@pytest.mark.parametrize("arguments, status, said", [
    ([], 64, "create"), (["nonsense"], 64, "no such action"), (["promote"], 64, "name the user"), (["show", "nobody@example.com"], 65, "User not found"),
    (["create", "user0@example.com"], 65, "already exists"), (["create", "no address"], 65, "Valid email"), (["show", "a", "b"], 64, "unexpected argument: b"),
    (["create", "x@example.com", "--fullname", "a\nb"], 65, "control characters")])
def test_what_is_asked_wrongly_is_told(folder, arguments, status, said):
    done = admin(folder, *arguments)
    assert done.returncode == status and said in done.stderr, done.stderr
    assert len(rows(folder, "SELECT 1 FROM users")) == 3


def test_the_socket_is_for_its_owner_alone_and_survives_a_kill(start):
    manus = start()
    path = manus.settings["DATA_DIR"] / "admin.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    manus.kill()
    assert admin(manus, "list").returncode == 0
    manus.start()
    assert admin(manus, "create", "a@example.com").returncode == 0


def test_junk_on_the_socket_hurts_nobody(start):
    import socket
    manus = start()
    assert manus.get(f"{API}/live").status_code == 200
    for junk in (b"", b"\n", b"{}\n", b"[1]\n", b'{"operation":7}\n', b'{"operation":"user.list","fields":[]}\n', b'{"operation":"user.show","fields":{"user":{}}}\n', b"\xff" * 1000 + b"\n", b"x" * 100000):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(manus.settings["DATA_DIR"] / "admin.sock"))
            try:
                s.sendall(junk)
                s.shutdown(socket.SHUT_WR)
                s.recv(4096)
            except ConnectionError:
                pass
    assert admin(manus, "list").returncode == 0
    assert manus.get(f"{API}/health").status_code == 200


def test_without_descriptors_the_socket_waits_and_burns_nothing(start):
    manus = start()
    pid = manus.process.pid
    used = lambda: sum(map(int, open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10 * SLOW)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1, before[1]))
        s.connect(str(manus.settings["DATA_DIR"] / "admin.sock"))
        s.sendall(b'{"operation":"ban.list"}\n')
        began = used()
        time.sleep(1.5)
        assert used() - began < 0.5
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert b'"failed":false' in s.recv(4096)


@pytest.mark.parametrize("time", ["9223372036854775807s", "99999999999999999999s", "-1s", "0s", "x", "", "s", "60", "1h ", "31622401s", "367d", "1d\\u0000"])
def test_nobody_is_banned_for_a_time_that_is_none(start, time):
    manus = start()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(manus.settings["DATA_DIR"] / "admin.sock"))
        s.sendall(b'{"operation":"ban.add","fields":{"network":"203.0.113.9","for":"%s"}}\n' % time.encode())
        assert b'"failed":true' in s.recv(4096)
    assert "203.0.113.9" not in run("limits", "bans", cwd=manus.folder, **manus.settings).stdout


def test_a_folder_that_is_not_there_is_told(tmp_path):
    done = run("admin", "list", cwd=tmp_path, **{**DEFAULTS, "DATA_DIR": tmp_path / "no" / "such"})
    assert done.returncode == 69 and "DATA_DIR" in done.stderr


def test_an_id_that_begins_with_dashes_is_an_id(folder):
    with sqlite3.connect(folder.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("PRAGMA foreign_keys = OFF")
        for number, dashed in enumerate(("-" + "a" * 21, "--" + "b" * 20)):
            db.execute("UPDATE users SET user_id = ? WHERE user_id = ?", (dashed, folder.people[number]["user"]["id"]))
    assert "admin" in admin(folder, "promote", "-" + "a" * 21).stdout
    assert "admin" in admin(folder, "promote", "--", "--" + "b" * 20).stdout
    assert admin(folder, "promote", "--" + "b" * 20).returncode == 64


def test_a_name_cannot_turn_the_line_that_it_stands_in(folder):
    folder_user = folder.people[0]["user"]["id"]
    with sqlite3.connect(folder.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("UPDATE users SET fullname = ? WHERE user_id = ?", ("ab\u202eevil\u2066\u2069x سلام", folder_user))
    assert "\u2068ab\\u202eevil\\u2066\\u2069x سلام\u2069\n" in admin(folder, "show", "--", folder_user).stdout


def test_a_long_answer_comes_whole(start):
    manus = start()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.executemany("INSERT INTO users(user_id, email, fullname, role, is_active, created_at, updated_at) VALUES(?, ?, ?, 'user', 1, 1, 1)",
                       [(f"user-{i:017}", f"{i}@example.com", "\N{GRINNING FACE}" * 100) for i in range(300)])
    done = admin(manus, "list")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 201 and len(done.stdout.encode()) > 80_000, done.stderr


def test_a_running_server_takes_the_settings_in_force(start, tmp_path):
    (tmp_path / ".env").write_text("EMAIL_FROM=before@example.com\n")
    manus = start(tmp_path)
    account = manus.register()
    (tmp_path / ".env").write_text("EMAIL_FROM=after@example.com\n")
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    assert admin(manus, "reset-password", account["email"]).returncode == 0
    assert letter_to(manus, account["email"])["From"] == "after@example.com"


def test_who_dribbles_into_the_socket_keeps_nobody_out_for_long(start):
    manus = start()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(manus.settings["DATA_DIR"] / "admin.sock"))
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < began + 20:
                s.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() < began + 10 * SLOW
    assert admin(manus, "list").returncode == 0


def ask(manus, question):
    """A connection that has asked, and has read nothing yet."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30 * SLOW)
    s.connect(str(manus.settings["DATA_DIR"] / "admin.sock"))
    s.sendall(question)
    return s


def test_whoever_asks_slowly_or_never_keeps_nobody_waiting(start):
    """More than may wait: those that have not asked yet make room."""
    manus = start()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(ask(manus, part)) for part in [b"", b'{"operation":', b"\0"] * 30]
        began = time.monotonic()
        assert admin(manus, "list").returncode == 0
        assert time.monotonic() < began + 2 * SLOW
        for s in slow:  # none hangs on for long
            with contextlib.suppress(ConnectionError):
                assert s.recv(100) == b""
        assert time.monotonic() < began + 10 * SLOW


@pytest.mark.parametrize("question, said", [
    (b'{"operation":"mail.retry","fields":{"mail":17}}', "give the field mail as a text"), (b'{"operation":"mail.retry","fields":{"number":"17"}}', "has no field number"),
    (b'{"operation":"mail.retry","fields":["17"]}', "as an object"), (b'{"operation":"mail.retry","fields":{"mail":null}}', "as a text"),
    (b'{"operation":"mail.burn"}', "no such operation"), (b'{"command":"mail","action":"retry"}', "no such operation"), (b'nonsense', "no such operation"),
    (b'{"operation":"mail.list","fields":{"x":"y"}}', "has no field x"), (b'{"operation":"subscription.sync_all","fields":{"dry_run":"no"}}', "give true or false"),
    (b'{"operation":"user.promote"}', "name the user"), (b'{"operation":"user.promote","fields":{"user":""}}', "name the user")])
def test_a_question_that_is_not_understood_is_refused_and_nothing_is_done(start, question, said):
    """A field that is left out may mean all of them."""
    manus = start()
    with ask(manus, question + b"\n") as s:
        answer = json.loads(s.recv(65536))
    assert answer["failed"] is True and said in answer["text"]
    assert rows(manus, "SELECT action FROM audit") == []


def test_whoever_does_not_take_an_answer_keeps_nobody_waiting_and_is_dropped(start):
    manus = start()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.executemany("INSERT INTO users(user_id, email, fullname, role, is_active, created_at, updated_at) VALUES(?, ?, ?, 'user', 1, 1, 1)",
                       [(f"user-{i:017}", f"{i}@example.com", "\N{GRINNING FACE}" * 700) for i in range(300)])
    with contextlib.ExitStack() as stack:
        lazy = [stack.enter_context(ask(manus, b'{"operation":"user.list"}\n')) for _ in range(20)]
        began = time.monotonic()
        assert admin(manus, "show", "0@example.com").returncode == 0
        assert time.monotonic() < began + 2 * SLOW
        time.sleep(6 * SLOW)
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := lazy[0].recv(1 << 20):
                said += piece
        assert 0 < len(said) and not said.endswith(b"\n")


def test_a_command_that_takes_long_keeps_no_other_waiting(start):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        manus = start(STRIPE_SECRET_KEY="sk_test_0123456789abcdefghijklmn", STRIPE_API_BASE=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(ask(manus, b'{"operation":"job.run","fields":{"name":"catch-up"}}\n')) for _ in range(2)]
            began = time.monotonic()
            assert admin(manus, "list").returncode == 0
            assert time.monotonic() < began + 2 * SLOW
            assert all(b'"failed"' in s.recv(4096) for s in running)


def test_an_address_of_before_cannot_forge_a_line_or_a_mail(start):
    """What the replaced system took: nothing of it reaches a header, a command or a terminal."""
    manus = start()
    account = manus.register()
    evil = "a@example.com>\r\nbcc: eve@example.com\r\n\x1b[2j"
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.execute("UPDATE users SET email = ?", [evil])
    user_id = account["user"]["id"]
    for arguments in (["list"], ["show", user_id]):
        out = admin(manus, *arguments).stdout
        assert "\r" not in out and "\x1b" not in out and "\\x0d\\x0abcc: eve@example.com" in out
    assert admin(manus, "reset-password", user_id).returncode == 0
    manus.wait_for_log(lambda line: line["msg"].startswith("a mail was not sent") and line["user"] == user_id)
    assert "eve@" not in manus.log_path.read_text()
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:  # put there by an older version
        db.execute("INSERT INTO mails(recipient, content, created_at, next_at) VALUES(?, 'x', ?, 0)", [evil, int(time.time() * 1000)])
    out = run("mail", "list", cwd=manus.folder, **manus.settings).stdout
    assert "\r" not in out and "\x1b" not in out
