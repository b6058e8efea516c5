"""manus check of a store that is written to: the log stays bounded, what is damaged is found, and who waits sees how it goes on."""
import concurrent.futures
import os
import pty
import secrets
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

from manus import API, BINARY, SLOW, Manus, environment, run

USERS, SESSIONS, WRITERS, LOG_MOST = 100_000, 5, 8, 20 << 20


def store_of(manus):
    return manus.settings["DATA_DIR"] / "manus.sqlite"


def make_large(path):
    with sqlite3.connect(path) as db:
        db.executemany("INSERT INTO users(user_id, email, fullname, role, is_active, created_at, updated_at) VALUES(?, ?, ?, 'user', 1, 1, 1)",
                       ((f"{i:022d}", f"{secrets.token_hex(5)}{i}@example.com", f"{secrets.token_hex(4)} Lee") for i in range(USERS)))
        db.executemany("INSERT INTO sessions VALUES(?, ?, 1, ?, 1, 0, '192.0.2.1', ?, '', '')",
                       ((f"{i:022d}", f"{i // SESSIONS:022d}", (1 << 50) + i, "browser " * 20) for i in range(SESSIONS * USERS)))
        db.execute("INSERT INTO users_words(users_words) VALUES('optimize')")  # or the server merges all of it at first
    db.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    assert Manus(folder).start().stop() == 0
    make_large(folder / "data" / "manus.sqlite")
    return folder / "data" / "manus.sqlite"


class Writing:
    """Renames by several at once, and the largest size that the log has meanwhile."""

    def __init__(self, manus, may_fail=False):
        self.manus, self.may_fail = manus, may_fail
        self.accounts = [manus.register() for _ in range(WRITERS)]
        self.done, self.largest, self.count = threading.Event(), 0, 0

    def rename(self, account):
        mine = Manus(self.manus.folder)
        mine.base = self.manus.base
        while not self.done.is_set():
            reply = mine.post(f"{API}/auth/change-fullname", {"fullname": f"name {time.monotonic()}"}, token=account["access_token"])
            assert reply.status_code == 200 or self.may_fail and reply.status_code == 503, reply.text
            self.count += 1
        mine.http.close()

    def look(self):
        log = store_of(self.manus).with_name("manus.sqlite-wal")
        while not self.done.is_set():
            self.largest = max(self.largest, log.stat().st_size)
            time.sleep(0.01)

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(WRITERS + 1)
        self.work = [self.pool.submit(self.rename, account) for account in self.accounts] + [self.pool.submit(self.look)]
        return self

    def __exit__(self, *_):
        self.done.set()
        for one in self.work:
            one.result()
        self.pool.shutdown()


def start_on(start, large):
    manus = start()
    assert manus.stop() == 0
    shutil.copy(large, store_of(manus))
    return manus


def check(manus):
    return run("check", cwd=manus.folder, timeout=120, **manus.settings)


def test_a_check_beside_steady_writes_holds_the_log_back_for_no_longer_than_a_moment(start, large):
    manus = start_on(start, large).start()
    with Writing(manus) as writing:
        began, count = time.monotonic(), writing.count
        for _ in range(2):
            done = check(manus)
            assert done.returncode == 0 and "read in parts beside the server" in done.stdout, done
        took, count = time.monotonic() - began, writing.count - count
    print(f"{took:.1f} s, {count / took:.0f} writes/s, log at most {writing.largest >> 10} KiB")
    assert count > 20
    assert writing.largest <= LOG_MOST, writing.largest


def page_of(manus, name, share):
    """The number of a page of this table or index that has no pages below it."""
    with sqlite3.connect(store_of(manus)) as db:
        pages = db.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (name,)).fetchall()
    db.close()
    return pages[int(share * len(pages))][0]


@pytest.mark.parametrize("name", ["sessions", "sessions_expiry", "users_words_data"])
def test_a_check_beside_steady_writes_finds_a_damaged_page(start, large, name):
    manus = start_on(start, large)
    page = page_of(manus, name, 0.4)
    with open(store_of(manus), "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 100)
    manus.start()
    with Writing(manus, may_fail=True) as writing:  # a write may meet the damage before the check does
        done = check(manus)
    assert done.returncode == 69 and "damaged: " in done.stdout and "restore a backup" in done.stdout, done
    assert writing.largest <= LOG_MOST, writing.largest


def test_a_check_at_a_terminal_says_what_it_reads(start, large):
    manus = start_on(start, large)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BINARY, "check"], cwd=manus.folder, env=environment(manus.settings), stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert process.wait(60 * SLOW) == 0
    assert b"\rstore      reading all tables\x1b[K" in said and b"\r\x1b[Kstore      SQLite in " in said, said
