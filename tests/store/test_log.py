"""The log of the embedded store: copied into the file beside the writer, bounded, and no reader's to stop."""
import concurrent.futures
import sqlite3
import threading
import time

import pytest

from manus import API, SLOW, Manus

WRITERS = 8


def write_until(manus, accounts, over, begun=None):
    """Renames by several at once until `over()`; how long each took."""
    deadline = time.monotonic() + 60 * SLOW

    def rename(number):
        mine, took = Manus(manus.folder), []
        mine.base = manus.base
        while not over():
            assert time.monotonic() < deadline, "the log is not cared for"
            began = time.monotonic()
            reply = mine.post(f"{API}/auth/change-fullname", {"fullname": f"name {number} {began}"}, token=accounts[number]["access_token"])
            assert reply.status_code == 200, reply.text
            took.append(time.monotonic() - began)
        mine.http.close()
        return took

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        return [one for took in pool.map(rename, range(WRITERS)) for one in took]


def test_the_log_is_copied_beside_the_writer_and_a_reader_that_lasts_costs_no_write_anything(start):
    manus = start(RATE_LIMIT_ENABLED="false")
    path = manus.settings["DATA_DIR"] / "manus.sqlite"
    log = path.with_name("manus.sqlite-wal")
    accounts = [manus.register() for _ in range(WRITERS)]
    size = lambda: log.stat().st_size
    write_until(manus, accounts, lambda: path.stat().st_size > 100_000 and size() > 4_000_000)
    with sqlite3.connect(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        held = size()
        took = write_until(manus, accounts, lambda: size() > held + 12_000_000)
        assert max(took) < 0.5 * SLOW, max(took)
        reader.rollback()
    reader.close()
    write_until(manus, accounts, lambda: size() <= 16 << 20)


def test_a_name_and_an_address_that_were_removed_leave_the_files(start):
    manus = start()
    for _ in range(5):
        manus.register()
    account = manus.register("zebulon@quagmire.example", fullname="Brobdingnag Lee")
    reply = manus.request("DELETE", f"{API}/auth/me", json={"password": account["password"]}, headers={"Authorization": f"Bearer {account['access_token']}"})
    assert reply.status_code == 200, reply.text

    def traces():
        files = b"".join(path.read_bytes() for path in manus.settings["DATA_DIR"].iterdir() if path.is_file()).lower()
        return [word for word in (b"zebulon", b"quagmire", b"brobdingnag") if word in files]

    assert traces()
    deadline = time.monotonic() + 30 * SLOW
    while traces():  # the first look is two seconds after the start, and a process that runs looks every ten minutes
        assert time.monotonic() < deadline, traces()
        time.sleep(2)
        manus.stop()
        manus.start()
        time.sleep(3 * SLOW)


def vacuum(path, copy):
    with sqlite3.connect(path, isolation_level=None) as source:
        source.execute("VACUUM INTO ?", (str(copy),))
    source.close()


def back_up(path, copy):
    """Inside a transaction that reads, without which each write begins it anew."""
    with sqlite3.connect(path, isolation_level=None) as source, sqlite3.connect(copy) as target:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM marks").fetchone()
        source.backup(target, pages=20)
        source.execute("ROLLBACK")
    source.close()
    target.close()


@pytest.mark.parametrize("copying", [vacuum, back_up])
def test_a_copy_beside_steady_writes_ends_and_holds_what_was_acknowledged(start, copying):
    manus = start()
    accounts = [manus.register() for _ in range(WRITERS)]
    copy, done = manus.folder / "copy.db", threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_until, manus, accounts, done.is_set)
        while manus.me(accounts[0]["access_token"]).json()["data"]["fullname"] == "Ann Lee":
            time.sleep(0.01)
        last = manus.register()
        copying(manus.settings["DATA_DIR"] / "manus.sqlite", copy)
        done.set()
        assert max(writing.result()) < 5 * SLOW
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM users WHERE email = ?", (last["email"],)).fetchone() == (1,)
    db.close()
    manus.stop()
    copy.rename(manus.settings["DATA_DIR"] / "manus.sqlite")
    manus.start()
    assert manus.me(last["access_token"]).status_code == 200
