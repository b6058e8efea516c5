"""Power cuts: all that the server writes and syncs is noted, and its files are made as they may be after a cut at any point. Each time
the store is sound, has all that was acknowledged by then, and no half of anything."""
import bisect
import collections
import concurrent.futures
import contextlib
import os
import random
import shutil
import sqlite3
import struct
import threading
import time

import pytest

from manus import API, BINARY, DEFAULTS, LONG, SLOW, Manus, free_port, run

CUTS = int(200 * LONG)
CLIENTS, SECONDS, LIVES = 4, 4, 3
JOURNAL_LEAST = 12 << 20  # so that the log has been copied and begun anew
SERVED = 20  # of so many cuts, the one after which a server is started
SECTOR = 512
RECORD = struct.Struct("=IIqqq")
WRITTEN, CUT, REMOVED, SYNC_BEGUN, SYNCED = range(1, 6)


class File:
    """What is on the disk for certain, and what is only on its way there."""

    def __init__(self):
        self.content, self.mtime = bytearray(), 0
        self.pending, self.count, self.applied = [], 0, 0

    def put(self, change):
        self.pending.append(change)
        self.count += 1

    def settle(self, count):
        while self.applied < count:
            apply(self.content, self.pending.pop(0))
            self.applied += 1


def apply(content, change):
    kind, at, data, _ = change
    if kind == CUT:
        del content[at:]
    content.extend(bytes(max(0, at + len(data) - len(content))))
    content[at:at + len(data)] = data


class Disk:
    """Follows the journal. Names come and go in the order in which they did, and are for certain once anything is synced."""

    def __init__(self):
        self.names, self.known, self.changes, self.begun = {}, {}, [], {}
        self.changed = 0  # of all changes of names, how many are for certain

    def follow(self, kind, name, at, data, mtime):
        if kind in (WRITTEN, CUT):
            if name not in self.known:
                self.known[name] = File()
                self.changes.append((name, self.known[name]))
            self.known[name].put((kind, at, data, mtime))
        elif kind == REMOVED:
            if self.known.pop(name, None) is not None:
                self.changes.append((name, None))
        elif kind == SYNC_BEGUN:
            file = self.known.get(name)
            self.begun[at] = (file, file.count if file else 0, self.changed + len(self.changes), mtime)
        elif at in self.begun:
            file, count, changed, mtime = self.begun.pop(at)
            if file:
                file.settle(count)
                file.mtime = mtime
            for name, file in self.changes[:changed - self.changed]:
                self.rename(self.names, name, file)
            del self.changes[:max(0, changed - self.changed)]
            self.changed = max(self.changed, changed)

    @staticmethod
    def rename(names, name, file):
        names[name] = file
        if file is None:
            del names[name]

    def after_a_cut(self, dice):
        """Content and time of each file, with what may or may not have arrived."""
        names = dict(self.names)
        for name, file in self.changes[:dice.randint(0, len(self.changes))]:
            self.rename(names, name, file)
        for name, file in names.items():
            content, mtime = bytearray(file.content), file.mtime
            for change in arrived(file.pending, dice):
                apply(content, change)
                mtime = change[3]
            yield name, content, mtime


def arrived(pending, dice):
    how = dice.choice(["nothing", "all", "first", "some", "parts"])
    if how == "nothing":
        return []
    if how == "all":
        return pending
    if how == "first":
        return pending[:dice.randint(0, len(pending))]
    kept = [change for change in pending if dice.random() < 0.5]
    if how == "some":
        return kept
    parts = []
    for kind, at, data, mtime in kept:
        ends = range(SECTOR - at % SECTOR, len(data) + SECTOR, SECTOR)
        sectors = [(begin, data[begin:end]) for begin, end in zip([0, *ends], ends)] if kind == WRITTEN else [(0, data)]
        parts += [(kind, at + begin, part, mtime) for begin, part in sectors if kind != WRITTEN or dice.random() < 0.5]
    return parts


class Client:
    """Registers, and names each account several times; remembers when it was told of what."""

    def __init__(self, manus, journal, number):
        self.manus, self.journal, self.number = Manus(manus.folder), journal, number
        self.manus.base = manus.base
        self.told = []  # the length of the journal, the address, which name; 0: registered
        self.tried = {}

    def note(self, email, which):
        self.told.append((self.journal.stat().st_size, email, which))

    def work(self, is_over):
        while not is_over():
            email = f"c{self.number}n{len(self.tried)}@example.com"
            self.tried[email] = 0
            with contextlib.suppress(OSError, AssertionError):  # killed meanwhile
                account = self.manus.register(email, fullname="name 0")
                self.note(email, 0)
                for which in range(1, 4):
                    self.tried[email] = which
                    reply = self.manus.post(f"{API}/auth/change-fullname", {"fullname": f"name {which}"}, account["access_token"])
                    assert reply.status_code == 200
                    self.note(email, which)


