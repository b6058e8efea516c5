"""A store that cannot be had: a sentence that tells what to do, and for a running server a 503."""
import concurrent.futures
import os
import pathlib
import resource
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from manus import API, DEFAULTS, KEY, SLOW, Manus, free_port, leave, run, small_disk


def refused(folder, **settings):
    done = run("serve", cwd=folder, **{**DEFAULTS, "PORT": free_port(), **settings})
    assert done.returncode == 69, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_in_use_is_told_with_what_to_do(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(tmp_path, PORT=port)
    assert str(port) in said and "PORT" in said


def test_another_server_of_the_same_port_is_not_joined(start, tmp_path):
    manus = start()
    said = refused(tmp_path, PORT=manus.port, DATA_DIR=tmp_path / "other")
    assert f"is in use on 127.0.0.1 by process {manus.process.pid} (manus): stop it" in said


def test_a_folder_is_used_by_one_process_at_a_time(start, tmp_path):
    manus = start()
    said = refused(tmp_path, DATA_DIR=manus.settings["DATA_DIR"])
    assert str(manus.process.pid) in said and "DATA_DIR" in said
    manus.kill()
    manus.start()
    assert manus.register()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "data", tmp_path / "no" / "such" / "folder"):
        assert "DATA_DIR" in refused(tmp_path, DATA_DIR=path)


def test_a_folder_that_this_user_may_not_write_to_is_told(tmp_path):
    """As nobody, since root may write anywhere."""
    if os.geteuid() != 0:
        pytest.fail("needs root to become nobody")
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    (tmp_path / "data").mkdir(mode=0o755)
    binary = tmp_path / "manus"
    binary.write_bytes(pathlib.Path(os.environ.get("MANUS_BINARY", "build/manus")).resolve().read_bytes())
    binary.chmod(0o755)
    done = subprocess.run([binary, "serve"], cwd="/", capture_output=True, text=True, user=65534, group=65534, extra_groups=[],
                          env={**DEFAULTS, "PORT": str(free_port()), "DATA_DIR": str(tmp_path / "data")}, timeout=20)
    assert done.returncode == 69, done.stderr
    assert "Permission denied" in done.stderr and "DATA_DIR" in done.stderr


def store_of(manus):
    return manus.settings["DATA_DIR"] / "manus.sqlite"


def test_a_store_of_a_newer_program_is_refused_and_left_alone(start, tmp_path):
    manus = start()
    manus.register()
    manus.stop()
    with sqlite3.connect(store_of(manus)) as db:
        db.execute("PRAGMA user_version = 999")
    said = refused(tmp_path, DATA_DIR=manus.settings["DATA_DIR"])
    assert "999" in said and "newer" in said
    with sqlite3.connect(store_of(manus)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (999,)
        assert db.execute("SELECT count(*) FROM users").fetchone() == (1,)


@pytest.mark.parametrize("damage", [b"", b"this is no database at all, but some text\n" * 200])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path, damage):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "manus.sqlite"
    path.write_bytes(damage)
    if damage:
        assert "manus.sqlite" in refused(tmp_path, DATA_DIR=tmp_path / "data") or "data" in refused(tmp_path, DATA_DIR=tmp_path / "data")
        assert path.read_bytes() == damage
    else:
        manus = Manus(tmp_path).start()
        assert manus.register()
        assert manus.stop() == 0


def test_check_finds_a_damaged_store(start):
    manus = start()
    for _ in range(30):
        manus.register()
    manus.stop()
    data = bytearray(store_of(manus).read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 100:page * 4096 + 300] = b"\xff" * 200
    store_of(manus).write_bytes(data)
    done = run("check", cwd=manus.folder, JWT_SECRET_KEY=KEY, DATA_DIR=manus.settings["DATA_DIR"])
    assert done.returncode == 69 and "some checks failed" in done.stdout


def sign_up(manus, number):
    return manus.post(f"{API}/auth/register", {"fullname": "x" * 100, "email": f"full{number}@example.com", "password": "password123"})


def fill(manus):
    """Registers until it is refused; how many were taken."""
    for number in range(20000):
        reply = sign_up(manus, number)
        if reply.status_code != 200:
            assert reply.status_code == 503, reply.text
            assert reply.json() == {"code": 503, "msg": "Service temporarily unavailable, please try again", "data": None}
            assert "Retry-After" in reply.headers
            return number
    raise AssertionError("it never filled")


def test_on_a_full_disk_reading_goes_on_writing_is_503_nothing_is_half_written_and_it_recovers(tmp_path):
    with small_disk(tmp_path) as disk:
        manus = Manus(tmp_path, DATA_DIR=disk / "data")
        try:
            manus.start()
            first = manus.register()
            leave(disk, 2 << 20)
            taken = fill(manus)
            assert taken > 100
            assert manus.me(first["access_token"]).status_code == 200
            reply = manus.get(f"{API}/ready")
            assert (reply.status_code, reply.json()["checks"]["store"]["status"]) == (503, "unhealthy")
            assert sign_up(manus, taken).status_code == 503
            subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
            deadline = time.monotonic() + 10 * SLOW
            while sign_up(manus, "after").status_code not in (200, 422):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            time.sleep(1.1)
            assert manus.get(f"{API}/ready").status_code == 200
            manus.kill()
            manus.start()
            for number in [*range(0, taken, 37), taken - 1]:
                assert manus.post(f"{API}/auth/login", {"email": f"full{number}@example.com", "password": "password123"}).status_code == 200
            assert manus.stop() == 0
            with sqlite3.connect(disk / "data" / "manus.sqlite") as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert db.execute("SELECT count(*) FROM users WHERE user_id NOT IN (SELECT user_id FROM sessions)").fetchone() == (0,)
        finally:
            if manus.process.poll() is None:
                manus.kill()


