"""/metrics: for administrators and who has the token."""
import re
import sqlite3
import time

import prometheus_text
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
    assert all(name.startswith("manus_") for name in prometheus_text.read(reply.text)[1])
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


def page(manus):
    text = manus.get("/metrics", TOKEN).text
    prometheus_text.check_by_promtool(text)
    return prometheus_text.read(text)


def page_with(manus, name, least, **labels):
    """The first page, within seconds, on which it has counted so much: a reply is counted when it is written."""
    deadline = time.monotonic() + 10 * SLOW
    while (prometheus_text.value_of((found := page(manus))[0], name, **labels) or 0) < least:
        assert time.monotonic() < deadline, (name, labels)
        time.sleep(0.05)
    return found


def test_every_page_keeps_the_rules_of_prometheus_and_what_counts_only_grows(start):
    manus = start(METRICS_TOKEN=TOKEN)
    pages = [page(manus)]
    account = manus.register()
    for _ in range(3):
        manus.get(f"{API}/health")
        manus.get(f"{API}/auth/me", account["access_token"])
        manus.get("/nowhere")
        manus.post(f"{API}/auth/login", {"email": account["email"], "password": "wrong-password"})
        pages.append(page(manus))
    for before, after in zip(pages, pages[1:]):
        prometheus_text.check_growth(before, after)


def test_requests_are_counted_and_timed_by_route_and_status(start):
    manus = start(METRICS_TOKEN=TOKEN)
    assert [manus.get(path).status_code for path in [f"{API}/health"] * 3 + [f"{API}/auth/me", "/nowhere"]] == [200] * 3 + [401, 404]
    assert manus.post(f"{API}/health", {}).status_code == 405
    page_with(manus, "manus_http_requests_total", 3, route="health", status="2xx")
    page_with(manus, "manus_http_requests_total", 1, route="auth_me", status="4xx")
    samples, _ = page_with(manus, "manus_http_requests_total", 2, route="none", status="4xx")
    requests = {labels: value for (name, labels), value in samples.items() if name == "manus_http_requests_total"}
    for route in ("health", "auth_me", "none"):
        assert prometheus_text.value_of(samples, "manus_http_request_duration_seconds_count", route=route) == \
            sum(value for labels, value in requests.items() if labels[0][1] == f'"{route}"')
    assert prometheus_text.value_of(samples, "manus_http_requests_total", route="health", status="5xx") == 0
    assert 0 < prometheus_text.value_of(samples, "manus_http_request_duration_seconds_sum", route="health") < 3 * SLOW


def test_lanes_the_store_and_loops_are_timed(start):
    manus = start(METRICS_TOKEN=TOKEN, THREADS=2)
    manus.register()
    for loop in (0, 1):
        page_with(manus, "manus_loop_lag_seconds_count", 1, loop=loop)
    samples, _ = page_with(manus, "manus_store_operation_duration_seconds_count", 1, operation="user_create")
    for lane in ("hash", "job"):
        assert prometheus_text.value_of(samples, "manus_lane_wait_seconds_count", lane=lane) >= 1
        assert prometheus_text.value_of(samples, "manus_lane_run_seconds_count", lane=lane) >= 1
    assert prometheus_text.value_of(samples, "manus_lane_refused_total", lane="hash") == 0
    assert prometheus_text.value_of(samples, "manus_store_operation_failures_total", operation="user_create") == 0
