"""Health, readiness, life, version: for balancers and monitors."""
import contextlib
import http.server
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from manus import API, SLOW, free_port, run

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
CHECKS = ["store", "mongodb", "redis", "stripe"]
SKIPPED = {"status": "skipped", "message": "Not configured", "latency_ms": 0}


def test_health_is_what_monitors_know(manus):
    assert re.fullmatch(r'\{"status":"healthy","timestamp":"' + TIME + r'","service":"manus-ai-backend"\}', manus.get(f"{API}/health").text)


def test_live_says_for_how_many_seconds(manus):
    first = manus.get(f"{API}/live").json()
    assert list(first) == ["status", "timestamp", "uptime"]
    assert first["status"] == "alive" and isinstance(first["uptime"], float)
    time.sleep(0.2)
    assert 0.1 < manus.get(f"{API}/live").json()["uptime"] - first["uptime"] < 5 * SLOW


def test_version_has_the_four_members_and_says_what_the_build_knows(manus):
    body = manus.get(f"{API}/version").json()
    assert list(body) == ["version", "commit", "build_time", "environment"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", body["version"]) and body["environment"] == "development"


def test_version_says_what_the_settings_say(start):
    manus = start(APP_VERSION="1.2.3", GIT_COMMIT="abc", BUILD_TIME="today", ENVIRONMENT="production", SERVICE_NAME='a "b"')
    assert manus.get(f"{API}/version").text == '{"version":"1.2.3","commit":"abc","build_time":"today","environment":"production"}'
    assert manus.get(f"{API}/health").json()["service"] == 'a "b"'


def test_ready_lists_every_check(manus):
    reply = manus.get(f"{API}/ready")
    body = reply.json()
    assert (reply.status_code, list(body), body["status"]) == (200, ["status", "timestamp", "checks"], "ready")
    assert list(body["checks"]) == CHECKS
    assert body["checks"]["store"]["status"] == "healthy"
    assert list(body["checks"]["store"]) == ["status", "message", "latency_ms"]
    assert [body["checks"][name] for name in CHECKS[1:]] == [SKIPPED] * 3


@contextlib.contextmanager
def redis(folder, *options):
    binary = shutil.which("redis-server")
    assert binary, "redis-server is missing: run scripts/deps test"
    port = free_port()
    process = subprocess.Popen([binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options],
                               stdout=subprocess.DEVNULL)
    try:
        yield port, process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def ready_until(manus, found):
    """The first report, within a few seconds, that is as expected."""
    deadline = time.monotonic() + 10 * SLOW
    while True:
        began = time.monotonic()
        reply = manus.get(f"{API}/ready")
        took = time.monotonic() - began
        if found(reply.json()["checks"]):
            return reply, took
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.1)


def test_redis_is_watched_and_its_end_is_told(start, tmp_path):
    with redis(tmp_path) as (port, process):
        manus = start(REDIS_HOST="127.0.0.1", REDIS_PORT=port)
        reply, _ = ready_until(manus, lambda checks: checks["redis"]["status"] == "healthy")
        assert reply.status_code == 200 and reply.json()["checks"]["redis"]["message"] == "Connected"
        process.send_signal(signal.SIGSTOP)
        reply, took = ready_until(manus, lambda checks: checks["redis"]["status"] == "unhealthy")
        assert (reply.status_code, reply.json()["status"]) == (503, "not_ready")
        assert reply.json()["checks"]["redis"]["message"] == "No answer in time"
        assert took < 2 * SLOW
        process.send_signal(signal.SIGCONT)
        ready_until(manus, lambda checks: checks["redis"]["status"] == "healthy")
        process.kill()
        process.wait()
        reply, _ = ready_until(manus, lambda checks: checks["redis"]["status"] == "unhealthy")
        assert reply.json()["checks"]["redis"]["message"] == "Cannot connect"
        assert str(port) not in reply.text and "127.0.0.1" not in reply.text
        assert manus.get(f"{API}/live").status_code == 200


@pytest.mark.parametrize("password, message", [("right", "Connected"), ("wrong", "Password refused"), ("no-password", "Password required")])
def test_redis_with_a_password(start, tmp_path, password, message):
    with redis(tmp_path, "--requirepass", "right") as (port, _):
        manus = start(REDIS_HOST="localhost", REDIS_PORT=port, REDIS_PASSWORD=password)
        ready_until(manus, lambda checks: checks["redis"]["message"] == message)


def test_what_is_not_critical_degrades_only(start):
    manus = start(REDIS_HOST="127.0.0.1", REDIS_PORT=free_port(), READY_CRITICAL="mongodb")
    reply = manus.get(f"{API}/ready")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["checks"]["redis"]["status"] == "unhealthy"


def test_whatever_may_be_critical_is_checked(tmp_path):
    (choices,) = re.findall(r"^\| `READY_CRITICAL` \|[^|]*\| ([^|]*) \|", run("settings", "--markdown", cwd=tmp_path).stdout, re.M)
    assert set(choices.split(", ")) <= set(CHECKS)


class Stripe(http.server.BaseHTTPRequestHandler):
    """Answers the one request that is right, as Stripe's API does; anything else is a failure."""

    def do_GET(self):
        key = self.headers["Authorization"]
        right = self.path == "/v1/balance" and "Content-Length" not in self.headers
        status = 404 if not right else 401 if key != "Bearer sk_test_right" else 200
        if self.server.hangs:
            time.sleep(5)
        self.server.count += 1
        body = b'{"object":"balance"}' if status == 200 else b'{"error":{}}'
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stripe():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stripe)
    server.count, server.hangs = 0, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def stripe_settings(server, key="sk_test_right"):
    return {"STRIPE_SECRET_KEY": key, "STRIPE_API_BASE": f"http://127.0.0.1:{server.server_port}"}


def test_stripe_is_asked_once_a_second_at_most(start, stripe):
    manus = start(**stripe_settings(stripe))
    reply, _ = ready_until(manus, lambda checks: checks["stripe"]["status"] == "healthy")
    assert reply.json()["checks"]["stripe"]["message"] == "API accessible"
    began, before = time.monotonic(), stripe.count
    for _ in range(300):
        manus.get(f"{API}/ready")
    assert stripe.count - before <= time.monotonic() - began + 1


def test_a_wrong_stripe_key_is_told_without_the_key_and_is_not_critical(start, stripe):
    manus = start(**stripe_settings(stripe, "sk_test_wrong"))
    reply, _ = ready_until(manus, lambda checks: checks["stripe"]["status"] == "unhealthy")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["checks"]["stripe"]["message"] == "API key refused"
    assert "sk_test" not in reply.text + manus.log_path.read_text()


def test_a_hanging_dependency_is_given_up_on_time_and_stops_nobody_else(start, stripe):
    stripe.hangs = True
    manus = start(**stripe_settings(stripe))
    began = time.monotonic()
    reply = manus.get(f"{API}/ready")
    assert time.monotonic() - began < 2.5 * SLOW
    assert reply.json()["checks"]["stripe"]["message"] == "No answer in time"
    assert reply.json()["checks"]["store"]["status"] == "healthy"
    assert manus.register()


def test_a_key_that_is_no_stripe_key_is_not_configured(start):
    assert start(STRIPE_SECRET_KEY="something").get(f"{API}/ready").json()["checks"]["stripe"] == SKIPPED