def test_a_store_that_may_not_grow_is_503_and_no_crash(start):
    manus = start()
    first = manus.register()
    resource.prlimit(manus.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    assert sign_up(manus, 1).status_code == 503
    assert manus.me(first["access_token"]).status_code == 200
    assert manus.process.poll() is None
    resource.prlimit(manus.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    deadline = time.monotonic() + 10 * SLOW
    while sign_up(manus, 2).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_reader_of_the_log_that_stops_reading_stops_nobody(tmp_path):
    read, write = os.pipe()
    manus = Manus(tmp_path)
    manus.process = subprocess.Popen([os.environ.get("MANUS_BINARY", "build/manus"), "serve"], cwd=".", stdout=write,
                                     env={key: str(value) for key, value in manus.settings.items()})
    os.close(write)
    manus.wait()
    for _ in range(2000):
        assert manus.get(f"{API}/health").status_code == 200
    manus.process.send_signal(signal.SIGTERM)
    assert manus.process.wait(10 * SLOW) == 0
    os.close(read)


def test_while_nobody_can_write_reading_goes_on_and_who_would_write_is_told_in_time(start):
    """More writers than any lane has threads, and among them some whose first question makes a row."""
    manus = start()
    accounts = [manus.register() for _ in range(8)]
    fresh = [manus.register() for _ in range(48)]

    def ask(account, method, path, body=None):
        mine = Manus(manus.folder)
        mine.base = manus.base
        began = time.monotonic()
        status = mine.request(method, f"{API}{path}", json=body, headers={"Authorization": f"Bearer {account['access_token']}"}).status_code
        mine.http.close()
        return status, time.monotonic() - began

    with sqlite3.connect(store_of(manus), isolation_level=None) as other, concurrent.futures.ThreadPoolExecutor(160) as pool:
        other.execute("BEGIN IMMEDIATE")
        writing = [pool.submit(ask, accounts[i % 8], "POST", "/auth/change-fullname", {"fullname": f"name {i}"}) for i in range(64)]
        writing += [pool.submit(ask, one, "GET", "/billing/subscription") for one in fresh]
        time.sleep(0.5 * SLOW)
        reading = [ask(accounts[i % 8], "GET", "/auth/sessions") for i in range(40)]
        other.execute("ROLLBACK")
        writing = [one.result() for one in writing]
    assert {status for status, _ in reading} == {200}, reading
    assert {status for status, _ in writing} <= {200, 503}
    assert max(took for _, took in writing) < 15 * SLOW
    assert ask(accounts[0], "POST", "/auth/change-fullname", {"fullname": "at last"})[0] == 200


def damage(manus, name):
    """The first page of a table or index: whatever is read of it is malformed."""
    data = bytearray(store_of(manus).read_bytes())
    with sqlite3.connect(store_of(manus)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    db.close()
    data[(root - 1) * 4096:(root - 1) * 4096 + 100] = b"\xa5" * 100
    store_of(manus).write_bytes(data)


def test_a_damaged_page_is_told_with_its_mend_once_a_minute(start):
    manus = start()
    account = manus.register()
    manus.stop()
    damage(manus, "users")
    manus.start()
    for _ in range(3):
        reply = manus.post(f"{API}/auth/login", {"email": account["email"], "password": "password123"})
        assert reply.status_code == 503
    line = manus.wait_for_log(lambda line: line["msg"] == "the store is damaged")
    assert line["level"] == "error" and "manus restore FILE" in line["mend"]
    failed = [line for line in manus.log() if line["msg"] == "request failed"]
    assert failed and all("manus restore FILE" in line["detail"] for line in failed)
    assert len([line for line in manus.log() if line["msg"] == "the store is damaged"]) == 1
    said = run("admin", "list", cwd=manus.folder, **manus.settings)
    assert said.returncode != 0 and "manus restore FILE" in said.stderr


def test_a_second_start_on_a_full_disk_names_the_disk(tmp_path):
    with small_disk(tmp_path) as disk:
        assert Manus(tmp_path, DATA_DIR=disk / "data").start().stop() == 0
        leave(disk, 8192)
        assert "the disk of DATA_DIR is full: free some space" in refused(tmp_path, DATA_DIR=disk / "data")
        leave(disk, 0)
        assert "No space left on device: free some space" in refused(tmp_path, DATA_DIR=disk / "data2")


def test_on_a_full_disk_not_every_request_has_a_warning(tmp_path):
    with small_disk(tmp_path) as disk:
        manus = Manus(tmp_path, DATA_DIR=disk / "data")
        try:
            manus.start()
            leave(disk, 100_000)
            assert [sign_up(manus, number).status_code for number in range(40)] == [503] * 40
            manus.wait_for_log(lambda line: line["msg"] == "request" and line["status"] == 503)
            failed = [line for line in manus.log() if line["msg"] == "request failed"]
            assert 1 <= len(failed) <= 20 and all("free some space" in line["detail"] for line in failed)
        finally:
            manus.kill()


def test_a_job_that_fails_again_and_again_has_a_bounded_number_of_lines(start):
    manus = start(STRIPE_SECRET_KEY="sk_test_x", STRIPE_API_BASE=f"http://127.0.0.1:{free_port()}")
    manus.stop()
    damage(manus, "events_first")
    manus.start()
    manus.wait_for_log(lambda line: line.get("job") == "inbox")
    time.sleep(4)
    assert len([line for line in manus.log() if line.get("job") == "inbox"]) <= 20
    manus.kill()
