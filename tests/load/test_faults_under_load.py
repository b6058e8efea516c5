"""The disk fails at a call now and then while clients read and write: nobody who reads notices, and what was acknowledged is there."""
import concurrent.futures
import errno
import mmap
import os
import secrets
import sqlite3
import statistics
import struct
import threading
import time

from manus import API, BINARY, LONG, SLOW, Manus

WRITERS, READERS, SECONDS = 8, 6, 5
# That make the store large. With a million a merge of the search index writes more pages than the disk takes between two faults.
USERS = int(os.environ.get("MANUS_FAULTS_USERS", "20000"))
MANY, FAILED_SYNCS, SYNC_EVERY = 5 * USERS, int(300 * LONG), 7
HEALED_S = 5  # no promise, but a writer that checks the file itself, or hangs, is found by it


class Faults:
    """The numbers of faults.c."""

    def __init__(self, folder):
        self.library = BINARY.parent / "tests" / "load" / "libfaults.so"
        assert self.library.exists()
        self.path = folder / "faults"
        self.path.write_bytes(bytes(4096))
        with open(self.path, "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 4096)

    def preload(self, manus):
        manus.settings.update(LD_PRELOAD=self.library, FAULTS=self.path,
                              ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")

    def hold(self, held):
        """No sync ends from now on, or each does."""
        self.shared[20:24] = struct.pack("i", held)

    def failed_syncs(self):
        every, _, _, syncs, _ = struct.unpack("5i", self.shared[0:20])
        return syncs // every if every else 0

    def arm(self, sync_every=0, write_every=0, error=errno.EIO):
        self.shared[0:20] = struct.pack("5i", sync_every, write_every, error, 0, 0)


class Writer:
    """Gives its own account one name after the other, and knows which were acknowledged."""

    def __init__(self, manus):
        self.account = manus.register()
        self.tried = self.acknowledged = 0
        self.broken_at, self.healing = None, []
        self.statuses = set()

    def write(self, mine):
        self.tried += 1
        began = time.monotonic()
        reply = mine.post(f"{API}/auth/change-fullname", {"fullname": f"name {self.tried}"}, self.account["access_token"])
        self.statuses.add(reply.status_code)
        if reply.status_code == 200:
            self.acknowledged = self.tried
            if self.broken_at is not None:
                self.healing.append(time.monotonic() - self.broken_at)
            self.broken_at = None
        elif self.broken_at is None:
            self.broken_at = began

    def is_kept(self, manus):
        name = manus.me(self.account["access_token"]).json()["data"]["fullname"]
        return self.acknowledged <= int(name.split()[1]) <= self.tried


def make_large(manus, users=USERS):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        db.executemany("INSERT INTO users(user_id, email, fullname, role, is_active, created_at, updated_at) VALUES(?, ?, ?, 'user', 1, 1, 1)",
                       ((f"{i:022d}", f"{secrets.token_hex(5)}{i}@example.com", f"{secrets.token_hex(4)} Lee") for i in range(users)))
    db.close()


def load(manus, writers, faults, is_enough=None, **armed):
    """Reads and writes while calls fail, for some seconds or until it is enough, and until all writers are well again. What readers were told."""
    faults.arm(**armed)
    ends = time.monotonic() + SECONDS * max(1, SLOW / 2)
    over = is_enough or (lambda: time.monotonic() >= ends)
    reads, lock = set(), threading.Lock()

    def work(number):
        mine = Manus(manus.folder)
        mine.base = manus.base
        while not over():
            if number < WRITERS:
                writers[number].write(mine)
                continue
            status = mine.get(f"{API}/auth/sessions", writers[number % WRITERS].account["access_token"]).status_code
            with lock:
                reads.add(status)
        if number < WRITERS:  # all are well again
            faults.arm()
            deadline = time.monotonic() + 10 * SLOW
            while writers[number].broken_at is not None:
                assert time.monotonic() < deadline
                writers[number].write(mine)
        mine.http.close()

    with concurrent.futures.ThreadPoolExecutor(WRITERS + READERS) as pool:
        for one in [pool.submit(work, number) for number in range(WRITERS + READERS)]:
            one.result()
    return reads


def test_errors_of_the_disk_under_load_cost_no_read_and_no_acknowledged_write(start, tmp_path):
    manus = start()
    writers = [Writer(manus) for _ in range(WRITERS)]
    manus.stop()
    make_large(manus)
    faults = Faults(tmp_path)
    faults.preload(manus)
    manus.start()
    for armed in ({"sync_every": 23}, {"write_every": 211}, {"write_every": 211, "error": errno.ENOSPC}, {"sync_every": 17, "write_every": 307}):
        for writer in writers:
            writer.statuses, writer.healing = set(), []
        reads = load(manus, writers, faults, **armed)
        healing = [seconds for writer in writers for seconds in writer.healing]
        print(armed, "healed", len(healing), "slowest %.3f s" % max(healing))
        assert reads == {200}, (armed, reads)
        assert set().union(*(writer.statuses for writer in writers)) == {200, 503}, armed
        assert max(healing) < HEALED_S * SLOW, (armed, max(healing))
        assert all(writer.is_kept(manus) for writer in writers)
    manus.kill()
    for name in ("LD_PRELOAD", "FAULTS"):
        del manus.settings[name]
    manus.start()
    assert all(writer.is_kept(manus) for writer in writers)
    assert manus.get(f"{API}/ready").status_code == 200
    assert manus.stop() == 0
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM users").fetchone() == (USERS + WRITERS,)
    db.close()


def test_300_failed_syncs_spread_over_a_load_cost_no_read_and_each_is_over_at_once(start, tmp_path):
    manus = start()
    writers = [Writer(manus) for _ in range(WRITERS)]
    manus.stop()
    make_large(manus, MANY)
    faults = Faults(tmp_path)
    faults.preload(manus)
    manus.start()
    failed = 0

    def is_enough():
        nonlocal failed
        failed = max(failed, faults.failed_syncs())
        assert time.monotonic() < deadline, failed
        return failed >= FAILED_SYNCS

    deadline = time.monotonic() + 120 * SLOW * max(1, LONG)
    reads = load(manus, writers, faults, is_enough, sync_every=SYNC_EVERY)
    healing = sorted(seconds for writer in writers for seconds in writer.healing)
    median, most = statistics.median(healing), healing[-1]
    print(f"{failed} syncs failed; {len(healing)} times a writer had to wait, half of them below {median:.3f} s, none above {most:.3f} s")
    assert reads == {200}, reads
    assert set().union(*(writer.statuses for writer in writers)) == {200, 503}
    assert median < 0.1 * SLOW and most < 1 * SLOW, (median, most)
    assert all(writer.is_kept(manus) for writer in writers)
    manus.kill()
    for name in ("LD_PRELOAD", "FAULTS"):
        del manus.settings[name]
    manus.start()
    assert all(writer.is_kept(manus) for writer in writers)
