"""manus jobs: what recurs, and running it now, through the running server or on the store when none runs."""
import contextlib
import re
import sqlite3
import time

import pytest

from manus import DEFAULTS, SLOW, free_port, run, wait_until

TOKEN = "a-token-for-metrics-0123456789abcdef"
NAMES = ["outbox", "inbox", "retry-events", "catch-up", "reconcile", "trial-notices", "sweep-events", "sweep-sessions", "sweep-erased",
         "sweep-audit"]


@pytest.fixture(params=["through the server", "on the store"])
def manus(request, start):
    one = start()
    if request.param == "on the store":
        one.stop()
    return one


def jobs(manus, *words):
    return run("jobs", *words, cwd=manus.folder, timeout=60, **{**DEFAULTS, **manus.settings})


def fields_of(manus, name):
    """Its line: schedule, last attempt, last success, next run, holder."""
    done = jobs(manus, "list")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+(?: [A-Z]+)?", head)]
    assert [line.split()[0] for line in lines] == NAMES
    line = next(line for line in lines if line.split()[0] == name)
    return [line[a:b].strip() for a, b in zip(starts[1:], starts[2:] + [None])]


def hold(manus, name, seconds):
    """What another instance does that has taken the lease, or has died with it; for less than a minute, which is how long one is taken."""
    now = time.time_ns() // 1000000
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", timeout=20) as db:
        db.execute("INSERT INTO leases (name, holder, fence, until, taken_at) VALUES (?, 'elsewhere/7/abc', 90, ?, ?)"
                   " ON CONFLICT DO UPDATE SET holder = excluded.holder, until = excluded.until, fence = 90",
                   (name, now + seconds * 1000, now))
    db.close()


def test_every_job_is_listed_with_its_schedule(manus):
    assert fields_of(manus, "outbox")[0] == "every 500 ms"
    assert fields_of(manus, "reconcile")[0] == "at 30 3 * * * UTC"
    assert fields_of(manus, "retry-events")[0] == "when it is needed"
    assert fields_of(manus, "reconcile")[1:3] == ["never", "never"]


def test_a_job_runs_when_it_is_asked_for_and_the_list_tells_when_that_was(manus):
    done = jobs(manus, "run", "reconcile")
    assert (done.returncode, done.stdout) == (0, "reconcile: done\n"), done.stderr
    _, tried, succeeded, _, holder = fields_of(manus, "reconcile")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", tried) and succeeded >= tried
    assert holder == "-"


def test_a_job_that_does_not_exist_is_refused_with_the_names_of_those_that_do(manus):
    done = jobs(manus, "run", "nothing")
    assert (done.returncode, done.stdout) == (65, "")
    assert "there is no job nothing" in done.stderr and all(name in done.stderr for name in NAMES)


@pytest.mark.parametrize("words, status, text", [
    ((), 64, "give an action: list, run NAME;"), (("run",), 64, "name the job, as `manus jobs list` shows it"),
    (("list", "outbox"), 64, "unexpected argument: outbox"), (("stop", "outbox"), 64, "give an action: list, run NAME;"), (("burn",), 64, "no such action")])
def test_what_is_asked_wrongly_is_told(tmp_path, words, status, text):
    done = run("jobs", *words, cwd=tmp_path, **DEFAULTS)
    assert done.returncode == status and text in done.stderr


def test_a_name_that_is_longer_than_any_is_refused_before_the_server_is_asked(start):
    done = jobs(start(), "run", "x" * 70000)
    assert (done.returncode, done.stdout) == (65, "") and "name the job" in done.stderr


@pytest.mark.parametrize("value", [-2**63, -1, 0, 2**63 - 2, 2**63 - 1])
@pytest.mark.parametrize("columns", [("fence",), ("until",), ("taken_at", "succeeded_at"), ("fence", "until", "taken_at", "succeeded_at")])
def test_a_row_of_a_lease_that_makes_no_sense_stops_no_job(manus, columns, value):
    hold(manus, "sweep-erased", -1)
    path = manus.settings["DATA_DIR"] / "manus.sqlite"
    with contextlib.closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as db:
        db.execute(f"UPDATE leases SET holder = '', {', '.join(f'{column} = {value}' for column in columns)} WHERE name = 'sweep-erased'")
        assert jobs(manus, "list").returncode == 0
        done = jobs(manus, "run", "sweep-erased")
        assert (done.returncode, done.stdout) == (0, "sweep-erased: done\n"), done.stderr
        assert 0 < db.execute("SELECT fence FROM leases WHERE name = 'sweep-erased'").fetchone()[0]


def test_a_job_that_fails_says_why(start):
    manus = start(STRIPE_SECRET_KEY="sk_test_0123456789abcdefghijklmn", STRIPE_API_BASE=f"http://127.0.0.1:{free_port()}")
    assert jobs(manus, "run", "catch-up").returncode == 0  # it notes from when on
    done = jobs(manus, "run", "catch-up")
    assert (done.returncode, done.stdout) == (65, "")
    assert done.stderr.startswith("manus jobs: catch-up failed: ")


def test_a_job_that_another_instance_runs_is_not_run_and_its_holder_is_named(start):
    manus = start(METRICS_TOKEN=TOKEN)
    wait_until(lambda: fields_of(manus, "sweep-audit")[4] == "-" and fields_of(manus, "sweep-audit")[2] != "never")
    before = runs(manus, "sweep-audit")
    hold(manus, "sweep-audit", 50)
    assert fields_of(manus, "sweep-audit")[4] == "elsewhere/7/abc"
    done = jobs(manus, "run", "sweep-audit")
    assert (done.returncode, done.stdout) == (65, "")
    assert "sweep-audit is already running, in elsewhere/7/abc" in done.stderr
    assert runs(manus, "sweep-audit") == before


def test_whoever_held_the_embedded_store_before_holds_no_job_in_it_any_more(start):
    manus = start()
    hold(manus, "reconcile", 50)
    assert jobs(manus, "run", "reconcile").returncode == 65
    manus.kill()
    manus.start()
    assert jobs(manus, "run", "reconcile").stdout == "reconcile: done\n"
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", timeout=20) as db:
        assert db.execute("SELECT fence FROM leases WHERE name = 'reconcile'").fetchone()[0] == 91
    db.close()


def runs(manus, name):
    text = manus.get("/metrics", TOKEN).text
    return int(re.search(rf'^manus_job_runs_total{{job="{name}"}} (\d+)$', text, re.M).group(1))


def test_runs_are_counted_by_their_job_and_logged_with_who_asked(start):
    manus = start(METRICS_TOKEN=TOKEN)
    assert runs(manus, "reconcile") == 0
    assert jobs(manus, "run", "reconcile").returncode == 0
    assert runs(manus, "reconcile") == 1
    line = manus.wait_for_log(lambda line: line["msg"] == "administration" and line["action"] == "job.run")
    assert line["job"] == "reconcile" and line["actor"].startswith("system:")
