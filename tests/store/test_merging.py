"""The search index cannot be merged: it is told once with its cause and counted, and fails no write."""
import contextlib
import sqlite3

from manus import API

TOKEN = "b7Jf0QmZ3kTq9xW2vN5sR8cL1yH4aD6e"
PIECES, WRITES = 24, 60


def damage_the_search_index(path):
    """Pieces that are due to be merged, and one of them lacks a page."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for piece in range(PIECES):
            db.execute("INSERT INTO users(user_id, email, fullname, role, is_active, created_at, updated_at) VALUES(?, ?, 'Ann Lee', 'user', 1, 1, 1)",
                       (f"{piece:022d}", f"n{piece}@example.com"))
        (piece,) = db.execute("SELECT min(segid) FROM users_words_idx").fetchone()
        db.execute("DELETE FROM users_words_data WHERE id = ?", ((piece << 37) + 1,))


def failures(manus):
    return next(float(line.split()[1]) for line in manus.get("/metrics", TOKEN).text.splitlines() if line.startswith("manus_store_merge_failures_total "))


def test_a_search_index_that_cannot_be_merged_fails_no_write_and_is_told_once(start):
    manus = start(METRICS_TOKEN=TOKEN)
    account = manus.register()
    assert manus.stop() == 0
    damage_the_search_index(manus.settings["DATA_DIR"] / "manus.sqlite")
    manus.start()
    for number in range(WRITES):
        reply = manus.post(f"{API}/auth/change-fullname", {"fullname": f"name {number}"}, account["access_token"])
        assert reply.status_code == 200, (number, reply.text)
    told = manus.wait_for_log(lambda line: line["msg"].startswith("the search index cannot be merged"))
    assert told["level"] == "warning" and "malformed" in told["detail"], told
    assert 2 <= failures(manus) <= 6
    assert len([line for line in manus.log() if line["msg"] == told["msg"]]) == 1
    manus.stop()
    with contextlib.closing(sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", isolation_level=None)) as db:
        db.execute("INSERT INTO users_words(users_words) VALUES('rebuild')")
    manus.start()
    assert manus.me(account["access_token"]).json()["data"]["fullname"] == f"name {WRITES - 1}"