def record(folder):
    """The journal of a server that is stopped and killed under load, and what its clients were told when."""
    journal = folder / "journal"
    manus = Manus(folder, LD_PRELOAD=BINARY.parent / "tests" / "load" / "libjournal.so", JOURNAL=journal,
                  ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
    clients, over = [Client(manus, journal, number) for number in range(CLIENTS)], threading.Event()
    for life in range(LIVES):
        manus.start()
        over.clear()
        deadline = time.monotonic() + 60 * SLOW
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            working = [pool.submit(client.work, over.is_set) for client in clients]
            time.sleep(SECONDS)
            while journal.stat().st_size < JOURNAL_LEAST * (life + 1) and time.monotonic() < deadline:
                time.sleep(0.1)
            if life % 2 == 0:
                manus.kill()
            else:
                over.set()
            over.set()
            for one in working:
                one.result()
        if life % 2 != 0:
            assert manus.stop() == 0
    return journal, clients


def records_of(journal):
    """And where each ends in the journal."""
    data, at = journal.read_bytes(), 0
    while at + RECORD.size <= len(data):
        kind, name_len, where, size, mtime = RECORD.unpack_from(data, at)
        at += RECORD.size
        name, at = data[at:at + name_len].decode(), at + name_len
        content, at = data[at:at + size], at + size
        yield at, (kind, name, where, content, mtime)


class Told:
    """What has to be there at a point of the journal."""

    def __init__(self, clients):
        self.told = sorted(one for client in clients for one in client.told)
        self.points = [point for point, *_ in self.told]
        self.tried = {email: which for client in clients for email, which in client.tried.items()}

    def by(self, point):
        found = {}
        for _, email, which in self.told[:bisect.bisect_right(self.points, point)]:
            found[email] = max(which, found.get(email, 0))
        return found


def make(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content, mtime in files:
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(mtime, mtime))


def look(folder, told, tried):
    """What is wrong with a store that was opened after a cut; None: nothing."""
    path = folder / "manus.sqlite"
    if not path.exists():
        return "there is no store" if told else None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            return "it is damaged"
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            return "it is empty" if told else None
        names = {email: int(fullname.split()[1]) for email, fullname in db.execute("SELECT email, fullname FROM users")}
        for email, which in told.items():
            if names.get(email, -1) < which:
                return f"{email} was acknowledged as {which} and is {names.get(email)}"
        if any(which > tried[email] for email, which in names.items()):
            return "it has what nobody wrote"
        if db.execute("SELECT count(*) FROM users WHERE user_id NOT IN (SELECT user_id FROM sessions)").fetchone() != (0,):
            return "it has half a registration"
        db.execute("INSERT INTO users_words(users_words, rank) VALUES('integrity-check', 1)")  # fails unless it fits the users
    return None


def open_it(folder, number, may_be_new):
    """By manus check, and now and then by a server; None: all is well."""
    done = run("check", cwd=folder.parent, timeout=60, **{**DEFAULTS,
               "PORT": free_port(), "DATA_DIR": folder})
    is_new = "so an empty one is made" in done.stdout  # the cut came before there was a schema
    if done.returncode != 0 and not (is_new and may_be_new):
        return done.stdout + done.stderr
    if is_new or number % SERVED == 0:
        manus = Manus(folder.parent, DATA_DIR=folder).start()
        manus.register(f"after{number}@example.org", fullname="name 0")
        status = manus.stop()
        return None if status == 0 else f"it ended with {status}"
    return None


def points_of(records, dice):
    """Half of them at the ends of syncs or just before, half anywhere."""
    ends = [number for number, (_, (kind, *_)) in enumerate(records) if kind == SYNCED]
    chosen = [dice.choice(ends) + dice.randint(0, 1) for _ in range(CUTS // 2)]
    return sorted(chosen + [dice.randint(0, len(records)) for _ in range(CUTS - len(chosen))])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    journal, clients = record(tmp_path_factory.mktemp("recorded"))
    records = list(records_of(journal))
    written = [(name, at) for _, (kind, name, at, *_) in records if kind == WRITTEN]
    copied, begun = sum(name == "manus.sqlite" for name, _ in written), written.count(("manus.sqlite-wal", 0))
    print(f"{copied} pages of the log copied, begun anew {begun} times")
    assert copied > 100 and begun > LIVES
    return records, Told(clients)


def test_after_a_power_cut_at_any_point_the_store_is_sound_and_has_all_that_was_acknowledged(recorded, tmp_path):
    seed = int(os.environ.get("MANUS_SEED", time.time_ns() % 1_000_000))
    dice = random.Random(seed)
    records, told = recorded
    points, disk, followed, wrong = points_of(records, dice), Disk(), 0, []
    began = time.monotonic()

    def judge(number, point, folder):
        known = told.by(point)
        return open_it(folder, number, not known) or look(folder, known, {**told.tried, f"after{number}@example.org": 0})

    def conclude(number, wanted, folder, one):
        if said := one.result():
            wrong.append((number, wanted, said))
        else:
            shutil.rmtree(folder.parent)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        judged = collections.deque()
        for number, wanted in enumerate(points):
            for _, one in records[followed:wanted]:
                disk.follow(*one)
            followed = wanted
            folder = tmp_path / str(number) / "data"
            folder.parent.mkdir()
            make(folder, disk.after_a_cut(dice))
            point = records[wanted - 1][0] if wanted > 0 else 0
            judged.append((number, wanted, folder, pool.submit(judge, number, point, folder)))
            if len(judged) > 3:
                conclude(*judged.popleft())
        while judged:
            conclude(*judged.popleft())
    print(f"seed {seed}: {len(told.told)} acknowledged, {len(records)} calls, {len(points)} cuts in {time.monotonic() - began:.0f} s")
    assert not wrong, (seed, wrong)


def test_a_disk_that_would_not_keep_what_is_synced_is_seen_to_lose_it(recorded, tmp_path):
    """The same journal, but nothing of the log ever arrives."""
    records, told = recorded
    disk = Disk()
    for _, one in records[:len(records) // 2]:
        disk.follow(*one)
    make(tmp_path / "data", [(name, *rest) for name, *rest in disk.after_a_cut(random.Random(1)) if not name.endswith("-wal")])
    assert "was acknowledged as" in look(tmp_path / "data", told.by(records[len(records) // 2][0]), told.tried)
