"""/metrics: for administrators and who has the token."""
import re
import sqlite3
import time

from letters import nobody_waits, rows
from manus import API, SLOW

TOKEN = "b7Jf0QmZ3kTq9xW2vN5sR8cL1yH4aD6e"


def figures_with(manus, line):
    """The first figures, within seconds, that have the line: those of the store come from a job."""
    deadline = time.monotonic() + 10 * SLOW
    while line not in (reply := manus.get("/metrics", TOKEN)).text:
        assert reply.status_code == 200 and time.monotonic() < deadline, reply.text
        time.sleep(0.1)
    return reply


def test_figures_are_for_administrators_and_the_token(start):
    manus = start(METRICS_TOKEN=TOKEN)
    account = manus.register()
    assert [manus.get("/metrics", token).status_code for token in (None, "junk", TOKEN + "x", TOKEN[:-1], account["access_token"])] == \
        [401, 401, 401, 401, 403]
    manus.post(f"{API}/auth/send-verification-code", {"email": account["email"]})
    nobody_waits(manus)
    reply = figures_with(manus, "\nmanus_mails_waiting 0\n")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nmanus_mails_sent_total 1\n" in reply.text and "\nmanus_store_up 1\n" in reply.text
    for line in reply.text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) manus_[a-z_]+ .+|manus_[a-z_]+({[a-z_=",]+})? \d+', line)
    rows(manus, "UPDATE users SET role = 'admin'")
    manus.post(f"{API}/auth/change-fullname", {"fullname": "Ann"}, token=account["access_token"])
    assert manus.get("/metrics", account["access_token"]).status_code == 200
    assert manus.get(f"{API}/auth/me", TOKEN).status_code == 401
    assert TOKEN not in manus.log_path.read_text()


def test_without_a_token_only_administrators_read_them(start):
    manus = start()
    assert manus.get("/metrics", "").status_code == 401


def test_the_figures_of_the_process_are_there_while_the_store_is_ill(start):
    manus = start(METRICS_TOKEN=TOKEN)
    store = manus.settings["DATA_DIR"] / "manus.sqlite"
    manus.register()
    figures_with(manus, "\nmanus_mails_waiting 0\n")
    with sqlite3.connect(store) as db:
        db.execute("UPDATE users SET fullname = 'Eve'")  # nobody's remembered pages hold any more
        for path in (store, store.with_name("manus.sqlite-wal")):
            data = path.read_bytes()
            path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))
    reply = figures_with(manus, "manus_store_up 0\n")
    assert not re.search("^manus_(mails_waiting|billing_events_(waiting|dead)) ", reply.text, re.M)
    assert "\nmanus_mails_sent_total 0\n" in reply.text and "\nmanus_limit_keys 0\n" in reply.text
    assert reply.elapsed.total_seconds() < SLOW
