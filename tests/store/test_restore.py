"""manus restore, and files that do not belong together: nothing is undone, lost or begun anew without a word."""
import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from manus import API, BINARY, DEFAULTS, KEY, ROOT, SLOW, Manus, environment, free_port, leave, run, small_disk


def data_of(manus):
    return manus.settings["DATA_DIR"]


def copy_of(manus, name="copy.db"):
    """As the docs say: SQLite's own backup."""
    with sqlite3.connect(data_of(manus) / "manus.sqlite") as db, sqlite3.connect(manus.folder / name) as copy:
        db.backup(copy)
    db.close()
    copy.close()
    return manus.folder / name


def command(manus, *arguments):
    return run(*arguments, cwd=manus.folder, JWT_SECRET_KEY=KEY, DATA_DIR=data_of(manus), PORT=manus.port)


def knows(manus, account):
    return manus.post(f"{API}/auth/login", {"email": account["email"], "password": "password123"}).status_code == 200


def refused(manus):
    done = run("serve", cwd=manus.folder, **{**DEFAULTS, "PORT": free_port(), "DATA_DIR": data_of(manus)})
    assert done.returncode == 69 and done.stderr.count("\n") == 1, done
    return done.stderr


@pytest.fixture
def killed(start):
    """A server that was killed, with a log beside its file; a copy of before; whom the copy has and whom it has not."""
    manus = start()
    before = manus.register()
    copy = copy_of(manus)
    after = manus.register()
    manus.kill()
    assert (data_of(manus) / "manus.sqlite-wal").stat().st_size > 0
    return manus, copy, before, after


def test_restore_puts_a_copy_in_place_and_its_undoing_brings_back_what_was(killed):
    manus, copy, before, after = killed
    done = command(manus, "restore", str(copy))
    assert (done.returncode, done.stderr) == (0, ""), done
    assert f"restored {data_of(manus)}/manus.sqlite from {copy}: sound, schema" in done.stdout and ", 1 users" in done.stdout
    kept = done.stdout.split()[-1]
    assert f"to undo this, run: manus restore {kept}" in done.stdout and ".before-" in kept
    manus.start()
    assert knows(manus, before) and not knows(manus, after)
    assert manus.stop() == 0
    assert command(manus, "restore", kept).returncode == 0
    manus.start()
    assert knows(manus, before) and knows(manus, after)


def test_the_commands_of_the_docs_copy_and_restore(start):
    *copying, restoring = re.findall(r"^    (sqlite3 .+|manus restore .+)$", (ROOT / "docs" / "backup.md").read_text(), re.M)
    manus = start()
    before = manus.register()

    def do(line):
        bin = manus.folder / "bin"
        bin.mkdir(exist_ok=True)
        if not (bin / "manus").exists():
            (bin / "manus").symlink_to(BINARY)
        subprocess.run(line, shell=True, cwd=manus.folder, env={**environment(manus.settings), "PATH": f"{bin}:{os.environ['PATH']}"}, check=True, timeout=60)

    for line in copying:
        (manus.folder / "copy.db").unlink(missing_ok=True)
        do(line)
    after = manus.register()
    manus.kill()
    do(restoring)
    manus.start()
    assert knows(manus, before) and not knows(manus, after)


def test_restore_refuses_while_a_server_runs(start):
    manus = start()
    account = manus.register()
    done = command(manus, "restore", str(copy_of(manus)))
    assert done.returncode == 69 and f"is in use by process {manus.process.pid}: stop it" in done.stderr
    assert knows(manus, account)


def test_restore_makes_the_folder_where_there_is_none(killed, tmp_path):
    manus, copy, before, _ = killed
    done = run("restore", str(copy), cwd=tmp_path, JWT_SECRET_KEY=KEY, DATA_DIR=tmp_path / "elsewhere")
    assert done.returncode == 0 and "there was no store before" in done.stdout
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"lock", "manus.sqlite"}


def damage(path):
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096:page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)


def make_text(path):
    path.write_text("no database\n" * 500)


