"""The guard: which request a proxy may let through, and what a run costs."""
import collections
import datetime
import resource
import select
import socket
import sqlite3
import struct
import threading
import time

import pytest
import requests

from letters import rows
from manus import API, SLOW

SESSIONS, EXECUTE = "/api/v1/sessions", "/api/v1/agent/execute"


def nginx(method, uri):
    return {"X-Original-Method": method, "X-Original-URI": uri}


def traefik(method, uri):
    return {"X-Forwarded-Method": method, "X-Forwarded-Uri": uri}


def ask(manus, method, uri, token=None, headers=nginx, http=None):
    asked = {**headers(method, uri), **({"Authorization": f"Bearer {token}"} if token else {})}
    return (http or manus.http).get(f"{manus.base}{API}/gate", headers=asked, timeout=30 * SLOW)


def envoy(manus, method, uri, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return manus.http.request(method, f"{manus.base}{API}/gate{uri}", headers=headers, timeout=30 * SLOW)


def used(manus, person):
    found = rows(manus, "SELECT monthly_agent_runs FROM subscriptions WHERE user_id = ?", person["user"]["id"])
    return found[0][0] if found else 0


def change(manus, person, sql):
    manus.get(f"{API}/billing/subscription", person["access_token"])
    rows(manus, f"UPDATE subscriptions SET {sql}, revision = revision + 1 WHERE user_id = ?", person["user"]["id"])


@pytest.fixture
def ann(manus):
    return manus.register()


@pytest.mark.parametrize("headers", [nginx, traefik])
@pytest.mark.parametrize("method, uri", [("PUT", SESSIONS), ("POST", EXECUTE), ("PUT", SESSIONS + "?a=b")])
def test_what_begins_a_run_is_charged_before_it_is_let_through(manus, ann, headers, method, uri):
    reply = ask(manus, method, uri, ann["access_token"], headers)
    assert reply.status_code == 200
    assert (reply.headers["Content-Length"], reply.content) == ("0", b"")
    assert [reply.headers[f"X-Manus-{name}"] for name in ("User", "Role", "Plan", "Status")] == [ann["user"]["id"], "user", "free", "active"]
    assert used(manus, ann) == 1


@pytest.mark.parametrize("method, uri", [("PUT", SESSIONS), ("GET", SESSIONS)])
def test_an_application_can_tell_a_trial_from_the_free_plan_and_what_is_owed(manus, ann, method, uri):
    def status():
        return ask(manus, method, uri, ann["access_token"]).headers["X-Manus-Status"]

    assert status() == "active"
    assert manus.post(f"{API}/billing/activate-trial", token=ann["access_token"]).status_code == 200
    assert status() == "trialing" == manus.get(f"{API}/billing/subscription", ann["access_token"]).json()["status"]


def test_envoy_asks_with_the_requests_own_method_and_path(manus, ann):
    assert envoy(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    assert envoy(manus, "POST", EXECUTE + "?x=1", ann["access_token"]).status_code == 200
    assert used(manus, ann) == 2
    for method in ("GET", "DELETE", "PATCH", "POST"):
        assert envoy(manus, method, f"{SESSIONS}/1f3a", ann["access_token"]).status_code == 200
    assert envoy(manus, "OPTIONS", SESSIONS).status_code == 200
    assert envoy(manus, "GET", "/api/v1/auth/me", ann["access_token"]).status_code == 403
    assert envoy(manus, "PUT", SESSIONS).status_code == 401
    assert used(manus, ann) == 2


@pytest.mark.parametrize("method, path", [("GET", SESSIONS), ("POST", SESSIONS), ("GET", SESSIONS + "/1f3a"), ("POST", SESSIONS + "/1f3a/chat"),
                                          ("DELETE", SESSIONS + "/1f3a"), ("GET", "/api/v1/sandbox/x/vnc"), ("GET", EXECUTE)])
def test_the_rest_is_free_and_goes_through_also_when_nothing_is_left(manus, ann, method, path):
    change(manus, ann, "monthly_agent_runs = 10, usage_period = 9999999999999")
    for _ in range(2):  # asked of the store, then of memory
        reply = ask(manus, method, path, ann["access_token"])
        assert reply.status_code == 200
        assert reply.headers["X-Manus-User"] == ann["user"]["id"]
    assert used(manus, ann) == 10


@pytest.mark.parametrize("token", [None, "nonsense", "a.b.c"])
@pytest.mark.parametrize("method, path", [("PUT", SESSIONS), ("GET", SESSIONS)])
def test_strangers_are_refused(manus, token, method, path):
    reply = ask(manus, method, path, token)
    assert (reply.status_code, reply.json()) == (401, {"detail": "Authentication required"})
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_preflights_need_nobody(manus):
    reply = ask(manus, "OPTIONS", SESSIONS)
    assert (reply.status_code, reply.content) == (200, b"")
    assert [reply.headers[f"X-Manus-{name}"] for name in ("User", "Role", "Plan", "Status")] == ["", "", "", ""]


@pytest.mark.parametrize("path", ["/api/v1//sessions", "/api/v1/x/../sessions", "/api/v1/sessions;a", "/api/v1/sessions%00", "/api/v1%2fsessions",
                                  "/api/v1/sessions\\x", "/api/v1/%2e%2e/sessions", "/api/v1/%2573essions", "sessions", "http://a/api/v1/sessions"])
@pytest.mark.parametrize("method", ["PUT", "GET", "OPTIONS"])
def test_a_path_that_can_be_read_in_two_ways_is_refused(manus, ann, path, method):
    for token in (None, ann["access_token"]):
        assert ask(manus, method, path, token).status_code == 400
    assert used(manus, ann) == 0


@pytest.mark.parametrize("path", ["/api/v1//sessions", "/api/v1/sessions;a", "/api/v1%2fsessions", "/x/%2e%2e/api/v1/sessions"])
def test_so_it_is_behind_envoy(manus, ann, path):
    reply = manus.raw(f"PUT {API}/gate{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ann['access_token']}\r\nConnection: close\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert used(manus, ann) == 0


@pytest.mark.parametrize("path", ["/", "/api/v1/auth/me", "/api/v1/sessionsx", "/api/v1/billing/subscription", "/API/v1/sessions"])
def test_other_paths_are_not_for_the_guard(manus, ann, path):
    for token in (None, ann["access_token"]):
        assert ask(manus, "PUT", path, token).status_code == 403


def test_an_encoded_letter_is_the_letter(manus, ann):
    assert ask(manus, "PUT", "/api/v1/%73essions", ann["access_token"]).status_code == 200
    assert used(manus, ann) == 1


def test_a_question_that_is_not_put_or_put_in_two_ways_is_refused(manus, ann):
    token = {"Authorization": f"Bearer {ann['access_token']}"}
    url = f"{manus.base}{API}/gate"
    wrong = [{}, {"X-Original-URI": SESSIONS}, {"X-Original-Method": "PUT"}, {"X-Forwarded-Uri": SESSIONS},
             {**nginx("GET", SESSIONS), **traefik("PUT", SESSIONS)}, {**nginx("PUT", SESSIONS), **traefik("PUT", SESSIONS + "/x")}]
    for headers in wrong:
        assert manus.http.get(url, headers={**headers, **token}).status_code == 400, headers
    assert manus.http.get(url, headers={**nginx("PUT", SESSIONS), **traefik("PUT", SESSIONS), **token}).status_code == 200
    assert manus.http.put(url + SESSIONS, headers={**nginx("GET", SESSIONS), **token}).status_code == 400
    doubled = (f"GET {API}/gate HTTP/1.1\r\nHost: a\r\nX-Original-Method: GET\r\nX-Original-Method: PUT\r\nX-Original-URI: {SESSIONS}\r\n"
               f"Authorization: Bearer {ann['access_token']}\r\nConnection: close\r\n\r\n")
    assert manus.raw(doubled.encode()).startswith(b"HTTP/1.1 400 ")
    assert used(manus, ann) == 1


def test_when_all_runs_are_used_the_next_one_is_refused_with_the_summary(manus, ann):
    for _ in range(10):
        assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    why = "Monthly limit of 10 agent runs reached. Please upgrade your plan to continue."
    expected = {"code": 402, "msg": why, "detail": why, "error_code": "SUBSCRIPTION_LIMIT_REACHED",
                "subscription": {"plan": "free", "status": "active", "monthly_runs": 10, "monthly_runs_limit": 10}}
    for _ in range(3):
        reply = ask(manus, "PUT", SESSIONS, ann["access_token"])
        assert (reply.status_code, reply.json()) == (402, expected)
    assert manus.get(f"{API}/billing/subscription", ann["access_token"]).json()["monthly_agent_runs"] == 10


@pytest.mark.parametrize("sql, word", [
    ("status = 'canceled'", "inactive"), ("plan = 'basic', status = 'unpaid'", "inactive"), ("plan = 'pro', status = 'incomplete'", "not paid"),
    ("plan = 'pro', status = 'past_due', past_due_at = 1", "not paid"), ("is_trial = 1, status = 'trialing', trial_start = 1, trial_end = 2", "trial has expired"),
    ("plan = 'basic', current_period_start = 1, current_period_end = 2", "not paid")])
def test_what_is_not_usable_begins_no_run(manus, ann, sql, word):
    change(manus, ann, sql)
    reply = ask(manus, "PUT", SESSIONS, ann["access_token"])
    assert reply.status_code == 402
    assert word in reply.json()["detail"]
    assert ask(manus, "GET", SESSIONS, ann["access_token"]).status_code == 200
    assert used(manus, ann) == 0


def test_a_new_month_begins_at_nothing(manus, ann):
    change(manus, ann, "monthly_agent_runs = 10, usage_period = 1000")
    assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    assert used(manus, ann) == 1


def test_what_is_used_is_kept_by_days_and_is_part_of_the_export(manus, ann):
    for _ in range(3):
        ask(manus, "PUT", SESSIONS, ann["access_token"])
    body = manus.get(f"{API}/auth/me/export", ann["access_token"]).json()["data"]
    assert body["usage"] == [{"day": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), "runs": 3}]
    assert body["subscription"]["monthly_agent_runs"] == 3


def test_what_this_server_changes_is_felt_at_once(manus, ann):
    assert ask(manus, "GET", SESSIONS, ann["access_token"]).status_code == 200
    manus.post(f"{API}/billing/activate-trial", token=ann["access_token"])
    reply = ask(manus, "PUT", SESSIONS, ann["access_token"])
    assert reply.status_code == 200
    for _ in range(10):
        assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    manus.post(f"{API}/auth/logout", token=ann["access_token"])
    assert ask(manus, "GET", SESSIONS, ann["access_token"]).status_code == 401


def test_five_hundred_at_once_with_ten_left_admit_ten(manus, ann):
    change(manus, ann, "monthly_agent_runs = 0")
    http = [requests.Session() for _ in range(50)]
    barrier, statuses = threading.Barrier(50), []

    def one(i):
        barrier.wait()
        for _ in range(10):
            statuses.append(ask(manus, "PUT", SESSIONS, ann["access_token"], http=http[i]).status_code)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(200), statuses.count(402)) == (10, 490)
    assert used(manus, ann) == 10


def test_what_was_let_through_stays_charged_after_a_kill(start):
    manus = start()
    ann = manus.register()
    for _ in range(4):
        assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    manus.kill()
    assert used(manus, ann) == 4
    again = start(folder=manus.folder)
    for _ in range(6):
        assert ask(again, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    assert ask(again, "PUT", SESSIONS, ann["access_token"]).status_code == 402


def test_only_its_proxies_may_ask(start):
    manus = start(GATE_PROXIES="192.0.2.0/24", TRUSTED_PROXIES="127.0.0.1")
    ann = manus.register()
    assert ask(manus, "GET", SESSIONS, ann["access_token"]).status_code == 403
    spoofed = {**nginx("GET", SESSIONS), "X-Forwarded-For": "192.0.2.1", "Authorization": f"Bearer {ann['access_token']}"}
    assert manus.http.get(f"{manus.base}{API}/gate", headers=spoofed).status_code == 403


def test_who_must_confirm_the_address_first_is_kept_out(start):
    manus = start(UNVERIFIED_MAY="account")
    ann = manus.register()
    for method in ("GET", "PUT"):
        reply = ask(manus, method, SESSIONS, ann["access_token"])
        assert (reply.status_code, reply.json()["detail"]) == (403, "Email is not verified")


def test_a_store_that_cannot_write_admits_no_run(start):
    manus = start()
    ann = manus.register()
    assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200
    resource.prlimit(manus.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    reply = ask(manus, "PUT", SESSIONS, ann["access_token"])
    assert reply.status_code == 503, reply.text
    assert int(reply.headers["Retry-After"]) >= 1
    assert reply.json() == {"detail": "Service temporarily unavailable, please try again"}
    assert ask(manus, "GET", SESSIONS, ann["access_token"]).status_code == 200
    resource.prlimit(manus.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200


def test_runs_that_the_store_has_no_time_for_are_refused_and_not_charged(start):
    """As many as may wait do, the others are told at once; a request whose client leaves begins no run."""
    manus = start(CLIENT_CONNECTIONS="0", GATE_STALENESS="60")
    ann = manus.register()
    change(manus, ann, "gift_plan = 'enterprise', gift_runs = 0")
    question = (f"GET {API}/gate HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ann['access_token']}\r\n"
                f"X-Original-Method: PUT\r\nX-Original-URI: {SESSIONS}\r\n\r\n").encode()
    wires = [manus.connect(timeout=30 * SLOW) for _ in range(1200)]
    assert ask(manus, "PUT", SESSIONS, ann["access_token"]).status_code == 200  # from now on the server knows their plan
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for wire in wires:
            wire.sendall(question)
        told = select.poll()
        for wire in wires:
            told.register(wire, select.POLLIN)
        numbers = {number for number, _ in told.poll(4000)}  # the store itself gives up after five seconds
        ready = [wire for wire in wires if wire.fileno() in numbers]
        assert ready, "nobody was refused at once"
        for wire in ready:
            assert wire.recv(4096).startswith(b"HTTP/1.1 503 ")
        waiting = [wire for wire in wires if wire not in ready]
        for wire in waiting[:100]:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        time.sleep(0.3 * SLOW)
        other.execute("ROLLBACK")
    other.close()
    answers = collections.Counter(wire.recv(4096).split(b" ", 2)[1] for wire in waiting[100:])
    for wire in waiting[100:]:
        wire.close()
    assert set(answers) <= {b"200", b"503"} and answers[b"200"] > 0
    assert used(manus, ann) == 1 + answers[b"200"]