def make_newer(path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()


def make_foreign(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE users(a)")
        db.execute("PRAGMA user_version = 3")
    db.close()


@pytest.mark.parametrize("spoil, why", [(damage, "malformed"), (make_text, "not a database"), (make_newer, "a newer manus"), (make_foreign, "not one of manus"),
                                        (lambda path: path.unlink(), "No such file"), (lambda path: path.write_bytes(b""), "not one of manus")])
def test_what_is_no_sound_store_is_not_restored_and_nothing_changes(killed, spoil, why):
    manus, copy, before, after = killed
    spoil(copy)
    there = {path.name: path.read_bytes() for path in data_of(manus).iterdir() if path.is_file()}
    done = command(manus, "restore", str(copy))
    assert done.returncode == 69 and why in done.stderr and "the store is damaged" not in done.stderr, done
    there.pop("lock")
    assert {path.name: path.read_bytes() for path in data_of(manus).iterdir() if path.is_file() and path.name != "lock"} == there
    manus.start()
    assert knows(manus, before) and knows(manus, after)


def put_with_cp(copy, path):
    subprocess.run(["cp", copy, path], check=True)


def put_with_times(copy, path):
    subprocess.run(["cp", "-p", copy, path], check=True)


def put_with_mv(copy, path):
    os.rename(copy, path)


@pytest.mark.parametrize("put", [put_with_cp, put_with_times, put_with_mv])
def test_a_copy_that_was_put_beside_the_log_of_another_is_noticed_and_restore_keeps_it(killed, put):
    manus, copy, before, after = killed
    put(copy, data_of(manus) / "manus.sqlite")
    path = data_of(manus) / "manus.sqlite"
    told = f"run: manus restore {path}"
    assert told in refused(manus)
    checked = command(manus, "check")
    assert checked.returncode == 69 and told in checked.stdout, checked
    assert told in refused(manus)
    assert "nothing is lost yet" in checked.stdout
    done = command(manus, "restore", str(path))
    assert done.returncode == 69 and "with its log (2 users, last write 20" in done.stderr and "without (1 users, last write 20" in done.stderr, done
    assert "with it the store holds more, and nothing has changed yet" in done.stderr and f"--without-log {path}" in done.stderr
    assert told in refused(manus)
    done = command(manus, "restore", "--without-log", str(path))
    assert done.returncode == 0, done
    assert command(manus, "check").returncode == 0
    manus.start()
    assert knows(manus, before) and not knows(manus, after)


def test_a_store_that_a_tool_has_copied_a_part_of_loses_nothing_by_the_advice(killed):
    """The file is sound without its log, holds less, and only its time is another."""
    manus, _, before, after = killed
    path = data_of(manus) / "manus.sqlite"
    os.utime(path)
    assert f"run: manus restore {path}" in refused(manus)
    done = command(manus, "restore", str(path))
    if done.returncode != 0:  # else it was sound in one way alone
        assert f"manus restore --with-log {path}" in done.stderr, done
        assert command(manus, "restore", "--with-log", str(path)).returncode == 0
    manus.start()
    assert knows(manus, before) and knows(manus, after)


def test_a_store_that_is_sound_without_its_foreign_log_alone_is_restored_so(killed):
    manus, copy, before, after = killed
    path, log = data_of(manus) / "manus.sqlite", data_of(manus) / "manus.sqlite-wal"
    with contextlib.closing(sqlite3.connect(copy)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        assert db.execute("SELECT count(*) FROM users").fetchone() == (1,)
    shutil.copy(copy, path)
    put_foreign_log(path, log, manus.folder / "other.db")
    done = command(manus, "restore", str(path))
    assert done.returncode == 0 and "the log was not applied: with it, " in done.stdout, done
    manus.start()
    assert knows(manus, before) and not knows(manus, after)


def put_foreign_log(path, log, other):
    """A log of another store, of which one page alone was changed: over this file it makes no sense."""
    shutil.copy(path, other)
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE filler(a)")
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO filler SELECT randomblob(3000) FROM n")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        db.execute("UPDATE filler SET a = 'b' WHERE rowid = 150")
        shutil.copy(f"{other}-wal", log)


def is_told_of_replacement(line):
    return line["msg"].startswith("the store's file was replaced while the server runs")


@pytest.mark.parametrize("put", [put_with_cp, put_with_times, put_with_mv])
def test_a_copy_that_is_put_over_the_store_of_a_running_server_is_told_and_the_log_is_kept(start, put):
    manus = start()
    before = manus.register()
    copy = copy_of(manus)
    manus.register()
    time.sleep(1.5 * SLOW)
    path, log = data_of(manus) / "manus.sqlite", data_of(manus) / "manus.sqlite-wal"
    put(copy, path)
    line = manus.wait_for_log(is_told_of_replacement, 30)
    assert line["level"] == "error" and f"stop manus, then run: manus restore {path}" in line["mend"]
    content, kept = path.read_bytes(), log.read_bytes()
    assert manus.post(f"{API}/auth/register", {"email": "late@example.com", "password": "password123", "fullname": "Late"}).status_code == 503
    assert manus.get(f"{API}/ready").status_code == 503
    assert manus.stop() == 0
    assert log.read_bytes() == kept and path.read_bytes() == content
    for _ in range(2):
        assert f"run: manus restore {path}" in refused(manus)
    assert log.read_bytes() == kept and before


@pytest.mark.parametrize("end", [Manus.stop, Manus.kill])
def test_a_copy_is_not_adopted_by_a_server_that_ends_at_once(start, end):
    manus = start()
    manus.register()
    copy = copy_of(manus)
    manus.register()
    time.sleep(1.5 * SLOW)
    path, log = data_of(manus) / "manus.sqlite", data_of(manus) / "manus.sqlite-wal"
    kept = log.read_bytes()
    shutil.copy(copy, path)
    end(manus)
    assert log.read_bytes() == kept and path.read_bytes() == copy.read_bytes()
    assert f"run: manus restore {path}" in refused(manus)


def test_who_insists_has_the_log_applied(killed):
    manus, copy, before, after = killed
    shutil.copy(copy, data_of(manus) / "manus.sqlite")
    (data_of(manus) / "manus.sqlite-seal").unlink()
    manus.start()
    assert knows(manus, after)


def test_a_folder_that_was_copied_whole_is_one(killed, tmp_path):
    manus, _, before, after = killed
    for number, how in enumerate((["cp", "-a"], ["cp", "-a", "--reflink=never"])):
        folder = tmp_path / f"moved{number}"
        subprocess.run([*how, data_of(manus), folder], check=True)
        other = Manus(tmp_path, DATA_DIR=folder).start()
        assert knows(other, before) and knows(other, after)
        assert other.stop() == 0


def test_kills_while_the_log_is_copied_are_not_taken_for_a_foreign_file(start):
    """Each round writes enough for the log to be copied and begun anew, and is ended at another moment."""
    manus = start()
    account = manus.register()
    for number in range(6):
        for write in range(330 + 70 * number):
            assert manus.post(f"{API}/auth/change-fullname", {"fullname": f"{number} {write}"}, token=account["access_token"]).status_code == 200
        assert (data_of(manus) / "manus.sqlite").stat().st_size > 4096
        manus.kill()
        manus.start()
    assert knows(manus, account)


def test_a_log_without_its_file_is_refused_and_kept(killed):
    manus, copy, before, after = killed
    log = data_of(manus) / "manus.sqlite-wal"
    content = log.read_bytes()
    (data_of(manus) / "manus.sqlite").rename(manus.folder / "moved")
    for empty in (False, True):
        if empty:
            (data_of(manus) / "manus.sqlite").write_bytes(b"")
        assert "is missing or empty, but its log" in refused(manus)
        checked = command(manus, "check")
        assert checked.returncode == 69 and "is missing or empty" in checked.stdout
        assert log.read_bytes() == content
    (manus.folder / "moved").rename(data_of(manus) / "manus.sqlite")
    manus.start()
    assert knows(manus, after)


def test_a_new_store_beside_traces_of_another_is_told(start):
    manus = start()
    manus.register()
    assert manus.stop() == 0
    assert not [line for line in manus.log() if line["msg"] == "the store is new"]
    (data_of(manus) / "bans").write_text("")
    (data_of(manus) / "manus.sqlite").unlink()
    checked = command(manus, "check")
    assert checked.returncode == 69 and "there was no store in" in checked.stdout and "bans" in checked.stdout
    manus.start()
    line = manus.wait_for_log(lambda line: line["msg"] == "the store is new")
    assert line["level"] == "warning" and "bans" in line["detail"] and "manus restore" in line["detail"]


def test_an_empty_file_in_place_of_the_store_is_told(start, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manus.sqlite").write_bytes(b"")
    manus = start()
    assert "manus.sqlite" in manus.wait_for_log(lambda line: line["msg"] == "the store is new")["detail"]


@pytest.mark.parametrize("log", [None, b"", b"x" * 50000], ids=["gone", "empty", "no log"])
def test_a_young_store_that_has_lost_its_log_is_not_taken_for_a_new_one(start, log):
    manus = start()  # all that it holds is in the log
    account = manus.register()
    manus.kill()
    path = data_of(manus) / "manus.sqlite-wal"
    path.rename(manus.folder / "lost")
    if log is not None:
        path.write_bytes(log)
    for done in (command(manus, "check"), command(manus, "serve")):
        assert done.returncode == 69 and "it was in use and holds nothing now, because its log is missing or damaged" in done.stdout + done.stderr, done
    (manus.folder / "lost").rename(path)
    (data_of(manus) / "manus.sqlite-shm").unlink()
    manus.start()
    assert knows(manus, account)


def test_a_young_store_with_its_log_is_not_told_to_be_empty(start):
    manus = start()
    account = manus.register()
    manus.kill()
    assert "there was no store in" not in command(manus, "check").stdout
    manus.start()
    assert knows(manus, account) and not [line for line in manus.log() if line["msg"] == "the store is new"]


def test_check_beside_the_server_leaves_the_copying_of_the_log_to_it(start):
    """Its own write would otherwise copy a long log into the file, behind the server's back."""
    manus = start()
    account = manus.register()
    with sqlite3.connect(data_of(manus) / "manus.sqlite") as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        while (data_of(manus) / "manus.sqlite-wal").stat().st_size < 1200 * 4096:
            assert manus.post(f"{API}/auth/change-fullname", {"fullname": str(time.monotonic())}, token=account["access_token"]).status_code == 200
        reader.rollback()
    assert command(manus, "check").returncode == 0
    reader.close()
    manus.kill()
    manus.start()
    assert knows(manus, account)


def test_what_root_makes_is_the_owners_of_the_folder(start, tmp_path):
    if os.geteuid() != 0:
        pytest.fail("needs root to act for another user")
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    assert run("admin", "create", "ann@example.com", cwd=tmp_path, **{**DEFAULTS, "DATA_DIR": folder}).returncode == 0
    assert {path.stat().st_uid for path in folder.iterdir()} == {65534}, list(folder.iterdir())
    copy = tmp_path / "copy.db"
    shutil.copy(folder / "manus.sqlite", copy)
    assert run("restore", str(copy), cwd=tmp_path, **{**DEFAULTS, "DATA_DIR": folder}).returncode == 0
    assert {path.stat().st_uid for path in folder.iterdir()} == {65534}, list(folder.iterdir())


def test_a_tool_that_copies_the_log_while_the_server_runs_is_no_foreign_file(start):
    manus = start()
    account = manus.register()
    with sqlite3.connect(data_of(manus) / "manus.sqlite") as tool:
        tool.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        time.sleep(2.5 * SLOW)
        manus.kill()
    manus.start()
    tool.close()
    assert knows(manus, account)


def test_a_restore_that_finds_no_room_changes_nothing(tmp_path):
    with small_disk(tmp_path) as disk:
        manus = Manus(tmp_path, DATA_DIR=disk / "data").start()
        account = manus.register()
        copy = copy_of(manus)
        assert manus.stop() == 0
        leave(disk, 8192)
        done = command(manus, "restore", str(copy))
        assert done.returncode == 69 and "No space left on device: free some space" in done.stderr
        assert {path.name for path in data_of(manus).iterdir()} == {"admin.sock", "lock", "manus.sqlite", "manus.sqlite-seal"}
        (disk / "ballast").unlink()
        manus.start()
        assert knows(manus, account)
        assert manus.stop() == 0


def test_a_log_that_another_program_has_copied_is_no_foreign_one(start):
    manus = start()
    account = manus.register()
    time.sleep(1.5 * SLOW)  # so that the server has noted what is
    with contextlib.closing(sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite")) as other:
        other.execute("UPDATE users SET fullname = 'Somebody Else'")
        other.commit()
        other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        manus.kill()
        manus.start()
    assert knows(manus, account)


@pytest.mark.parametrize("is_made", [True, False])
def test_a_restore_that_was_interrupted_in_its_last_step_is_no_reason_for_an_empty_store(killed, is_made):
    manus, copy, before, after = killed
    aside = data_of(manus) / "manus.sqlite.before-20260101T000000Z"
    for part in ("", "-wal", "-shm"):
        os.rename(f"{data_of(manus)}/manus.sqlite{part}", f"{aside}{part}")
    if is_made:
        shutil.copy(copy, data_of(manus) / "manus.sqlite-restoring")
    said = "a restore was interrupted" if is_made else f"run: manus restore {aside}"
    assert said in refused(manus)
    checked = command(manus, "check")
    assert checked.returncode == 69 and said in checked.stdout, checked
    assert not (data_of(manus) / "manus.sqlite").exists()
    assert command(manus, "restore", str(aside)).returncode == 0
    manus.start()
    assert knows(manus, before) and knows(manus, after)
